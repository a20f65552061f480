//! The tools that stand on their own: one folder a tool, with its command line, its files and its
//! threads. What they know about formats is in the format crates.

pub(crate) mod attest;
pub(crate) mod avb;
pub(crate) mod bootimg;
pub(crate) mod ota;
pub(crate) mod rpmb;
mod signing_helper;
pub(crate) mod verity;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Opens what is read at offsets: a file or a device. A pipe is refused: opening it would wait for
/// a writer, perhaps forever.
fn open_image(path: &Path, options: &OpenOptions) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
        return Err(rustix::io::Errno::SPIPE.into());
    }
    options.open(path)
}
