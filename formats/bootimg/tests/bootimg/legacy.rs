//! Boot images of version 0, 1 and 2.

use bootimg::boot::{BootImageError, Image, LegacyBootImage, LegacyVersion, OsVersion};
use proptest::prelude::*;

fn sample(version: LegacyVersion) -> LegacyBootImage<'static> {
    let mut image = LegacyBootImage {
        version,
        page_bytes: 2048,
        kernel: b"a kernel",
        ramdisk: &[0x1f; 2049],
        second: b"second",
        recovery_dtbo: if version >= LegacyVersion::V1 { b"overlay" } else { b"" },
        dtb: if version == LegacyVersion::V2 { b"\xd0\x0d\xfe\xed" } else { b"" },
        kernel_address: 0x1000_8000,
        ramdisk_address: 0x1100_0000,
        second_address: 0x10f0_0000,
        tags_address: 0x1000_0100,
        dtb_address: if version == LegacyVersion::V2 { 0x11f0_0000 } else { 0 },
        os_version: OsVersion { version: (10, 0, 0), patch_level: (2019, 9) },
        board: "board",
        cmdline: "console=ttyS0",
        extra_cmdline: "",
        id: [0; 32],
    };
    image.id = image.computed_id();
    image
}

const VERSIONS: [LegacyVersion; 3] = [LegacyVersion::V0, LegacyVersion::V1, LegacyVersion::V2];

#[test]
fn each_version_has_its_parts_on_pages() {
    for (version, pages) in VERSIONS.into_iter().zip([5, 6, 7]) {
        let image = sample(version);
        let bytes = image.encode().unwrap();
        assert_eq!(bytes.len(), pages * 2048);
        assert_eq!(&bytes[2048..2056], b"a kernel");
        assert_eq!(&bytes[4 * 2048..4 * 2048 + 6], b"second");
        assert_eq!(LegacyBootImage::parse(&bytes), Ok(image.clone()));
        assert_eq!(Image::parse(&bytes), Ok(Image::Legacy(image.clone())));
        assert_eq!(Image::Legacy(image).encode().unwrap(), bytes);
    }
    let image = sample(LegacyVersion::V1);
    let bytes = image.encode().unwrap();
    assert_eq!(image.recovery_dtbo_offset(), 5 * 2048);
    assert_eq!(&bytes[5 * 2048..][..7], b"overlay");
    assert_eq!(&bytes[1636..1644], &(5_u64 * 2048).to_le_bytes());
}

#[test]
fn the_id_is_a_sha_1_over_parts_and_sizes() {
    let ids = VERSIONS.map(|version| sample(version).id);
    assert!(ids.iter().all(|id| id[..20] != [0; 20] && id[20..] == [0; 12]));
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    // printf 'k\1\0\0\0\0\0\0\0\0\0\0\0' | sha1sum
    let image = LegacyBootImage { kernel: b"k", page_bytes: 2048, ..LegacyBootImage::default() };
    let id: String = image.computed_id()[..20].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(id, KERNEL_K);
}

const KERNEL_K: &str = "6eb85befb7d5c71b48c6575e1221a74c71d05dbe";

#[test]
fn every_byte_has_a_meaning() {
    for version in VERSIONS {
        let image = sample(version);
        let bytes = image.encode().unwrap();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 0x40;
            match LegacyBootImage::parse(&altered) {
                Ok(read) => {
                    assert_ne!(read, image, "byte {at}");
                    assert_eq!(read.encode().unwrap(), altered, "byte {at}");
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        for size in 0..bytes.len() {
            assert!(LegacyBootImage::parse(&bytes[..size]).is_err(), "{size} bytes");
        }
        let longer = [&bytes[..], b"more"].concat();
        assert_eq!(LegacyBootImage::parse(&longer), Err(BootImageError::TrailingBytes(4)));
        assert_eq!(Image::parse_prefix(&longer).unwrap().1, b"more");
    }
}

#[test]
fn parts_that_a_version_does_not_have_are_refused() {
    let (v0, v1, v2) =
        (sample(LegacyVersion::V0), sample(LegacyVersion::V1), sample(LegacyVersion::V2));
    let long = "x".repeat(1025);
    for (image, error) in [
        (LegacyBootImage { recovery_dtbo: b"x", ..v0.clone() }, "recovery_dtbo_size"),
        (LegacyBootImage { dtb: b"x", ..v1.clone() }, "dtb_size"),
        (LegacyBootImage { dtb: b"", ..v2.clone() }, "dtb_size"),
        (LegacyBootImage { page_bytes: 1024, ..v0.clone() }, "page_size"),
        (LegacyBootImage { page_bytes: 5000, ..v0.clone() }, "page_size"),
        (LegacyBootImage { page_bytes: 1 << 18, ..v0.clone() }, "page_size"),
        (LegacyBootImage { board: &long[..17], ..v0.clone() }, "board"),
        (LegacyBootImage { board: "a\0b", ..v0.clone() }, "board"),
        (LegacyBootImage { cmdline: &long[..513], ..v0.clone() }, "cmdline"),
        (LegacyBootImage { extra_cmdline: &long, ..v0.clone() }, "extra_cmdline"),
    ] {
        assert_eq!(image.encode(), Err(BootImageError::Field(error)));
    }
    // Fields that are full have no NUL behind them.
    let full = LegacyBootImage {
        cmdline: &long[..512],
        extra_cmdline: &long[1..],
        board: &long[..16],
        ..v0
    };
    assert_eq!(LegacyBootImage::parse(&full.encode().unwrap()), Ok(full));
}

#[test]
fn an_overlay_that_is_said_to_be_elsewhere_is_refused() {
    let mut bytes = sample(LegacyVersion::V1).encode().unwrap();
    bytes[1636..1644].copy_from_slice(&2048_u64.to_le_bytes());
    let refused = LegacyBootImage::parse(&bytes);
    assert_eq!(refused, Err(BootImageError::Field("recovery_dtbo_offset")));
}

proptest! {
    #[test]
    fn images_round_trip(
        version in prop::sample::select(&VERSIONS[..]),
        page_bytes in prop::sample::select(&[2048_u32, 4096, 16384][..]),
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..5000), 5),
        addresses in any::<(u32, u32, u32, u32, u64)>(),
        cmdline in "[ -~]{0,200}",
        id in any::<[u8; 32]>(),
    ) {
        let full = LegacyBootImage {
            page_bytes,
            kernel: &parts[0],
            ramdisk: &parts[1],
            second: &parts[2],
            recovery_dtbo: if version >= LegacyVersion::V1 { &parts[3] } else { b"" },
            dtb: if version >= LegacyVersion::V2 { &parts[4] } else { b"" },
            kernel_address: addresses.0,
            ramdisk_address: addresses.1,
            second_address: addresses.2,
            tags_address: addresses.3,
            dtb_address: if version >= LegacyVersion::V2 { addresses.4 } else { 0 },
            cmdline: &cmdline,
            id,
            ..sample(version)
        };
        let bytes = full.encode().unwrap();
        prop_assert_eq!(LegacyBootImage::parse(&bytes), Ok(full));
    }

    #[test]
    fn strange_headers_are_errors(at in 8..1660_usize, value: u32) {
        let mut bytes = sample(LegacyVersion::V2).encode().unwrap();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        if let Ok((image, rest)) = Image::parse_prefix(&bytes) {
            prop_assert_eq!([&image.encode().unwrap()[..], rest].concat(), bytes);
        }
    }
}
