//! Which slot boots: the situations that `libavb_ab`'s own tests stage, and Android's boot
//! control metadata.

use bootimg::misc::{
    BootloaderControl, ControlSlot, MergeStatus, MiscError, ROLLBACK_LOCATIONS, RollbackIndexes,
    Slot, SlotMetadata, SlotState, SlotVerdict, choose_slot,
};
use proptest::prelude::*;

/// What a slot holds.
#[derive(Clone, Copy, PartialEq)]
enum Image {
    /// Verifies; rollback indexes of locations 0 and 1.
    Good(u64, u64),
    /// No image at all.
    Garbage,
    /// Signed by somebody else.
    Foreign,
}
use Image::{Foreign, Garbage, Good};

/// Priority, tries, success.
type Numbers = (u8, u8, bool);

fn state((priority, tries, successful): Numbers) -> SlotState {
    SlotState::new(priority, tries, successful).unwrap()
}

fn metadata(a: Numbers, b: Numbers) -> SlotMetadata {
    let mut metadata = SlotMetadata::default();
    metadata.set(Slot::A, state(a));
    metadata.set(Slot::B, state(b));
    metadata
}

fn numbers(metadata: &SlotMetadata) -> [Numbers; 2] {
    Slot::ALL.map(|slot| {
        let state = metadata.get(slot);
        (state.priority(), state.tries_remaining(), state.is_successful())
    })
}

fn indexes(boot: u64, odm: u64) -> RollbackIndexes {
    let mut indexes = [0; ROLLBACK_LOCATIONS];
    indexes[..2].copy_from_slice(&[boot, odm]);
    indexes
}

/// A device: what boots is decided as its boot loader does.
struct Device {
    metadata: SlotMetadata,
    images: [Image; 2],
    stored: (u64, u64),
    unlocked: bool,
}

impl Device {
    fn new(a: Numbers, image_a: Image, b: Numbers, image_b: Image) -> Self {
        let images = [image_a, image_b];
        Self { metadata: metadata(a, b), images, stored: (0, 0), unlocked: false }
    }

    /// The slot that boots, and whether an error was overlooked.
    fn boots(&mut self) -> Option<(Slot, bool)> {
        let stored = self.stored;
        let images = self.images;
        let verify = |slot| {
            let image = if slot == Slot::A { images[0] } else { images[1] };
            Ok::<_, ()>(match image {
                Good(boot, odm) if boot < stored.0 || odm < stored.1 => {
                    SlotVerdict::Unverified(indexes(boot, odm))
                }
                Good(boot, odm) => SlotVerdict::Verified(indexes(boot, odm)),
                Foreign => SlotVerdict::Unverified(indexes(0, 0)),
                Garbage => SlotVerdict::Malformed,
            })
        };
        let chosen = choose_slot(&mut self.metadata, self.unlocked, verify).unwrap()?;
        let raised = |old, new| if new == 0 { old } else { new };
        let [boot, odm, ..] = chosen.rollback_indexes;
        self.stored = (raised(stored.0, boot), raised(stored.1, odm));
        Some((chosen.slot, chosen.with_verification_error))
    }
}

const DEAD: Numbers = (0, 0, false);

/// A device boots once: which slot, and what its metadata and its indexes are then.
fn check(
    mut device: Device,
    stored: (u64, u64),
    slot: Option<Slot>,
    after: [Numbers; 2],
    indexes: (u64, u64),
) {
    device.stored = stored;
    let before = numbers(&device.metadata);
    assert_eq!(device.boots(), slot.map(|slot| (slot, false)), "{before:?}");
    assert_eq!(numbers(&device.metadata), after, "{before:?}");
    assert_eq!(device.stored, indexes, "{before:?}");
}

#[test]
fn s2_6_the_higher_priority_boots_where_everything_is_good() {
    let (low, high, good) = ((14, 0, true), (15, 0, true), Good(0, 0));
    check(Device::new(low, good, high, good), (0, 0), Some(Slot::B), [low, high], (0, 0));
    check(Device::new(high, good, low, good), (0, 0), Some(Slot::A), [high, low], (0, 0));
    check(Device::new(high, good, high, good), (0, 0), Some(Slot::A), [high, high], (0, 0));
}

#[test]
fn s2_6_nothing_boots_where_both_slots_are_unbootable() {
    let good = Good(0, 0);
    check(Device::new(DEAD, good, DEAD, good), (0, 0), None, [DEAD, DEAD], (0, 0));
    // Unbootable in other ways becomes unbootable in this one.
    for strange in [(15, 0, false), (15, 3, true), (0, 7, true), (0, 0, true)] {
        check(Device::new(strange, good, DEAD, good), (0, 0), None, [DEAD, DEAD], (0, 0));
    }
}

#[test]
fn s2_6_tries_are_counted_down_to_unbootable() {
    let mut device = Device::new((15, 3, false), Good(0, 0), DEAD, Good(0, 0));
    for left in [2, 1, 0] {
        assert_eq!(device.boots(), Some((Slot::A, false)));
        assert_eq!(numbers(&device.metadata), [(15, left, false), DEAD]);
    }
    assert_eq!(device.boots(), None);
    assert_eq!(numbers(&device.metadata), [DEAD, DEAD]);
}

#[test]
fn s2_6_a_slot_that_never_succeeds_falls_back_to_the_other() {
    let old = (14, 0, true);
    let mut device = Device::new((15, 2, false), Good(0, 0), old, Good(0, 0));
    for left in [1, 0] {
        assert_eq!(device.boots(), Some((Slot::A, false)));
        assert_eq!(numbers(&device.metadata), [(15, left, false), old]);
    }
    assert_eq!(device.boots(), Some((Slot::B, false)));
    assert_eq!(numbers(&device.metadata), [DEAD, old]);
}

#[test]
fn tries_of_the_slot_that_does_not_boot_stay() {
    let (good, fresh) = ((15, 0, true), (14, 7, false));
    let device = Device::new(good, Good(0, 0), fresh, Good(0, 0));
    check(device, (0, 0), Some(Slot::A), [good, fresh], (0, 0));
}

#[test]
fn s2_2_slots_that_do_not_verify_become_unbootable() {
    let (high, low, good) = ((15, 0, true), (14, 0, true), Good(0, 0));
    for bad in [Garbage, Foreign] {
        check(Device::new(high, bad, low, good), (0, 0), Some(Slot::B), [DEAD, low], (0, 0));
        check(Device::new(high, good, low, bad), (0, 0), Some(Slot::A), [high, DEAD], (0, 0));
        check(Device::new(high, bad, low, bad), (0, 0), None, [DEAD, DEAD], (0, 0));
    }
}

#[test]
fn s2_2_slots_below_a_stored_rollback_index_become_unbootable() {
    let (high, low) = ((15, 0, true), (14, 0, true));
    for old in [Good(0, 2), Good(2, 0)] {
        let device = Device::new(high, old, low, Good(2, 2));
        check(device, (2, 2), Some(Slot::B), [DEAD, low], (2, 2));
    }
}

#[test]
fn s2_2_indexes_rise_to_what_every_bootable_slot_fulfils() {
    let (high, low) = ((15, 0, true), (14, 0, true));
    for (a, b, stored, after, left) in [
        (Good(3, 3), Good(3, 3), (2, 2), (3, 3), [high, low]),
        (Good(4, 9), Good(5, 7), (0, 0), (4, 7), [high, low]),
    ] {
        check(Device::new(high, a, low, b), stored, Some(Slot::A), left, after);
    }
    // A slot that is refused holds no index down.
    let device = Device::new(high, Garbage, low, Good(5, 7));
    check(device, (0, 0), Some(Slot::B), [DEAD, low], (5, 7));
}

#[test]
fn s2_2_an_unlocked_device_boots_what_is_not_verified_and_says_so() {
    let (high, low) = ((15, 0, true), (14, 0, true));
    for (a, image_a, b, image_b, slot) in
        [(low, Good(0, 0), high, Foreign, Slot::B), (high, Foreign, low, Good(0, 0), Slot::A)]
    {
        let mut device = Device { unlocked: true, ..Device::new(a, image_a, b, image_b) };
        assert_eq!(device.boots(), Some((slot, true)));
        assert_eq!(numbers(&device.metadata), [a, b]);
    }
    // What is malformed boots nowhere.
    let mut device = Device { unlocked: true, ..Device::new(high, Garbage, DEAD, Garbage) };
    assert_eq!(device.boots(), None);
}

#[test]
fn an_error_of_the_storage_ends_the_flow_and_leaves_what_is_known() {
    let mut metadata = metadata((15, 0, false), (14, 3, false));
    let ended = choose_slot(&mut metadata, false, |_| Err("no answer"));
    assert_eq!(ended, Err("no answer"));
    assert_eq!(numbers(&metadata), [DEAD, (14, 3, false)]);
}

#[test]
fn a_slot_is_made_active_unbootable_or_successful() {
    let mut it = metadata((15, 0, true), (11, 0, true));
    it.mark_active(Slot::A);
    assert_eq!(numbers(&it), [(15, 7, false), (11, 0, true)]);
    let mut it = metadata((15, 0, true), (14, 0, true));
    it.mark_active(Slot::B);
    assert_eq!(numbers(&it), [(14, 0, true), (15, 7, false)]);
    it.mark_unbootable(Slot::A);
    assert_eq!(numbers(&it), [DEAD, (15, 7, false)]);
    let mut it = metadata((15, 5, false), (11, 3, false));
    assert!(it.mark_successful(Slot::A));
    assert_eq!(numbers(&it), [(15, 0, true), (11, 3, false)]);
    // What could not boot has not succeeded.
    let mut it = metadata((0, 3, true), (14, 0, true));
    assert!(!it.mark_successful(Slot::A));
    assert_eq!(numbers(&it), [DEAD, (14, 0, true)]);
}

#[test]
fn where_there_is_no_metadata_both_slots_begin_afresh() {
    assert_eq!(numbers(&SlotMetadata::initial()), [(15, 7, false), (14, 7, false)]);
    assert_eq!(SlotMetadata::decode(&[0; 32]), Err(MiscError::Magic));
}

#[test]
fn a_later_minor_version_is_read_and_kept_and_a_later_major_one_is_not() {
    let with = |at: usize, value| {
        let mut bytes = SlotMetadata::initial().encode();
        bytes[at] = value;
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    let later = with(5, 1);
    let read = SlotMetadata::decode(&later).unwrap();
    assert_eq!(numbers(&read), numbers(&SlotMetadata::initial()));
    assert_eq!(read.encode(), later);
    assert_eq!(SlotMetadata::decode(&with(4, 2)), Err(MiscError::Version(2, 0)));
    let mut bad = SlotMetadata::initial().encode();
    bad[28] ^= 1;
    assert_eq!(SlotMetadata::decode(&bad), Err(MiscError::Crc));
}

fn control() -> BootloaderControl {
    BootloaderControl {
        slot_suffix: "_a".into(),
        slots: [(15, 7, true), (14, 1, false)]
            .map(|numbers| ControlSlot { state: state(numbers), verity_corrupted: false })
            .to_vec(),
        recovery_tries_remaining: 7,
        merge_status: MergeStatus::Cancelled,
    }
}

#[test]
fn boot_control_metadata_has_androids_layout() {
    let mut due = *b"_a\0\0BCAB\x01\0\0\0\xff\0\x1e\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    // Two slots, seven tries of recovery, status 4.
    due[9..11].copy_from_slice(&(2_u16 | 7 << 3 | 4 << 6).to_le_bytes());
    let crc = crc32fast::hash(&due[..28]);
    due[28..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(control().encode(), Ok(due));
    assert_eq!(BootloaderControl::decode(&due), Ok(control()));
    assert_eq!(control().choose(), Some(0));
    for bit in 0..due.len() * 8 {
        let mut altered = due;
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(BootloaderControl::decode(&altered).is_err(), "bit {bit}");
    }
}

#[test]
fn boot_control_skips_damaged_slots_and_prefers_the_first_of_equals() {
    let mut it = control();
    it.slots[0].verity_corrupted = true;
    assert_eq!(it.choose(), Some(1));
    it.slots[1].state = SlotState::UNBOOTABLE;
    assert_eq!(it.choose(), None);
    it.slots = vec![ControlSlot { state: SlotState::FRESH, verity_corrupted: false }; 4];
    assert_eq!(it.choose(), Some(0));
    it.slots.push(ControlSlot::default());
    assert_eq!(it.encode(), Err(MiscError::Field));
}

proptest! {
    #[test]
    fn strange_boot_control_bytes_are_errors_or_round_trip(mut bytes in any::<[u8; 32]>()) {
        bytes[4..9].copy_from_slice(b"BCAB\x01");
        bytes[11] = 0;
        bytes[20..28].fill(0);
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        if let Ok(control) = BootloaderControl::decode(&bytes) {
            prop_assert_eq!(control.encode(), Ok(bytes));
            let _ = control.choose();
        }
    }

    /// What boots verified; nothing else is chosen; tries never rise.
    #[test]
    fn only_a_verified_slot_boots(
        a in (0..16_u8, 0..8_u8, any::<bool>()),
        b in (0..16_u8, 0..8_u8, any::<bool>()),
        good in any::<[bool; 2]>(),
    ) {
        let images = good.map(|good| if good { Good(1, 1) } else { Foreign });
        let mut device = Device::new(a, images[0], b, images[1]);
        let before = numbers(&device.metadata);
        if let Some((slot, overlooked)) = device.boots() {
            prop_assert!(!overlooked);
            prop_assert!(good[usize::from(slot == Slot::B)]);
        }
        for (after, before) in numbers(&device.metadata).iter().zip(before) {
            prop_assert!(after.1 <= before.1);
        }
    }
}
