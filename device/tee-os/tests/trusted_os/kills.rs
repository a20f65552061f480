//! `kill -9` at random moments of a storage workload: of the trusted OS, of the TA, of the
//! program that keeps the files. What was acknowledged is there afterwards; what was under way
//! is there wholly or not at all.

use crate::device::Device;
use crate::files::put;
use crate::probe::{Change, Command, Probe, Reply};
use crate::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;
use tee_client::{Tee, TeeError};

const KILLS: u32 = 200;
const KEEPER: &str = "HOLDFAST_TEST_KEEPER";

type Objects = BTreeMap<String, Vec<u8>>;

/// What the outside knows.
#[derive(Default)]
struct Known {
    /// What must be there.
    acknowledged: Objects,
    /// What may be there instead: an answer did not come.
    under_way: Option<Objects>,
    commits: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    TrustedOs,
    Ta,
    Keeper,
}

#[test]
fn s3_1_2_two_hundred_kills_lose_no_acknowledged_object_and_leave_no_half_one() {
    let Some(mut device) = Device::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = start_keeper(&device, folder.path());
    let mut known = Known::default();
    let mut kills = BTreeMap::<Victim, u32>::new();
    // How many processes of the TA this trusted OS has started.
    let mut started = 1;
    for _ in 0..KILLS {
        let [dice, wait] = crypto::random_array::<2>();
        let victim = [Victim::TrustedOs, Victim::Ta, Victim::Keeper][usize::from(dice) % 3];
        *kills.entry(victim).or_default() += 1;
        let ta = *device.log.processes("ta-probe", started).last().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let work = std::thread::spawn({
            let (tee, stop) = (device.tee(), stop.clone());
            move || work(&tee, known, &stop)
        });
        std::thread::sleep(Duration::from_micros(u64::from(wait) * 150));
        match victim {
            Victim::TrustedOs => {
                let board = device.kill();
                known = finish(work, &stop);
                drop(keeper);
                device = Device::power_on(board).unwrap();
                keeper = start_keeper(&device, folder.path());
                started = 1;
            }
            Victim::Ta => {
                kill_process(Pid::from_raw(ta).unwrap(), Signal::KILL).unwrap();
                known = finish(work, &stop);
                started += 1;
            }
            Victim::Keeper => {
                drop(keeper);
                known = finish(work, &stop);
                keeper = start_keeper(&device, folder.path());
            }
        }
        compare(&device, &mut known, victim);
    }
    drop(keeper);
    eprintln!("{kills:?}, {} commits, {} objects", known.commits, known.acknowledged.len());
    assert_eq!(kills.len(), 3);
    assert!(known.commits > KILLS / 2, "{} commits", known.commits);
}

fn finish(work: JoinHandle<Known>, stop: &AtomicBool) -> Known {
    stop.store(true, SeqCst);
    work.join().unwrap()
}

/// Changes objects, one commit after the other, until something fails.
fn work(tee: &Tee, mut known: Known, stop: &AtomicBool) -> Known {
    let Ok(probe) = tee.session::<Probe>() else { return known };
    while !stop.load(SeqCst) {
        let changes = next_changes(&known.acknowledged);
        let next = changed(known.acknowledged.clone(), &changes);
        match probe.call(Command::Change(changes)) {
            Ok(_) => {
                known.acknowledged = next;
                known.commits += 1;
            }
            Err(TeeError::TargetDead | TeeError::Communication(_)) => {
                known.under_way = Some(next);
                return known;
            }
            Err(other) => panic!("{other}"),
        }
    }
    known
}

/// Some changes that hold for `objects`, at random.
fn next_changes(objects: &Objects) -> Vec<Change> {
    let [count, ..] = crypto::random_array::<1>();
    let mut objects = objects.clone();
    let mut changes = Vec::new();
    for _ in 0..=count % 3 {
        let [kind, name, other, size, seed] = crypto::random_array::<5>();
        let [name, other] = [name, other].map(|it| format!("object {}", it % 12));
        let content = vec![seed; usize::from(size) * 70];
        let change = match objects.get(&name) {
            Some(old) if kind < 80 => {
                let at = old.len() as u32 / 2;
                Change::Write(name, at, ByteBuf::from(content))
            }
            Some(_) if kind < 120 => Change::Rename(name, other),
            Some(old) if kind < 140 => Change::Truncate(name, old.len() as u32 / 2),
            Some(_) if kind < 160 => Change::Delete(name),
            _ => put(&name, &content),
        };
        objects = changed(objects, std::slice::from_ref(&change));
        changes.push(change);
    }
    changes
}

/// What `changes` make of `objects`.
fn changed(mut objects: Objects, changes: &[Change]) -> Objects {
    for change in changes.iter().cloned() {
        match change {
            Change::Put(name, content) => {
                objects.insert(name, content.into_vec());
            }
            Change::Write(name, offset, content) => {
                let old = objects.get_mut(&name).unwrap();
                let range = offset as usize..offset as usize + content.len();
                old.resize(old.len().max(range.end), 0);
                old[range].copy_from_slice(&content);
            }
            Change::Truncate(name, size) => {
                objects.get_mut(&name).unwrap().truncate(size as usize);
            }
            Change::Delete(name) => {
                objects.remove(&name);
            }
            Change::Rename(from, to) => {
                let content = objects.remove(&from).unwrap();
                objects.insert(to, content);
            }
        }
    }
    objects
}

/// All that is there must be what was acknowledged, or that and what was under way.
fn compare(device: &Device, known: &mut Known, victim: Victim) {
    let mut found = Objects::new();
    wait_until("storage is back", || match read_all(device) {
        Ok(objects) => {
            found = objects;
            true
        }
        Err(TeeError::Communication(_) | TeeError::TargetDead) => false,
        Err(other) => panic!("after a kill of {victim:?}: {other}"),
    });
    let holds = found == known.acknowledged || Some(&found) == known.under_way.as_ref();
    assert!(holds, "after a kill of {victim:?} something else is there");
    known.acknowledged = found;
    known.under_way = None;
}

fn read_all(device: &Device) -> Result<Objects, TeeError> {
    let probe = device.tee().session::<Probe>()?;
    let Reply::Names(names) = probe.call(Command::List(None))? else { panic!("names are due") };
    let mut objects = Objects::new();
    for name in names {
        let Reply::Bytes(content) = probe.call(Command::Read(name.clone()))? else {
            panic!("bytes are due");
        };
        objects.insert(name, content.into_vec());
    }
    Ok(objects)
}

/// This program once more, as the one that keeps the files.
fn start_keeper(device: &Device, folder: &Path) -> Running {
    let places = [&*device.socket(), folder].map(|it| it.to_str().unwrap().to_owned());
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kills::keeper", "--nocapture"])
        .env(KEEPER, places.join("\n"))
        .stdout(Stdio::null())
        .spawn()
        .map(Running)
        .unwrap()
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Not a test by itself: what `start_keeper` starts.
#[test]
fn keeper() {
    let Ok(places) = std::env::var(KEEPER) else { return };
    let (socket, folder) = places.split_once('\n').unwrap();
    let kept = tee_client::keeper::keep(Path::new(socket), Path::new(folder));
    panic!("it ended: {kept:?}");
}
