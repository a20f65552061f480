//! Somebody alters the folder of a locked vault.

use super::{Vault, read};
use rustix::io::Errno;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const PAGE: u64 = 4096;

fn page(file: &File, number: u64) -> [u8; PAGE as usize] {
    let mut page = [0; PAGE as usize];
    file.read_exact_at(&mut page, number * PAGE).unwrap();
    page
}

/// Alters the backing file of a vault with one file, and shows what comes of it.
fn check(name: &str, alter: impl Fn(&File)) {
    let Some(vault) = Vault::mounted() else { return };
    fs::write(vault.file("file"), vec![7; 70 * PAGE as usize]).unwrap();
    vault.lock();
    let [(path, _)] = &vault.backing()[..] else { panic!("one file is due") };
    alter(&File::options().read(true).write(true).open(path).unwrap());

    let output = vault.run(&["check"]);
    assert_eq!(output.status.code(), Some(1), "{name}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(" problems") && said.contains("\n  file: "), "{name}: {said}");
    vault.unlock();
    assert_eq!(read(&vault.file("file")), Err(Errno::IO), "{name}");
    let log = fs::read_to_string(vault.path().join("log")).unwrap();
    let entry = path.file_name().unwrap().to_str().unwrap();
    assert!(log.contains(entry) && log.contains("it is not read"), "{name}: {log}");
    // It can be removed by its name all the same.
    fs::remove_file(vault.file("file")).unwrap();
    vault.lock();
    assert_eq!(vault.says(&["check"])["files"], 0);
}

// Pages of the backing file: map, tags of group 0, blocks 0 to 63, tags of group 1, blocks.

#[test]
fn a_byte_that_changed_is_an_input_output_error() {
    check("byte", |file| file.write_all_at(&[1], 5 * PAGE + 100).unwrap());
}

#[test]
fn blocks_that_changed_places_are_an_input_output_error() {
    check("swap", |file| {
        let (one, two) = (page(file, 5), page(file, 6));
        file.write_all_at(&two, 5 * PAGE).unwrap();
        file.write_all_at(&one, 6 * PAGE).unwrap();
    });
}

#[test]
fn a_block_that_was_copied_over_another_is_an_input_output_error() {
    check("replay", |file| file.write_all_at(&page(file, 5), 40 * PAGE).unwrap());
}

#[test]
fn blocks_and_tags_that_moved_together_are_an_input_output_error() {
    check("group", |file| {
        for number in 0..6 {
            file.write_all_at(&page(file, 1 + number), (66 + number) * PAGE).unwrap();
        }
    });
}

#[test]
fn a_file_that_was_cut_is_an_input_output_error() {
    check("cut", |file| file.set_len(file.metadata().unwrap().len() - PAGE).unwrap());
}

#[test]
fn a_file_that_something_was_appended_to_is_an_input_output_error() {
    check("appended", |file| {
        let end = file.metadata().unwrap().len();
        file.write_all_at(&page(file, 5), end).unwrap();
    });
}

#[test]
fn a_hole_that_somebody_made_is_an_input_output_error() {
    check("hole", |file| file.write_all_at(&[0; PAGE as usize], 9 * PAGE).unwrap());
}

#[test]
fn an_empty_backing_file_is_no_empty_file() {
    check("empty", |file| file.set_len(0).unwrap());
}

#[test]
fn entries_of_another_name_or_directory_are_not_shown_and_found() {
    let Some(vault) = Vault::mounted() else { return };
    for folder in ["one", "two"] {
        fs::create_dir(vault.file(folder)).unwrap();
        fs::write(vault.file(folder).join("file"), folder).unwrap();
    }
    std::os::unix::fs::symlink("one", vault.file("link")).unwrap();
    vault.lock();
    let backing = vault.backing();
    let [(one, _), (two, _)] = &backing[..] else { panic!("two files are due") };
    let stranger = two.parent().unwrap().join(one.file_name().unwrap());
    fs::rename(one, stranger).unwrap();
    let output = vault.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("its name was altered"));
    vault.unlock();
    let shown = |folder: &str| fs::read_dir(vault.file(folder)).unwrap().count();
    assert_eq!(shown("one") + shown("two"), 1);
}

#[test]
fn a_link_and_a_directory_id_that_were_altered_are_refused() {
    let Some(vault) = Vault::mounted() else { return };
    std::os::unix::fs::symlink("target", vault.file("link")).unwrap();
    fs::create_dir(vault.file("folder")).unwrap();
    fs::write(vault.file("folder/file"), "text").unwrap();
    vault.lock();
    for entry in fs::read_dir(vault.path().join("tree")).unwrap().flatten() {
        if entry.file_type().unwrap().is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            let altered = target.to_str().unwrap().chars().rev().collect::<String>();
            fs::remove_file(entry.path()).unwrap();
            std::os::unix::fs::symlink(Path::new(&altered), entry.path()).unwrap();
        } else if entry.file_type().unwrap().is_dir() {
            fs::write(entry.path().join(".dir"), [9; 44]).unwrap();
        }
    }
    let problems = vault.run(&["check", "--json"]);
    let checked: serde_json::Value = serde_json::from_slice(&problems.stdout).unwrap();
    assert_eq!(checked["problems"].as_array().unwrap().len(), 2);
    vault.unlock();
    assert!(fs::read_link(vault.file("link")).is_err());
    assert_eq!(read(&vault.file("folder/file")), Err(Errno::IO));
}
