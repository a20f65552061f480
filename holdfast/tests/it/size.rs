//! Speed and size: what the README promises, measured on running processes.

use crate::run::{Told, Up, state, up};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CLOUD: &str = "holdfast-cloud";
const KEYCENTER: &str = "holdfast-keycen";
const STORY: &str = "holdfast";

/// One process of the story.
#[derive(Debug, Clone, Default)]
struct Process {
    /// Its name, which the kernel cuts to 15 characters.
    name: String,
    /// Pages that it alone has and its share of the others, KiB.
    memory_kib: u64,
    /// The most that it ever had resident, KiB.
    peak_kib: u64,
    /// How often each of its threads went to sleep by itself.
    sleeps: HashMap<u32, u64>,
}

impl Process {
    /// How often its threads went to sleep since it was as in `before`.
    fn slept_since(&self, before: Option<&Self>) -> u64 {
        let earlier = |thread| before.and_then(|it| it.sleeps.get(thread)).copied().unwrap_or(0);
        self.sleeps.iter().map(|(thread, sleeps)| sleeps - earlier(thread)).sum()
    }
}

/// The value of `field` in a file of `/proc`, in its unit.
fn field(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn process(pid: u32) -> Option<Process> {
    let folder = format!("/proc/{pid}");
    let status = fs::read_to_string(format!("{folder}/status")).ok()?;
    let memory = fs::read_to_string(format!("{folder}/smaps_rollup")).unwrap_or_default();
    let threads = fs::read_dir(format!("{folder}/task")).ok()?.flatten();
    let sleeps = threads.filter_map(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        let number = thread.file_name().to_str()?.parse().ok()?;
        Some((number, field(&status, "voluntary_ctxt_switches")))
    });
    Some(Process {
        name: status.lines().next()?.split_once('\t')?.1.to_owned(),
        memory_kib: field(&memory, "Pss"),
        peak_kib: field(&status, "VmHWM"),
        sleeps: sleeps.collect(),
    })
}

/// `root` and everything that it started.
fn tree(root: u32) -> HashMap<u32, Process> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        children.entry(field(&status, "PPid") as u32).or_default().push(pid);
    }
    let (mut found, mut open) = (HashMap::new(), vec![root]);
    while let Some(pid) = open.pop() {
        open.extend(children.get(&pid).into_iter().flatten());
        found.extend(process(pid).map(|process| (pid, process)));
    }
    found
}

/// MiB of all processes that `which` takes.
fn memory_mib(processes: &HashMap<u32, Process>, which: impl Fn(&str) -> bool) -> u64 {
    let taken = processes.values().filter(|process| which(&process.name));
    taken.map(|process| process.memory_kib).sum::<u64>() / 1024
}

/// Waits until nothing has run for a second, or a quarter of a minute.
fn settle(root: u32) -> HashMap<u32, Process> {
    let start = Instant::now();
    let mut before = tree(root);
    while start.elapsed() < Duration::from_secs(15) {
        std::thread::sleep(Duration::from_secs(1));
        let now = tree(root);
        if now.iter().all(|(pid, process)| process.slept_since(before.get(pid)) == 0) {
            return now;
        }
        before = now;
    }
    before
}

#[test]
fn an_idle_device_and_its_cloud_are_small_and_sleep() {
    let state = state();
    let mut up = Up::start(state.path(), &[]);
    up.ready();
    let root = u32::try_from(up.pid()).unwrap();
    let before = settle(root);
    let device = |name: &str| ![CLOUD, KEYCENTER, STORY].contains(&name);
    assert!(before.values().any(|it| it.name == CLOUD), "{before:#?}");
    assert!(before.values().any(|it| it.name == KEYCENTER), "{before:#?}");
    assert!(before.values().filter(|it| device(&it.name)).count() >= 7, "{before:#?}");
    assert!(memory_mib(&before, |name| name == CLOUD) < 65, "{before:#?}");
    assert!(memory_mib(&before, |name| name == KEYCENTER) < 35, "{before:#?}");
    assert!(memory_mib(&before, device) < 60, "{before:#?}");

    std::thread::sleep(Duration::from_secs(5));
    let after = tree(root);
    for (pid, process) in &after {
        let woke = process.slept_since(before.get(pid));
        // Once a second for a keep-alive would be a lot already.
        assert!(woke <= 10, "{} woke {woke} times in 5 s", process.name);
    }
}

/// A story that is told while `watch` looks at its processes.
fn watched(state: &Path, folder: &Path) -> (Told, HashMap<u32, Process>) {
    let folder = folder.to_str().expect("a name in ASCII");
    let child = up(state, &["--once", "--folder", folder])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("holdfast runs");
    let (root, done) = (child.id(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut peaks: HashMap<u32, Process> = HashMap::new();
            while !done.load(Ordering::Relaxed) {
                peaks.extend(tree(root));
                std::thread::sleep(Duration::from_millis(100));
            }
            peaks
        });
        let output = child.wait_with_output().expect("it can be waited for");
        done.store(true, Ordering::Relaxed);
        (Told::from(&output), watching.join().expect("the watch does not panic"))
    })
}

/// 320 MiB in two large files and 4,000 small ones: more than any process may have.
fn make_folder(folder: &Path) {
    // Multiples of an odd number: cheap, and no two blocks are the same.
    let mut next = 0_u64;
    let mut bytes = |length: usize| -> Vec<u8> {
        let words = (0..length.div_ceil(8)).flat_map(|_| {
            next = next.wrapping_add(0x9e37_79b9_7f4a_7c15);
            next.to_le_bytes()
        });
        words.take(length).collect()
    };
    for name in ["one", "two"] {
        fs::write(folder.join(name), bytes(150 << 20)).unwrap();
    }
    for number in 0..4000 {
        let sub = folder.join(format!("small {:02}", number / 100));
        fs::create_dir_all(&sub).unwrap();
        fs::write(sub.join(format!("{number}")), bytes(1 + number * 2)).unwrap();
    }
}

#[test]
fn no_process_outgrows_200_mib_on_a_folder_that_does_and_the_boot_takes_under_a_second() {
    let (state, folder) = (state(), tempfile::tempdir().unwrap());
    make_folder(folder.path());
    let (told, processes) = watched(state.path(), folder.path());
    assert_eq!(told.code, Some(0), "{told}");
    assert_eq!(told.held("restore")["evidence"]["compared"], "identical");
    assert!(told.held("sync.upload")["evidence"]["bytes"].as_u64() > Some(300 << 20), "{told}");
    assert!(processes.len() > 20, "the watch saw {} processes", processes.len());
    for process in processes.values() {
        assert!(process.peak_kib < 200 << 10, "{process:?}");
    }

    let boots = told.steps("boot.system").len();
    let stages = ["bl1", "tee", "bl2", "baseband", "kernel", "system"];
    let chain = |boot: usize| -> f64 {
        let ms = |stage: &&str| told.steps(&format!("boot.{stage}"))[boot]["ms"].as_f64().unwrap();
        stages.iter().map(ms).sum()
    };
    // The best of them: other work on this machine is not the chain's.
    let best = (0..boots).map(chain).fold(f64::INFINITY, f64::min);
    assert!(best < 1000.0, "the quickest of {boots} boots took {best} ms");
}
