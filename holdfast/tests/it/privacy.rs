//! What a run leaves behind and shows to other users of the machine: no secret, nothing personal,
//! nothing that others can read or reach.

use crate::run::{Up, processes_of, state};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

#[test]
fn nothing_personal_shows_and_nothing_listens_to_others() {
    let state = state();
    let mut up = Up::start(state.path(), &[]);
    let ready = up.ready();
    let owner = fs::read(ready["credentials"].as_str().unwrap()).unwrap();
    let owner: Value = serde_json::from_slice(&owner).unwrap();
    let said = |key: &str| owner[key].as_str().unwrap().to_owned();
    let personal = [said("phone"), said("email"), said("password")];

    let pids = processes_of(state.path());
    assert!(pids.len() >= 4, "{pids:?}");
    for pid in &pids {
        for file in ["cmdline", "environ"] {
            let shown = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            names_nothing(&shown, &personal, &format!("{file} of process {pid}"));
            // Six digits may stand in a file by chance; in a command line they do not.
            names_nothing(&shown, &[said("pin")], &format!("{file} of process {pid}"));
        }
        for address in listening(*pid) {
            assert!(is_loopback(&address), "process {pid} listens at {address}");
        }
    }
    assert_eq!(up.end(libc::SIGTERM), Some(0));

    let mut seen = 0;
    for file in files(state.path()) {
        let inside = file.strip_prefix(state.path()).unwrap();
        // The story's own note of its made-up person, and the messages to that person.
        if inside == Path::new("owner.json") || inside.starts_with("cloud/outbox") {
            continue;
        }
        // A sparse image: what it takes on the disk is what it has.
        let content = fs::read(&file).unwrap();
        names_nothing(&content, &personal, &inside.display().to_string());
        if inside.starts_with("log") {
            names_nothing(&content, &[said("pin")], &inside.display().to_string());
        }
        seen += 1;
    }
    assert!(seen > 20, "only {seen} files were searched");
}

#[test]
fn what_lies_in_the_state_folder_is_its_user_s_alone() {
    let state = state();
    let mut up = Up::start(state.path(), &[]);
    up.ready();
    let sample = state.path().join("sample");
    for path in everything(state.path()) {
        let found = fs::symlink_metadata(&path).unwrap();
        if path.starts_with(&sample) || found.is_symlink() {
            continue;
        }
        let mode = found.permissions().mode();
        // Every user of the device may ask its system; on the host it lies in a closed folder.
        let others = if path == state.path().join("device/run/holdfast.sock") { 0o066 } else { 0 };
        assert_eq!(mode & 0o077, others, "{}: {:o}", path.display(), mode & 0o7777);
        assert_eq!(found.uid(), fs::metadata(state.path()).unwrap().uid(), "{}", path.display());
    }
}

fn names_nothing(content: &[u8], personal: &[String], place: &str) {
    for word in personal {
        let found = content.windows(word.len()).any(|window| window == word.as_bytes());
        assert!(!found, "{place} has {word}");
    }
}

/// Local addresses at which the process listens, as `/proc/net/tcp` writes them.
fn listening(pid: i32) -> Vec<String> {
    const LISTEN: &str = "0A";
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|target| {
            let target = target.to_string_lossy().into_owned();
            Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")));
    let mut found = Vec::new();
    for line in tables.iter().flatten().flat_map(|table| table.lines().skip(1)) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if columns[3] == LISTEN && sockets.iter().any(|inode| inode == columns[9]) {
            found.push(columns[1].to_owned());
        }
    }
    found
}

fn is_loopback(address: &str) -> bool {
    let (host, _) = address.rsplit_once(':').expect("an address");
    // 127.0.0.0/8, and ::1, both in the kernel's byte order.
    (host.len() == 8 && host.ends_with("7F")) || host == "00000000000000000000000001000000"
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = everything(folder);
    found.retain(|path| fs::symlink_metadata(path).is_ok_and(|it| it.is_file()));
    found
}

fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                open.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}
