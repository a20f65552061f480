//! What the engine does where nothing goes wrong, against a model.

use crate::disk::Disk;
use crate::*;
use proptest::prelude::*;

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-d]", "[a-z]{64}".prop_map(|long| long)]
}

fn content() -> impl Strategy<Value = Zeroizing<Vec<u8>>> {
    let size = prop_oneof![Just(0), 1..300_usize, 4000..4100_usize, 16_000..50_000_usize];
    (size, any::<u8>()).prop_map(|(size, seed)| {
        Zeroizing::new((0..size).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect())
    })
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (name(), content()).prop_map(|(name, content)| Change::Put { name, content }),
        2 => (name(), 0..20_000_u32, content())
            .prop_map(|(name, offset, content)| Change::Write { name, offset, content }),
        1 => (name(), 0..20_000_u32).prop_map(|(name, size)| Change::Truncate { name, size }),
        1 => name().prop_map(|name| Change::Delete { name }),
        2 => (name(), name()).prop_map(|(from, to)| Change::Rename { from, to }),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Commit(bool, Vec<Change>),
    Compact,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let changes = proptest::collection::vec(change(), 1..4);
    prop_oneof![
        8 => (any::<bool>(), changes).prop_map(|(a, changes)| Step::Commit(a, changes)),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn does_what_a_map_does(steps in proptest::collection::vec(step(), 1..24)) {
        let disk = Disk::default();
        let mut store = open(&disk).unwrap();
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Commit(a, changes) => {
                    let owner = if a { A } else { B };
                    let expected = changed(&model, owner, &changes);
                    let done = commit(&mut store, owner, changes);
                    prop_assert_eq!(done.is_ok(), expected.is_some(), "{:?}", done);
                    model = expected.unwrap_or(model);
                }
                Step::Compact => now(store.compact()).unwrap(),
                Step::Reopen => store = open(&disk).unwrap(),
            }
            prop_assert_eq!(&state(&store).unwrap(), &model);
        }
        let again = open(&disk).unwrap();
        prop_assert_eq!(state(&again).unwrap(), model);
    }
}

#[test]
fn a_commit_takes_one_write_of_a_file_and_one_of_rpmb_however_many_share_it() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    commit(&mut store, A, vec![put("warm", b"up")]).unwrap();
    disk.syncs.set((0, 0));
    commit(&mut store, A, vec![put("one", &[1; 4096])]).unwrap();
    assert_eq!(disk.syncs.get(), (1, 1));
    let batch = |owner: u8| Batch {
        owner: [owner; 32],
        quota: Quota::default(),
        changes: vec![put("mine", &[owner; 4096])],
    };
    let batches: Vec<Batch> = (0..20).map(batch).collect();
    assert_eq!(now(store.commit(&batches)), vec![Ok(()); 20]);
    assert_eq!(disk.syncs.get(), (2, 2));
    for owner in 0..20 {
        assert_eq!(read(&store, &[owner; 32], "mine"), Ok(vec![owner; 4096]));
    }
}

#[test]
fn one_refused_batch_does_not_take_others_with_it() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    let quota = Quota::default();
    let batches = [
        Batch { owner: A, quota, changes: vec![put("a", b"1")] },
        Batch { owner: B, quota, changes: vec![put("b", b"2"), rename("no", "where")] },
        Batch { owner: B, quota, changes: vec![put("c", b"3")] },
    ];
    let outcomes = now(store.commit(&batches));
    assert_eq!(outcomes, [Ok(()), Err(Error::NotFound("no".into())), Ok(())]);
    let store = open(&disk).unwrap();
    assert_eq!(store.list(&A, None), ["a"]);
    assert_eq!(store.list(&B, None), ["c"]);
}

#[test]
fn what_is_too_much_for_one_commit_is_for_the_next() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    let content = [5; 100_000];
    let batch = |at: u8| Batch {
        owner: [at; 32],
        quota: Quota::default(),
        changes: vec![put("a", &content)],
    };
    let mut batches: Vec<Batch> = (0..8).map(batch).collect();
    let mut commits = 0;
    while !batches.is_empty() {
        let outcomes = now(store.commit(&batches));
        assert!(outcomes.iter().all(Result::is_ok));
        batches.drain(..outcomes.len());
        commits += 1;
    }
    assert_eq!(commits, 2);
    let huge = vec![write("a", 0, &[1; 60_000]); 12];
    assert!(matches!(commit(&mut store, [0; 32], huge), Err(Error::Parameters(_))));
    assert_eq!(read(&store, &[0; 32], "a"), Ok(content.to_vec()));
}

#[test]
fn s3_1_2_each_owner_sees_its_own_objects_only() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    commit(&mut store, A, vec![put("same", b"of a"), put("other", b"x")]).unwrap();
    commit(&mut store, B, vec![put("same", b"of b")]).unwrap();
    assert_eq!(read(&store, &B, "same"), Ok(b"of b".to_vec()));
    assert_eq!(store.list(&B, None), ["same"]);
    assert_eq!(store.size(&B, "other"), Err(Error::NotFound("other".into())));
    commit(&mut store, B, vec![delete("other"), rename("same", "moved")]).unwrap();
    assert_eq!(read(&store, &A, "same"), Ok(b"of a".to_vec()));
}

#[test]
fn refuses_what_no_object_has() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    commit(&mut store, A, vec![put("a", b"12345")]).unwrap();
    let long = "n".repeat(65);
    let megabyte = vec![0; (1 << 20) + 1];
    for wrong in [
        vec![put("", b"")],
        vec![put(&long, b"")],
        vec![rename("a", "")],
        vec![put("a", &megabyte)],
        vec![write("a", u32::MAX, b"1")],
        vec![write("a", 6, b"1")],
        vec![Change::Truncate { name: "a".into(), size: 6 }],
        vec![delete("b"); 65],
    ] {
        let refused = commit(&mut store, A, wrong.clone());
        assert!(matches!(refused, Err(Error::Parameters(_))), "{wrong:?}: {refused:?}");
    }
    assert!(matches!(now(store.read(&A, &long, 0, 1)), Err(Error::Parameters(_))));
    assert_eq!(*now(store.read(&A, "a", 3, 9)).unwrap(), *b"45");
    assert_eq!(*now(store.read(&A, "a", 9, 9)).unwrap(), *b"");
}

#[test]
fn a_quota_holds_and_what_is_deleted_makes_room() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    let quota = Quota { objects: 2, bytes: 1000 };
    let mut commit = |changes: Vec<Change>| {
        let mut outcomes = now(store.commit(&[Batch { owner: A, quota, changes }]));
        outcomes.remove(0)
    };
    commit(vec![put("a", &[1; 400]), put("b", &[1; 400])]).unwrap();
    let full = |result| matches!(result, Err(Error::Quota(_)));
    assert!(full(commit(vec![put("c", b"")])));
    assert!(full(commit(vec![write("a", 400, &[1; 201])])));
    commit(vec![write("a", 400, &[1; 200])]).unwrap();
    commit(vec![rename("a", "c")]).unwrap();
    commit(vec![delete("b"), put("d", &[1; 400])]).unwrap();
    assert_eq!(read(&store, &A, "d"), Ok(vec![1; 400]));
}

#[test]
fn neither_names_nor_contents_nor_exact_sizes_are_visible() {
    let seen = |size: usize| {
        let disk = Disk::default();
        let mut store = open(&disk).unwrap();
        let content = b"visible content!".repeat(size / 16 + 1);
        commit(&mut store, A, vec![put("visible-name", &content[..size])]).unwrap();
        disk.platter().files.into_values().collect::<Vec<_>>().concat()
    };
    let used = |file: &[u8]| file.iter().rposition(|&byte| byte != 0).unwrap() / 64;
    let (small, large) = (seen(4000), seen(4090));
    assert_eq!(used(&small), used(&large));
    for word in [&b"visible-name"[..], b"visible content"] {
        assert!(!small.windows(word.len()).any(|window| window == word));
    }
}

#[test]
fn a_full_disk_refuses_and_storage_goes_on_once_there_is_room() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    commit(&mut store, A, vec![put("a", b"1")]).unwrap();
    disk.full.set(true);
    let mut model = state(&store).unwrap();
    let mut refused = 0;
    for at in 0..40_u8 {
        let changes = vec![put("big", &[at; 60_000])];
        match commit(&mut store, A, changes.clone()) {
            Ok(()) => model = changed(&model, A, &changes).unwrap(),
            Err(Error::DiskFull) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 20);
    assert_eq!(now(store.compact()), Err(Error::DiskFull));
    assert_eq!(state(&store).unwrap(), model);
    assert_eq!(state(&open(&disk).unwrap()).unwrap(), model);
    disk.full.set(false);
    commit(&mut store, A, vec![put("a", b"2")]).unwrap();
    now(store.compact()).unwrap();
    assert_eq!(read(&open(&disk).unwrap(), &A, "a"), Ok(b"2".to_vec()));
}

#[test]
fn compaction_is_due_by_itself_and_keeps_the_files_few() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    let content = |at: u32| at.to_le_bytes().repeat(1024);
    for at in 0..40 {
        commit(&mut store, A, vec![put(&format!("old {at}"), &content(at))]).unwrap();
    }
    let mut compactions = 0;
    for at in 0..2000_u32 {
        commit(&mut store, A, vec![put(&format!("{}", at % 8), &content(at))]).unwrap();
        if store.is_compaction_due() {
            now(store.compact()).unwrap();
            compactions += 1;
        }
    }
    assert!((4..60).contains(&compactions), "{compactions}");
    assert!(disk.platter().files.len() < 10, "{} files", disk.platter().files.len());
    let again = open(&disk).unwrap();
    assert_eq!(read(&again, &A, "old 7"), Ok(content(7)));
    assert_eq!(read(&again, &A, "7"), Ok(content(1999)));
}

#[test]
fn many_objects_take_several_pieces_of_a_checkpoint() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    for at in 0..50 {
        let changes = (0..40).map(|n| put(&format!("{at}-{n:040}"), &[at, n])).collect();
        let owner = [at; 32];
        commit(&mut store, owner, changes).unwrap();
    }
    now(store.compact()).unwrap();
    let again = open(&disk).unwrap();
    for at in 0..50 {
        let name = format!("{at}-{:040}", 7);
        assert_eq!(read(&again, &[at; 32], &name), Ok(vec![at, 7]));
    }
}

#[test]
fn erasing_leaves_nothing_that_opens_and_a_store_that_works() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    commit(&mut store, A, vec![put("a", b"secret")]).unwrap();
    let before = disk.platter();
    erase(&disk);
    let mut store = open(&disk).unwrap();
    assert!(disk.platter().files.is_empty());
    assert!(state(&store).unwrap().is_empty());
    commit(&mut store, A, vec![put("b", b"new")]).unwrap();
    // The old files again: they are nobody's.
    let mut platter = disk.platter();
    platter.files.extend(before.files);
    let store = open(&Disk::of(platter)).unwrap();
    assert_eq!(store.list(&A, None), ["b"]);
}
