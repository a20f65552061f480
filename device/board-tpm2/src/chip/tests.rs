use super::*;
use rpmb::MemoryStore;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A chip's memory that is kept when its user is gone: the file. Writes may fail.
#[derive(Clone)]
struct Memory(Rc<RefCell<MemoryStore>>, Rc<Cell<bool>>);

impl Memory {
    fn new() -> Self {
        Self(Rc::new(RefCell::new(MemoryStore::new(17))), Rc::default())
    }

    /// A copy of the file.
    fn copied(&self) -> MemoryStore {
        self.0.borrow().clone()
    }

    fn put_back(&self, copy: MemoryStore) {
        *self.0.borrow_mut() = copy;
    }
}

impl Store for Memory {
    type Error = io::Error;

    fn blocks(&self) -> u32 {
        self.0.borrow().blocks()
    }
    fn key(&self) -> Option<[u8; MAC_BYTES]> {
        self.0.borrow().key()
    }
    fn counter(&self) -> u32 {
        self.0.borrow().counter()
    }
    fn secure_wp_mode_enable(&self) -> bool {
        self.0.borrow().secure_wp_mode_enable()
    }
    fn program_key(&mut self, key: &[u8; MAC_BYTES]) -> io::Result<()> {
        self.0.borrow_mut().program_key(key).map_err(|_| io::ErrorKind::Other.into())
    }
    fn read(&self, first: u16, count: u16) -> io::Result<Vec<Block>> {
        self.0.borrow().read(first, count).map_err(|_| io::ErrorKind::Other.into())
    }
    fn write(&mut self, first: u16, blocks: &[Block], counter: u32) -> io::Result<()> {
        if self.1.get() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = self.0.borrow_mut().write(first, blocks, counter);
        written.map_err(|_| io::ErrorKind::Other.into())
    }
    fn configure(&mut self, enable: bool, counter: u32) -> io::Result<()> {
        self.0.borrow_mut().configure(enable, counter).map_err(|_| io::ErrorKind::Other.into())
    }
}

const KEY: [u8; 32] = [7; 32];

/// A chip, its seal, and the TPM's counter.
struct Bench {
    folder: tempfile::TempDir,
    memory: Memory,
    counter: u64,
}

impl Bench {
    fn new() -> Self {
        let bench =
            Self { folder: tempfile::tempdir().unwrap(), memory: Memory::new(), counter: 5 };
        SealedChip::create(bench.memory.clone(), &bench.path(), &KEY, bench.counter).unwrap();
        bench
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("rpmb.seal")
    }

    fn try_open(&self) -> Result<SealedChip<Memory>, TpmError> {
        SealedChip::open(self.memory.clone(), &self.path(), &KEY, self.counter)
    }

    /// A power-on: the counter follows.
    fn power_on(&mut self) -> SealedChip<Memory> {
        let chip = self.try_open().unwrap();
        self.counter = chip.epoch();
        chip
    }

    fn copies(&self) -> (MemoryStore, Vec<u8>) {
        (self.memory.copied(), std::fs::read(self.path()).unwrap())
    }
}

fn refused(result: Result<SealedChip<Memory>, TpmError>, why: &str) {
    let said = result.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains(why), "{said:?} does not say {why:?}");
}

#[test]
fn what_was_written_is_there_at_the_next_power_on() {
    let mut bench = Bench::new();
    let mut chip = bench.power_on();
    assert_eq!((chip.blocks(), chip.epoch()), (16, 6));
    chip.program_key(&[3; 32]).unwrap();
    chip.write(14, &[[1; BLOCK_BYTES], [2; BLOCK_BYTES]], 1).unwrap();
    chip.configure(true, 2).unwrap();
    let chip = bench.power_on();
    assert_eq!(chip.read(15, 1).unwrap(), [[2; BLOCK_BYTES]]);
    assert_eq!((chip.counter(), chip.key(), chip.epoch()), (2, Some([3; 32]), 7));
}

#[test]
fn s3_1_2_refuses_old_copies_of_chip_and_seal_together_and_alone() {
    let mut bench = Bench::new();
    bench.power_on().write(0, &[[1; BLOCK_BYTES]], 1).unwrap();
    let (chip, seal) = bench.copies();
    bench.power_on().write(0, &[[2; BLOCK_BYTES]], 2).unwrap();
    let (new_chip, new_seal) = bench.copies();

    bench.memory.put_back(chip.clone());
    refused(bench.try_open(), "old copy");
    std::fs::write(bench.path(), &seal).unwrap();
    refused(bench.try_open(), "old copy");
    bench.memory.put_back(new_chip);
    refused(bench.try_open(), "old copy");
    std::fs::write(bench.path(), &new_seal).unwrap();
    bench.power_on();
    // The copy has the same blocks as the chip had when it was put back: still another epoch.
    bench.memory.put_back(chip);
    refused(bench.try_open(), "old copy");
}

#[test]
fn s3_1_2_refuses_an_edited_chip_and_a_damaged_seal() {
    let mut bench = Bench::new();
    let mut chip = bench.power_on();
    chip.program_key(&[3; 32]).unwrap();
    chip.write(1, &[[1; BLOCK_BYTES], [2; BLOCK_BYTES]], 1).unwrap();
    let good = bench.memory.copied();
    let edits: [&dyn Fn(&mut MemoryStore); 4] = [
        &|chip| chip.write(9, &[[9; BLOCK_BYTES]], 1).unwrap(),
        &|chip| chip.write(1, &[[2; BLOCK_BYTES], [1; BLOCK_BYTES]], 1).unwrap(),
        &|chip| chip.write(1, &[[1; BLOCK_BYTES]], 0).unwrap(),
        &|chip| chip.configure(true, 1).unwrap(),
    ];
    for edit in edits {
        let mut edited = good.clone();
        edit(&mut edited);
        bench.memory.put_back(edited);
        refused(bench.try_open(), "altered");
    }
    bench.memory.put_back(good);
    let other = SealedChip::open(bench.memory.clone(), &bench.path(), &[8; 32], bench.counter);
    refused(other, "another board's");
    let seal = std::fs::read(bench.path()).unwrap();
    for length in [0, 1, SLOT_BYTES - 1] {
        std::fs::write(bench.path(), vec![0; length]).unwrap();
        refused(bench.try_open(), "damaged");
    }
    std::fs::write(bench.path(), &seal).unwrap();
    bench.power_on();
}

#[test]
fn s3_1_2_no_damage_takes_the_last_write_back() {
    let mut bench = Bench::new();
    let mut chip = bench.power_on();
    chip.write(0, &[[1; BLOCK_BYTES]], 1).unwrap();
    let before = bench.memory.copied();
    chip.write(0, &[[2; BLOCK_BYTES]], 2).unwrap();
    let (after, seal) = bench.copies();
    for damaged in [vec![], vec![0], vec![1], vec![0, 1]] {
        let mut torn = seal.clone();
        for slot in &damaged {
            torn[SLOT_AT[*slot] as usize + 20] ^= 1;
        }
        bench.memory.put_back(before.clone());
        std::fs::write(bench.path(), &torn).unwrap();
        refused(bench.try_open(), if damaged.len() == 2 { "damaged" } else { "altered" });
        // One slot that a power cut tore is no harm to the chip as it is.
        bench.memory.put_back(after.clone());
        std::fs::write(bench.path(), &torn).unwrap();
        assert_eq!(bench.try_open().is_ok(), damaged.len() < 2);
    }
}

#[test]
fn power_may_go_between_any_two_writes() {
    // A write that was announced and not done; and done, but not confirmed.
    let mut bench = Bench::new();
    let mut chip = bench.power_on();
    chip.write(0, &[[1; BLOCK_BYTES]], 1).unwrap();
    bench.memory.1.set(true);
    assert!(chip.write(0, &[[2; BLOCK_BYTES]], 2).is_err());
    bench.memory.1.set(false);
    assert!(chip.write(0, &[[2; BLOCK_BYTES]], 2).is_err(), "nobody knows what it holds");
    let announced = std::fs::read(bench.path()).unwrap();
    let before = bench.memory.copied();
    assert_eq!(bench.power_on().counter(), 1);
    bench.memory.put_back(before);
    bench.memory.0.borrow_mut().write(0, &[[2; BLOCK_BYTES]], 2).unwrap();
    bench.counter -= 1;
    std::fs::write(bench.path(), announced).unwrap();
    assert_eq!(bench.power_on().counter(), 2);

    // Power-ons that are cut off before the counter rises: each is an epoch of its own.
    let first = bench.try_open().unwrap().epoch();
    let cut_off = bench.copies();
    let second = bench.try_open().unwrap().epoch();
    assert_eq!((first, second), (bench.counter + 1, bench.counter + 2));
    bench.counter = second;
    bench.power_on();
    // What was copied between the two is old by now.
    bench.memory.put_back(cut_off.0);
    std::fs::write(bench.path(), cut_off.1).unwrap();
    refused(bench.try_open(), "old copy");
}

#[test]
fn a_slot_is_told_by_its_mac_alone() {
    let key = HmacSha256::new(&KEY);
    let slot = Slot { epoch: 1, sequence: 2, before: [3; 32], after: [4; 32] };
    let bytes: [u8; SLOT_BYTES] = slot.encode(&key).try_into().unwrap();
    assert!(Slot::decode(&bytes, &key).is_some());
    for bit in 0..SLOT_BYTES * 8 {
        let mut bad = bytes;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Slot::decode(&bad, &key).is_none(), "{bit}");
    }
}
