//! Power cuts at every write, and files from an earlier day.

use crate::support::{Board, Card, Cut, PIN, pair};
use element_emulated::store::StoreError;
use iso7816::{Response, Status};
use proptest::prelude::*;

/// What is done, and what it leaves.
type Act = fn(&mut Card) -> Result<Vec<u8>, Status>;

const ACTS: &[(&str, Act)] = &[
    ("a wrong PIN", |card| card.ask(0x20, 0, 0x80, b"000000\xFF\xFF")),
    ("a right PIN", |card| card.ask(0x20, 0, 0x80, PIN)),
    ("a new PIN", |card| card.ask(0x24, 0, 0x80, &pair(PIN, b"111111\xFF\xFF"))),
    ("an object", |card| card.put(&[0x5F, 0xC1, 0x05], b"new").map(|()| vec![])),
    ("a new key", |card| card.ask(0x47, 0, 0x9A, &[0xAC, 3, 0x80, 1, 0x11])),
    ("a deleted key", |card| card.ask(0xF6, 0xFF, 0x9E, &[])),
];

/// A card with a key, an object, and a manager.
fn prepared(board: &Board) -> Card {
    let mut card = Card::on(board.clone());
    card.manage().unwrap();
    card
}

#[test]
fn a_power_cut_at_any_write_leaves_the_state_from_before_or_after() {
    let mut first = Card::new();
    first.manage().unwrap();
    first.generate(0x9E, 0x11);
    let before = first.board.disk();
    for (name, act) in ACTS {
        for cut in [Cut::Before, Cut::After] {
            let mut writes = 0;
            loop {
                let board = Board::with(before.clone());
                let mut card = prepared(&board);
                board.cut(writes, cut);
                let said = act(&mut card);
                if !board.is_off() {
                    break;
                }
                writes += 1;
                assert_eq!(said, Err(Status::MEMORY_FAILURE), "{name}: nobody is told it was done");
                let again = Board::with(board.disk());
                let state = again.open().unwrap_or_else(|error| panic!("{name}: {error}"));
                let state = state.state();
                assert!((2..=3).contains(&state.pin.left), "{name}");
                assert!(state.keys.contains_key(&0xF9), "{name}");
                assert!(again.open().is_ok(), "{name}: and it opens again");
            }
            assert!(writes >= 2, "{name}: {writes} writes");
        }
    }
}

#[test]
fn s3_3_2_an_attempt_counts_before_it_is_looked_at() {
    // Who cuts the power at the write after the comparison has used the attempt up.
    let first = Card::new();
    let before = first.board.disk();
    for pin in [PIN, b"000000\xFF\xFF"] {
        let board = Board::with(before.clone());
        let mut card = Card::on(board.clone());
        // State and counter are written; then the comparison; then, where it was right, more.
        board.cut(2, Cut::Before);
        let said = card.verify(pin);
        let left = Board::with(board.disk()).open().unwrap().state().pin.left;
        assert_eq!(left, 2, "{said:?}");
    }
    // And a cut at the first two gives no answer at all.
    for at in 0..2 {
        for cut in [Cut::Before, Cut::After] {
            let board = Board::with(before.clone());
            let mut card = Card::on(board.clone());
            board.cut(at, cut);
            assert_eq!(card.verify(PIN), Err(Status::MEMORY_FAILURE));
            assert_eq!(card.verify(b"000000\xFF\xFF"), Err(Status::MEMORY_FAILURE));
        }
    }
}

#[test]
fn s3_3_2_files_from_before_wrong_attempts_do_not_give_them_back() {
    let mut card = Card::new();
    let before = card.board.disk();
    for left in [2, 1, 0] {
        assert_eq!(card.verify(b"000000\xFF\xFF"), Err(Status::attempts_left(left)));
    }
    let now = card.board.disk();
    // The state is put back; the counter, which is the board's, is not.
    let restored = Board::with(crate::support::Disk { counter: now.counter, ..before });
    assert!(matches!(restored.open(), Err(StoreError::RolledBack { .. })));
    let mut again = Card::on(Board::with(now));
    assert_eq!(again.verify(PIN), Err(Status::BLOCKED));
}

#[test]
fn s3_3_2_a_copy_on_another_board_is_refused() {
    let card = Card::new();
    let copied = crate::support::Disk { board: 1, ..card.board.disk() };
    assert!(matches!(Board::with(copied).open(), Err(StoreError::Foreign)));
    // A board whose counter never rose that far has not made this state.
    let foreign = crate::support::Disk { counter: 0, ..card.board.disk() };
    let mut aged = Card::on(Board::with(card.board.disk()));
    for _ in 0..3 {
        aged.verify(PIN).unwrap();
    }
    let young = crate::support::Disk { counter: foreign.counter, ..aged.board.disk() };
    assert!(matches!(Board::with(young).open(), Err(StoreError::CounterBehind { .. })));
}

#[test]
fn a_state_with_any_byte_changed_is_refused() {
    let disk = Card::new().board.disk();
    let whole = disk.state.clone().unwrap();
    for at in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        let mut state = whole.clone();
        state[at] ^= 1;
        let changed = crate::support::Disk { state: Some(state), ..disk.clone() };
        assert!(matches!(Board::with(changed).open(), Err(StoreError::Foreign)), "byte {at}");
    }
    for length in [0, 5, whole.len() - 1] {
        let state = Some(whole[..length].to_vec());
        let short = crate::support::Disk { state, ..disk.clone() };
        assert!(matches!(Board::with(short).open(), Err(StoreError::Foreign)));
    }
    let none = crate::support::Disk { state: None, ..disk };
    assert!(matches!(Board::with(none).open(), Err(StoreError::Missing)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any commands, and the power cut at any write: what was acknowledged is there.
    #[test]
    fn what_was_acknowledged_is_there(
        contents in prop::collection::vec((0_u8..4, prop::collection::vec(any::<u8>(), 1..40)), 1..8),
        at in 0_usize..16,
        after in any::<bool>(),
    ) {
        let first = Card::new();
        let board = Board::with(first.board.disk());
        let mut card = prepared(&board);
        board.cut(at, if after { Cut::After } else { Cut::Before });
        let mut due = std::collections::BTreeMap::new();
        let mut open = None;
        for (slot, content) in &contents {
            match card.put(&[0x5F, 0xFF, 0x10 + slot], content) {
                Ok(()) => { due.insert(*slot, content.clone()); }
                Err(_) => { open = open.or_else(|| Some((*slot, content.clone()))); }
            }
        }
        let mut again = Card::on(Board::with(board.disk()));
        for (slot, content) in due {
            let there = again.get(&[0x5F, 0xFF, 0x10 + slot]).unwrap();
            let unanswered = open.as_ref().is_some_and(|it| *it == (slot, there.clone()));
            prop_assert!(there == content || unanswered);
        }
    }
}

#[test]
fn a_full_disk_is_a_memory_failure_and_the_card_goes_on() {
    let board = Card::new().board;
    let mut card = Card::on(board.clone());
    board.cut(0, Cut::Before);
    assert_eq!(card.verify(PIN), Err(Status::MEMORY_FAILURE));
    let version = card.element.transmit(&[0, 0xFD, 0, 0, 0]);
    assert_eq!(Response::decode(&version).unwrap().status, Status::OK);
}
