//! The user's files: the credential-encrypted area, while it is open.

use super::Device;
use crate::error::Error;
use crypto::secret::Secret;
use serde::Serialize;
use snapshot::path::TreePath;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use vault::{Area, FileReader, Kind, VaultError};

/// The area of the device's only user.
const AREA: &str = "ce/0";
/// Bytes that are decrypted at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What a transfer came to.
#[derive(Debug, Clone, Serialize)]
pub struct Transfer {
    /// Files, further names not counted.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Symbolic links and further names of files.
    pub links: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Names that the area had and the archive did not: removed where that was asked for.
    pub removed: u64,
    /// Everything that was left out.
    pub skipped: Vec<Skipped>,
}

/// What becomes of files that an archive does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They stay.
    Stay,
    /// They are removed once the whole archive came.
    Go,
}

/// Something that was left out.
#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    /// Its path; bytes that are not UTF-8 replaced.
    pub path: String,
    /// Why.
    pub why: String,
}

impl From<treetar::Summary> for Transfer {
    fn from(summary: treetar::Summary) -> Self {
        let skipped = |skipped: treetar::Skipped| Skipped {
            path: String::from_utf8_lossy(&skipped.path).into_owned(),
            why: skipped.why,
        };
        Self {
            files: summary.files,
            dirs: summary.dirs,
            links: summary.symlinks + summary.hardlinks,
            bytes: summary.bytes,
            removed: 0,
            skipped: summary.skipped.into_iter().map(skipped).collect(),
        }
    }
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// What it holds, sorted by name.
    pub entries: Vec<Entry>,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name: bytes.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of a file.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Milliseconds since 1970 of the last change; negative before.
    pub mtime_ms: i64,
    /// Where a symbolic link points.
    pub target: Option<Vec<u8>>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A file.
    File,
    /// A directory.
    Folder,
    /// A symbolic link; never followed.
    Symlink,
}

impl Device {
    /// Imports a tar archive (pax). What came is durable when this returns.
    pub fn import(&self, from: impl Read + Send, others: Others) -> Result<Transfer, Error> {
        let (area, watch) = self.area()?;
        let from = Guarded { inner: from, watch };
        let imported = match others {
            Others::Stay => vault::import_tar(from, &area).map(|summary| (summary, 0)),
            Others::Go => vault::replace_with_tar(from, &area),
        };
        let (summary, removed) = imported.map_err(|error| transfer_error(self, error))?;
        self.touch();
        Ok(Transfer { removed, ..summary.into() })
    }

    /// Writes the whole area as a tar archive (pax).
    pub fn export(&self, to: impl Write + Send) -> Result<Transfer, Error> {
        let (area, watch) = self.area()?;
        let to = Guarded { inner: to, watch };
        let summary = vault::export_tar(&area, to).map_err(|error| transfer_error(self, error))?;
        Ok(summary.into())
    }

    /// What the folder at `path` holds.
    pub fn list(&self, path: &[u8]) -> Result<Listing, Error> {
        let (area, _) = self.area()?;
        let path = tree_path(path)?;
        let mut entries = Vec::new();
        for (name, metadata) in area.list(&path).map_err(vault_error)? {
            let (kind, size) = match metadata.kind {
                Kind::File { size } => (EntryKind::File, size),
                Kind::Directory => (EntryKind::Folder, 0),
                Kind::Symlink => (EntryKind::Symlink, 0),
            };
            let target = match kind {
                EntryKind::Symlink => {
                    let link = path.join(&name).map_err(bad_path)?;
                    Some(area.read_link(&link).map_err(vault_error)?)
                }
                _ => None,
            };
            let attributes = metadata.attributes;
            let millis = i64::from(attributes.mtime_ns / 1_000_000);
            entries.push(Entry {
                name,
                kind,
                size,
                mode: attributes.mode.into(),
                mtime_ms: attributes.mtime_s.saturating_mul(1000).saturating_add(millis),
                target,
            });
        }
        Ok(Listing { entries })
    }

    /// Opens the file at `path`.
    pub fn content(&self, path: &[u8]) -> Result<Content, Error> {
        let (area, watch) = self.area()?;
        let file = area.read_file(&tree_path(path)?).map_err(vault_error)?;
        Ok(Content { file, watch })
    }

    /// The open area, and the means to notice that it was closed meanwhile.
    pub(super) fn area(&self) -> Result<(Area, Watch), Error> {
        self.refuse_if_erased()?;
        let live = self.live();
        let area = live.area.clone().ok_or(Error::Locked)?;
        Ok((area, Watch { epoch: self.epoch.subscribe(), began: *self.epoch.borrow() }))
    }

    /// Opens the area with its key, or makes it where the record knows of none. What lies there
    /// then was left by a state that was erased, or by a start that was cut off: void.
    pub(super) fn open_area(&self, key: &Secret<32>) -> Result<Area, Error> {
        let folder = self.area_folder();
        let known = self.userdata().area(AREA);
        if let Some(id) = known {
            return Area::open(&folder, key, &id).map_err(vault_error);
        }
        vault::erase(&folder).map_err(Error::io("the files of an earlier state"))?;
        let parent = folder.parent().unwrap_or(&folder);
        std::fs::create_dir_all(parent).map_err(Error::io("the user's folder"))?;
        let area = Area::create(&folder, key).map_err(vault_error)?;
        let id = area.id();
        self.userdata().set_area(AREA, id)?;
        Ok(area)
    }

    fn area_folder(&self) -> PathBuf {
        self.folders.data.join("ce").join("0")
    }
}

/// A file that was opened.
pub struct Content {
    file: FileReader,
    watch: Watch,
}

impl Content {
    /// Its size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.file.size()
    }

    /// Writes the content; breaks off when the area is closed.
    pub fn write_to(mut self, to: impl Write) -> io::Result<()> {
        let mut to = Guarded { inner: to, watch: self.watch };
        let (mut at, mut chunk) = (0, Vec::new());
        loop {
            chunk.clear();
            self.file.read_range(at, CHUNK_BYTES, &mut chunk).map_err(io::Error::other)?;
            if chunk.is_empty() {
                return Ok(());
            }
            to.write_all(&chunk)?;
            at += chunk.len() as u64;
        }
    }
}

/// Notices that the area was closed by force.
#[derive(Clone)]
pub(super) struct Watch {
    epoch: tokio::sync::watch::Receiver<u64>,
    began: u64,
}

impl Watch {
    /// An error once the area was closed.
    pub(super) fn check(&self) -> io::Result<()> {
        if *self.epoch.borrow() == self.began {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "the device was locked meanwhile"))
    }
}

/// A stream that breaks off when the area is closed, so that no transfer outlives its key.
pub(super) struct Guarded<T> {
    pub(super) inner: T,
    pub(super) watch: Watch,
}

impl<T: Read> Read for Guarded<T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.watch.check()?;
        self.inner.read(out)
    }
}

impl<T: Write> Write for Guarded<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.watch.check()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A path from outside: `/` at either end means nothing.
fn tree_path(path: &[u8]) -> Result<TreePath, Error> {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(start, |last| last + 1);
    TreePath::new(&path[start..end]).map_err(bad_path)
}

fn bad_path(error: impl std::fmt::Display) -> Error {
    Error::BadRequest(format!("the path: {error}"))
}

pub(super) fn vault_error(error: VaultError) -> Error {
    match error {
        VaultError::NotFound { .. } => Error::NotFound("what the path names".into()),
        error => Error::Vault(error),
    }
}

/// A transfer that broke off because the device was locked says so.
fn transfer_error(device: &Device, error: vault::TransferError) -> Error {
    if device.live().area.is_none() { Error::Locked } else { Error::Transfer(error) }
}
