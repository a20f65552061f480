//! Android boot images, compared with mkbootimg.

use crate::peer::{program, run};
use bootimg::boot::{BootImage, BootImageError, HeaderVersion, OsVersion, PAGE_BYTES};
use proptest::prelude::*;
use std::process::Command;

const OS_VERSION: OsVersion = OsVersion { version: (16, 0, 1), patch_level: (2026, 11) };

fn sample() -> BootImage<'static> {
    BootImage {
        version: HeaderVersion::V4,
        kernel: b"\x7fELF a kernel",
        ramdisk: b"070701",
        os_version: OS_VERSION,
        cmdline: "console=ttyS0 quiet",
        signature: b"",
    }
}

#[test]
fn parts_lie_on_pages() {
    let kernel = vec![1; PAGE_BYTES + 1];
    let image = BootImage { kernel: &kernel, ..sample() };
    let bytes = image.encode().unwrap();
    assert_eq!(bytes.len(), 4 * PAGE_BYTES);
    assert_eq!(&bytes[3 * PAGE_BYTES..3 * PAGE_BYTES + 6], b"070701");
    assert_eq!(BootImage::parse(&bytes), Ok(image));
}

/// A boot image is hashed as a whole before it is read; even so nothing in it is free.
#[test]
fn every_byte_has_a_meaning() {
    let image = sample();
    let bytes = image.encode().unwrap();
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 0x80;
        assert_ne!(BootImage::parse(&altered), Ok(sample()), "byte {at}");
    }
}

#[test]
fn trailing_bytes_and_cut_images_are_refused() {
    let bytes = sample().encode().unwrap();
    let longer = [&bytes[..], &[0; 7]].concat();
    assert_eq!(BootImage::parse(&longer), Err(BootImageError::TrailingBytes(7)));
    assert_eq!(BootImage::parse_prefix(&longer).unwrap(), (sample(), &[0; 7][..]));
    for size in 0..bytes.len() {
        assert!(BootImage::parse(&bytes[..size]).is_err(), "{size} bytes");
    }
}

#[test]
fn other_versions_are_refused() {
    for version in [0_u32, 1, 2, 5, u32::MAX] {
        let mut bytes = sample().encode().unwrap();
        bytes[40..44].copy_from_slice(&version.to_le_bytes());
        assert_eq!(BootImage::parse(&bytes), Err(BootImageError::Version(version)));
    }
}

#[test]
fn fields_that_do_not_fit_are_refused() {
    let long = "x".repeat(1536);
    assert!(BootImage { cmdline: &long[1..], ..sample() }.encode().is_ok());
    for cmdline in [&long[..], "a\0b"] {
        let image = BootImage { cmdline, ..sample() };
        assert_eq!(image.encode(), Err(BootImageError::Field("cmdline")));
    }
    for (version, patch_level) in
        [((128, 0, 0), (2026, 1)), ((1, 0, 0), (1999, 1)), ((1, 0, 0), (2026, 13))]
    {
        let image = BootImage { os_version: OsVersion { version, patch_level }, ..sample() };
        assert_eq!(image.encode(), Err(BootImageError::Field("os_version")));
    }
}

#[test]
fn reads_what_mkbootimg_writes() {
    let Some(mkbootimg) = program("mkbootimg", "mkbootimg") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("kernel"), sample().kernel).unwrap();
    std::fs::write(path("ramdisk"), sample().ramdisk).unwrap();
    run(Command::new(&mkbootimg)
        .args(["--header_version", "3", "--os_version", "16.0.1"])
        .args(["--os_patch_level", "2026-11", "--cmdline", sample().cmdline])
        .arg("--kernel")
        .arg(path("kernel"))
        .arg("--ramdisk")
        .arg(path("ramdisk"))
        .arg("-o")
        .arg(path("boot.img")));
    let theirs = std::fs::read(path("boot.img")).unwrap();
    // Debian's mkbootimg is of Android 11 and counts 16 bytes too many.
    let ours = BootImage { version: HeaderVersion::V3OfAndroid11, ..sample() };
    assert_eq!(BootImage::parse(&theirs), Ok(ours.clone()));
    assert_eq!(ours.encode().unwrap(), theirs);
}

#[test]
fn header_sizes_belong_to_versions() {
    for (version, number, size) in [
        (HeaderVersion::V3, 3, 1580_u32),
        (HeaderVersion::V3OfAndroid11, 3, 1596),
        (HeaderVersion::V4, 4, 1584),
    ] {
        let mut bytes = BootImage { version, ..sample() }.encode().unwrap();
        assert_eq!((bytes[40], &bytes[20..24]), (number, &size.to_le_bytes()[..]));
        assert_eq!(BootImage::parse(&bytes).unwrap().version, version);
        bytes[20] ^= 1;
        assert_eq!(BootImage::parse(&bytes), Err(BootImageError::Field("header_size")));
    }
    let signed = BootImage { version: HeaderVersion::V3, signature: b"s", ..sample() };
    assert_eq!(signed.encode(), Err(BootImageError::Field("signature_size")));
}

proptest! {
    #[test]
    fn images_round_trip(
        kernel in prop::collection::vec(any::<u8>(), 0..9000),
        ramdisk in prop::collection::vec(any::<u8>(), 0..5000),
        signature in prop::collection::vec(any::<u8>(), 0..5000),
        cmdline in "[ -~]{0,200}",
        version in (0..128_u8, 0..128_u8, 0..128_u8),
        patch_level in (2000..2128_u16, 1..13_u8),
    ) {
        let image = BootImage {
            version: HeaderVersion::V4,
            kernel: &kernel,
            ramdisk: &ramdisk,
            os_version: OsVersion { version, patch_level },
            cmdline: &cmdline,
            signature: &signature,
        };
        let bytes = image.encode().unwrap();
        prop_assert_eq!(BootImage::parse(&bytes), Ok(image));
    }

    #[test]
    fn strange_headers_are_errors(at in 8..1584_usize, value: u32) {
        let mut bytes = sample().encode().unwrap();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        if let Ok(image) = BootImage::parse(&bytes) {
            prop_assert_eq!(image.encode().unwrap(), bytes);
        }
    }
}
