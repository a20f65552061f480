//! The kernel command line that slot verification makes (`avb_cmdline.c`).

use super::{
    HashtreeErrorMode, SlotVerifyResult,
    session::{Session, Stop},
};
use crate::{IoError, Ops, PARTITION_NAME_MAX_BYTES, VbmetaFlags, VbmetaImage, partition::hex};

/// The most root digests that are put into a command line.
pub(super) const MAX_SUBSTITUTIONS: usize = 10;

/// A token of the command line, and what takes its place.
pub(super) struct Substitution {
    token: String,
    value: String,
}

impl Substitution {
    pub(super) fn root_digest(partition: &str, digest: &[u8]) -> Self {
        let token = format!("$(AVB_{}_ROOT_DIGEST)", partition.to_ascii_uppercase());
        Self { token, value: hex(digest) }
    }
}

/// Adds libavb's options to the command line and replaces the tokens in it.
pub(super) fn finish<O: Ops>(
    session: &mut Session<'_, O>,
    mode: HashtreeErrorMode,
) -> Result<(), Stop> {
    let flags = toplevel_flags(session)?;
    if flags.verification_disabled() {
        let name = format!("system{}", session.suffix);
        let root = "root=PARTUUID=$(ANDROID_SYSTEM_PARTUUID)";
        let has_system =
            name.len() <= PARTITION_NAME_MAX_BYTES && session.ops.unique_guid(&name).is_ok();
        session.cmdline = Some(if has_system { root.to_owned() } else { String::new() });
    } else {
        let resolved = resolve_mode(session, mode)?;
        session.data.hashtree_error_mode = resolved;
        append_options(session, flags, mode, resolved)?;
    }
    substitute(session)
}

fn toplevel_flags<O: Ops>(session: &mut Session<'_, O>) -> Result<VbmetaFlags, Stop> {
    let image = session.data.vbmeta_images.first().map(|data| VbmetaImage::parse(&data.image));
    match image {
        Some(Ok(image)) => Ok(image.header().flags),
        _ => Err(session.stop(SlotVerifyResult::ErrorInvalidMetadata, "no top-level vbmeta image")),
    }
}

fn append<O>(session: &mut Session<'_, O>, key: &str, value: &str) {
    let cmdline = session.cmdline.get_or_insert_default();
    if !cmdline.is_empty() {
        cmdline.push(' ');
    }
    cmdline.push_str(&format!("{key}={value}"));
}

fn append_options<O: Ops>(
    session: &mut Session<'_, O>,
    flags: VbmetaFlags,
    mode: HashtreeErrorMode,
    resolved: HashtreeErrorMode,
) -> Result<(), Stop> {
    if !session.flags.no_vbmeta_partition {
        append(session, "androidboot.vbmeta.device", "PARTUUID=$(ANDROID_VBMETA_PARTUUID)");
        if let Some(key) = session.toplevel_key.take() {
            let digest = hex(&crypto::digest::sha256(&key));
            append(session, "androidboot.vbmeta.public_key_digest", &digest);
        }
    }
    let version = session.ops.libavb_version().to_string();
    append(session, "androidboot.vbmeta.avb_version", &version);
    let unlocked = session.ops.is_device_unlocked();
    let unlocked = unlocked.map_err(|error| io(session, "the lock state", error))?;
    let state = if unlocked { "unlocked" } else { "locked" };
    append(session, "androidboot.vbmeta.device_state", state);
    append_vbmeta_digest(session);
    append_verity_mode(session, flags, mode, resolved);
    append_partition_digests(session);
    Ok(())
}

fn append_vbmeta_digest<O>(session: &mut Session<'_, O>) {
    let hash = session.algorithm.digest_hash();
    let size: usize = session.data.vbmeta_images.iter().map(|data| data.image.len()).sum();
    let digest = hex(&session.data.vbmeta_digest(hash));
    append(session, "androidboot.vbmeta.hash_alg", hash.name());
    append(session, "androidboot.vbmeta.size", &size.to_string());
    append(session, "androidboot.vbmeta.digest", &digest);
}

fn append_verity_mode<O>(
    session: &mut Session<'_, O>,
    flags: VbmetaFlags,
    mode: HashtreeErrorMode,
    resolved: HashtreeErrorMode,
) {
    if flags.hashtree_disabled() {
        append(session, "androidboot.veritymode", "disabled");
    } else {
        if resolved == HashtreeErrorMode::RestartAndInvalidate {
            append(session, "androidboot.vbmeta.invalidate_on_error", "yes");
        }
        let (verity_mode, dm_verity_mode) = match resolved {
            HashtreeErrorMode::RestartAndInvalidate | HashtreeErrorMode::Restart => {
                ("enforcing", "restart_on_corruption")
            }
            // dm-verity has no word for this mode, and takes this one twice.
            HashtreeErrorMode::Eio | HashtreeErrorMode::ManagedRestartAndEio => {
                ("eio", "ignore_zero_blocks")
            }
            HashtreeErrorMode::Logging => ("logging", "ignore_corruption"),
            HashtreeErrorMode::Panic => ("panicking", "panic_on_corruption"),
        };
        let cmdline = session.cmdline.get_or_insert_default();
        *cmdline = cmdline.replace("$(ANDROID_VERITY_MODE)", dm_verity_mode);
        append(session, "androidboot.veritymode", verity_mode);
    }
    if mode == HashtreeErrorMode::ManagedRestartAndEio {
        append(session, "androidboot.veritymode.managed", "yes");
    }
}

fn append_partition_digests<O>(session: &mut Session<'_, O>) {
    let options: Vec<_> = session
        .data
        .loaded_partitions
        .iter()
        .filter_map(|loaded| {
            let (hash, digest) = loaded.digest.as_ref()?;
            Some((format!("androidboot.vbmeta.{}", loaded.partition), hash.name(), hex(digest)))
        })
        .collect();
    for (prefix, hash, digest) in options {
        append(session, &format!("{prefix}.hash_alg"), hash);
        append(session, &format!("{prefix}.digest"), &digest);
    }
}

/// Persistent value: the vbmeta digest of the system in which dm-verity found corruption.
const MANAGED_VERITY_MODE: &str = "avb.managed_verity_mode";

/// What a managed mode comes to on this boot.
fn resolve_mode<O: Ops>(
    session: &mut Session<'_, O>,
    mode: HashtreeErrorMode,
) -> Result<HashtreeErrorMode, Stop> {
    if mode != HashtreeErrorMode::ManagedRestartAndEio {
        return Ok(mode);
    }
    let system = session.data.vbmeta_digest(crate::Hash::Sha256);
    let managed = if session.flags.restart_caused_by_hashtree_corruption {
        let stored = session.ops.write_persistent_value(MANAGED_VERITY_MODE, &system);
        stored.map(|()| HashtreeErrorMode::Eio)
    } else {
        match session.ops.read_persistent_value(MANAGED_VERITY_MODE) {
            Err(IoError::NoSuchValue) => Ok(HashtreeErrorMode::Restart),
            Ok(value) if value.is_empty() => Ok(HashtreeErrorMode::Restart),
            Ok(value) if value.len() != system.len() => Err(IoError::Io),
            Ok(value) if value == system => Ok(HashtreeErrorMode::Eio),
            Ok(_) => session
                .ops
                .write_persistent_value(MANAGED_VERITY_MODE, &[])
                .map(|()| HashtreeErrorMode::Restart),
            Err(error) => Err(error),
        }
    };
    managed.map_err(|error| io(session, MANAGED_VERITY_MODE, error))
}

fn substitute<O: Ops>(session: &mut Session<'_, O>) -> Result<(), Stop> {
    let original = session.cmdline.take().unwrap_or_default();
    let first = session.data.vbmeta_images.first();
    let in_boot =
        !session.flags.no_vbmeta_partition && first.is_some_and(|image| image.partition == "boot");
    let vbmeta = if in_boot { "boot" } else { "vbmeta" };
    let mut cmdline = original.clone();
    for (partition, token) in [
        ("system", "$(ANDROID_SYSTEM_PARTUUID)"),
        ("boot", "$(ANDROID_BOOT_PARTUUID)"),
        (vbmeta, "$(ANDROID_VBMETA_PARTUUID)"),
    ] {
        if original.contains(token) {
            let name = format!("{partition}{}", session.suffix);
            // libavb calls any failure here "out of memory".
            let fits = name.len() <= PARTITION_NAME_MAX_BYTES;
            let guid = if fits { session.ops.unique_guid(&name) } else { Err(IoError::Oom) };
            let guid = guid.map_err(|error| {
                session.stop(SlotVerifyResult::ErrorOom, format!("{name}: no GUID: {error}"))
            })?;
            cmdline = cmdline.replace(token, &guid);
        }
    }
    for Substitution { token, value } in &session.substitutions {
        cmdline = cmdline.replace(token, value);
    }
    session.cmdline = Some(cmdline);
    Ok(())
}

fn io<O: Ops>(session: &mut Session<'_, O>, place: &str, error: IoError) -> Stop {
    let result = match error {
        IoError::Oom => SlotVerifyResult::ErrorOom,
        _ => SlotVerifyResult::ErrorIo,
    };
    session.stop(result, format!("{place}: {error}"))
}
