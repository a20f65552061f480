//! Metadata, care maps, and the package as a whole.

use crate::support::{metadata, signed, signer, unsigned};
use otazip::caremap::{self, Partition};
use otazip::metadata::{Metadata, MetadataError};
use otazip::package::{FILES, Package, PackageError, STREAMING_FILES};
use proptest::prelude::*;

#[test]
fn both_forms_of_metadata_come_back_and_agree() {
    let mut full = metadata();
    full.property_files.insert(FILES.to_owned(), "a:1:2   ".to_owned());
    (full.wipe, full.downgrade, full.spl_downgrade) = (true, true, true);
    full.precondition.build = vec!["from/one".to_owned(), "from/two".to_owned()];
    let text = Metadata::from_text(full.to_text().as_bytes()).unwrap();
    let protobuf = Metadata::from_protobuf(&full.to_protobuf()).unwrap();
    assert_eq!(text, full);
    assert_eq!(protobuf, full);
    assert_eq!(Metadata::agree(&text, &protobuf), Ok(()));
    full.postcondition.timestamp += 1;
    assert_eq!(Metadata::agree(&text, &full), Err(MetadataError::Disagree));
}

#[test]
fn malformed_metadata_says_where() {
    for (text, error) in [
        ("a=1\nnothing", MetadataError::Line(2)),
        ("a=1\na=2", MetadataError::Twice("a".to_owned())),
        ("post-timestamp=soon", MetadataError::Value("post-timestamp".to_owned())),
        ("ota-downgrade=maybe", MetadataError::Value("ota-downgrade".to_owned())),
    ] {
        assert_eq!(Metadata::from_text(text.as_bytes()), Err(error));
    }
}

#[test]
fn s2_6_a_package_opens_and_its_lists_name_the_places() {
    let (key, certificate) = signer();
    let file = signed(&unsigned(&key, &certificate), &key, &certificate);
    let package = Package::open(&file, file.len() as u64).unwrap();
    let entry = &package.payload_entry.data;
    let list = &package.metadata.property_files[STREAMING_FILES];
    assert!(list.contains(&format!("payload.bin:{}:{}", entry.start, entry.end - entry.start)));
    let front = package.payload.header().blobs_start();
    let list = &package.metadata.property_files[FILES];
    assert!(list.starts_with(&format!("payload_metadata.bin:{}:{front},", entry.start)), "{list}");
    assert!(list.contains("care_map.pb:"), "{list}");
}

#[test]
fn a_list_that_names_other_places_is_refused() {
    let (key, certificate) = signer();
    let file = unsigned(&key, &certificate);
    let text = Package::open(&file, file.len() as u64).unwrap().metadata.to_text();
    let place = text.find("payload.bin:").unwrap() + "payload.bin:".len();
    let digit = text.as_bytes()[place];
    let other = if digit == b'9' { b'8' } else { digit + 1 };
    let mut altered = file.clone();
    let (needle, mut changed) = (text.as_bytes().to_vec(), text.into_bytes());
    changed[place] = other;
    let at = file.windows(needle.len()).position(|it| it == needle).unwrap();
    altered[at..at + changed.len()].copy_from_slice(&changed);
    let crc = |bytes: &[u8]| crc32fast::hash(bytes).to_le_bytes();
    let (old, new) = (crc(&needle), crc(&changed));
    for at in 0..altered.len() - 3 {
        if altered[at..at + 4] == old {
            altered[at..at + 4].copy_from_slice(&new);
        }
    }
    let answer = Package::open(&altered, altered.len() as u64).map(drop);
    assert!(matches!(answer, Err(PackageError::Metadata(_))), "{answer:?}");
}

#[test]
fn care_maps_come_back_and_bad_ranges_do_not() {
    let partitions = [Partition::whole("system", 100), Partition::whole("vendor", 7)];
    assert_eq!(caremap::decode(&caremap::encode(&partitions)).unwrap(), partitions);
    for ranges in ["", "0", "2,0", "2,5,5", "2,6,5", "3,0,1,2", "2,0,x", "4,0,9,8,10"] {
        let odd = Partition { ranges: ranges.to_owned(), ..Partition::whole("a", 1) };
        assert!(caremap::decode(&caremap::encode(&[odd])).is_err(), "{ranges:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes: Vec<u8>) {
        let _ = Metadata::from_text(&bytes);
        let _ = caremap::decode(&bytes);
        if let Ok(it) = Metadata::from_protobuf(&bytes) {
            prop_assert_eq!(Metadata::from_protobuf(&it.to_protobuf()), Ok(it));
        }
    }
}
