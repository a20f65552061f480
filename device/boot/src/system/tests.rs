use super::*;
use crate::verity_table::Parity;
use board::verity::VerityMode;
use bootimg::gpt::{Gpt, Guid, PartitionSpec};
use std::cell::RefCell;
use std::os::unix::fs::FileExt;
use verity::{FecLayout, Params, encode_fec};

/// Blocks of the test's system: three rows of 100 and a few, so that a column has four blocks.
const BLOCKS: u64 = 700;
const ROOTS: u32 = 2;

struct Made {
    flash: Flash,
    table: VerityTable,
    data: Vec<u8>,
}

/// A flash with one partition: data, tree, parity, and some zeros.
fn made() -> Made {
    let data: Vec<u8> = (0..BLOCKS as u32 * BLOCK_BYTES)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let params = Params::new(verity::HashAlgorithm::Sha256, b"salt").unwrap();
    let (tree, root) = verity::build(&params, &data).unwrap();
    let covered = [data.as_slice(), &tree].concat();
    let layout = FecLayout::new(BLOCK_BYTES, covered.len() as u64 / BLOCK as u64, ROOTS).unwrap();
    let parity = encode_fec(&layout, &covered, 0..layout.codewords()).unwrap();
    let partition = Guid::from_bytes([2; 16]);
    let spec = PartitionSpec {
        name: "system_a".into(),
        type_guid: Guid::LINUX_DATA,
        unique_guid: partition,
        size_bytes: (covered.len() + parity.len()).next_multiple_of(1 << 20) as u64,
    };
    let gpt = Gpt::layout(Guid::from_bytes([9; 16]), &[spec]).unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(gpt.disk_bytes()).unwrap();
    let encoded = gpt.encode();
    file.write_all_at(&encoded.head, 0).unwrap();
    file.write_all_at(&encoded.tail, encoded.tail_offset).unwrap();
    let flash = Flash::open(file).unwrap();
    flash.write_at("system_a", 0, &[covered, parity.clone()].concat()).unwrap();
    let parity = Parity { layout, sha256: crypto::digest::sha256(&parity) };
    let table = VerityTable {
        partition,
        data_bytes: data.len() as u64,
        params,
        root,
        parity: Some(parity),
        mode: VerityMode::Enforcing,
        known_corrupt: false,
    };
    Made { flash, table, data }
}

impl Made {
    fn spoil(&self, byte: u64) {
        let mut old = [0];
        self.flash.read_at("system_a", byte, &mut old).unwrap();
        self.flash.write_at("system_a", byte, &[!old[0]]).unwrap();
    }

    /// Makes noise of a block.
    fn wreck(&self, block: u64) {
        let noise: [u8; BLOCK] = std::array::from_fn(|at| (at * 7 + at / 251) as u8);
        self.flash.write_at("system_a", block * BLOCK as u64, &noise).unwrap();
    }

    fn open(&self, whole: bool) -> Result<System<'_>, Refusal> {
        System::open(&self.flash, &self.table, whole)
    }

    fn rounds(&self) -> u64 {
        self.table.parity.as_ref().unwrap().layout.rounds()
    }
}

fn read(system: &System<'_>, bytes: Range<u64>) -> (Option<Vec<u8>>, Vec<Damage>) {
    let seen = RefCell::new(Vec::new());
    let data = system.read(bytes, |damage| seen.borrow_mut().push(damage));
    (data, seen.into_inner())
}

#[test]
fn s2_2_a_block_that_changes_while_the_system_runs_is_repaired_and_told() {
    let made = made();
    let system = made.open(true).unwrap();
    assert_eq!(system.read_all().unwrap(), made.data);
    made.spoil(5 * 4096 + 17);
    let (data, seen) = read(&system, 5 * 4096 - 3..6 * 4096 + 3);
    assert_eq!(data.as_deref(), Some(&made.data[5 * 4096 - 3..6 * 4096 + 3]));
    assert_eq!(seen, [Damage::Repaired(5)]);
    // As dm-verity: nothing was written back.
    assert_eq!(read(&system, 5 * 4096..5 * 4096 + 1).1, [Damage::Repaired(5)]);
    // Before a boot the same block is a refusal: nobody saw what happened to it.
    assert_eq!(system.read_all().unwrap_err().code, "ERROR_VERIFICATION");
}

#[test]
fn s2_2_what_parity_can_not_repair_is_lost_and_nothing_else_is() {
    let made = made();
    let system = made.open(true).unwrap();
    let rounds = made.rounds();
    made.wreck(1);
    made.wreck(1 + rounds);
    // Two of a column: each is restored, for the tree says which they are.
    let (data, seen) = read(&system, 4096..8192);
    assert_eq!((data.as_deref(), seen), (Some(&made.data[4096..8192]), vec![Damage::Repaired(1)]));
    made.wreck(1 + 2 * rounds);
    assert_eq!(read(&system, 4096..8192), (None, vec![Damage::Lost(1)]));
    assert_eq!(read(&system, 0..4096), (Some(made.data[..4096].to_vec()), vec![]));
    let content = system.read_what_is_right().unwrap();
    assert_eq!(content.lost, BTreeSet::from([1, 1 + rounds, 1 + 2 * rounds]));
    assert!(content.has(&(0..4096)) && !content.has(&(4095..4097)) && content.has(&(8192..8193)));
    assert_eq!(content.data[8192..12_288], made.data[8192..12_288]);
    assert!(content.data[4096..8192].iter().all(|byte| *byte == 0));
}

#[test]
fn s2_2_the_tree_that_counts_is_the_one_that_was_checked() {
    let made = made();
    let system = made.open(true).unwrap();
    let tree = made.table.data_bytes;
    made.spoil(tree + 4096 + 5);
    made.spoil(77);
    assert_eq!(
        read(&system, 0..4096),
        (Some(made.data[..4096].to_vec()), vec![Damage::Repaired(0)])
    );
    assert!(made.open(false).is_err(), "the next boot sees it");
}

#[test]
fn s2_2_every_byte_behind_the_data_counts_before_the_system_runs() {
    let made = made();
    let size = made.flash.partition("system_a").unwrap().size_bytes();
    let tree = made.table.data_bytes;
    let parity = tree + made.open(true).unwrap().tree_bytes.len() as u64;
    for byte in [tree, parity - 1, parity, size - 1] {
        made.spoil(byte);
        assert!(made.open(true).is_err(), "byte {byte}");
        made.spoil(byte);
    }
    // A system that is known to be corrupt still has its parity, however worn.
    made.spoil(parity + 4096);
    assert!(made.open(true).is_err());
    let system = made.open(false).unwrap();
    made.spoil(9 * 4096);
    assert_eq!(read(&system, 9 * 4096..9 * 4096 + 1).1, [Damage::Repaired(9)]);
}

#[test]
fn reads_nothing_outside_the_data() {
    let made = made();
    let system = made.open(true).unwrap();
    let end = made.table.data_bytes;
    assert_eq!(read(&system, end - 1..end).0, Some(made.data[made.data.len() - 1..].to_vec()));
    assert_eq!(read(&system, end..end).0, Some(Vec::new()));
    assert_eq!(read(&system, end - 1..end + 1), (None, vec![]));
    assert_eq!(read(&system, Range { start: 5, end: 4 }), (None, vec![]));
}
