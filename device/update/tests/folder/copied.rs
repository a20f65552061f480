//! Files that somebody copies over.

use crate::{bytes, names};
use crypto::digest::sha256;
use device_update::copied::{Copied, CopyError};
use device_update::partial::PartialError;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

fn take(folder: &Path, from: &mut dyn Read, due: Option<u64>) -> Result<Copied, CopyError> {
    Copied::take(folder, from, due, &|_| {})
}

#[test]
fn s2_6_a_file_gets_its_name_once_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let package = bytes(700_000);
    let copied = take(folder.path(), &mut &package[..], Some(700_000)).unwrap();
    assert_eq!(names(folder.path()), ["copied.part"]);
    let announced = copied.keep().unwrap();
    assert_eq!((announced.size, announced.sha256), (700_000, sha256(&package)));
    assert_eq!(fs::read(announced.whole(folder.path())).unwrap(), package);
    assert_eq!(names(folder.path()).len(), 1);
}

#[test]
fn s2_6_a_file_that_is_refused_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let package = bytes(1000);
    let short = take(folder.path(), &mut &package[..], Some(1001));
    assert!(matches!(short, Err(CopyError::Truncated { came: 1000, due: Some(1001) })));
    let long = take(folder.path(), &mut &package[..], Some(999));
    assert!(matches!(long, Err(CopyError::Disk(PartialError::Longer(999)))));
    let huge = take(folder.path(), &mut io::empty(), Some(u64::MAX));
    assert!(matches!(huge, Err(CopyError::TooLarge)));
    let no_room = take(folder.path(), &mut io::empty(), Some(1 << 40));
    assert!(matches!(no_room, Err(CopyError::Disk(PartialError::DiskFull { .. }))));
    // Not judged, say because its judge refused.
    drop(take(folder.path(), &mut &package[..], None).unwrap());
    assert_eq!(names(folder.path()), [""; 0]);
}
