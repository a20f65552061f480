//! Killed at any instant, on a full disk, with an altered database.

use super::soft_keymint::SoftKeyMint;
use super::{Bench, NOW, alias, open, sign, signing, system, user, verifies};
use effects::{ManualClock, UnixMillis};
use keystore_client::KeystoreCode;
use keystore_client::api::NewKey;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Says to the test binary that it is the one to be killed, and where it works.
const VICTIM: &str = "KEYSTORE_TEST_VICTIM";

/// What is killed: makes and deletes keys, and says which, once that was acknowledged.
#[test]
fn makes_and_deletes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(VICTIM) else { return };
    let clock = Arc::new(ManualClock::new(UnixMillis(NOW)));
    let keystore = open(Path::new(&folder), &Arc::new(SoftKeyMint::new()), &clock).unwrap();
    let start = keystore.list(&user(1), "", "", 1000).unwrap().keys.len();
    for number in start.. {
        let name = format!("{}-{number:05}", std::process::id());
        keystore.generate(&user(1), NewKey::new(&name, signing())).unwrap();
        println!("made {name}");
        if number % 4 == 3 {
            keystore.delete(&user(1), &alias(&name)).unwrap();
            println!("gone {name}");
        }
    }
}

#[test]
fn s3_2_killed_while_it_makes_keys_each_is_there_with_its_blob_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (mut made, mut gone) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::crash::makes_and_deletes_until_it_is_killed", "--nocapture"])
            .env(VICTIM, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for (count, line) in lines.map_while(Result::ok).enumerate() {
            let words: Vec<_> = line.split_whitespace().collect();
            match words.iter().rev().take(2).collect::<Vec<_>>()[..] {
                [name, &"made"] => made.push((*name).to_owned()),
                [name, &"gone"] => gone.push((*name).to_owned()),
                _ => {}
            }
            if count > 10 + 7 * round {
                // What was said before it died is read to the end all the same.
                let _ = child.kill();
            }
        }
        child.wait().unwrap();
    }
    assert!(made.len() > 60 && !gone.is_empty(), "{} made", made.len());

    let clock = Arc::new(ManualClock::new(UnixMillis(NOW)));
    let keystore = open(folder.path(), &Arc::new(SoftKeyMint::new()), &clock).unwrap();
    let listed = keystore.list(&user(1), "", "", 1000).unwrap().keys;
    assert!(listed.iter().all(|entry| entry.has_key));
    for name in &made {
        let there = listed.iter().any(|entry| entry.alias == *name);
        // The last one of a round may have been on its way out.
        assert!(
            there || gone.contains(name) || name[name.len() - 1..].parse::<u32>().unwrap() % 2 == 1
        );
        assert!(!there || !gone.contains(name), "{name} came back");
    }
    for entry in &listed {
        let key = alias(&entry.alias);
        let info = keystore.show(&user(1), &key).unwrap();
        assert!(verifies(&info, &sign(&keystore, &user(1), &key).unwrap()));
    }
    let page = keystore.audit(&system(), 0, 1000).unwrap();
    assert!(page.intact && page.lines.len() >= made.len() + gone.len());
}

#[test]
fn on_a_full_disk_nothing_changes_and_afterwards_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let flags = rustix::mount::MountFlags::empty();
    let mounted = rustix::mount::mount("none", folder.path(), "tmpfs", flags, Some(c"size=512k"));
    if let Err(error) = mounted {
        println!("no small disk to fill: mounting needs root ({error})");
        return;
    }
    let me = user(1);
    let bench = Bench::at(folder);
    bench.generate(&me, "first");
    let mut count = 0;
    let refused = loop {
        match bench.keystore.generate(&me, NewKey::new(format!("more {count}"), signing())) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(refused.is(KeystoreCode::OutOfSpace), "{refused:?}");
    assert_eq!(bench.tee.deleted(), 1, "what can't be kept is deleted in the TEE");
    // A line is shorter than a key: what is left takes some.
    let used = (0..10_000).find_map(|_| bench.sign(&me, &alias("first")).err()).unwrap();
    assert!(used.is(KeystoreCode::OutOfSpace), "no use without its line");
    assert_eq!(bench.tee.operations(), 0);
    assert_eq!(bench.keystore.list(&me, "", "", 1000).unwrap().keys.len(), count + 1);

    let path = bench.folder.path().to_owned();
    let bigger = rustix::mount::MountFlags::empty();
    rustix::mount::mount_remount(&path, bigger, c"size=4m").unwrap();
    bench.generate(&me, "after");
    bench.sign(&me, &alias("first")).unwrap();
    bench.audit_lines();
    drop(bench.keystore);
    rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).unwrap();
}

#[test]
fn an_altered_log_and_a_database_that_is_none_are_noticed() {
    let bench = Bench::new();
    let me = user(1);
    bench.generate(&me, "key");
    for _ in 0..3 {
        bench.sign(&me, &alias("key")).unwrap();
    }
    bench.audit_lines();
    for sql in [
        "UPDATE audit SET line = replace(line, 'use', 'xxx') WHERE number = 2",
        "UPDATE audit SET number = 40 WHERE number = 4",
        "DELETE FROM audit WHERE number = 3",
    ] {
        bench
            .keystore
            .db
            .write(move |on| on.run(async |db| Ok(sqlx::query(sql).execute(db).await.map(drop)?)))
            .unwrap();
        assert!(!bench.keystore.audit(&system(), 0, 100).unwrap().intact, "{sql}");
    }
    let path = bench.folder.path().join("keystore.db");
    let (folder, tee, clock) = (bench.folder, bench.tee.clone(), bench.clock.clone());
    drop(bench.keystore);
    for name in ["keystore.db-wal", "keystore.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(name));
    }
    std::fs::write(&path, vec![0x55; 8192]).unwrap();
    let refused = open(folder.path(), &tee, &clock).unwrap_err();
    assert!(refused.is(KeystoreCode::ValueCorrupted), "{refused:?}");
}
