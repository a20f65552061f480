//! Sparse images: any bytes are a map or an error, and a map can be cut anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sparse::Header;

fuzz_target!(|data: &[u8]| {
    let Ok(Some(header)) = Header::decode(data) else { return };
    let mut reader = header.reader();
    while let Some(offset) = reader.next_offset() {
        let Some(rest) = usize::try_from(offset).ok().and_then(|at| data.get(at..)) else { return };
        if reader.push(rest).is_err() {
            return;
        }
    }
    let Ok(mut map) = reader.finish(data.len() as u64) else { return };
    let block = u64::from(header.block_size);
    let half = map.image_size() / block / 2 * block;
    map.truncate(half).expect("whole blocks of the image");
    assert_eq!(map.image_size(), half);
});
