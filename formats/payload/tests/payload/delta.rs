//! Deltas: they make the new image of the old one, of it only, and stay small.

use crate::support::{BLOCK, apply_all, delta_payload, noise, words};
use payload::compress::Compression;
use payload::delta::{Format, Options};
use payload::manifest::OperationKind;
use payload::{ApplyError, Payload};
use std::collections::{BTreeMap, BTreeSet};

const OPTIONS: Options = Options { format: Format::Bsdf2, compression: Compression::Xz(6) };

/// Makes the delta, applies it, and gives its size and its kinds of operations.
fn check(old: &[u8], new: &[u8], options: Options) -> (usize, BTreeSet<String>) {
    let file = delta_payload(old, new, options);
    let made = apply_all(&file, &BTreeMap::from([("system", old.to_vec())])).unwrap();
    assert!(made["system"] == new, "the delta makes another image");
    let payload = Payload::open(&file, file.len() as u64).unwrap();
    let operations = &payload.manifest().partitions[0].operations;
    (file.len(), operations.iter().map(|it| it.kind.name()).collect())
}

#[test]
fn s2_6_a_delta_copies_what_moved_and_patches_what_changed() {
    let old = noise(1, 600 * BLOCK);
    let mut new = [&old[200 * BLOCK..], &old[..200 * BLOCK], &vec![0; 100 * BLOCK][..]].concat();
    new[177_777..177_790].fill(7);
    let (size, kinds) = check(&old, &new, OPTIONS);
    assert!(size < 2000, "{size}");
    let due = ["BROTLI_BSDIFF", "SOURCE_COPY", "ZERO"].map(str::to_owned);
    assert_eq!(kinds, BTreeSet::from(due));
}

#[test]
fn bytes_that_shift_everything_cost_little() {
    let old = words(1, 500 * BLOCK);
    let mut new = [&old[..50_000], b"inserted", &old[50_000..]].concat();
    new.resize(501 * BLOCK, 0);
    let (size, _) = check(&old, &new, OPTIONS);
    assert!(size < 3000, "{size}");
}

#[test]
fn many_small_changes_cost_few_bytes_each() {
    let old = noise(1, 600 * BLOCK);
    let mut new = old.clone();
    for at in (0..new.len()).step_by(10 * BLOCK) {
        new[at + 100..at + 110].fill(3);
    }
    let (size, _) = check(&old, &new, OPTIONS);
    assert!(size < 60 * 40, "{size} bytes for 60 changes of 10 bytes");
}

#[test]
fn nothing_in_common_is_a_full_update() {
    let (old, new) = (noise(1, 100 * BLOCK), words(2, 300 * BLOCK));
    let (_, kinds) = check(&old, &new, OPTIONS);
    assert_eq!(kinds, BTreeSet::from(["REPLACE_XZ".to_owned()]));
}

#[test]
fn older_devices_get_older_patches() {
    let old = words(1, 300 * BLOCK);
    let mut new = old.clone();
    new[5000..5100].fill(0);
    let options = Options { format: Format::Bsdiff40, compression: Compression::Bzip2 };
    assert_eq!(options.minor_version(), 3);
    let (_, kinds) = check(&old, &new, options);
    assert!(kinds.contains("SOURCE_BSDIFF"), "{kinds:?}");
}

#[test]
fn a_delta_refuses_an_old_image_that_it_was_not_made_for() {
    let old = noise(1, 300 * BLOCK);
    let mut new = old.clone();
    new[5 * BLOCK..6 * BLOCK].fill(9);
    let file = delta_payload(&old, &new, OPTIONS);
    for at in [0, 6 * BLOCK, 299 * BLOCK] {
        let mut other = old.clone();
        other[at] ^= 1;
        let answer = apply_all(&file, &BTreeMap::from([("system", other)]));
        assert!(matches!(answer, Err(ApplyError::SourceHash)), "byte {at}");
    }
    assert!(matches!(apply_all(&file, &BTreeMap::new()), Err(ApplyError::NoSource)));
    let payload = Payload::open(&file, file.len() as u64).unwrap();
    let mut operations = payload.manifest().partitions[0].operations.iter();
    assert!(operations.all(|it| it.kind != OperationKind::Replace));
}
