//! The REE does what it wants with its files: every alteration is noticed, none is believed.

use crate::disk::{Disk, Platter};
use crate::*;
use secure_storage::FileId;

/// A store with some history: platters after each stage, the last one now.
fn history() -> (Vec<Platter>, Model) {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    let mut platters = Vec::new();
    for stage in 0..4_u8 {
        for at in 0..6_u8 {
            let content = vec![stage * 16 + at; 3000 * (usize::from(at) + 1)];
            let owner = if at % 2 == 0 { A } else { B };
            commit(&mut store, owner, vec![put(&format!("object {at}"), &content)]).unwrap();
        }
        platters.push(disk.platter());
        if stage % 2 == 1 {
            now(store.compact()).unwrap();
            platters.push(disk.platter());
        }
        store = open(&disk).unwrap();
    }
    commit(&mut store, A, vec![delete("object 4"), rename("object 2", "moved")]).unwrap();
    platters.push(disk.platter());
    (platters, state(&open(&disk).unwrap()).unwrap())
}

/// With the files of `platter` altered, either something is refused as `Security`, or nothing
/// that counts was altered and all is as it was.
fn is_noticed(files: Platter, truth: &Model) -> bool {
    let outcome = open(&Disk::of(files)).and_then(|store| state(&store));
    match outcome {
        Err(Error::Security(_)) => true,
        Err(other) => panic!("not the right refusal: {other}"),
        Ok(found) => {
            assert_eq!(found, *truth, "an alteration was believed");
            false
        }
    }
}

#[test]
fn s3_1_2_deleting_any_file_is_noticed() {
    let (platters, truth) = history();
    let now = platters.last().unwrap();
    assert!(now.files.len() >= 2);
    for file in now.files.keys() {
        let mut attacked = now.clone();
        attacked.files.remove(file);
        assert!(is_noticed(attacked, &truth), "{file}");
    }
    let wiped = Platter { files: BTreeMap::new(), ..now.clone() };
    assert!(is_noticed(wiped, &truth));
}

#[test]
fn s3_1_2_any_older_copy_of_a_file_and_of_the_whole_folder_is_noticed() {
    let (platters, truth) = history();
    let (now, old) = platters.split_last().unwrap();
    for (age, old) in old.iter().enumerate() {
        let rolled_back = Platter { anchor: now.anchor, ..old.clone() };
        assert!(is_noticed(rolled_back, &truth), "the folder of stage {age}");
        let mut mixed = now.clone();
        mixed.files.extend(old.files.clone());
        let differs = now.files.iter().any(|(file, new)| mixed.files[file] != *new);
        assert_eq!(is_noticed(mixed, &truth), differs, "mixed with stage {age}");
        for (file, content) in &old.files {
            let Some(new) = now.files.get(file).filter(|new| *new != content) else { continue };
            let mut attacked = now.clone();
            attacked.files.insert(*file, content.clone());
            assert!(is_noticed(attacked, &truth), "{file} of stage {age}");
            // Half of it old, half of it new, at the place where they begin to differ.
            let at = new.iter().zip(content).position(|(new, old)| new != old).unwrap();
            let half = [&content[..at + 1], &new[at + 1..]].concat();
            let mut attacked = now.clone();
            attacked.files.insert(*file, half);
            assert!(is_noticed(attacked, &truth), "half of {file} of stage {age}");
        }
    }
}

#[test]
fn s3_1_2_swapped_files_are_noticed() {
    let (platters, truth) = history();
    let now = platters.last().unwrap();
    let files: Vec<FileId> = now.files.keys().copied().collect();
    for (at, one) in files.iter().enumerate() {
        for other in &files[at + 1..] {
            let mut attacked = now.clone();
            attacked.files.insert(*one, now.files[other].clone());
            attacked.files.insert(*other, now.files[one].clone());
            assert!(is_noticed(attacked, &truth), "{one} and {other}");
        }
    }
}

#[test]
fn s3_1_2_swapped_objects_are_noticed_also_between_owners() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    commit(&mut store, A, vec![put("one", &[1; 4096]), put("two", &[2; 4096])]).unwrap();
    commit(&mut store, B, vec![put("one", &[3; 4096])]).unwrap();
    let truth = state(&store).unwrap();
    let platter = disk.platter();
    let (file, content) = platter.files.iter().next().unwrap();
    // Contents lie one after the other, records between them.
    let second = content.chunks(4096).nth(1).unwrap().to_vec();
    let mut attacked = content.clone();
    attacked.copy_within(0..4096, 4096);
    attacked[..4096].copy_from_slice(&second);
    let mut swapped = platter.clone();
    swapped.files.insert(*file, attacked);
    let store = open(&Disk::of(swapped.clone())).unwrap();
    assert!(matches!(read(&store, &A, "one"), Err(Error::Security(_))));
    assert!(matches!(read(&store, &A, "two"), Err(Error::Security(_))));
    assert_eq!(read(&store, &B, "one"), Ok(vec![3; 4096]), "others go on");
    assert!(is_noticed(swapped, &truth));
}

#[test]
fn s3_1_2_every_cut_and_every_altered_byte_that_counts_is_noticed() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    commit(&mut store, A, vec![put("one", &[1; 300])]).unwrap();
    commit(&mut store, A, vec![put("two", &[2; 300])]).unwrap();
    let truth = state(&store).unwrap();
    let platter = disk.platter();
    let (file, content) = platter.files.iter().next().unwrap();
    let used = content.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    for at in 0..used {
        let mut attacked = platter.clone();
        attacked.files.get_mut(file).unwrap()[at] ^= 1 << (at % 8);
        assert!(is_noticed(attacked, &truth), "byte {at}");
    }
    for length in (0..used).step_by(97) {
        let mut attacked = platter.clone();
        attacked.files.get_mut(file).unwrap().truncate(length);
        assert!(is_noticed(attacked, &truth), "cut at {length}");
    }
    // What is behind the end counts for nothing.
    let mut appended = platter.clone();
    appended.files.get_mut(file).unwrap().extend([7; 5000]);
    appended.files.get_mut(file).unwrap()[used + 10] = 9;
    assert!(!is_noticed(appended, &truth));
}

#[test]
fn s3_1_2_files_of_another_device_are_noticed() {
    let (platters, truth) = history();
    let theirs = platters.last().unwrap().clone();
    let keys = Rc::new(DeviceKeys([8; 32]));
    let disk = Disk::of(theirs.clone());
    let foreign = now(Store::open(disk.clone(), disk, keys)).map(drop);
    assert!(matches!(foreign, Err(Error::Security(_))));
    let (ours, _) = history();
    let mixed = Platter { files: theirs.files, ..ours.last().unwrap().clone() };
    assert!(is_noticed(mixed, &truth));
}

#[test]
fn s3_1_2_what_a_wiped_folder_held_is_not_forgotten() {
    let (platters, _) = history();
    let wiped = Platter { files: BTreeMap::new(), ..platters.last().unwrap().clone() };
    let disk = Disk::of(wiped);
    for _ in 0..2 {
        let Err(Error::Security(why)) = open(&disk).map(drop) else { panic!("it was accepted") };
        assert!(why.contains("missing"), "{why}");
    }
    // The way out is said aloud, and it is not silent.
    erase(&disk);
    assert!(state(&open(&disk).unwrap()).unwrap().is_empty());
}

#[test]
fn s3_1_2_a_deleted_object_opens_no_more_once_a_new_epoch_began() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    commit(&mut store, A, vec![put("a", b"secret"), put("b", b"other")]).unwrap();
    let old = disk.platter();
    commit(&mut store, A, vec![delete("a")]).unwrap();
    now(store.compact()).unwrap();
    // All old files, the HUK's keys, and all that RPMB holds now.
    let mut all = disk.platter();
    for (file, content) in old.files {
        all.files.entry(file).or_insert(content);
    }
    let store = open(&Disk::of(all)).unwrap();
    assert_eq!(store.list(&A, None), ["b"]);
    assert_eq!(store.size(&A, "a"), Err(Error::NotFound("a".into())));
}

#[test]
fn a_damaged_object_stays_an_error_and_compaction_goes_on_around_it() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    commit(&mut store, A, vec![put("bad", &[1; 4096]), put("good", &[2; 4096])]).unwrap();
    let mut platter = disk.platter();
    platter.files.values_mut().next().unwrap()[17] ^= 1;
    let disk = Disk::of(platter);
    let mut store = open(&disk).unwrap();
    now(store.compact()).unwrap();
    now(store.compact()).unwrap();
    let store = open(&disk).unwrap();
    assert!(matches!(read(&store, &A, "bad"), Err(Error::Security(_))));
    assert_eq!(read(&store, &A, "good"), Ok(vec![2; 4096]));
}
