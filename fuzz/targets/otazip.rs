//! OTA files: any bytes open or are refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otazip::cms::SignedData;
use otazip::metadata::Metadata;
use otazip::package::Package;
use otazip::signature::WholeFile;
use otazip::zip::Archive;
use payload::key::Certificate;

fuzz_target!(|input: &[u8]| {
    let file = input.to_vec();
    let length = file.len() as u64;
    let _ = WholeFile::open(&file, length);
    let _ = Package::open(&file, length);
    let _ = otazip::otacerts::decode(&file, length);
    if let Ok(archive) = Archive::open(&file, length, 0) {
        for entry in archive.entries().filter(|entry| entry.size <= 1 << 20) {
            let _ = archive.read(&entry.name);
        }
    }
    let _ = SignedData::decode(input);
    let _ = Certificate::from_der(input);
    let _ = otazip::caremap::decode(input);
    let _ = Metadata::from_protobuf(input);
    if let Ok(metadata) = Metadata::from_text(input) {
        let _ = metadata.to_protobuf();
    }
});
