//! A board on Debian's swtpm, looked at from outside with tpm2-tools.

mod peer;

use board::silicon::{
    BL1_COUNTER, CryptoEngine, Engine, Fuses, Huk, LifeCycle, MonotonicCounter, Rpmb, TEE_COUNTER,
    Trng,
};
use board_tpm2::{Order, TpmError, TpmSilicon, discard, make};
use effects::{ManualClock, SystemEntropy, UnixMillis};
use peer::Swtpm;
use rpmb::host;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

fn order() -> Order {
    Order { serial: "HF-1".into(), root_keys: vec![[1; 32], [2; 32]], counters: [3, 7], blocks: 64 }
}

fn made(tpm: &Swtpm) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), &tpm.address(), &order()).unwrap();
    folder
}

fn up(folder: &Path) -> Result<TpmSilicon, TpmError> {
    let clock = Arc::new(ManualClock::new(UnixMillis(0)));
    TpmSilicon::power_up(folder, clock, Arc::new(SystemEntropy))
}

fn refusal(folder: &Path) -> String {
    up(folder).err().expect("the board comes up where it must not").to_string()
}

/// Copies a board's folder.
fn copied(folder: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
}

#[test]
fn s2_1_3_keys_depend_on_tpm_label_and_context_and_outlive_its_power() {
    let (Some(mut tpm), Some(other)) = (peer::fresh(), peer::fresh()) else { return };
    let (folder, elsewhere) = (made(&tpm), made(&other));
    let board = up(folder.path()).unwrap();
    let key = board.derive("label", b"context").unwrap();
    assert_eq!(board.derive("label", b"context").unwrap(), key);
    assert_ne!(board.derive("labelc", b"ontext").unwrap(), key);
    assert_ne!(board.derive("label", &[7; 5000]).unwrap(), key);
    assert_ne!(board.mac("label", b"context").unwrap(), key);
    assert_ne!(up(elsewhere.path()).unwrap().derive("label", b"context").unwrap(), key);
    assert!(board.derive("", b"context").is_err());
    assert_eq!(board.engine(), Ok(Engine::Tpm2));
    assert_ne!(board.random(256).unwrap(), board.random(256).unwrap());
    assert!(board.random(257).is_err());
    drop(board);
    tpm.restart();
    assert_eq!(up(folder.path()).unwrap().derive("label", b"context").unwrap(), key);
    assert!(matches!(make(folder.path(), &tpm.address(), &order()), Err(TpmError::Made(_))));
}

#[test]
fn nothing_is_left_open_in_the_tpm() {
    let Some(tpm) = peer::fresh() else { return };
    let folder = made(&tpm);
    let board = up(folder.path()).unwrap();
    // More uses than a TPM has room for sessions, one of them refused.
    for _ in 0..80 {
        board.derive("label", b"").unwrap();
    }
    assert!(board.raise_counter(BL1_COUNTER, 0).is_err());
    for kind in ["handles-transient", "handles-loaded-session", "handles-saved-session"] {
        assert_eq!(tpm.tool("tpm2_getcap", &[kind]).trim(), "", "{kind}");
    }
}

#[test]
fn s2_2_counters_are_in_nv_and_only_rise() {
    let Some(tpm) = peer::fresh() else { return };
    let folder = made(&tpm);
    let before = copied(folder.path());
    let board = up(folder.path()).unwrap();
    assert_eq!([BL1_COUNTER, TEE_COUNTER].map(|at| board.counter(at).unwrap()), [3, 7]);
    board.raise_counter(TEE_COUNTER, 12).unwrap();
    board.raise_counter(TEE_COUNTER, 12).unwrap();
    assert!(board.raise_counter(TEE_COUNTER, 11).is_err());
    assert!(board.raise_counter(TEE_COUNTER, u64::MAX).is_err());
    assert!(board.counter(2).is_err());
    let public = tpm.tool("tpm2_nvreadpublic", &[]);
    // Three counters and a bit field: policywrite, ownerread, authread, policyread, no_da, written.
    assert_eq!(public.matches("value: 0x220E0018").count(), 3, "{public}");
    assert_eq!(public.matches("value: 0x220E0028").count(), 1, "{public}");
    drop(board);
    // An old copy of all files takes no counter back; that of the chip is refused besides.
    assert!(refusal(before.path()).contains("old copy"));
    fs::copy(folder.path().join("rpmb.bin"), before.path().join("rpmb.bin")).unwrap();
    fs::copy(folder.path().join("rpmb.seal"), before.path().join("rpmb.seal")).unwrap();
    let board = up(before.path()).unwrap();
    assert_eq!([BL1_COUNTER, TEE_COUNTER].map(|at| board.counter(at).unwrap()), [3, 12]);
}

#[test]
fn s2_1_3_fuses_are_blown_once_and_no_copy_mends_them() {
    let Some(tpm) = peer::fresh() else { return };
    let folder = made(&tpm);
    let board = up(folder.path()).unwrap();
    let before = fs::read(folder.path().join("tpm2.cbor")).unwrap();
    assert_eq!(board.serial(), Ok("HF-1".into()));
    assert_eq!(board.life_cycle(), Ok(LifeCycle::Factory));
    board.deploy().unwrap();
    assert!(board.deploy().is_err());
    assert_eq!(board.root_key_hashes(), Ok(vec![[1; 32], [2; 32]]));
    for number in [0, 3, usize::MAX] {
        assert!(board.revoke_root_key(number).is_err(), "{number}");
    }
    assert_eq!(board.root_key_hashes_without(1), Ok(vec![[2; 32]]));
    board.revoke_root_key(1).unwrap();
    assert!(board.revoke_root_key(1).is_err());
    assert!(board.revoke_root_key(2).is_err());
    drop(board);
    fs::write(folder.path().join("tpm2.cbor"), before).unwrap();
    let board = up(folder.path()).unwrap();
    assert_eq!(board.root_key_hashes(), Ok(vec![[2; 32]]));
    assert_eq!(board.life_cycle(), Ok(LifeCycle::Deployed));
}

#[test]
fn s2_1_3_an_extended_pcr_stops_the_huk_until_the_next_power_on() {
    let Some(tpm) = peer::fresh() else { return };
    let folder = made(&tpm);
    let board = up(folder.path()).unwrap();
    let key = board.derive("label", b"").unwrap();
    let measured = tpm.tool("tpm2_pcrread", &["sha256:23"]);
    let event = board_tpm2::measure::event("HF-1", &[[1; 32], [2; 32]]);
    let value = board::argument::hex(&board_tpm2::measure::value(&event)).to_uppercase();
    assert!(measured.contains(&value), "{measured}");

    let digest = "11".repeat(32);
    tpm.tool("tpm2_pcrextend", &[&format!("23:sha256={digest}")]);
    let refused = board.derive("label", b"").unwrap_err().to_string();
    assert!(refused.contains("the boot chain is not the one"), "{refused}");
    assert!(board.counter(BL1_COUNTER).is_err() && board.mac("label", b"").is_err());
    drop(board);
    // Off: capped, neither zeros nor the measured value.
    let capped = tpm.tool("tpm2_pcrread", &["sha256:23"]);
    assert!(!capped.contains(&value) && !capped.contains(&"00".repeat(32)), "{capped}");
    assert_eq!(up(folder.path()).unwrap().derive("label", b"").unwrap(), key);
}

#[test]
fn s2_1_3_the_same_files_are_nothing_with_another_tpm_or_a_cleared_one() {
    let (Some(tpm), Some(other)) = (peer::fresh(), peer::fresh()) else { return };
    let folder = made(&tpm);
    let copy = copied(folder.path());
    let point = |folder: &Path, tpm: &Swtpm| {
        fs::write(folder.join("tpm2.address"), format!("{}\n", tpm.address())).unwrap();
    };
    point(copy.path(), &other);
    assert!(refusal(copy.path()).contains("does not hold the board's storage key"));
    let _theirs = made(&other);
    assert!(refusal(copy.path()).contains("another board's TPM"));
    point(copy.path(), &tpm);
    up(copy.path()).unwrap();

    let gone = tpm.tool("tpm2_getcap", &["handles-nv-index"]);
    let first = gone.split_whitespace().find(|word| word.starts_with("0x")).unwrap();
    tpm.tool("tpm2_nvundefine", &[first]);
    assert!(refusal(copy.path()).contains("does not hold the board's fuses"));
    tpm.tool("tpm2_clear", &["-c", "p"]);
    let refused = refusal(copy.path());
    assert!(refused.contains("storage key") && refused.contains("cleared"), "{refused}");
}

#[test]
fn s2_1_3_other_root_keys_and_an_altered_record_get_no_huk() {
    let Some(tpm) = peer::fresh() else { return };
    let folder = made(&tpm);
    let path = folder.path().join("tpm2.cbor");
    let good = fs::read(&path).unwrap();
    let swapped: Vec<u8> = {
        let at = good.windows(32).position(|bytes| bytes == [1; 32]).unwrap();
        [&good[..at], &[9; 32], &good[at + 32..]].concat()
    };
    fs::write(&path, &swapped).unwrap();
    // The indexes' policy is another one, too: what is there is not this board's.
    assert!(refusal(folder.path()).contains("not what the board was made with"));
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&path, &flipped).unwrap();
    assert!(refusal(folder.path()).contains("altered (its MAC)"));
    fs::write(&path, &good).unwrap();
    up(folder.path()).unwrap();
}

#[test]
fn s3_1_2_the_rpmb_chip_lasts_and_its_old_copies_are_refused() {
    let Some(tpm) = peer::fresh() else { return };
    let folder = made(&tpm);
    let key = [5; 32];
    let write = |board: &TpmSilicon, counter| {
        let answer = board.rpmb(&host::write(&key, counter, 60, &[[7; 256]])).unwrap();
        host::check_write(&key, counter + 1, 60, &answer).unwrap();
    };
    let board = up(folder.path()).unwrap();
    host::check_key(&board.rpmb(&host::program_key(&key)).unwrap()).unwrap();
    write(&board, 0);
    drop(board);
    let old = copied(folder.path());
    let board = up(folder.path()).unwrap();
    assert!(host::check_key(&board.rpmb(&host::program_key(&[6; 32])).unwrap()).is_err());
    write(&board, 1);
    drop(board);
    assert!(refusal(old.path()).contains("old copy"));
    let new = fs::read(folder.path().join("rpmb.bin")).unwrap();
    fs::copy(old.path().join("rpmb.bin"), folder.path().join("rpmb.bin")).unwrap();
    assert!(refusal(folder.path()).contains("old copy"));
    fs::write(folder.path().join("rpmb.bin"), new).unwrap();
    write(&up(folder.path()).unwrap(), 2);
}

#[test]
fn a_tpm_that_is_gone_or_has_a_password_is_told() {
    let Some(mut tpm) = peer::fresh() else { return };
    let folder = made(&tpm);
    tpm.tool("tpm2_changeauth", &["-c", "owner", "secret"]);
    let fresh = tempfile::tempdir().unwrap();
    let refused = make(fresh.path(), &tpm.address(), &order()).unwrap_err().to_string();
    assert!(refused.contains("has a password"), "{refused}");
    assert!(fs::read_dir(fresh.path()).unwrap().next().is_none());
    // A board that is made does not need the owner.
    let board = up(folder.path()).unwrap();
    tpm.stop();
    let refused = board.derive("label", b"").unwrap_err().to_string();
    assert!(refused.contains("does not answer"), "{refused}");
    assert!(refusal(folder.path()).contains("does not answer"));
}

#[test]
fn a_board_that_is_thrown_away_leaves_nothing_in_the_tpm() {
    let Some(tpm) = peer::fresh() else { return };
    let (folder, other) = (made(&tpm), made(&tpm));
    discard(folder.path()).unwrap();
    assert!(refusal(folder.path()).contains("does not hold"));
    up(other.path()).unwrap();
    discard(other.path()).unwrap();
    for kind in ["handles-nv-index", "handles-persistent", "handles-transient"] {
        assert_eq!(tpm.tool("tpm2_getcap", &[kind]).trim(), "", "{kind}");
    }
}

#[test]
fn a_making_that_fails_leaves_nothing_in_the_tpm() {
    let Some(tpm) = peer::fresh() else { return };
    let missing = tempfile::tempdir().unwrap().path().join("missing");
    assert!(make(&missing, &tpm.address(), &order()).is_err());
    for kind in ["handles-nv-index", "handles-persistent", "handles-transient"] {
        assert_eq!(tpm.tool("tpm2_getcap", &[kind]).trim(), "", "{kind}");
    }
}
