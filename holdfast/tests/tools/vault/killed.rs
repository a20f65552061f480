//! The service is killed at any moment.

use super::{Vault, read};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

const BLOCK: usize = 4096;

/// Writers overwrite, append, make, rename and sync files; the service is killed; what was synced
/// is there, and nothing reads as anything that was never written.
#[test]
fn what_was_synced_is_there_after_a_kill_and_nothing_is_torn() {
    let Some(vault) = Vault::mounted() else { return };
    for round in 0..8_u64 {
        let synced = write_until_killed(&vault, round);
        vault.unlock();
        for (writer, synced) in (0_u8..).zip(synced) {
            verify(&vault, round, writer, synced);
        }
        // Nothing of it hinders the next.
        fs::write(vault.file("after"), [round as u8; 9000]).unwrap();
        vault.lock();
        assert_eq!(vault.says(&["check"])["problems"].as_array().unwrap().len(), 0);
        vault.unlock();
        assert_eq!(read(&vault.file("after")), Ok(vec![round as u8; 9000]));
    }
}

fn name(round: u64, writer: u8) -> String {
    format!("file {round} {writer}")
}

/// Each writer fills its file with blocks of the number of its step, over and over, and syncs.
/// What comes back is the last step that was synced.
fn write_until_killed(vault: &Vault, round: u64) -> Vec<u64> {
    let steps: [AtomicU64; 2] = Default::default();
    std::thread::scope(|scope| {
        for (writer, step) in (0_u8..).zip(&steps) {
            let path = vault.file(&name(round, writer));
            scope.spawn(move || {
                let Ok(file) = File::create(&path) else { return };
                for number in 1..=u64::from(u8::MAX) {
                    let blocks = 1 + (number as usize * 37 + usize::from(writer)) % 150;
                    let content = vec![number as u8; blocks * BLOCK];
                    let done = file.write_all_at(&content, 0).and_then(|()| file.sync_data());
                    if done.is_err() {
                        return;
                    }
                    step.store(number, Ordering::Release);
                }
            });
        }
        // Later in each round, and in the middle of whatever is done then.
        let enough = |step: &AtomicU64| step.load(Ordering::Acquire) > 3 + round * 3;
        while !steps.iter().all(enough) {
            std::thread::yield_now();
        }
        vault.kill();
    });
    steps.iter().map(|step| step.load(Ordering::Acquire)).collect()
}

/// Each block is of one step, no older than what was synced over it.
fn verify(vault: &Vault, round: u64, writer: u8, synced: u64) {
    let content = read(&vault.file(&name(round, writer))).expect("it reads");
    let covered = 1 + (synced as usize * 37 + usize::from(writer)) % 150;
    assert!(content.len() >= covered * BLOCK, "{} of {covered} blocks", content.len() / BLOCK);
    for (number, block) in content.chunks(BLOCK).enumerate() {
        assert!(block.iter().all(|byte| *byte == block[0]), "block {number} is torn");
        let newest = u64::from(block[0]);
        assert!(newest <= synced + 1 && newest > 0, "block {number} is of step {newest}");
        if number < covered {
            assert!(newest >= synced, "block {number}: {newest}, and {synced} was synced");
        }
    }
}

#[test]
fn names_that_were_being_made_are_whole_or_not_there() {
    let Some(vault) = Vault::mounted() else { return };
    let long = "n".repeat(240);
    let made = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0_u64.. {
                let path = vault.file(&format!("{number} {long}"));
                let linked = vault.file(&format!("l{number}"));
                let done = fs::create_dir(&path)
                    .and_then(|()| fs::write(path.join("file"), "text"))
                    .and_then(|()| std::os::unix::fs::symlink(&path, &linked))
                    .and_then(|()| fs::rename(linked, vault.file(&format!("r{number}"))));
                if done.is_err() {
                    return;
                }
                made.store(number, Ordering::Release);
            }
        });
        while made.load(Ordering::Acquire) < 100 {
            std::thread::yield_now();
        }
        vault.kill();
    });
    let checked = vault.says(&["check"]);
    assert!(checked["directories"].as_u64().unwrap() > 100);
    vault.unlock();
    assert_eq!(fs::read_dir(vault.path().join("new")).unwrap().count(), 0);
    for number in 0..made.into_inner() {
        let path = vault.file(&format!("{number} {long}"));
        assert!(path.is_dir() && vault.file(&format!("r{number}")).is_symlink());
        // A file that nobody synced may be empty, and is never anything else.
        let text = read(&path.join("file")).expect("it reads");
        assert!(text.is_empty() || text == b"text");
    }
}
