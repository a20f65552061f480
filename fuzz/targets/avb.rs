//! vbmeta, footers, descriptors, whole partitions. What parses encodes to the same bytes.
#![no_main]

use avb::{Footer, VbmetaImage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(image) = VbmetaImage::parse(data) {
        let _ = image.descriptors();
        let _ = image.check_canonical();
    }
    let _ = avb::verify_vbmeta(data);
    if let Some(footer) = data.first_chunk::<64>() {
        if let Ok(decoded) = Footer::decode_strict(footer) {
            assert_eq!(decoded.encode(), *footer);
        }
    }
});
