//! Payloads that somebody made to hurt.

use crate::support::{BLOCK, Partition, apply_all, full_payload, words};
use payload::compress::{Compression, compress};
use payload::manifest::{
    Extent, Manifest, Operation, OperationKind, PartitionInfo, PartitionUpdate,
};
use payload::{
    ApplyError, Header, OperationFault, PartitionFault, Payload, Refusal, VerityFault, apply,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A payload around any manifest, with `blobs` bytes behind it.
fn around(manifest: &Manifest, blobs: u64) -> Result<Payload, Refusal> {
    let manifest = manifest.encode();
    let header = Header { manifest_size: manifest.len() as u64, metadata_signature_size: 0 };
    let front = [&header.encode()[..], &manifest].concat();
    Payload::open(&front, front.len() as u64 + blobs)
}

fn operation(kind: OperationKind, extents: &[(u64, u64)]) -> Operation {
    let dst_extents = extents.iter().map(|&(start, count)| Extent::new(start, count)).collect();
    Operation { kind, dst_extents, ..Operation::default() }
}

/// `REPLACE` with a blob of so many bytes at such an offset.
fn replace(extents: &[(u64, u64)], offset: u64, length: u64) -> Operation {
    Operation {
        data_offset: Some(offset),
        data_length: Some(length),
        data_sha256_hash: Some(vec![0; 32]),
        ..operation(OperationKind::Replace, extents)
    }
}

/// A partition of ten blocks, before and after.
fn manifest(operations: Vec<Operation>) -> Manifest {
    let info = PartitionInfo { size: 40_960, hash: vec![0; 32], unknown: Vec::new() };
    Manifest {
        minor_version: Some(4),
        partitions: vec![PartitionUpdate {
            partition_name: "system".to_owned(),
            old_partition_info: Some(info.clone()),
            new_partition_info: Some(info),
            operations,
            ..PartitionUpdate::default()
        }],
        ..Manifest::default()
    }
}

#[test]
fn operations_that_do_not_hold_together_are_refused_with_the_reason() {
    use OperationFault as Fault;
    let source = |src: &[(u64, u64)], dst: &[(u64, u64)]| Operation {
        src_extents: src.iter().map(|&(start, count)| Extent::new(start, count)).collect(),
        src_sha256_hash: Some(vec![0; 32]),
        ..operation(OperationKind::SourceCopy, dst)
    };
    let zero = |extents: &[(u64, u64)]| operation(OperationKind::Zero, extents);
    let no_hash = Operation { data_sha256_hash: None, ..replace(&[(0, 1)], 0, 10) };
    let short_hash = Operation { data_sha256_hash: Some(vec![0; 31]), ..no_hash.clone() };
    for (operation, fault) in [
        (zero(&[]), Fault::NoExtents),
        (zero(&[(0, 0)]), Fault::NoExtents),
        (zero(&[(10, 1)]), Fault::Extent),
        (zero(&[(0, 11)]), Fault::Extent),
        (zero(&[(u64::MAX, 2)]), Fault::Extent),
        (zero(&[(1, u64::MAX)]), Fault::Extent),
        (source(&[(10, 1)], &[(0, 1)]), Fault::Extent),
        (source(&[(0, 6), (0, 6)], &[(0, 10)]), Fault::Extent),
        (source(&[(0, 1)], &[(0, 2)]), Fault::Lengths),
        (Operation { src_sha256_hash: None, ..source(&[(0, 1)], &[(0, 1)]) }, Fault::Hash),
        (Operation { data_length: Some(1), ..zero(&[(0, 1)]) }, Fault::Blob),
        (replace(&[(0, 1)], 0, 0), Fault::Blob),
        (replace(&[(0, 1)], 0, 101), Fault::Blob),
        (replace(&[(0, 1)], 101, 1), Fault::Blob),
        (replace(&[(0, 1)], u64::MAX, 1), Fault::Blob),
        (no_hash, Fault::Hash),
        (short_hash, Fault::Hash),
        (operation(OperationKind::Puffdiff, &[(0, 1)]), Fault::Unsupported),
        (operation(OperationKind::Move, &[(0, 1)]), Fault::Unsupported),
        (operation(OperationKind::Unknown(99), &[(0, 1)]), Fault::Unsupported),
        (operation(OperationKind::ReplaceZstd, &[(0, 1)]), Fault::MinorVersion),
    ] {
        let answer = around(&manifest(vec![operation.clone()]), 100);
        let Err(Refusal::Operation { fault: found, index: 0, .. }) = &answer else {
            panic!("{operation:?}: {answer:?}");
        };
        assert_eq!(*found, fault, "{operation:?}");
    }
    assert!(around(&manifest(vec![zero(&[(0, 10)])]), 0).is_ok());
    let named = around(&manifest(vec![operation(OperationKind::Zucchini, &[(0, 1)])]), 0);
    assert!(named.unwrap_err().to_string().contains("ZUCCHINI"));
}

#[test]
fn no_block_is_written_twice() {
    let zero = |extents: &[(u64, u64)]| operation(OperationKind::Zero, extents);
    let overlaps = |answer| {
        let Err(Refusal::Partition { fault: PartitionFault::Overlap(at), .. }) = answer else {
            panic!("{answer:?}");
        };
        at
    };
    for operations in [
        vec![zero(&[(0, 5), (4, 2)])],
        vec![zero(&[(3, 3)]), zero(&[(0, 4)])],
        vec![zero(&[(2, 1)]), zero(&[(2, 1)])],
    ] {
        overlaps(around(&manifest(operations), 0));
    }
    let mut computed = manifest(vec![zero(&[(0, 9)])]);
    let verity = &mut computed.partitions[0].verity;
    verity.hash_tree_data_extent = Some(Extent::new(0, 3));
    verity.hash_tree_algorithm = Some("sha256".to_owned());
    verity.hash_tree_extent = Some(Extent::new(9, 1));
    assert!(around(&computed, 0).is_ok());
    computed.partitions[0].operations = vec![zero(&[(8, 2)])];
    assert_eq!(overlaps(around(&computed, 0)), 9);
}

#[test]
fn partitions_that_do_not_hold_together_are_refused_with_the_reason() {
    use PartitionFault as Fault;
    let change = |edit: &dyn Fn(&mut PartitionUpdate)| {
        let mut manifest = manifest(Vec::new());
        edit(&mut manifest.partitions[0]);
        match around(&manifest, 0) {
            Err(Refusal::Partition { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    };
    for name in ["", "../boot", "a/b", ".hidden", "a\0b", &"x".repeat(65)] {
        assert_eq!(change(&|it| it.partition_name = name.to_owned()), Fault::Name, "{name:?}");
    }
    assert_eq!(change(&|it| it.new_partition_info = None), Fault::NoNewInfo);
    let info = |size, hash| Some(PartitionInfo { size, hash, unknown: Vec::new() });
    assert_eq!(change(&|it| it.new_partition_info = info(4096, vec![0; 20])), Fault::Hash);
    assert_eq!(change(&|it| it.new_partition_info = info(4097, vec![0; 32])), Fault::Size);
    assert_eq!(change(&|it| it.old_partition_info = info(0, vec![0; 32])), Fault::Size);
    let far = Some(Extent::new(9, 2));
    let fault = Fault::Verity(VerityFault::Incomplete);
    assert_eq!(change(&|it| it.verity.hash_tree_extent = far), fault);

    let mut twice = manifest(Vec::new());
    twice.partitions.push(twice.partitions[0].clone());
    let twice = around(&twice, 0);
    assert!(matches!(twice, Err(Refusal::Partition { fault: Fault::Twice, .. })), "{twice:?}");
    let full = Manifest { minor_version: None, ..manifest(Vec::new()) };
    let full = around(&full, 0);
    assert!(matches!(full, Err(Refusal::Partition { fault: Fault::OldInfoInFull, .. })));
}

#[test]
fn headers_and_signature_places_are_checked() {
    let empty = Manifest::default();
    assert!(around(&empty, 0).is_ok());
    for (manifest, refusal) in [
        (Manifest { minor_version: Some(1), ..empty.clone() }, Refusal::MinorVersion(1)),
        (Manifest { minor_version: Some(11), ..empty.clone() }, Refusal::MinorVersion(11)),
        (Manifest { block_size: Some(512), ..empty.clone() }, Refusal::BlockSize(512)),
        (Manifest { signatures_size: Some(9), ..empty.clone() }, Refusal::SignaturesPlace),
        (
            Manifest { signatures_offset: Some(u64::MAX), signatures_size: Some(1), ..empty },
            Refusal::SignaturesPlace,
        ),
    ] {
        assert_eq!(around(&manifest, 0), Err(refusal));
    }
    let header = Header { manifest_size: u64::MAX, metadata_signature_size: u32::MAX }.encode();
    assert!(matches!(Payload::open(&header, u64::MAX), Err(Refusal::TooLarge { .. })));
    assert_eq!(Payload::open(&[b'x'; 24], 24), Err(Refusal::Magic));
    let mut version = Header { manifest_size: 0, metadata_signature_size: 0 }.encode();
    version[11] = 1;
    assert_eq!(Payload::open(&version, 24), Err(Refusal::MajorVersion(1)));
}

#[test]
fn a_payload_cut_anywhere_is_refused() {
    let (file, _) = full_payload(&[("boot", &words(1, 3 * BLOCK))], Compression::Xz(0), &[]);
    for length in 0..file.len() {
        let answer = Payload::open(&file[..length], length as u64);
        let Ok(payload) = answer else { continue };
        panic!("{length} of {} bytes: {payload:?}", file.len());
    }
}

/// `REPLACE*` of one block with this blob.
fn one_block(kind: OperationKind, blob: &[u8]) -> Result<(), ApplyError> {
    let operation = Operation {
        data_sha256_hash: Some(crypto::digest::sha256(blob).to_vec()),
        ..operation(kind, &[(0, 1)])
    };
    apply(&operation, blob, None, &Partition::of(BLOCK as u64))
}

#[test]
fn bombs_short_blobs_and_trailing_bytes_are_refused() {
    use OperationKind as Kind;
    for (kind, compression) in [
        (Kind::Replace, Compression::None),
        (Kind::ReplaceXz, Compression::Xz(0)),
        (Kind::ReplaceBz, Compression::Bzip2),
        (Kind::ReplaceZstd, Compression::Zstd(3)),
    ] {
        let blob = |length: usize| compress(&vec![7; length], compression).unwrap();
        assert!(one_block(kind, &blob(BLOCK)).is_ok(), "{kind:?}");
        for length in [0, 1, BLOCK - 1, BLOCK + 1, 4 << 20] {
            let answer = one_block(kind, &blob(length));
            assert!(
                matches!(answer, Err(ApplyError::OutputLength)),
                "{kind:?} {length}: {answer:?}"
            );
        }
        if kind != Kind::Replace {
            let trailing = [&blob(BLOCK)[..], b"more"].concat();
            let answer = one_block(kind, &trailing);
            assert!(matches!(answer, Err(ApplyError::Malformed(_))), "{kind:?}: {answer:?}");
            let whole = blob(BLOCK);
            let answer = one_block(kind, &whole[..whole.len() - 1]);
            assert!(answer.is_err(), "{kind:?}");
        }
    }
}

#[test]
fn a_blob_that_was_swapped_is_refused_before_anything_is_written() {
    let boot = words(1, 3 * BLOCK);
    let (mut file, _) = full_payload(&[("boot", &boot)], Compression::None, &[]);
    let last = file.len() - 1;
    file[last] ^= 1;
    let answer = apply_all(&file, &BTreeMap::new());
    assert!(matches!(answer, Err(ApplyError::BlobHash)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn flipped_bytes_never_panic(at in 0_usize..4000, bits in 1_u8..) {
        let image = words(1, 3 * BLOCK);
        let (mut file, _) = full_payload(&[("boot", &image)], Compression::Xz(0), &[]);
        let at = at % file.len();
        file[at] ^= bits;
        if Payload::open(&file, file.len() as u64).is_ok() {
            // A flip in the hash of the whole partition, which who applies compares, gets here.
            let _ = apply_all(&file, &BTreeMap::new());
        }
    }
}
