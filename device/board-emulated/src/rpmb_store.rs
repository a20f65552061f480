//! Where the board keeps its RPMB chip, and how large that is.

use rpmb_chip::FileStore;
use std::io;
use std::path::Path;

/// Blocks of the emulated chip: 4 MiB.
pub const BLOCKS: u32 = 16_384;
const FILE: &str = "rpmb.bin";

/// Solders a factory-fresh chip into the board in `folder`; refuses where there is one.
pub fn create(folder: &Path) -> io::Result<FileStore> {
    FileStore::create(&folder.join(FILE), BLOCKS)
}

/// Leaves the chip of the board in `folder` to its owner alone. Whether others could use it.
pub(crate) fn close_to_others(folder: &Path) -> io::Result<bool> {
    crate::fuses::close_to_others(&folder.join(FILE))
}

/// Opens the chip of the board in `folder`.
pub fn open(folder: &Path) -> io::Result<FileStore> {
    FileStore::open(&folder.join(FILE))
}
