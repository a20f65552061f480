//! Snapshots over a cloud in memory that keeps all the rules and fails when it is told to.

use super::*;
use proptest::prelude::*;
use snapshot::fetch;
use snapshot::path::TreePath;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use vault::{Area, Attributes};

const ACCOUNT: &str = "a-1";

/// The cloud and the Key Center of one account.
#[derive(Default)]
struct Cloud {
    held: Mutex<Held>,
    calls: AtomicUsize,
    /// The call that fails, counted from 1; 0 for none.
    fails_at: AtomicUsize,
    /// Whether it takes effect all the same: the answer is lost.
    effect: bool,
}

#[derive(Default)]
struct Held {
    root: Option<Root>,
    head: Option<Head>,
    packs: BTreeMap<PackId, Vec<u8>>,
    index: HashMap<BlockId, (PackId, snapshot::pack::Place)>,
    keys: HashMap<String, [u8; 32]>,
    packs_put: usize,
    blocks_fetched: usize,
}

impl Cloud {
    fn failing(n: usize, effect: bool) -> Self {
        Self { fails_at: n.into(), effect, ..Self::default() }
    }

    fn fail_at(&self, n: usize) {
        self.calls.store(0, Ordering::SeqCst);
        self.fails_at.store(n, Ordering::SeqCst);
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().expect("no test panics while it holds it")
    }

    fn call<T>(&self, act: impl FnOnce(&mut Held) -> T) -> Result<T, StoreError> {
        let fails =
            self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.fails_at.load(Ordering::SeqCst);
        if fails && !self.effect {
            return Err(StoreError::new("the power failed"));
        }
        let answer = act(&mut self.held());
        if fails { Err(StoreError::new("the power failed")) } else { Ok(answer) }
    }
}

impl CloudStore for Cloud {
    fn root(&self) -> Result<Option<Root>, StoreError> {
        self.call(|held| held.root.clone())
    }

    fn create_root(&self, root: &Root) -> Result<bool, StoreError> {
        self.call(|held| held.root.is_none() && held.root.replace(root.clone()).is_none())
    }

    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.call(|held| held.head.clone())
    }

    fn advance(&self, advance: &Advance) -> Result<bool, StoreError> {
        self.call(|held| {
            if held.head.as_ref().map_or(0, |head| head.generation) != advance.follows {
                return false;
            }
            let packs: HashSet<PackId> =
                advance.packs.iter().map(|id| id.parse().expect("a name")).collect();
            // Sweeps at once whatever the new head does not need.
            held.packs.retain(|id, _| packs.contains(id));
            assert_eq!(held.packs.len(), packs.len(), "a head needs packs that are stored");
            held.index.retain(|_, (pack, _)| packs.contains(pack));
            held.head = Some(Head {
                generation: advance.follows + 1,
                manifest: advance.manifest.clone(),
                device_id: "d-1".into(),
                at_ms: 0,
                files: advance.files,
                bytes: advance.bytes,
            });
            true
        })
    }

    fn missing(&self, ids: &[BlockId]) -> Result<Vec<BlockId>, StoreError> {
        self.call(|held| ids.iter().copied().filter(|id| !held.index.contains_key(id)).collect())
    }

    fn put_pack(&self, id: &PackId, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.call(|held| {
            let index = snapshot::pack::parse(&bytes).expect("a pack");
            assert_eq!(index.id, *id);
            assert!(bytes.len() <= snapshot::pack::TARGET_BYTES);
            held.packs_put += 1;
            for place in index.blocks {
                held.index.insert(place.id, (*id, place));
            }
            held.packs.insert(*id, bytes);
        })
    }

    fn blocks(&self, ids: &[BlockId]) -> Result<Box<dyn Read + Send>, StoreError> {
        let unique: HashSet<_> = ids.iter().collect();
        assert!(unique.len() == ids.len() && ids.len() <= wire::sync::IDS_AT_ONCE);
        let stream = self.call(|held| {
            let mut out = fetch::HEAD.to_vec();
            for id in ids {
                held.blocks_fetched += 1;
                let Some((pack, place)) = held.index.get(id) else {
                    return Err(StoreError::new("404"));
                };
                let pack = &held.packs[pack];
                let wrapped = snapshot::pack::parse(pack).map(|index| index.wrapped_key);
                out.extend(fetch::frame_head(
                    id,
                    &wrapped.unwrap_or_else(|_| "vault:v1:1".into()),
                    place.length,
                ));
                out.extend(place.of(pack));
            }
            Ok(out)
        })??;
        Ok(Box::new(Cursor::new(stream)))
    }
}

impl DataKeys for Cloud {
    fn fresh(&self) -> Result<(Secret<32>, String), StoreError> {
        self.call(|held| {
            let (key, wrapped) = (crypto::random_array(), format!("vault:v1:{}", held.keys.len()));
            held.keys.insert(wrapped.clone(), key);
            (Secret::new(key), wrapped)
        })
    }

    fn unwrap(&self, wrapped: &str) -> Result<Secret<32>, StoreError> {
        let key = self.call(|held| held.keys.get(wrapped).copied())?;
        key.map(Secret::new).ok_or_else(|| StoreError::new("another key"))
    }
}

/// A device with one area.
struct Device {
    folder: tempfile::TempDir,
    area: Option<Area>,
    id: vault::Id,
}

impl Device {
    fn new() -> Self {
        // In memory where that is possible: these tests are about the cloud, not the disk.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.expect("a folder");
        let area = Area::create(&folder.path().join("ce"), &Secret::new([7; 32])).expect("an area");
        Self { id: area.id(), area: Some(area), folder }
    }

    fn area(&self) -> &Area {
        self.area.as_ref().expect("it is on")
    }

    fn power_cycle(&mut self) {
        self.area = None;
        let at: PathBuf = self.folder.path().join("ce");
        self.area = Some(Area::open(&at, &Secret::new([7; 32]), &self.id).expect("it opens"));
    }

    fn write(&self, name: &str, content: &[u8]) {
        self.area().write_file(&path(name), attributes(), content).expect("written");
    }

    fn upload(&self, cloud: &Cloud) -> Result<Outcome, SyncError> {
        upload(self.area(), ACCOUNT, cloud, cloud, Unseen::Refuse, &|_| {})
    }

    fn restore(&self, cloud: &Cloud) -> Result<Outcome, SyncError> {
        restore(self.area(), ACCOUNT, cloud, cloud, &|_| {})
    }

    /// The whole area, as an archive.
    fn tar(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        vault::export_tar(self.area(), &mut archive).expect("exported");
        archive
    }
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).expect("a path")
}

fn attributes() -> Attributes {
    Attributes { mode: 0o640, mtime_s: 1_700_000_000, mtime_ns: 123_456_789, uid: 0, gid: 0 }
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Something of everything.
fn filled() -> Device {
    let device = Device::new();
    let mut batch = device.area().batch();
    let holes = [noise(2, 1 << 20), vec![0; 3 << 20], noise(3, 100)].concat();
    batch.directory(&path("d"), attributes()).expect("made");
    for (name, content) in [
        (path("d/large"), noise(1, (9 << 20) + 5)),
        (path("d/large-again"), noise(1, (9 << 20) + 5)),
        (path("empty"), vec![]),
        (path("small"), b"small".to_vec()),
        (path("twin"), b"small".to_vec()),
        (path("holes"), holes),
        (path("zeros"), vec![0; (2 << 20) + 9]),
        (TreePath::new(vec![0xfe; 255]).expect("a path"), b"odd".to_vec()),
    ] {
        batch.begin_file(&name, attributes(), content.len() as u64).expect("begun");
        batch.data(&content);
        batch.end_file().expect("ended");
    }
    batch.symlink(&path("link"), b"/else\xff", attributes()).expect("made");
    batch.hard_link(&path("small"), &path("z-linked")).expect("made");
    assert!(batch.finish().expect("finished").is_empty());
    device
}

#[test]
fn s5_2_a_snapshot_comes_back_the_same_on_another_device() {
    let (cloud, device, other) = (Cloud::default(), filled(), Device::new());
    let up = device.upload(&cloud).expect("uploaded");
    assert_eq!(up.generation, 1);
    let down = other.restore(&cloud).expect("restored");
    assert_eq!(other.tar(), device.tar());
    assert_eq!(
        (down.generation, down.progress.files, down.progress.bytes),
        (1, up.progress.files, up.progress.bytes)
    );
    // Nothing readable reached the cloud.
    let held = cloud.held();
    assert!(held.packs.values().all(|pack| !pack.windows(5).any(|window| window == b"small")));
    // Equal files and holes are stored once and never.
    let stored: usize = held.packs.values().map(Vec::len).sum();
    assert!(stored < 11 << 20, "{stored}");
}

#[test]
fn an_unchanged_area_sends_nothing_and_makes_no_new_snapshot() {
    let (cloud, mut device) = (Cloud::default(), filled());
    device.upload(&cloud).expect("uploaded");
    device.power_cycle();
    let before = cloud.held().packs_put;
    let again = device.upload(&cloud).expect("uploaded");
    assert_eq!((again.generation, again.progress.moved_blocks), (1, 0));
    assert_eq!(cloud.held().packs_put, before);
    // One file more is one block more, and the manifest.
    device.write("more", b"more");
    let more = device.upload(&cloud).expect("uploaded");
    assert_eq!((more.generation, more.progress.moved_blocks), (2, 1));
    assert_eq!(cloud.held().packs_put, before + 2);
    let other = Device::new();
    other.restore(&cloud).expect("restored");
    assert_eq!(other.tar(), device.tar());
}

#[test]
fn a_block_that_the_cloud_lost_is_sent_again() {
    let (cloud, device) = (Cloud::default(), filled());
    device.upload(&cloud).expect("uploaded");
    let packs: Vec<PackId> = cloud.held().packs.keys().copied().collect();
    for pack in packs {
        let mut held = cloud.held();
        held.packs.remove(&pack);
        held.index.retain(|_, (of, _)| *of != pack);
        drop(held);
        device.upload(&cloud).expect("uploaded");
        let other = Device::new();
        other.restore(&cloud).expect("restored");
        assert_eq!(other.tar(), device.tar());
    }
}

/// Runs until it succeeds, as a device does that loses power at the n-th question.
fn survives(
    effect: bool,
    run: &dyn Fn(&Cloud, &Device) -> Result<Outcome, SyncError>,
    prepare: &dyn Fn(&Cloud) -> Device,
) {
    for n in 1.. {
        let cloud = Cloud::failing(0, effect);
        let mut device = prepare(&cloud);
        cloud.fail_at(n);
        let first = run(&cloud, &device);
        let (moved, done) = (cloud.held().packs_put, first.is_ok());
        device.power_cycle();
        cloud.fail_at(0);
        run(&cloud, &device).unwrap_or_else(|error| panic!("call {n}: {error}"));
        let other = Device::new();
        other.restore(&cloud).expect("restored");
        assert_eq!(other.tar(), device.tar(), "call {n}");
        // What was acknowledged is not sent again: three packs of content, one manifest at most
        // twice, and the one whose answer was lost.
        let sent = cloud.held().packs_put;
        assert!(sent <= 7, "call {n}: {sent} packs, {moved} of them before");
        if done {
            assert!(n > 5);
            return;
        }
    }
}

#[test]
fn an_upload_survives_a_power_cut_at_every_question() {
    for effect in [false, true] {
        survives(effect, &|cloud, device| device.upload(cloud), &|_| filled());
    }
}

#[test]
fn a_restore_survives_a_power_cut_at_every_question() {
    let prepare = |cloud: &Cloud| {
        filled().upload(cloud).expect("uploaded");
        Device::new()
    };
    survives(false, &|cloud, device| device.restore(cloud), &prepare);
}

#[test]
fn a_second_restore_fetches_the_manifest_and_linked_files_only() {
    let (cloud, device, other) = (Cloud::default(), filled(), Device::new());
    device.upload(&cloud).expect("uploaded");
    other.restore(&cloud).expect("restored");
    let before = cloud.held().blocks_fetched;
    other.area().remove(&path("twin")).expect("removed");
    other.write("holes", b"changed");
    other
        .area()
        .set_attributes(&path("d/large"), Attributes { mode: 0, ..attributes() })
        .expect("set");
    other.restore(&cloud).expect("restored");
    assert_eq!(other.tar(), device.tar());
    let fetched = cloud.held().blocks_fetched - before;
    assert!(fetched <= 1 + 1 + 2, "{fetched}");
}

#[test]
fn what_is_of_another_kind_makes_way_and_what_is_not_in_the_snapshot_stays() {
    let (cloud, device, other) = (Cloud::default(), filled(), Device::new());
    device.upload(&cloud).expect("uploaded");
    other.write("d", b"a file");
    for directory in ["small", "small/deep", "link", "mine"] {
        other.area().create_dir(&path(directory), attributes()).expect("made");
    }
    other.write("small/deep/file", b"x");
    other.restore(&cloud).expect("restored");
    assert_eq!(other.area().list(&path("mine")).expect("it stayed"), []);
    other.area().remove(&path("mine")).expect("removed");
    assert_eq!(other.tar(), device.tar());
}

#[test]
fn an_altered_block_manifest_or_order_is_refused_and_nothing_false_is_written() {
    let (cloud, device) = (Cloud::default(), filled());
    device.upload(&cloud).expect("uploaded");
    let good = cloud.held().packs.clone();
    for (id, pack) in &good {
        let index = snapshot::pack::parse(pack).expect("a pack");
        for place in [index.blocks[0], index.blocks[index.blocks.len() - 1]] {
            for at in [place.offset, place.offset + 20, place.offset + u64::from(place.length) - 1]
            {
                cloud.held().packs.get_mut(id).expect("there")[at as usize] ^= 1;
                let other = Device::new();
                let refused = other.restore(&cloud);
                assert!(matches!(refused, Err(SyncError::Block(_))), "{refused:?}");
                cloud.held().packs = good.clone();
            }
        }
    }
    // Two blocks that change places.
    let mut held = cloud.held();
    let ids: Vec<_> = held.index.keys().copied().take(2).collect();
    let (one, two) = (held.index[&ids[0]], held.index[&ids[1]]);
    held.index.insert(ids[0], two);
    held.index.insert(ids[1], one);
    drop(held);
    assert!(Device::new().restore(&cloud).is_err());
}

#[test]
fn a_device_does_not_bury_a_snapshot_that_it_never_saw() {
    let (cloud, owner, fresh) = (Cloud::default(), filled(), Device::new());
    assert!(matches!(fresh.restore(&cloud), Err(SyncError::NothingStored)));
    owner.upload(&cloud).expect("uploaded");
    assert!(matches!(fresh.upload(&cloud), Err(SyncError::Unseen { generation: 1 })));
    fresh.write("own", b"own");
    let replaced = upload(fresh.area(), ACCOUNT, &cloud, &cloud, Unseen::Replace, &|_| {});
    assert_eq!(replaced.expect("uploaded").generation, 2);
    assert!(matches!(owner.upload(&cloud), Err(SyncError::Unseen { generation: 2 })));
    // After a restore it goes on from there, and sends nothing that is there already.
    owner.restore(&cloud).expect("restored");
    owner.write("new", b"new");
    assert_eq!(owner.upload(&cloud).expect("uploaded").generation, 3);
}

#[test]
fn a_huge_hole_costs_nothing() {
    let (cloud, device, other) = (Cloud::default(), Device::new(), Device::new());
    let size = (6_u64 << 30) + 70_000;
    let mut batch = device.area().batch();
    batch.begin_file(&path("huge"), attributes(), size).expect("begun");
    batch.hole(5 << 30).expect("a hole");
    batch.data(b"middle");
    batch.hole(size - (5 << 30) - 6).expect("a hole");
    batch.end_file().expect("ended");
    assert!(batch.finish().expect("finished").is_empty());
    let up = device.upload(&cloud).expect("uploaded");
    assert_eq!((up.progress.blocks, up.progress.bytes), (1, size));
    other.restore(&cloud).expect("restored");
    assert_eq!(other.tar(), device.tar());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn s5_2_any_tree_survives_any_sequence_of_changes(
        rounds in proptest::collection::vec(
            proptest::collection::vec((0..12_u8, prop_oneof![Just(0_usize), 1..5000_usize, Just(1 << 20), Just((1 << 20) + 1)], any::<u8>()), 1..6),
            1..4,
        )
    ) {
        let (cloud, device) = (Cloud::default(), Device::new());
        for round in rounds {
            for (name, size, seed) in round {
                let content = if seed < 30 { vec![0; size] } else { noise(seed, size) };
                device.write(&format!("f{name}"), &content);
            }
            device.upload(&cloud).expect("uploaded");
            let other = Device::new();
            other.restore(&cloud).expect("restored");
            prop_assert_eq!(other.tar(), device.tar());
        }
    }
}
