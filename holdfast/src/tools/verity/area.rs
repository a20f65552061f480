//! A part of a file or a block device.

use crate::exit::Lacking;
use anyhow::Result;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// An open file or block device, from some byte on.
#[derive(Debug)]
pub(crate) struct Area {
    file: File,
    path: PathBuf,
    start: u64,
}

/// What is done with an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It is read only.
    Read,
    /// It is read and written.
    Write,
    /// As `Write`; a missing file is made.
    Make,
}

impl Area {
    /// Opens `path`.
    pub(crate) fn open(path: &Path, access: Access) -> Result<Self> {
        let write = access != Access::Read;
        let mut options = OpenOptions::new();
        options.read(true).write(write).create(access == Access::Make).truncate(false);
        let opened = crate::tools::open_image(path, &options);
        let file = opened.map_err(|error| Lacking(format!("{}: {error}", path.display())))?;
        Ok(Self { file, path: path.to_owned(), start: 0 })
    }

    /// The same file from byte `start` on.
    pub(crate) fn from(mut self, start: u64) -> Self {
        self.start = start;
        self
    }

    /// Where it begins in its file.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    /// Bytes of the whole file or device.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        // A block device says its size only when it is sought.
        (&self.file).seek(SeekFrom::End(0)).map_err(|error| self.failed(&error))
    }

    /// Whether both are of one file or device.
    pub(crate) fn is_of(&self, other: &Self) -> Result<bool> {
        let id = |area: &Self| {
            let metadata = area.file.metadata().map_err(|error| area.failed(&error))?;
            anyhow::Ok((metadata.dev(), metadata.ino()))
        };
        Ok(id(self)? == id(other)?)
    }

    /// Reads from byte `at` of the area on.
    pub(crate) fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(out, self.start + at).map_err(|error| self.failed(&error))
    }

    /// Writes from byte `at` of the area on.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, self.start + at).map_err(|error| self.failed(&error))
    }

    /// Makes the file at least so long, with zeros.
    pub(crate) fn grow(&self, bytes: u64) -> Result<()> {
        if self.file_bytes()? >= bytes {
            return Ok(());
        }
        self.file.set_len(bytes).map_err(|error| self.failed(&error))
    }

    /// Returns once what was written would survive a power cut.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> anyhow::Error {
        let what = match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
            _ => error.to_string(),
        };
        Lacking(format!("{}: {what}", self.path.display())).into()
    }
}
