//! Slot metadata and the rules by which a slot is chosen.

use bootimg::misc::{
    BootloaderMessage, MESSAGE_BYTES, METADATA_OFFSET, MiscError, Slot, SlotMetadata, SlotState,
};
use proptest::prelude::*;

const PARTITION: usize = 4096;

fn slots(a: SlotState, b: SlotState) -> SlotMetadata {
    let mut metadata = SlotMetadata::default();
    metadata.set(Slot::A, a);
    metadata.set(Slot::B, b);
    metadata
}

fn state(priority: u8, tries_remaining: u8, successful: bool) -> SlotState {
    SlotState::new(priority, tries_remaining, successful).unwrap()
}

#[test]
fn every_flipped_bit_of_the_partition_is_refused() {
    let partition = SlotMetadata::first_boot().encode_partition(PARTITION).unwrap();
    assert_eq!(SlotMetadata::parse_partition(&partition), Ok(SlotMetadata::first_boot()));
    let mut copy = partition.clone();
    for bit in 0..copy.len() * 8 {
        copy[bit / 8] ^= 1 << (bit % 8);
        assert!(SlotMetadata::parse_partition(&copy).is_err(), "bit {bit}");
        copy[bit / 8] ^= 1 << (bit % 8);
    }
}

fn whole(message: &BootloaderMessage) -> [u8; MESSAGE_BYTES] {
    let mut bytes = [0; MESSAGE_BYTES];
    bytes[..512].copy_from_slice(&message.encode().unwrap());
    bytes
}

/// Offsets of AOSP's `struct bootloader_message`.
#[test]
fn the_message_to_recovery_lies_where_android_has_it() {
    let message = BootloaderMessage::install("/data/update/ota.zip");
    let bytes = whole(&message);
    assert!(bytes.starts_with(b"boot-recovery\0"));
    assert!(bytes[64..].starts_with(b"recovery\n--update_package=/data/update/ota.zip\n\0"));
    assert_eq!(BootloaderMessage::decode(&bytes), Ok(message.clone()));
    assert_eq!(message.update_package(), Some("/data/update/ota.zip"));
    let other = BootloaderMessage { recovery: "recovery\n--wipe_data\n".into(), ..message };
    assert_eq!(other.update_package(), None);
}

#[test]
fn a_malformed_message_is_refused_and_never_written() {
    let good = whole(&BootloaderMessage::install("/data/update/ota.zip"));
    for (at, byte) in [(0, b' '), (0, 0x80), (14, b'x'), (31, b'x'), (63, 1), (64, b'x')] {
        let mut bytes = good;
        bytes[at] = byte;
        assert!(BootloaderMessage::decode(&bytes).is_err(), "byte {at}");
    }
    for (from, to) in [(0, 32), (32, 64), (64, 832)] {
        let mut bytes = good;
        bytes[from..to].fill(b'a');
        assert!(BootloaderMessage::decode(&bytes).is_err(), "{from}: no end");
    }
    for at in [832, 863, 864, 2047] {
        let mut bytes = good;
        bytes[at] = 1;
        assert_eq!(BootloaderMessage::decode(&bytes), Err(MiscError::StrayByte(at)));
    }
    for text in ["é", "A", "\0", &"a".repeat(32)] {
        let message = BootloaderMessage { command: text.into(), ..BootloaderMessage::default() };
        assert_eq!(message.encode(), Err(MiscError::Message), "{text:?}");
    }
    let long = BootloaderMessage::install(&"a".repeat(448));
    assert_eq!(long.encode(), Err(MiscError::Message), "more than one sector");
}

/// The bytes that `avbtool set_ab_metadata --slot_data 15:7:0:14:7:1` writes.
#[test]
fn the_layout_is_that_of_avbtool() {
    let bytes = slots(state(15, 7, false), state(14, 7, true)).encode();
    let mut expected = [0; 32];
    expected[..6].copy_from_slice(&[0, b'A', b'B', b'0', 1, 0]);
    expected[8..16].copy_from_slice(&[15, 7, 0, 0, 14, 7, 1, 0]);
    let crc = crc32fast::hash(&expected[..28]);
    expected[28..].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(bytes, expected);
    assert_eq!(METADATA_OFFSET, 2048);
}

#[test]
fn values_out_of_range_are_refused_even_with_a_right_crc() {
    for (at, value, error) in [
        (4, 2, MiscError::Version(2, 0)),
        (4, 0, MiscError::Version(0, 0)),
        (6, 1, MiscError::Field),
        (8, 16, MiscError::Field),
        (9, 8, MiscError::Field),
        (10, 2, MiscError::Field),
        (11, 1, MiscError::Field),
        (20, 1, MiscError::Field),
    ] {
        let mut bytes = SlotMetadata::first_boot().encode();
        bytes[at] = value;
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(SlotMetadata::decode(&bytes), Err(error), "byte {at}");
    }
}

#[test]
fn partitions_that_are_too_small_are_refused() {
    for size in [0, 32, 2047, 2048, 2079] {
        let refused = SlotMetadata::parse_partition(&vec![0; size]);
        assert_eq!(refused, Err(MiscError::TooSmall(size)));
        assert_eq!(SlotMetadata::first_boot().encode_partition(size), None);
    }
    assert!(SlotMetadata::first_boot().encode_partition(2080).is_some());
    assert_eq!(SlotMetadata::parse_partition(&vec![0; PARTITION]), Err(MiscError::Magic));
}

#[test]
fn the_bootable_slot_with_the_highest_priority_is_chosen() {
    let (fresh, dead) = (SlotState::FRESH, SlotState::UNBOOTABLE);
    let good = state(15, 0, true);
    for (a, b, chosen) in [
        (fresh, dead, Some(Slot::A)),
        (dead, fresh, Some(Slot::B)),
        (dead, dead, None),
        (fresh, fresh, Some(Slot::A)),
        (state(14, 0, true), fresh, Some(Slot::B)),
        (good, state(14, 3, false), Some(Slot::A)),
        // No tries left, never successful.
        (state(15, 0, false), state(1, 1, false), Some(Slot::B)),
        // Successful with tries left cannot be: libavb_ab calls it unbootable.
        (state(15, 1, true), state(1, 0, true), Some(Slot::B)),
        (state(0, 7, true), dead, None),
    ] {
        assert_eq!(slots(a, b).choose(), chosen, "{a:?} {b:?}");
    }
}

#[test]
fn a_slot_that_never_comes_up_is_given_up_for_the_other_one() {
    let mut metadata = slots(state(15, 0, true), SlotState::UNBOOTABLE);
    metadata.mark_active(Slot::B);
    for _ in 0..7 {
        assert_eq!(metadata.choose(), Some(Slot::B));
        metadata.count_try(Slot::B);
    }
    assert_eq!(metadata.choose(), Some(Slot::A));
}

#[test]
fn a_slot_that_came_up_stays() {
    let mut metadata = SlotMetadata::first_boot();
    for _ in 0..7 {
        metadata.count_try(Slot::A);
    }
    // Even on its last try.
    assert!(metadata.mark_successful(Slot::A));
    for _ in 0..20 {
        assert_eq!(metadata.choose(), Some(Slot::A));
        metadata.count_try(Slot::A);
    }
    assert!(!metadata.mark_successful(Slot::B));
    metadata.mark_unbootable(Slot::A);
    assert_eq!(metadata.choose(), None);
}

#[test]
fn suffixes_name_slots() {
    for slot in Slot::ALL {
        assert_eq!(Slot::from_suffix(slot.suffix()), Some(slot));
        assert_eq!(slot.other().other(), slot);
    }
    assert_eq!(Slot::from_suffix(""), None);
    assert_eq!(SlotState::new(16, 0, false), None);
    assert_eq!(SlotState::new(15, 8, false), None);
}

proptest! {
    #[test]
    fn metadata_round_trips(a in (0..16_u8, 0..8_u8, any::<bool>()), b in (0..16_u8, 0..8_u8, any::<bool>())) {
        let metadata = slots(state(a.0, a.1, a.2), state(b.0, b.1, b.2));
        prop_assert_eq!(SlotMetadata::decode(&metadata.encode()), Ok(metadata));
    }

    #[test]
    fn strange_bytes_are_errors(bytes in any::<[u8; 32]>()) {
        prop_assert!(SlotMetadata::decode(&bytes).is_err());
    }
}
