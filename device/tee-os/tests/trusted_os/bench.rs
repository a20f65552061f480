//! Not a test by itself: what `cargo xtask bench sfs` starts, to measure the whole way of an
//! object into the system's files, on the disk that it names.

use crate::device::{Device, Maker, TestBoard};
use crate::files::{keep, put};
use crate::probe::{Change, Command, Probe, Reply};
use rpmb_chip::FileStore;
use std::path::Path;
use std::time::Instant;

/// Folder, commits and objects a commit, a line each.
const WORK: &str = "HOLDFAST_BENCH_SFS";

#[test]
fn durable_objects() {
    let Ok(work) = std::env::var(WORK) else { return };
    let mut work = work.lines();
    let folder = Path::new(work.next().unwrap());
    let [commits, group] = [0; 2].map(|_| work.next().unwrap().parse::<u32>().unwrap());
    let board = TestBoard::new(Maker::new());
    board.solder(FileStore::create(&folder.join("rpmb.bin"), 16_384).unwrap());
    let device = Device::power_on(board).unwrap();
    keep(&device, &folder.join("tee"));
    let probe = device.tee().session::<Probe>().unwrap();
    let commit = |at: u32| {
        let object = |n: u32| {
            put(&format!("object {}", (at * group + n) % 256), &crypto::random_array::<4096>())
        };
        let changes: Vec<Change> = (0..group).map(object).collect();
        assert_eq!(probe.call(Command::Change(changes)), Ok(Reply::Done));
    };
    (0..256 / group).for_each(commit);
    let start = Instant::now();
    (0..commits).for_each(commit);
    println!("seconds {}", start.elapsed().as_secs_f64());
}
