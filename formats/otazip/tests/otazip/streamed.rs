//! Opening a file by range, with its index.

use crate::support::{signer, unsigned};
use crypto::digest::sha256;
use otazip::index::{File, Index, IndexError, hex};
use otazip::metadata;
use otazip::package::{PAYLOAD, PAYLOAD_METADATA, PROPERTIES, Package, PackageError};
use otazip::streamed::Streamed;
use payload::properties::Properties;

/// An OTA file and the index that describes it.
fn indexed() -> (Vec<u8>, Index) {
    let (key, certificate) = signer();
    let file = unsigned(&key, &certificate);
    let package = Package::open(&file, file.len() as u64).unwrap();
    let start = package.payload_entry.data.start;
    let mut ranges: Vec<_> =
        package.archive.entries().map(|it| (it.name.clone(), it.data.clone())).collect();
    let front = start..start + package.payload.header().blobs_start();
    ranges.push((PAYLOAD_METADATA.to_owned(), front));
    let files = ranges.into_iter().map(|(name, range)| {
        let sha256 = hex(&sha256(slice(&file, range.start, range.end - range.start)));
        File { name, offset: range.start, size: range.end - range.start, sha256 }
    });
    let index = Index { version: 1, size: file.len() as u64, files: files.collect() };
    (file, index)
}

fn slice(file: &[u8], offset: u64, size: u64) -> &[u8] {
    let at = |it: u64| usize::try_from(it).unwrap();
    &file[at(offset)..at(offset + size)]
}

fn open(file: &[u8], index: &Index) -> Result<Streamed, PackageError> {
    Streamed::open(index, |it| Ok(slice(file, it.offset, it.size).to_vec()))
}

fn named<'i>(index: &'i mut Index, name: &str) -> &'i mut File {
    index.files.iter_mut().find(|file| file.name == name).unwrap()
}

#[test]
fn s2_6_a_file_opens_by_range_as_it_does_whole() {
    let (file, index) = indexed();
    let whole = Package::open(&file, file.len() as u64).unwrap();
    let streamed = open(&file, &index).unwrap();
    assert_eq!(streamed.metadata, whole.metadata);
    assert_eq!(streamed.payload, whole.payload);
    assert_eq!(streamed.properties, whole.properties);
    assert_eq!(streamed.start, whole.payload_entry.data.start);
}

#[test]
fn s2_6_bytes_that_the_index_does_not_name_are_refused() {
    let (file, index) = indexed();
    for name in [metadata::TEXT, metadata::PROTOBUF, PROPERTIES, PAYLOAD_METADATA] {
        let swapped = Streamed::open(&index, |it| {
            let mut bytes = slice(&file, it.offset, it.size).to_vec();
            bytes[0] ^= u8::from(it.name == name);
            Ok::<_, PackageError>(bytes)
        });
        let Err(PackageError::Index(IndexError::Content(found))) = swapped else {
            panic!("{name}: {swapped:?}");
        };
        assert_eq!(found, name);
    }
}

#[test]
fn an_index_whose_ranges_do_not_belong_together_is_refused() {
    let (file, index) = indexed();
    for name in [metadata::TEXT, PROPERTIES, PAYLOAD_METADATA, PAYLOAD] {
        let mut less = index.clone();
        less.files.retain(|file| file.name != name);
        let answer = open(&file, &less);
        assert!(matches!(answer, Err(PackageError::NotIndexed(it)) if it == name), "{answer:?}");
    }
    let mut huge = index.clone();
    named(&mut huge, PAYLOAD_METADATA).size = 1 << 40;
    assert!(matches!(open(&file, &huge), Err(PackageError::TooLarge(PAYLOAD_METADATA))));

    let mut elsewhere = index.clone();
    named(&mut elsewhere, PAYLOAD).offset += 1;
    assert!(matches!(open(&file, &elsewhere), Err(PackageError::Front)));

    let mut longer = index.clone();
    named(&mut longer, PAYLOAD).size += 1;
    // The payload's signatures no longer end where it ends.
    assert!(matches!(open(&file, &longer), Err(PackageError::Payload(_))));

    // In the index, but another payload's.
    let place = index.file(PROPERTIES).unwrap();
    let mut properties = Properties::decode(slice(&file, place.offset, place.size)).unwrap();
    properties.metadata_hash[0] ^= 1;
    let other = properties.encode().into_bytes();
    let mut mixed = index.clone();
    named(&mut mixed, PROPERTIES).sha256 = hex(&sha256(&other));
    let answer = Streamed::open(&mixed, |it| {
        let here = if it.name == PROPERTIES { &other } else { slice(&file, it.offset, it.size) };
        Ok::<_, PackageError>(here.to_vec())
    });
    assert!(matches!(answer, Err(PackageError::OtherProperties("METADATA_HASH"))), "{answer:?}");
}
