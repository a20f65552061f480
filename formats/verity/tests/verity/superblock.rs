//! Superblocks: round trips and hostile ones.

use proptest::prelude::*;
use verity::{Error, HashAlgorithm, HashFormat, Params, SUPERBLOCK_BYTES, Superblock};

fn sample() -> Superblock {
    let params = Params::new(HashAlgorithm::Sha256, &[0xab; 32]).unwrap();
    Superblock::new(&params, 1000, [7; 16])
}

#[test]
fn what_must_not_be_is_refused_by_name() {
    let good = sample().encode().unwrap();
    let with = |at: usize, byte: u8| {
        let mut bad = good;
        bad[at] = byte;
        Superblock::decode(&bad)
    };
    assert_eq!(with(0, b'V'), Err(Error::NoSuperblock));
    assert_eq!(with(8, 2), Err(Error::SuperblockVersion(2)));
    assert_eq!(with(12, 2), Err(Error::HashFormat(2)));
    assert_eq!(with(32, b'S'), Err(Error::HashAlgorithm("Sha256".into())));
    assert_eq!(with(32 + 31, 1), Err(Error::SuperblockReserved));
    assert_eq!(with(64, 1), Err(Error::BlockSize(4097)));
    assert_eq!(with(68, 1), Err(Error::BlockSize(4097)));
    assert_eq!(with(81, 2), Err(Error::SaltTooLong(544)));
    for reserved in [82, 87, 88 + 32, 343, 344, 511] {
        assert_eq!(with(reserved, 1), Err(Error::SuperblockReserved), "byte {reserved}");
    }
    let huge = Superblock { data_blocks: u64::MAX, ..sample() };
    assert_eq!(huge.data_bytes(), Err(Error::TooLarge(u64::MAX)));
}

proptest! {
    #[test]
    fn a_superblock_survives_encoding(
        uuid: [u8; 16],
        data_blocks: u64,
        salt in prop::collection::vec(any::<u8>(), 0..=256),
        algorithm in prop::sample::select(HashAlgorithm::ALL.to_vec()),
        format in prop::sample::select(vec![HashFormat::ChromeOs, HashFormat::Normal]),
        sizes in (9..=16_u32, 9..=16_u32),
    ) {
        let (data, hash) = (1 << sizes.0, 1 << sizes.1);
        let params = Params::with_block_sizes(algorithm, &salt, data, hash).unwrap();
        let superblock = Superblock::new(&params.with_format(format), data_blocks, uuid);
        let bytes = superblock.encode().unwrap();
        prop_assert_eq!(Superblock::decode(&bytes), Ok(superblock));
    }

    #[test]
    fn strange_bytes_are_errors_or_survive(bytes in prop::collection::vec(any::<u8>(), 504)) {
        let mut whole = [0; SUPERBLOCK_BYTES];
        whole[..8].copy_from_slice(b"verity\0\0");
        whole[8..].copy_from_slice(&bytes);
        if let Ok(read) = Superblock::decode(&whole) {
            prop_assert_eq!(read.encode().unwrap(), whole);
        }
    }
}
