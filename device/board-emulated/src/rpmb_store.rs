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

/// Opens the chip of the board in `folder`.
pub fn open(folder: &Path) -> io::Result<FileStore> {
    FileStore::open(&folder.join(FILE))
}
