//! Maps of sparse images: read, cut, extended, and what is refused.

use proptest::prelude::*;
use sparse::{CHUNK_HEADER_BYTES, Content, Error, HEADER_BYTES, Header, Map};

const BLOCK: u32 = 4096;

/// A sparse file: its chunks, one after the other, with the data of raw ones.
fn file(chunks: &[(Content, u64)]) -> (Map, Vec<u8>) {
    let mut map = Map::empty(BLOCK).unwrap();
    let mut bytes = map.header().encode().to_vec();
    for (content, size) in chunks {
        bytes.extend(map.append(*content, *size).unwrap());
        if *content == Content::Raw {
            bytes.extend((0..*size).map(|at| at as u8));
        }
    }
    bytes[16..24].copy_from_slice(&map.counts());
    (map, bytes)
}

fn read(bytes: &[u8]) -> Result<Map, Error> {
    let header = Header::decode(bytes)?.ok_or(Error::Truncated)?;
    let mut reader = header.reader();
    while let Some(offset) = reader.next_offset() {
        reader.push(bytes.get(offset as usize..).ok_or(Error::Truncated)?)?;
    }
    reader.finish(bytes.len() as u64)
}

/// The image that a file stands for.
fn expand(map: &Map, bytes: &[u8]) -> Vec<u8> {
    let mut image = Vec::new();
    for chunk in map.chunks() {
        let size = (chunk.output.end - chunk.output.start) as usize;
        match chunk.content {
            Content::Raw => image.extend(&bytes[chunk.data_offset() as usize..][..size]),
            Content::Fill(value) => image.extend(value.iter().cycle().take(size)),
            Content::DontCare | Content::Crc32 => image.extend(vec![0; size]),
        }
    }
    image
}

/// Cuts the map and the file.
fn cut(map: &mut Map, bytes: &mut Vec<u8>, size: u64) -> Result<(), Error> {
    let cut = map.truncate(size)?;
    if let Some((at, head)) = cut.chunk_header {
        bytes[at as usize..][..head.len()].copy_from_slice(&head);
    }
    bytes.truncate(cut.file_size as usize);
    bytes[16..24].copy_from_slice(&map.counts());
    Ok(())
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        Just(Content::Raw),
        any::<[u8; 4]>().prop_map(Content::Fill),
        Just(Content::DontCare),
    ]
}

fn chunks() -> impl Strategy<Value = Vec<(Content, u64)>> {
    prop::collection::vec((content(), (0_u64..4).prop_map(|n| n * u64::from(BLOCK))), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_reads_as_the_same_map(chunks in chunks()) {
        let (map, bytes) = file(&chunks);
        prop_assert_eq!(bytes.len() as u64, map.file_size());
        let again = read(&bytes).unwrap();
        prop_assert_eq!(again.chunks(), map.chunks());
        prop_assert_eq!(again, map);
    }

    #[test]
    fn a_cut_image_is_the_front_of_the_image(chunks in chunks(), blocks in 0_u64..20) {
        let (mut map, mut bytes) = file(&chunks);
        let whole = expand(&map, &bytes);
        let size = (blocks * u64::from(BLOCK)).min(map.image_size());
        cut(&mut map, &mut bytes, size).unwrap();
        let again = read(&bytes).unwrap();
        prop_assert_eq!(&again, &map);
        prop_assert_eq!(expand(&again, &bytes), &whole[..size as usize]);
        let (end, _) = (map.image_size(), map.append(Content::DontCare, 4096).unwrap());
        prop_assert_eq!(map.image_size(), end + 4096);
    }

    #[test]
    fn any_bytes_are_a_map_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_, mut bytes) = (read(&bytes).is_ok(), bytes);
        let head = file(&[(Content::DontCare, 8192)]).1;
        let size = bytes.len().min(HEADER_BYTES);
        bytes[..size].copy_from_slice(&head[..size]);
        let _ = read(&bytes);
    }
}

#[test]
fn every_chunk_is_found_by_its_bytes() {
    let (map, _) =
        file(&[(Content::Raw, 8192), (Content::Fill([1, 2, 3, 4]), 0), (Content::DontCare, 4096)]);
    for (offset, content) in [
        (0, Some(Content::Raw)),
        (8191, Some(Content::Raw)),
        (8192, Some(Content::DontCare)),
        (12287, Some(Content::DontCare)),
        (12288, None),
    ] {
        assert_eq!(map.chunk_at(offset).map(|chunk| chunk.content), content, "{offset}");
    }
}

#[test]
fn a_raw_file_is_no_sparse_image() {
    assert_eq!(Header::decode(b""), Ok(None));
    assert_eq!(Header::decode(&[0; 100]), Ok(None));
    let (_, bytes) = file(&[]);
    assert_eq!(Header::decode(&bytes[..HEADER_BYTES - 1]), Ok(None));
}

#[test]
fn malformed_headers_and_chunks_are_named() {
    let (_, good) = file(&[(Content::Raw, 4096), (Content::Fill([7; 4]), 4096)]);
    let chunk = HEADER_BYTES;
    let fill = HEADER_BYTES + CHUNK_HEADER_BYTES + 4096;
    let cases: [(usize, &[u8], Error); 9] = [
        (4, &[2], Error::Version { major: 2, minor: 0 }),
        (8, &[29], Error::HeaderField { field: "file_hdr_sz", value: 29 }),
        (10, &[13], Error::HeaderField { field: "chunk_hdr_sz", value: 13 }),
        (12, &[0, 0, 0, 0], Error::HeaderField { field: "blk_sz", value: 0 }),
        (16, &[3], Error::Blocks { need: 3, have: 2 }),
        (20, &[1], Error::Blocks { need: 2, have: 1 }),
        (chunk, &[0xff], Error::ChunkType(0xcaff)),
        (chunk + 4, &[2], Error::ChunkSize { kind: "Raw", have: 4096, need: 8192 }),
        (fill + 8, &[20], Error::ChunkSize { kind: "Fill", have: 8, need: 4 }),
    ];
    for (at, patch, error) in cases {
        let mut bytes = good.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        assert_eq!(read(&bytes), Err(error));
    }
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(read(&longer), Err(Error::TrailingBytes(1)));
    for size in 0..good.len() {
        assert!(read(&good[..size]).is_err(), "{size}");
    }
}

#[test]
fn changes_inside_a_block_are_refused() {
    let (mut map, _) = file(&[(Content::Raw, 8192)]);
    assert_eq!(map.truncate(1), Err(Error::Unaligned(1)));
    assert_eq!(map.append(Content::DontCare, 1), Err(Error::Unaligned(1)));
    assert_eq!(map.truncate(12288), Err(Error::Unaligned(12288)));
}

#[test]
fn sizes_that_do_not_fit_their_fields_are_refused() {
    let (mut map, _) = file(&[]);
    assert_eq!(map.append(Content::Raw, 1 << 32), Err(Error::TooLarge("total_sz")));
    assert_eq!(map.append(Content::DontCare, 1 << 44), Err(Error::TooLarge("chunk_sz")));
    map.append(Content::DontCare, (1 << 44) - 4096).unwrap();
    assert_eq!(map.append(Content::DontCare, 4096), Err(Error::TooLarge("total_blks")));
    assert_eq!(map.image_size(), (1 << 44) - 4096);
}
