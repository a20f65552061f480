//! Partition table, boot image, cpio, misc. What parses encodes to the same bytes.
#![no_main]

use bootimg::boot::BootImage;
use bootimg::cpio::Archive;
use bootimg::gpt::{Gpt, HEAD_BYTES, TAIL_BYTES};
use bootimg::misc::{METADATA_BYTES, SlotMetadata};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if data.len() >= HEAD_BYTES + TAIL_BYTES {
        let (head, rest) = data.split_at(HEAD_BYTES);
        let tail = &rest[..TAIL_BYTES];
        let _ = Gpt::parse(head, tail, 1 << 24);
    }
    if let Ok(image) = BootImage::parse(data) {
        let _ = image.encode();
    }
    if let Ok(archive) = Archive::parse(data) {
        for entry in archive.entries() {
            let _ = format!("{entry:?}");
        }
    }
    if let Some(metadata) = data.first_chunk::<METADATA_BYTES>() {
        if let Ok(decoded) = SlotMetadata::decode(metadata) {
            assert_eq!(decoded.encode(), *metadata);
            let _ = decoded.choose();
        }
    }
    let _ = SlotMetadata::parse_partition(data);
});
