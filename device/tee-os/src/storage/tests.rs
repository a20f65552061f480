//! Storage over an emulated chip: power loss at every write, swapped and altered chips.

use super::*;
use board::LifeCycle;
use board::silicon::{CryptoEngine, Fuses, Huk, MonotonicCounter, Rpmb, Timer, Trng};
use rpmb::{MemoryStore, RpmbDevice, Store};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

const TA: Owner = [1; 32];
const OTHER: Owner = [2; 32];

/// A board with only what storage needs. Power can be made to go before or after a write.
struct TestBoard {
    huk: u8,
    chip: Mutex<RpmbDevice<MemoryStore>>,
    exchanges: AtomicU32,
    /// Exchanges until power goes; that one still reaches the chip when the flag is set.
    power: Mutex<Option<(u32, bool)>>,
}

impl TestBoard {
    fn with(huk: u8, store: MemoryStore) -> Rc<Self> {
        Rc::new(Self {
            huk,
            chip: Mutex::new(RpmbDevice::new(store)),
            exchanges: AtomicU32::new(0),
            power: Mutex::new(None),
        })
    }

    fn fresh() -> Rc<Self> {
        Self::with(1, MemoryStore::new(TOTAL_BLOCKS.into()))
    }

    fn store(&self) -> MemoryStore {
        self.chip.lock().unwrap().store().clone()
    }

    fn open(self: &Rc<Self>) -> Result<SecureStorage, StorageError> {
        self.open_in(true)
    }

    fn open_in(self: &Rc<Self>, factory: bool) -> Result<SecureStorage, StorageError> {
        let mut secrets = SecretBox::zeroed().unwrap();
        secrets.get_mut().derive_into(&**self)?;
        SecureStorage::open(self.clone(), Rc::new(secrets), factory)
    }
}

impl Huk for TestBoard {
    fn derive(&self, label: &str, context: &[u8]) -> Result<[u8; 32], SiliconError> {
        Ok(*hkdf_sha256(&[self.huk; 32], &[], &[label.as_bytes(), &[0], context]).expose())
    }
    fn mac(&self, label: &str, data: &[u8]) -> Result<[u8; 32], SiliconError> {
        Ok(crypto::mac::hmac_sha256(&[self.huk; 32], &[label.as_bytes(), &[1], data]))
    }
}

impl Trng for TestBoard {
    fn random(&self, bytes: usize) -> Result<Vec<u8>, SiliconError> {
        let mut out = vec![0; bytes];
        crypto::random(&mut out);
        Ok(out)
    }
}

impl Rpmb for TestBoard {
    fn rpmb(&self, frames: &[u8]) -> Result<Vec<u8>, SiliconError> {
        self.exchanges.fetch_add(1, Relaxed);
        let mut power = self.power.lock().unwrap();
        let gone = || SiliconError::Unreachable("power is gone".into());
        let mut chip = self.chip.lock().unwrap();
        match &mut *power {
            Some((0, reaches_chip)) => {
                if std::mem::take(reaches_chip) {
                    chip.exchange(frames);
                }
                Err(gone())
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(chip.exchange(frames))
            }
            None => Ok(chip.exchange(frames)),
        }
    }
}

impl Fuses for TestBoard {
    fn root_key_hashes(&self) -> Result<Vec<[u8; 32]>, SiliconError> {
        Ok(vec![[0; 32]])
    }
    fn serial(&self) -> Result<String, SiliconError> {
        Ok("TEST".into())
    }
    fn life_cycle(&self) -> Result<LifeCycle, SiliconError> {
        Ok(LifeCycle::Deployed)
    }
    fn deploy(&self) -> Result<(), SiliconError> {
        Ok(())
    }
}

impl MonotonicCounter for TestBoard {
    fn counter(&self, _: u8) -> Result<u64, SiliconError> {
        Ok(0)
    }
    fn raise_counter(&self, _: u8, _: u64) -> Result<(), SiliconError> {
        Ok(())
    }
}

impl CryptoEngine for TestBoard {}

impl Timer for TestBoard {
    fn uptime_ms(&self) -> Result<u64, SiliconError> {
        Ok(0)
    }
}

fn changes(put: &[(&str, &[u8])], delete: &[&str]) -> Changes {
    Changes {
        put: put.iter().map(|(n, v)| ((*n).to_owned(), Zeroizing::new(v.to_vec()))).collect(),
        delete: delete.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// What two objects hold, for comparison.
fn state(storage: &SecureStorage) -> [Option<Vec<u8>>; 2] {
    ["a", "b"].map(|name| match storage.get(TA, name) {
        Ok(value) => Some(value.to_vec()),
        Err(StorageError::NotFound(_)) => None,
        Err(error) => panic!("{name}: {error}"),
    })
}

fn is_security<T>(result: Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::Security(_)))
}

#[test]
fn s3_1_2_objects_outlive_power_off_and_belong_to_their_owner() {
    let board = TestBoard::fresh();
    let mut storage = board.open().unwrap();
    let large = vec![7; MAX_VALUE_BYTES];
    storage.commit(TA, &changes(&[("a", b"mine"), ("b", &large)], &[])).unwrap();
    storage.commit(OTHER, &changes(&[("a", b"theirs")], &[])).unwrap();
    let storage = board.open_in(false).unwrap();
    assert_eq!(state(&storage), [Some(b"mine".to_vec()), Some(large)]);
    assert_eq!(**storage.get(OTHER, "a").unwrap(), *b"theirs");
    assert!(matches!(storage.get(OTHER, "b"), Err(StorageError::NotFound(_))));
}

#[test]
fn s3_1_2_nothing_stored_is_readable_on_the_chip_and_deletion_overwrites() {
    let board = TestBoard::fresh();
    let mut storage = board.open().unwrap();
    storage.commit(TA, &changes(&[("a", &[0xA5; 3000])], &[])).unwrap();
    let data = |store: MemoryStore| store.raw_blocks()[DATA_FIRST.into()..].as_flattened().to_vec();
    let stored = data(board.store());
    assert!(!stored.windows(8).any(|bytes| bytes == [0xA5; 8]));
    assert!(stored.iter().any(|&byte| byte != 0));
    storage.commit(TA, &changes(&[], &["a"])).unwrap();
    assert!(data(board.store()).iter().all(|&byte| byte == 0));
}

#[test]
fn power_loss_at_any_write_leaves_the_old_state_or_the_new_one() {
    let old = [Some(vec![1; 9000]), Some(vec![2; 100])];
    let new = [Some(vec![3; 12_000]), None];
    let prepared = TestBoard::fresh();
    let mut storage = prepared.open().unwrap();
    storage.commit(TA, &changes(&[("a", &[1; 9000]), ("b", &[2; 100])], &[])).unwrap();
    // Enough entries that the index needs more than one write.
    let names: Vec<String> = (0..180).map(|at| format!("{at:060}")).collect();
    let fill: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &b"x"[..])).collect();
    storage.commit(OTHER, &changes(&fill, &[])).unwrap();
    let mut seen = [false; 2];
    for cut in 0.. {
        let mut whole = false;
        for reaches_chip in [false, true] {
            let board = TestBoard::with(1, prepared.store());
            let mut storage = board.open_in(false).unwrap();
            assert_eq!(state(&storage), old);
            *board.power.lock().unwrap() = Some((cut, reaches_chip));
            let done = storage.commit(TA, &changes(&[("a", &[3; 12_000])], &["b"]));
            *board.power.lock().unwrap() = None;
            whole = done.is_ok();
            let mut again = board.open_in(false).unwrap();
            let found = state(&again);
            assert!(found == old || found == new, "cut {cut}, reached {reaches_chip}");
            assert!(!whole || found == new, "acknowledged and lost at {cut}");
            seen[usize::from(found == new)] = true;
            // It goes on from there, and the rest is untouched.
            again.commit(TA, &changes(&[("c", b"later")], &[])).unwrap();
            let again = board.open_in(false).unwrap();
            assert_eq!(state(&again), found);
            assert_eq!(**again.get(OTHER, &names[179]).unwrap(), *b"x");
        }
        if whole {
            assert!(cut > 5, "the change took more than one write");
            break;
        }
    }
    assert_eq!(seen, [true, true]);
}

#[test]
fn power_loss_during_the_first_start_is_recovered() {
    for cut in 0..4 {
        for reaches_chip in [false, true] {
            let board = TestBoard::fresh();
            *board.power.lock().unwrap() = Some((cut, reaches_chip));
            let _ = board.open();
            *board.power.lock().unwrap() = None;
            let mut storage = board.open().unwrap();
            storage.commit(TA, &changes(&[("a", b"1")], &[])).unwrap();
            assert_eq!(state(&board.open_in(false).unwrap())[0], Some(b"1".to_vec()));
        }
    }
}

#[test]
fn after_a_failed_write_nothing_more_is_written_until_power_on() {
    let board = TestBoard::fresh();
    let mut storage = board.open().unwrap();
    *board.power.lock().unwrap() = Some((1, true));
    assert!(storage.commit(TA, &changes(&[("a", b"1")], &[])).is_err());
    *board.power.lock().unwrap() = None;
    let again = storage.commit(TA, &changes(&[("a", b"2")], &[]));
    assert!(matches!(again, Err(StorageError::Stopped)));
}

#[test]
fn s3_1_2_a_swapped_chip_is_refused() {
    let board = TestBoard::fresh();
    board.open().unwrap().commit(TA, &changes(&[("a", b"1")], &[])).unwrap();
    // The chip of this board in another one.
    assert!(is_security(TestBoard::with(2, board.store()).open()));
    // A factory-fresh chip in a device that left the factory.
    assert!(is_security(TestBoard::fresh().open_in(false)));
    // Our chip, but its content is gone.
    let mut wiped = board.store();
    wiped.blocks_mut().fill([0; BLOCK_BYTES]);
    assert!(is_security(TestBoard::with(1, wiped).open()));
}

#[test]
fn s3_1_2_altered_content_is_refused() {
    let board = TestBoard::fresh();
    let mut storage = board.open().unwrap();
    storage.commit(TA, &changes(&[("a", b"1")], &[])).unwrap();
    let old = board.store();
    storage.commit(TA, &changes(&[("a", b"2")], &[])).unwrap();
    let current = storage.current.first_block();
    for byte in [0, 5, 13, 40] {
        let mut store = board.store();
        store.blocks_mut()[usize::from(current)][byte] ^= 1;
        let opened = TestBoard::with(1, store).open_in(false);
        // A lower generation in the header brings the older copy up, whose object is gone.
        let read = opened.and_then(|storage| storage.get(TA, "a").map(drop));
        assert!(is_security(read), "byte {byte}");
    }
    // The object's older content, copied back past the chip's protocol.
    let mut store = board.store();
    let first = usize::from(DATA_FIRST);
    store.blocks_mut()[first..].copy_from_slice(&old.raw_blocks()[first..]);
    let read = TestBoard::with(1, store).open_in(false).unwrap().get(TA, "a");
    assert!(is_security(read));
}

#[test]
fn s3_1_2_a_chip_that_is_swapped_while_the_device_runs_is_noticed() {
    let board = TestBoard::fresh();
    let mut storage = board.open().unwrap();
    storage.commit(TA, &changes(&[("a", b"1")], &[])).unwrap();
    let earlier = board.store();
    storage.commit(TA, &changes(&[("a", b"2")], &[])).unwrap();
    *board.chip.lock().unwrap() = RpmbDevice::new(earlier);
    assert!(is_security(storage.commit(TA, &changes(&[("a", b"3")], &[]))));
}

#[test]
fn refuses_what_does_not_fit_and_changes_nothing() {
    let board = TestBoard::fresh();
    let mut storage = board.open().unwrap();
    storage.commit(TA, &changes(&[("a", b"1")], &[])).unwrap();
    let writes = board.store().counter();
    let long = "n".repeat(MAX_NAME_BYTES + 1);
    for (name, value) in [(&long[..], &b""[..]), ("", b""), ("a", &[0; MAX_VALUE_BYTES + 1][..])] {
        let refused = storage.commit(TA, &changes(&[(name, value)], &["a"]));
        assert!(matches!(refused, Err(StorageError::Parameters(_))));
    }
    let many: Vec<String> = (0..1000).map(|at| format!("{at:060}")).collect();
    let put: Vec<(&str, &[u8])> = many.iter().map(|name| (&name[..], &b""[..])).collect();
    assert!(matches!(storage.commit(TA, &changes(&put, &[])), Err(StorageError::Full)));
    let large = [0; MAX_VALUE_BYTES];
    let put: Vec<(&str, &[u8])> = many[..260].iter().map(|name| (&name[..], &large[..])).collect();
    assert!(matches!(storage.commit(TA, &changes(&put, &[])), Err(StorageError::Full)));
    assert_eq!(board.store().counter(), writes);
    assert_eq!(state(&storage)[0], Some(b"1".to_vec()));
}

#[test]
fn a_small_change_takes_two_writes_and_the_old_content_is_overwritten_later() {
    let board = TestBoard::fresh();
    let mut storage = board.open().unwrap();
    let used = || {
        let store = board.store();
        let data = &store.raw_blocks()[DATA_FIRST.into()..];
        data.iter().filter(|block| **block != [0; BLOCK_BYTES]).count()
    };
    storage.commit(TA, &changes(&[("a", b"1")], &[])).unwrap();
    let before = board.exchanges.load(Relaxed);
    storage.commit(TA, &changes(&[("a", b"2")], &[])).unwrap();
    assert_eq!(board.exchanges.load(Relaxed) - before, 2);
    // Two more changes while nobody is idle: nothing is forgotten, nothing is used too early.
    storage.commit(TA, &changes(&[("a", b"3")], &[])).unwrap();
    storage.commit(TA, &changes(&[("b", b"4")], &[])).unwrap();
    assert_eq!(used(), 4);
    // Power goes before the OS is idle: the next start does it.
    let again = board.open_in(false).unwrap();
    assert_eq!((used(), again.has_freed()), (2, false));
    assert_eq!(state(&again), [Some(b"3".to_vec()), Some(b"4".to_vec())]);
    let mut again = again;
    again.commit(TA, &changes(&[("a", b"5")], &[])).unwrap();
    assert!(again.has_freed());
    again.overwrite_freed().unwrap();
    assert_eq!((used(), again.has_freed()), (2, false));
}
