//! The element on an emulated board: its HUK, its fuses.

use board::silicon::{ELEMENT_COUNTER, MonotonicCounter as _};
use board_emulated::fuses::{Blank, Fuses};
use board_emulated::silicon::EmulatedSilicon;
use crypto::secret::Secret;
use effects::{ManualClock, SystemEntropy, UnixMillis};
use element_emulated::binding::OnBoard;
use element_emulated::make;
use element_emulated::store::{FileStorage, Store, StoreError};
use std::path::Path;
use std::sync::Arc;

fn blow(folder: &Path, huk: u8) {
    let blank = Blank {
        root_key_hash: [1; 32],
        second_root_key_hash: None,
        serial: "S".into(),
        huk: Secret::new([huk; 32]),
    };
    Fuses::blow(folder, &blank).unwrap();
    board_emulated::rpmb_store::create(folder).unwrap();
}

fn up(folder: &Path) -> Box<OnBoard<EmulatedSilicon>> {
    let clock = Arc::new(ManualClock::new(UnixMillis(0)));
    Box::new(OnBoard(EmulatedSilicon::power_up(folder, clock, Arc::new(SystemEntropy)).unwrap()))
}

#[test]
fn s3_3_2_all_files_of_an_element_are_nothing_on_another_board() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    blow(one.path(), 1);
    blow(other.path(), 2);
    let path = one.path().join("element.state");
    let storage = || Box::new(FileStorage(path.clone()));
    let mut store = make::make(storage(), up(one.path()), UnixMillis(0)).unwrap();
    let old = std::fs::read(&path).unwrap();
    store.commit(|state| state.pin.left = 0).unwrap();
    let sequence = store.state().sequence;
    drop(store);
    assert!(matches!(Store::open(storage(), up(other.path())), Err(StoreError::Foreign)));
    assert_eq!(Store::open(storage(), up(one.path())).unwrap().state().pin.left, 0);
    assert_eq!(up(one.path()).0.counter(ELEMENT_COUNTER).unwrap(), sequence);
    std::fs::write(&path, old).unwrap();
    assert!(matches!(Store::open(storage(), up(one.path())), Err(StoreError::RolledBack { .. })));
}
