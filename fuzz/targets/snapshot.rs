//! Manifests, packs and fetched blocks. What decodes encodes to something that decodes alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use snapshot::fetch::FetchReader;
use snapshot::manifest::Manifest;
use snapshot::pack;

fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::decode(data) {
        assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));
    }
    let whole = pack::parse(data);
    let mut pieces = pack::Scanner::new();
    let fed = data.chunks(7).try_for_each(|piece| pieces.push(piece));
    assert_eq!(whole.is_ok(), fed.is_ok() && pieces.finish().is_ok());
    if let Ok(mut blocks) = FetchReader::new(data) {
        while let Ok(Some(_)) = blocks.next_block() {}
    }
});
