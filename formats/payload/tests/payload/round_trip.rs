//! What is made comes back.

use crate::support::{BLOCK, apply_all, full_payload, noise, words};
use payload::compress::Compression;
use payload::manifest::{Manifest, OperationKind, PartitionUpdate};
use payload::properties::Properties;
use payload::{Checkpoint, Hasher, Payload};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn mixed() -> Vec<u8> {
    [words(1, 100 * BLOCK), vec![0; 200 * BLOCK], noise(2, 70 * BLOCK), vec![0; 3 * BLOCK]].concat()
}

#[test]
fn s2_6_full_payloads_of_every_compression_come_back() {
    let (system, boot) = (mixed(), words(3, 5 * BLOCK));
    for (compression, kind) in [
        (Compression::None, OperationKind::Replace),
        (Compression::Xz(6), OperationKind::ReplaceXz),
        (Compression::Bzip2, OperationKind::ReplaceBz),
        (Compression::Zstd(19), OperationKind::ReplaceZstd),
    ] {
        let (file, _) = full_payload(&[("system", &system), ("boot", &boot)], compression, &[]);
        let payload = Payload::open(&file, file.len() as u64).unwrap();
        let kinds: Vec<_> =
            payload.manifest().partitions[0].operations.iter().map(|it| it.kind).collect();
        assert!(kinds.contains(&kind) && kinds.contains(&OperationKind::Zero), "{kinds:?}");
        let made = apply_all(&file, &BTreeMap::new()).unwrap();
        assert!(made["system"] == system && made["boot"] == boot, "{compression:?}");
    }
}

#[test]
fn properties_name_the_payload() {
    let (file, properties) = full_payload(&[("boot", &mixed())], Compression::Xz(0), &[]);
    assert_eq!(properties.file_hash, crypto::digest::sha256(&file));
    assert_eq!(properties.file_size, file.len() as u64);
    let payload = Payload::open(&file, file.len() as u64).unwrap();
    assert_eq!(properties.metadata_hash, crypto::digest::sha256(payload.metadata()));
    assert_eq!(Properties::decode(properties.encode().as_bytes()), Ok(properties));
    for wrong in ["", "FILE_HASH=x\n", "FILE_SIZE=1\nFILE_SIZE=1\n", "nothing"] {
        assert!(Properties::decode(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_checkpoint_counts_for_its_payload_only() {
    let (file, _) = full_payload(&[("boot", &mixed())], Compression::None, &[]);
    let payload = Payload::open(&file, file.len() as u64).unwrap();
    let checkpoint = Checkpoint::new(&payload, 2);
    let bytes = checkpoint.encode();
    assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint));
    assert_eq!(checkpoint.done(&payload), 2);
    assert_eq!(Checkpoint::new(&payload, 999).done(&payload), 0);
    let (other, _) = full_payload(&[("boot", &mixed())], Compression::Xz(0), &[]);
    let other = Payload::open(&other, other.len() as u64).unwrap();
    assert_eq!(checkpoint.done(&other), 0);
    for at in 0..bytes.len() {
        assert_eq!(Checkpoint::decode(&bytes[..at]), None);
        let mut flipped = bytes;
        flipped[at] ^= 1;
        assert_eq!(Checkpoint::decode(&flipped), None);
    }
}

#[test]
fn a_hasher_does_not_care_in_which_pieces_bytes_come() {
    let key = payload::key::SigningKey::Ecdsa(
        crypto::sign::EcdsaKey::generate(crypto::sign::Curve::P256).unwrap(),
    );
    let (file, _) = full_payload(&[("boot", &mixed())], Compression::Xz(0), &[&key]);
    let payload = Payload::open(&file, file.len() as u64).unwrap();
    let digests = |size: usize| {
        let mut hasher = Hasher::new(&payload);
        file.chunks(size).for_each(|piece| hasher.update(piece));
        hasher.finish()
    };
    assert_eq!(digests(file.len()).file, crypto::digest::sha256(&file));
    assert_eq!(digests(1), digests(file.len()));
    assert_eq!(digests(97), digests(file.len()));
}

#[test]
fn what_a_message_does_not_know_is_kept() {
    let manifest = Manifest {
        partitions: vec![PartitionUpdate {
            partition_name: "a".to_owned(),
            unknown: vec![0xa2, 0x01, 2, 1, 2],
            ..PartitionUpdate::default()
        }],
        unknown: vec![0x8a, 0x01, 1, 7],
        ..Manifest::default()
    };
    assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
}

proptest! {
    #[test]
    fn decoded_manifests_come_back(bytes: Vec<u8>) {
        if let Ok(manifest) = Manifest::decode(&bytes) {
            prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }
    }
}
