//! Vendor boot images.

use bootimg::boot::{BootImageError, Image, VendorBootImage, VendorRamdisk, VendorVersion};
use proptest::prelude::*;

fn sample(version: VendorVersion) -> VendorBootImage<'static> {
    let is_v4 = version == VendorVersion::V4;
    let plain = VendorRamdisk { data: &[1; 3000], ..VendorRamdisk::default() };
    let named = |data, name, kind| VendorRamdisk { data, kind, name, board_id: [kind; 16] };
    VendorBootImage {
        version,
        page_bytes: 2048,
        kernel_address: 0x1000_8000,
        ramdisk_address: 0x1100_0000,
        tags_address: 0x1000_0100,
        dtb_address: 0x11f0_0000,
        cmdline: "androidboot.hardware=x",
        board: "board",
        ramdisks: if is_v4 {
            vec![plain, named(b"modules", "dlkm", 3), named(b"", "recovery", 2)]
        } else {
            vec![plain]
        },
        dtb: b"\xd0\x0d\xfe\xed",
        bootconfig: if is_v4 { b"androidboot.x=1\n" } else { b"" },
    }
}

const VERSIONS: [VendorVersion; 3] =
    [VendorVersion::V3, VendorVersion::V3OfAndroid11, VendorVersion::V4];

#[test]
fn parts_lie_on_pages_behind_a_header_of_two() {
    for (version, pages) in VERSIONS.into_iter().zip([5, 5, 7]) {
        let image = sample(version);
        let bytes = image.encode().unwrap();
        assert_eq!(bytes.len(), pages * 2048);
        assert_eq!(&bytes[4096..4096 + 3000], &[1; 3000]);
        assert_eq!(&bytes[4 * 2048..4 * 2048 + 4], b"\xd0\x0d\xfe\xed");
        assert_eq!(VendorBootImage::parse(&bytes), Ok(image.clone()));
        assert_eq!(Image::parse(&bytes), Ok(Image::Vendor(image)));
    }
}

#[test]
fn ramdisks_of_version_4_follow_each_other_without_padding() {
    let bytes = sample(VendorVersion::V4).encode().unwrap();
    assert_eq!(&bytes[4096 + 3000..][..7], b"modules");
    let table = &bytes[5 * 2048..];
    for (nth, (size, offset, kind)) in
        [(3000_u32, 0_u32, 0_u32), (7, 3000, 3), (0, 3007, 2)].into_iter().enumerate()
    {
        let entry = &table[nth * 108..];
        let numbers = [size, offset, kind].map(u32::to_le_bytes).concat();
        assert_eq!(&entry[..12], numbers, "entry {nth}");
    }
    assert_eq!(&table[108 + 12..108 + 17], b"dlkm\0");
    assert_eq!(&bytes[6 * 2048..][..16], b"androidboot.x=1\n");
}

#[test]
fn every_byte_has_a_meaning() {
    for version in VERSIONS {
        let image = sample(version);
        let bytes = image.encode().unwrap();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 0x40;
            if let Ok(read) = VendorBootImage::parse(&altered) {
                assert_ne!(read, image, "byte {at}");
                assert_eq!(read.encode().unwrap(), altered, "byte {at}");
            }
        }
        for size in 0..bytes.len() {
            assert!(VendorBootImage::parse(&bytes[..size]).is_err(), "{size} bytes");
        }
    }
}

#[test]
fn tables_that_do_not_describe_the_ramdisks_are_refused() {
    const TABLE: usize = 5 * 2048;
    let bytes = sample(VendorVersion::V4).encode().unwrap();
    for (at, value, error) in [
        (TABLE + 4, 1_u32, BootImageError::Field("ramdisk_offset")),
        (TABLE + 108 + 4, 0, BootImageError::Field("ramdisk_offset")),
        (TABLE + 108, 8, BootImageError::Size("vendor ramdisk")),
        (TABLE + 216, u32::MAX, BootImageError::Size("vendor ramdisk")),
        // Table size, number and size of entries.
        (2112, 0, BootImageError::Field("vendor_ramdisk_table_size")),
        (2116, 2, BootImageError::Field("vendor_ramdisk_table_size")),
        (2116, u32::MAX, BootImageError::Field("vendor_ramdisk_table_size")),
        (2120, 109, BootImageError::Field("vendor_ramdisk_table_size")),
        (24, 3006, BootImageError::Size("vendor ramdisk")),
        (24, 3008, BootImageError::Field("vendor_ramdisk_size")),
        (8, 5, BootImageError::Version(5)),
        (12, 1000, BootImageError::Field("page_size")),
        (2096, 2112, BootImageError::Field("header_size")),
    ] {
        let mut altered = bytes.clone();
        altered[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let got = VendorBootImage::parse(&altered);
        assert!(
            got == Err(error.clone()) || matches!(got, Err(BootImageError::Padding(_))),
            "{at}: {got:?} is not {error:?}"
        );
    }
}

#[test]
fn what_a_version_does_not_have_is_refused() {
    let (v3, v4) = (sample(VendorVersion::V3), sample(VendorVersion::V4));
    let twice = vec![v4.ramdisks[1].clone(), v4.ramdisks[1].clone()];
    let named = vec![v4.ramdisks[1].clone()];
    let long = "n".repeat(33);
    let long = vec![VendorRamdisk { name: &long, ..VendorRamdisk::default() }];
    for (image, field) in [
        (VendorBootImage { bootconfig: b"x", ..v3.clone() }, "vendor_ramdisk_size"),
        (VendorBootImage { ramdisks: vec![], ..v3.clone() }, "vendor_ramdisk_size"),
        (VendorBootImage { ramdisks: named, ..v3.clone() }, "vendor_ramdisk_size"),
        (VendorBootImage { ramdisks: twice, ..v4.clone() }, "ramdisk_name"),
        (VendorBootImage { ramdisks: long, ..v4.clone() }, "ramdisk_name"),
        (VendorBootImage { page_bytes: 0, ..v4.clone() }, "page_size"),
    ] {
        assert_eq!(image.encode(), Err(BootImageError::Field(field)));
    }
    let empty = VendorBootImage { ramdisks: vec![], dtb: b"", bootconfig: b"", ..v4 };
    assert_eq!(VendorBootImage::parse(&empty.encode().unwrap()), Ok(empty));
}

proptest! {
    #[test]
    fn images_round_trip(
        page_bytes in prop::sample::select(&[2048_u32, 4096][..]),
        ramdisks in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..3000), any::<u32>(), any::<[u32; 16]>()), 0..5),
        dtb in prop::collection::vec(any::<u8>(), 0..3000),
        bootconfig in prop::collection::vec(any::<u8>(), 0..3000),
        cmdline in "[ -~]{0,2048}",
    ) {
        let names = ["", "a", "b", "platform", "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"];
        let ramdisks = ramdisks
            .iter()
            .zip(names)
            .map(|((data, kind, board_id), name)| VendorRamdisk { data, kind: *kind, name, board_id: *board_id })
            .collect();
        let image = VendorBootImage {
            page_bytes,
            ramdisks,
            dtb: &dtb,
            bootconfig: &bootconfig,
            cmdline: &cmdline,
            ..sample(VendorVersion::V4)
        };
        let bytes = image.encode().unwrap();
        prop_assert_eq!(VendorBootImage::parse(&bytes), Ok(image));
    }

    #[test]
    fn strange_headers_are_errors(at in 8..2128_usize, value: u32) {
        let mut bytes = sample(VendorVersion::V4).encode().unwrap();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        if let Ok((image, rest)) = Image::parse_prefix(&bytes) {
            prop_assert_eq!([&image.encode().unwrap()[..], rest].concat(), bytes);
        }
    }
}
