//! Partition table, boot images, cpio, misc. What parses encodes to the same bytes.
#![no_main]

use bootimg::boot::Image;
use bootimg::cpio::Archive;
use bootimg::gpt::{Gpt, HEAD_BYTES, TAIL_BYTES};
use bootimg::misc::{
    BootloaderControl, BootloaderMessage, MESSAGE_BYTES, METADATA_BYTES, SlotMetadata, SlotVerdict,
    choose_slot,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    table(data);
    if let Ok((image, rest)) = Image::parse_prefix(data) {
        let again = image.encode().expect("what is read can be written");
        assert_eq!([&again[..], rest].concat(), data);
    }
    if let Ok(archive) = Archive::parse(data) {
        for entry in archive.entries() {
            let _ = format!("{entry:?}");
        }
    }
    if let Some(metadata) = data.first_chunk::<METADATA_BYTES>() {
        slots(metadata);
    }
    let _ = SlotMetadata::parse_partition(data);
    if let Some(Ok(message)) = data.first_chunk::<MESSAGE_BYTES>().map(BootloaderMessage::decode)
        && let Ok(sector) = message.encode()
    {
        assert_eq!(data[..sector.len()], sector);
    }
});

/// A table as it is, and one whose check sums are right.
fn table(data: &[u8]) {
    if data.len() < HEAD_BYTES + TAIL_BYTES {
        return;
    }
    let (head, rest) = data.split_at(HEAD_BYTES);
    let tail = &rest[..TAIL_BYTES];
    let _ = Gpt::parse(head, tail, 1 << 24);
    let mut head = head.to_vec();
    let crc = crc32fast::hash(&head[1024..]);
    head[600..604].copy_from_slice(&crc.to_le_bytes());
    head[528..532].fill(0);
    let crc = crc32fast::hash(&head[512..604]);
    head[528..532].copy_from_slice(&crc.to_le_bytes());
    if let Ok(parsed) = Gpt::parse(&head, tail, 1 << 24) {
        assert_eq!(parsed.gpt.encode().head[512..], head[512..]);
    }
}

/// Metadata whose check sum is right.
fn slots(bytes: &[u8; METADATA_BYTES]) {
    let mut bytes = *bytes;
    let crc = crc32fast::hash(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_be_bytes());
    if let Ok(mut metadata) = SlotMetadata::decode(&bytes) {
        assert_eq!(metadata.encode(), bytes);
        let due = metadata.choose();
        let verify = |_| Ok::<_, ()>(SlotVerdict::Verified([1; 32]));
        let chosen = choose_slot(&mut metadata, false, verify).expect("it does not fail");
        assert_eq!(chosen.map(|it| it.slot), due);
    }
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    if let Ok(control) = BootloaderControl::decode(&bytes) {
        assert_eq!(control.encode().expect("what is read can be written"), bytes);
        let _ = control.choose();
    }
}
