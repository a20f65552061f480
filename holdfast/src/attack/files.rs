//! What root of the normal world can write while the device is off: flash image and data. Old
//! copies are put back, files deleted, applications swapped; the next boot must see it.

use crate::report::Reporter;
use crate::state::State;
use crate::story::{Device, Teller, Wiring, clone, flash};
use anyhow::{Context, Result, ensure};
use avb::{FOOTER_BYTES, Footer};
use bootimg::cpio::{Archive, Writer};
use http_link::Error as HttpError;
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// All of them.
pub(super) async fn attacks(teller: &mut Teller, copies: &State) {
    let files = Files { copies };
    let spare = files.spare();
    if teller.quietly(spare).is_err() {
        return;
    }
    teller.attack("tee.deleted_files", async |_: &mut Reporter| files.deleted().await).await;
    teller.attack("tee.old_objects", async |_: &mut Reporter| files.old_objects().await).await;
    teller.attack("tee.swapped_applications", async |_: &mut Reporter| files.swapped().await).await;
    // The last one: it erases the device.
    teller.attack("tee.old_files", async |_: &mut Reporter| files.old().await).await;
}

/// Where the trusted applications are.
pub(super) const TEE_PARTITION: &str = "tee";

struct Files<'a> {
    copies: &'a State,
}

impl Files<'_> {
    fn device(&self) -> PathBuf {
        self.copies.path("device")
    }

    fn kept(&self) -> PathBuf {
        self.copies.path("kept")
    }

    /// Keeps a copy of everything that the normal world can write.
    fn spare(&self) -> Result<()> {
        clone::flash(&self.device(), &self.kept())
    }

    /// Puts the copy back.
    fn put_back(&self) -> Result<()> {
        let (kept, again) = (self.kept(), self.copies.path("again"));
        clone::flash(&kept, &again)?;
        clone::put_flash_back(&again, &self.device())?;
        Ok(std::fs::remove_dir(again)?)
    }

    /// Boots what is there; gives why it was refused.
    async fn refused(&self) -> Result<(String, Value)> {
        let log = self.copies.path("log/attacked.log");
        let device = Device::power_on(&self.device(), &Wiring::default(), log).await?;
        let status = device.settled().await;
        device.power_off().await?;
        let status = status?;
        let refused = status.refused.context("it booted")?;
        let evidence = json!({ "stage": refused.stage, "code": refused.code });
        Ok((refused.line(), evidence))
    }

    /// The TEE must say what it thinks of it, and the device must boot as before without it.
    async fn refused_and_harmless(&self) -> Result<(String, Value)> {
        let refused = self.refused().await;
        self.put_back()?;
        let refused = refused?;
        let log = self.copies.path("log/attacked.log");
        let device = Device::boot(&self.device(), &Wiring::default(), log).await;
        device.context("with its own files it does not boot any more")?.power_off().await?;
        Ok(refused)
    }

    /// Everything in `/data` and the userdata partition.
    async fn deleted(&self) -> Result<(String, Value)> {
        let data = self.device().join("data");
        std::fs::remove_dir_all(&data)?;
        std::fs::create_dir(&data)?;
        let image = File::options().read(true).write(true).open(self.device().join("flash.img"))?;
        let (_, start, length) = flash::partition(&image, "userdata")?;
        image.write_all_at(&vec![0; usize::try_from(length)?], start)?;
        drop(image);
        self.refused_and_harmless().await
    }

    /// The files of the TEE's objects alone, from before a key was deleted. The device boots: what is
    /// on its flash is right. But the TEE must take none of those files, and go on with its own.
    async fn old_objects(&self) -> Result<(String, Value)> {
        let (objects, old) = (self.device().join("data/tee"), self.copies.path("old-objects"));
        let own = self.copies.path("own-objects");
        let made = self.with_device(make_deletable_key).await?;
        made.context("a key that can be deleted for good")?;
        clone::folder(&objects, &old)?;
        self.with_device(delete_key).await?.context("the key could not be deleted")?;
        std::fs::rename(&objects, &own)?;
        clone::folder(&old, &objects)?;
        let refused = self.with_device(make_deletable_key).await?;
        std::fs::remove_dir_all(&objects)?;
        std::fs::rename(&own, &objects)?;
        let refused = match refused {
            Err(HttpError::Refused(refusal)) => refusal,
            Err(error) => return Err(error).context("no answer"),
            Ok(_) => anyhow::bail!("it took objects from before the key was deleted"),
        };
        let again = self.with_device(make_deletable_key).await?;
        again.context("with its own files it keeps no objects any more")?;
        Ok((refused.reason, json!({ "code": refused.error })))
    }

    /// Boots, asks, powers off.
    async fn with_device(
        &self,
        ask: impl AsyncFnOnce(&Device) -> Result<Value, HttpError>,
    ) -> Result<Result<Value, HttpError>> {
        let log = self.copies.path("log/attacked.log");
        let device = Device::boot(&self.device(), &Wiring::default(), log).await?;
        let said = ask(&device).await;
        device.power_off().await?;
        Ok(said)
    }

    /// Two trusted applications under each other's names.
    async fn swapped(&self) -> Result<(String, Value)> {
        let image = File::options().read(true).write(true).open(self.device().join("flash.img"))?;
        let (_, start, length) = flash::partition(&image, TEE_PARTITION)?;
        let mut bytes = vec![0; usize::try_from(length)?];
        image.read_exact_at(&mut bytes, start)?;
        let (swapped, names) = swap_applications(&bytes)?;
        image.write_all_at(&swapped, start)?;
        drop(image);
        let (reason, mut evidence) = self.refused_and_harmless().await?;
        evidence["swapped"] = json!(names);
        Ok((reason, evidence))
    }

    /// All files from before the owner erased the device.
    async fn old(&self) -> Result<(String, Value)> {
        let log = self.copies.path("log/attacked.log");
        let device = Device::boot(&self.device(), &Wiring::default(), log).await?;
        let erased = device.api().post("/v1/erase").send().await;
        device.power_off().await?;
        erased.context("the device could not be erased")?;
        // It comes to the end of it at its next start.
        let log = self.copies.path("log/attacked.log");
        Device::boot(&self.device(), &Wiring::default(), log).await?.power_off().await?;
        self.put_back()?;
        self.refused().await
    }
}

/// The name of the key.
const DELETABLE: &str = "attacked";

async fn make_deletable_key(device: &Device) -> Result<Value, HttpError> {
    let params = json!({
        "purpose": ["sign"], "algorithm": "ec", "ec_curve": "p_256", "digest": ["sha_2_256"],
        "no_auth_required": true, "rollback_resistance": true,
    });
    let key = json!({ "alias": DELETABLE, "params": params, "replace": true });
    device.api().post("/v1/keys/generate").json(&key).send_json().await
}

async fn delete_key(device: &Device) -> Result<Value, HttpError> {
    device.api().delete(&format!("/v1/keys?key={DELETABLE}")).send().await?;
    Ok(Value::Null)
}

/// A `tee` partition with two of its applications under each other's names, and the names. What is
/// behind the archive (the signature) stays.
fn swap_applications(partition: &[u8]) -> Result<(Vec<u8>, [String; 2])> {
    let archive = archive_of(partition)?;
    let entries = archive.entries();
    let files = entries.iter().filter(|entry| is_application(entry.path));
    let mut names = files.map(|entry| entry.path);
    let (first, second) = names.next().zip(names.next()).context("two trusted applications")?;
    let mut swapped = Writer::new();
    for entry in entries {
        let from = match entry.path {
            name if name == first => second,
            name if name == second => first,
            name => name,
        };
        match archive.file(from) {
            Some(content) => swapped.file(entry.path, 0o755, content)?,
            None => swapped.directory(entry.path, 0o755)?,
        }
    }
    let mut out = swapped.finish();
    ensure!(out.len() <= partition.len(), "the archive grew");
    let length = out.len();
    out.extend_from_slice(&partition[length..]);
    Ok((out, [first.to_owned(), second.to_owned()]))
}

/// The archive in front of the partition's footer.
pub(super) fn archive_of(partition: &[u8]) -> Result<Archive<'_>> {
    let footer =
        partition.last_chunk::<FOOTER_BYTES>().context("the tee partition is too short")?;
    let footer = Footer::decode(footer).context("the footer of the tee partition")?;
    let end = usize::try_from(footer.original_image_size)?;
    let image = partition.get(..end).context("the tee partition is shorter than its image")?;
    Archive::parse(image).context("the tee image")
}

pub(super) fn is_application(path: &str) -> bool {
    path.starts_with("ta-")
}
