//! What the device computes itself.

use crate::support::{BLOCK, Partition, assemble, image, noise, words};
use payload::compress::Compression;
use payload::make::Builder;
use payload::manifest::{Extent, PartitionInfo, PartitionUpdate, VerityExtents};
use payload::{Computed, Payload, VerityFault, apply, full};
use proptest::prelude::*;
use verity::{FecLayout, HashAlgorithm, Params};

/// Blocks so many, as a manifest counts them.
fn blocks(bytes: &[u8]) -> u64 {
    (bytes.len() / BLOCK) as u64
}

/// An image as AVB has it: data, tree, parity, and something behind them; and what of it the
/// device computes.
fn protected(algorithm: HashAlgorithm, data_blocks: usize, roots: u32) -> (Vec<u8>, VerityExtents) {
    let salt = noise(9, 20);
    let mut bytes = words(data_blocks as u64, data_blocks * BLOCK);
    let data = Extent::new(0, blocks(&bytes));
    let params = Params::new(algorithm, &salt).unwrap();
    bytes.extend(verity::build(&params, &bytes).unwrap().0);
    let tree = Extent::new(data.num_blocks, blocks(&bytes) - data.num_blocks);
    let covered = Extent::new(0, blocks(&bytes));
    let layout = FecLayout::new(4096, covered.num_blocks, roots).unwrap();
    bytes.extend(verity::encode_fec(&layout, &bytes, 0..layout.codewords()).unwrap());
    let fec = Extent::new(covered.num_blocks, blocks(&bytes) - covered.num_blocks);
    bytes.extend(noise(8, 3 * BLOCK));
    let extents = VerityExtents {
        hash_tree_data_extent: Some(data),
        hash_tree_extent: Some(tree),
        hash_tree_algorithm: Some(algorithm.name().to_owned()),
        hash_tree_salt: Some(salt),
        fec_data_extent: Some(covered),
        fec_extent: Some(fec),
        fec_roots: (roots != 2).then_some(roots),
    };
    (bytes, extents)
}

/// A payload with everything but what the device computes.
fn payload_without(bytes: &[u8], extents: &VerityExtents) -> Vec<u8> {
    let mut builder = Builder::new(0);
    builder.partition("system", None, image(bytes)).computed(extents.clone());
    let data = usize::try_from(extents.hash_tree_data_extent.unwrap().num_blocks).unwrap();
    let behind = blocks(bytes) - 3;
    let mut blobs = Vec::new();
    for (first, part) in [(0, &bytes[..data * BLOCK]), (behind, &bytes[bytes.len() - 3 * BLOCK..])]
    {
        for step in full::full(first, part, Compression::Zstd(3)).unwrap() {
            builder.step(&step).unwrap();
            blobs.extend(step.blob);
        }
    }
    assemble(builder, &blobs, &[]).0
}

/// Applies the operations, and gives the partition and what is left to compute.
fn operated(file: &[u8], size: usize) -> (Partition, Computed) {
    let payload = Payload::open(file, file.len() as u64).unwrap();
    let update = &payload.manifest().partitions[0];
    let partition = Partition::of(size as u64);
    for operation in &update.operations {
        let blob = payload.blob(operation);
        let at = |it: u64| usize::try_from(it).unwrap();
        apply(operation, &file[at(blob.start)..at(blob.end)], None, &partition).unwrap();
    }
    (partition, Computed::of(update).unwrap().expect("there is a tree"))
}

#[test]
fn s2_6_the_device_computes_hash_trees_and_error_correction() {
    for algorithm in HashAlgorithm::ALL {
        for (data_blocks, roots) in [(2, 2), (129, 2), (300, 24), (1000, 7)] {
            let (bytes, extents) = protected(algorithm, data_blocks, roots);
            let file = payload_without(&bytes, &extents);
            let (partition, computed) = operated(&file, bytes.len());
            computed.write(&partition).unwrap();
            assert!(partition.into_bytes() == bytes, "{} {data_blocks}", algorithm.name());
        }
    }
}

#[test]
fn pieces_of_a_phase_may_come_in_any_order_on_any_thread() {
    let (bytes, extents) = protected(HashAlgorithm::Sha256, 4000, 24);
    let file = payload_without(&bytes, &extents);
    let (partition, computed) = operated(&file, bytes.len());
    for phase in computed.phases() {
        let partition = &partition;
        std::thread::scope(|scope| {
            for half in 0..2 {
                let pieces = (0..phase.pieces()).rev().filter(move |it| it % 2 == half);
                scope.spawn(move || pieces.for_each(|it| phase.write(it, partition).unwrap()));
            }
        });
    }
    assert!(partition.into_bytes() == bytes);
}

/// A partition of ten blocks: three of data, one of tree; parity of the four at the end.
fn small() -> PartitionUpdate {
    let extents = VerityExtents {
        hash_tree_data_extent: Some(Extent::new(0, 3)),
        hash_tree_extent: Some(Extent::new(3, 1)),
        hash_tree_algorithm: Some("sha256".to_owned()),
        hash_tree_salt: None,
        fec_data_extent: Some(Extent::new(0, 4)),
        fec_extent: Some(Extent::new(8, 2)),
        fec_roots: None,
    };
    let info = PartitionInfo { size: 40_960, hash: vec![0; 32], unknown: Vec::new() };
    PartitionUpdate {
        partition_name: "system".to_owned(),
        new_partition_info: Some(info),
        verity: extents,
        ..PartitionUpdate::default()
    }
}

#[test]
fn trees_and_parity_that_do_not_hold_together_are_refused_with_the_reason() {
    let change = |edit: &dyn Fn(&mut VerityExtents)| {
        let mut update = small();
        edit(&mut update.verity);
        Computed::of(&update).unwrap_err()
    };
    let extent = |start, count| Some(Extent::new(start, count));
    assert!(Computed::of(&small()).unwrap().is_some());
    assert!(Computed::of(&PartitionUpdate::default()).unwrap().is_none());
    use VerityFault as Fault;
    assert_eq!(change(&|it| it.hash_tree_data_extent = None), Fault::Incomplete);
    assert_eq!(change(&|it| it.fec_extent = None), Fault::Incomplete);
    for bad in [(9, 2), (10, 1), (u64::MAX, 1), (1, u64::MAX), (3, 0)] {
        assert_eq!(change(&|it| it.hash_tree_extent = extent(bad.0, bad.1)), Fault::Outside);
        assert_eq!(change(&|it| it.fec_data_extent = extent(bad.0, bad.1)), Fault::Outside);
    }
    assert_eq!(change(&|it| it.hash_tree_extent = extent(2, 1)), Fault::OverItself);
    assert_eq!(change(&|it| it.fec_extent = extent(3, 2)), Fault::OverItself);
    for name in ["", "sha3-256", "SHA256"] {
        assert_eq!(change(&|it| it.hash_tree_algorithm = Some(name.into())), Fault::Algorithm);
    }
    assert_eq!(change(&|it| it.hash_tree_algorithm = None), Fault::Algorithm);
    assert_eq!(change(&|it| it.hash_tree_salt = Some(vec![0; 257])), Fault::Salt);
    assert_eq!(change(&|it| it.hash_tree_extent = extent(3, 2)), Fault::TreeSize);
    assert_eq!(change(&|it| it.hash_tree_data_extent = extent(0, 1)), Fault::TreeSize);
    for roots in [0, 1, 25, u32::MAX] {
        assert_eq!(change(&|it| it.fec_roots = Some(roots)), Fault::Roots);
    }
    assert_eq!(change(&|it| it.fec_roots = Some(3)), Fault::FecSize);
}

proptest! {
    #[test]
    fn whatever_extents_are_named_nothing_outside_is_touched(
        data in (0_u64..12, 0_u64..12), tree in (0_u64..12, 0_u64..4),
        covered in (0_u64..12, 0_u64..12), fec in (0_u64..12, 0_u64..4), roots in 0_u32..5,
    ) {
        let mut update = small();
        let extent = |it: (u64, u64)| Some(Extent::new(it.0, it.1));
        update.verity.hash_tree_data_extent = extent(data);
        update.verity.hash_tree_extent = extent(tree);
        update.verity.fec_data_extent = extent(covered);
        update.verity.fec_extent = extent(fec);
        update.verity.fec_roots = Some(roots);
        if let Ok(Some(computed)) = Computed::of(&update) {
            let partition = Partition::of(40_960);
            computed.write(&partition).unwrap();
            let written = |block: u64| [tree, fec].iter().any(|it| (it.0..it.0 + it.1).contains(&block));
            for (block, bytes) in (0..).zip(partition.into_bytes().chunks(BLOCK)) {
                prop_assert!(written(block) || bytes.iter().all(|&byte| byte == 0xa5));
            }
        }
    }
}
