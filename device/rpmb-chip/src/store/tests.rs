//! What the file holds, and what a power cut leaves of it.

use super::*;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

const NEW: Block = [2; BLOCK_BYTES];
const BLOCKS: u32 = 64;

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rpmb.bin");
    (folder, path)
}

#[test]
fn keeps_key_counter_and_blocks() {
    let (_folder, path) = place();
    let mut store = FileStore::create(&path, BLOCKS).unwrap();
    store.program_key(&[5; 32]).unwrap();
    store.write(3, &[[1; BLOCK_BYTES], NEW], 1).unwrap();
    drop(store);
    let store = FileStore::open(&path).unwrap();
    assert_eq!((store.key(), store.counter()), (Some([5; 32]), 1));
    assert_eq!(store.read(3, 2).unwrap(), [[1; BLOCK_BYTES], NEW]);
    assert!(FileStore::create(&path, BLOCKS).is_err());
}

#[test]
fn keeps_the_configuration_with_the_counter() {
    let (_folder, path) = place();
    let mut store = FileStore::create(&path, BLOCKS).unwrap();
    assert!(!store.secure_wp_mode_enable());
    store.configure(true, 1).unwrap();
    drop(store);
    let store = FileStore::open(&path).unwrap();
    assert_eq!((store.secure_wp_mode_enable(), store.counter()), (true, 1));
}

#[test]
fn one_program_at_a_time_has_the_chip() {
    let (_folder, path) = place();
    let store = FileStore::create(&path, BLOCKS).unwrap();
    let busy = FileStore::open(&path).err().map(|error| error.kind());
    assert_eq!(busy, Some(io::ErrorKind::ResourceBusy));
    drop(store);
    FileStore::open(&path).unwrap();
}

#[test]
fn sizes_that_no_chip_has_are_refused() {
    let (_folder, path) = place();
    for blocks in [0, MAX_BLOCKS + 1] {
        assert!(FileStore::create(&path, blocks).is_err());
    }
    drop(FileStore::create(&path, MAX_BLOCKS).unwrap());
    assert_eq!(FileStore::open(&path).unwrap().blocks(), MAX_BLOCKS);
    for length in [0, BLOCKS_AT, BLOCKS_AT + 1, file_bytes(MAX_BLOCKS) + BLOCK_BYTES as u64] {
        fs::write(&path, vec![0; length as usize]).unwrap();
        assert!(FileStore::open(&path).is_err(), "{length} bytes");
    }
}

/// A medium in memory that remembers what was written between barriers.
#[derive(Clone, Default)]
struct Traced(Rc<RefCell<Trace>>);

#[derive(Default)]
struct Trace {
    bytes: Vec<u8>,
    /// Writes since the last barrier, and all barriers before.
    intervals: Vec<Vec<(u64, Vec<u8>)>>,
}

impl Traced {
    fn of(bytes: Vec<u8>) -> Self {
        Self(Rc::new(RefCell::new(Trace { bytes, intervals: vec![Vec::new()] })))
    }
}

impl Medium for Traced {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let at = offset as usize;
        bytes.copy_from_slice(&self.0.borrow().bytes[at..at + bytes.len()]);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let trace = &mut *self.0.borrow_mut();
        let at = offset as usize;
        trace.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        trace.intervals.last_mut().unwrap().push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.borrow_mut().intervals.push(Vec::new());
        Ok(())
    }
}

/// How far one write got: nothing of it, all, or part, from either end.
fn parts(write: &(u64, Vec<u8>)) -> Vec<(u64, Vec<u8>)> {
    let (at, bytes) = write;
    let mut parts = vec![(*at, Vec::new()), (*at, bytes.clone())];
    let step = (bytes.len() / 9).max(1);
    for cut in (1..bytes.len().min(40)).chain((40..bytes.len()).step_by(step)) {
        parts.push((*at, bytes[..cut].to_vec()));
        parts.push((at + cut as u64, bytes[cut..].to_vec()));
    }
    parts
}

/// Calls `check` with what each power cut inside `writes`, which no barrier parts, can leave.
fn each_cut(disk: &[u8], writes: &[(u64, Vec<u8>)], check: &mut dyn FnMut(Vec<u8>)) {
    match writes.split_first() {
        None => check(disk.to_vec()),
        Some((write, rest)) => {
            for (at, bytes) in parts(write) {
                let mut disk = disk.to_vec();
                disk[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
                each_cut(&disk, rest, check);
            }
        }
    }
}

const fn block(byte: u8) -> Block {
    [byte; BLOCK_BYTES]
}

/// What a chip holds that counts: its counter, its configuration, the blocks that are written.
type Content = (u32, bool, Vec<Block>);

fn content<M: Medium>(store: &FileStore<M>) -> Content {
    (store.counter(), store.secure_wp_mode_enable(), store.read(8, 4).unwrap())
}

#[test]
fn a_power_cut_leaves_the_content_before_a_write_or_after_it() {
    let small = 12;
    let mut store =
        FileStore::format(Traced::of(vec![0; file_bytes(small) as usize]), small).unwrap();
    store.program_key(&[5; 32]).unwrap();
    let trace = store.medium.clone();
    trace.0.borrow_mut().intervals = vec![Vec::new()];
    let start = trace.0.borrow().bytes.clone();
    // After each write: the barriers so far, and what counts then.
    let mut stages = vec![(0, content(&store))];
    let mut note = |store: &FileStore<Traced>| {
        stages.push((trace.0.borrow().intervals.len() - 1, content(store)));
    };
    for (counter, (first, blocks)) in
        [(9, vec![block(1)]), (8, vec![block(2); 3]), (9, vec![block(3)]), (8, vec![block(4); 4])]
            .into_iter()
            .enumerate()
    {
        store.write(first, &blocks, counter as u32 + 1).unwrap();
        note(&store);
    }
    store.configure(true, 5).unwrap();
    note(&store);
    store.write(10, &[block(6)], 6).unwrap();
    note(&store);
    store.write(8, &[block(7); 2], 7).unwrap();
    note(&store);

    let mut disk = start;
    let (mut cuts, mut outcomes) = (0, BTreeSet::new());
    for (barriers, writes) in trace.0.borrow().intervals.iter().enumerate() {
        // Durable is what was finished behind the barriers so far; the next may be, too.
        let done = stages.iter().rposition(|(at, _)| *at <= barriers).unwrap();
        let allowed = &stages[done..stages.len().min(done + 2)];
        each_cut(&disk, writes, &mut |left| {
            cuts += 1;
            let bytes = left.len() as u64;
            let store = FileStore::recover(Traced::of(left), bytes).unwrap();
            let found = content(&store);
            assert!(allowed.iter().any(|(_, it)| *it == found), "barrier {barriers}: {}", found.0);
            outcomes.insert(found.0);
            // What was recovered survives the next cut as well.
            let again = store.medium.0.borrow().bytes.clone();
            let again = FileStore::recover(Traced::of(again), bytes).unwrap();
            assert_eq!(content(&again), found);
        });
        for (at, bytes) in writes {
            disk[*at as usize..*at as usize + bytes.len()].copy_from_slice(bytes);
        }
    }
    assert!(cuts > 1000 && outcomes.len() == 8, "{cuts} cuts, {outcomes:?}");
}

#[test]
fn a_write_waits_for_the_disk_once() {
    let small = 12;
    let mut store =
        FileStore::format(Traced::of(vec![0; file_bytes(small) as usize]), small).unwrap();
    let barriers = |store: &FileStore<Traced>| store.medium.0.borrow().intervals.len();
    for counter in 1..5 {
        let before = barriers(&store);
        store.write(8, &[block(1)], counter).unwrap();
        assert_eq!(barriers(&store) - before, 1);
    }
}
