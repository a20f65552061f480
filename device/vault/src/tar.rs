//! Areas from and to tar archives.

use crate::area::{Area, Kind};
use crate::batch::Batch;
use crate::error::VaultError;
use crate::header::Attributes;
use snapshot::path::TreePath;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use treetar::read::{Chunk, ReadError, Reader};
use treetar::write::Writer;
use treetar::{Entry, Summary};

/// Bytes that are read from the area at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Why an archive was not carried over to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The archive is malformed or ended early. What came before it was kept.
    #[error(transparent)]
    Archive(#[from] ReadError),
    /// The area.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The receiver of an archive stopped.
    #[error("the archive cannot be written on: {0}")]
    Write(#[from] io::Error),
}

/// Puts what is in the archive into the area: names that are there are replaced, nothing else is
/// touched. Durable when it returns, also where it returns an error: whole files then, up to
/// where the archive broke.
///
/// Nothing leaves the area: paths that try, links to outside of the archive's own tree, and
/// what an area does not keep are left out and reported.
pub fn import_tar(from: impl Read, area: &Area) -> Result<Summary, TransferError> {
    Import::new(area, None).run(from)
}

/// Makes the area what the archive is: like [`import_tar`], and what is in the area under a
/// name of the archive but of another kind gives way. What the archive does not name is removed
/// once all of it came; where the archive broke, it stays. Says how many names were removed; a
/// directory counts as one.
pub fn replace_with_tar(from: impl Read, area: &Area) -> Result<(Summary, u64), TransferError> {
    let mut named = HashSet::new();
    let summary = Import::new(area, Some(&mut named)).run(from)?;
    let removed = remove_others(area, &TreePath::root(), &named)?;
    area.sync()?;
    Ok((summary, removed))
}

/// Removes what is below `directory` and not in `named`.
fn remove_others(
    area: &Area,
    directory: &TreePath,
    named: &HashSet<TreePath>,
) -> Result<u64, VaultError> {
    let mut removed = 0;
    for (name, metadata) in area.list(directory)? {
        let path = directory.join(&name)?;
        if !named.contains(&path) {
            area.remove_tree(&path)?;
            removed += 1;
        } else if metadata.kind == Kind::Directory {
            removed += remove_others(area, &path, named)?;
        }
    }
    Ok(removed)
}

struct Import<'a> {
    area: &'a Area,
    batch: Batch,
    summary: Summary,
    /// Where the area is to become what the archive is: every name that it has.
    named: Option<&'a mut HashSet<TreePath>>,
    /// Files by path, so that one that comes again is counted once.
    sizes: HashMap<TreePath, u64>,
}

impl<'a> Import<'a> {
    fn new(area: &'a Area, named: Option<&'a mut HashSet<TreePath>>) -> Self {
        let (batch, summary, sizes) = (area.batch(), Summary::default(), HashMap::new());
        Self { area, batch, summary, named, sizes }
    }

    fn run(mut self, from: impl Read) -> Result<Summary, TransferError> {
        let carried = self.all(&mut Reader::new(from));
        let failures = self.batch.finish();
        carried?;
        let mut summary = self.summary;
        for (path, error) in failures? {
            summary.files -= 1;
            summary.bytes -= self.sizes.get(&path).copied().unwrap_or(0);
            summary.skip(path.as_bytes(), error.to_string());
        }
        Ok(summary)
    }

    /// Notes the entry's name, and those of the directories above; what is in its way goes.
    fn make_way(&mut self, path: &TreePath, entry: &Entry) -> Result<(), VaultError> {
        let Some(named) = &mut self.named else { return Ok(()) };
        let mut above = path.clone();
        while named.insert(above.clone())
            && let Some((parent, _)) = above.split()
        {
            above = parent;
        }
        if path.is_root() {
            return Ok(());
        }
        let there = match self.area.metadata(path) {
            Ok(there) => there.kind == Kind::Directory,
            Err(VaultError::NotFound { .. } | VaultError::NotADirectory { .. }) => return Ok(()),
            // Whatever it was, it is not what the archive has.
            Err(VaultError::Altered { .. }) => return self.area.remove_tree(path),
            Err(error) => return Err(error),
        };
        let wanted = matches!(entry.kind, treetar::Kind::Directory);
        if there == wanted { Ok(()) } else { self.area.remove_tree(path) }
    }

    fn all<R: Read>(&mut self, archive: &mut Reader<R>) -> Result<(), TransferError> {
        while let Some(entry) = archive.next_entry()? {
            let path = match TreePath::lenient(&entry.path) {
                Ok(path) => path,
                Err(error) => {
                    self.summary.skip(entry.path, error.to_string());
                    continue;
                }
            };
            match self.entry(&path, &entry, archive) {
                Err(TransferError::Vault(error)) if error.concerns_one_entry() => {
                    self.batch.abandon();
                    self.summary.skip(entry.path, error.to_string());
                }
                carried => carried?,
            }
        }
        Ok(())
    }

    fn entry<R: Read>(
        &mut self,
        path: &TreePath,
        entry: &Entry,
        archive: &mut Reader<R>,
    ) -> Result<(), TransferError> {
        self.make_way(path, entry)?;
        let attributes = Attributes {
            mode: (entry.mode & 0o7777) as u16,
            mtime_s: entry.mtime_s,
            mtime_ns: entry.mtime_ns,
            uid: entry.uid,
            gid: entry.gid,
        };
        match &entry.kind {
            treetar::Kind::Directory => {
                self.batch.directory(path, attributes)?;
                self.summary.dirs += u64::from(!path.is_root());
            }
            treetar::Kind::File { size } => self.file(path, attributes, *size, archive)?,
            treetar::Kind::Symlink { target } => {
                self.batch.symlink(path, target, attributes)?;
                self.summary.symlinks += 1;
            }
            treetar::Kind::Hardlink { target } => {
                let target = TreePath::lenient(target).map_err(VaultError::from)?;
                self.batch.hard_link(&target, path)?;
                self.summary.hardlinks += 1;
            }
            treetar::Kind::Other(what) => {
                self.summary.skip(entry.path.clone(), format!("{what} is not kept"));
            }
        }
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        path: &TreePath,
        attributes: Attributes,
        size: u64,
        archive: &mut Reader<R>,
    ) -> Result<(), TransferError> {
        self.batch.begin_file(path, attributes, size)?;
        loop {
            match archive.chunk(self.batch.space())? {
                Chunk::Data(bytes) => self.batch.filled(bytes),
                Chunk::Hole(bytes) => self.batch.hole(bytes)?,
                Chunk::End => break,
            }
        }
        self.batch.end_file()?;
        let before = self.sizes.insert(path.clone(), size);
        self.summary.files += u64::from(before.is_none());
        self.summary.bytes = self.summary.bytes - before.unwrap_or(0) + size;
        Ok(())
    }
}

/// Writes the whole area as an archive: sorted, holes and hard links kept.
pub fn export_tar(area: &Area, to: impl Write) -> Result<Summary, TransferError> {
    let mut export = Export {
        area,
        archive: Writer::new(to),
        summary: Summary::default(),
        links: HashMap::new(),
        buffer: Vec::with_capacity(BUFFER_BYTES),
    };
    let root = area.metadata(&TreePath::root())?;
    export.archive.entry(&entry(b"./".to_vec(), treetar::Kind::Directory, root.attributes))?;
    area.walk(&mut |path, metadata| export.entry(path, metadata))?;
    export.archive.finish()?;
    Ok(export.summary)
}

struct Export<'a, W: Write> {
    area: &'a Area,
    archive: Writer<W>,
    summary: Summary,
    /// First names of files with several.
    links: HashMap<u64, TreePath>,
    buffer: Vec<u8>,
}

impl<W: Write> Export<'_, W> {
    fn entry(&mut self, path: &TreePath, metadata: &crate::Metadata) -> Result<(), TransferError> {
        let attributes = metadata.attributes;
        let bytes = path.as_bytes().to_vec();
        if metadata.kind != Kind::Directory && metadata.links > 1 {
            if let Some(first) = self.links.get(&metadata.inode) {
                let kind = treetar::Kind::Hardlink { target: first.as_bytes().to_vec() };
                self.summary.hardlinks += 1;
                return Ok(self.archive.entry(&entry(bytes, kind, attributes))?);
            }
            self.links.insert(metadata.inode, path.clone());
        }
        match metadata.kind {
            Kind::Directory => {
                self.summary.dirs += 1;
                let bytes = [&bytes[..], b"/"].concat();
                self.archive.entry(&entry(bytes, treetar::Kind::Directory, attributes))?;
            }
            Kind::Symlink => {
                self.summary.symlinks += 1;
                let kind = treetar::Kind::Symlink { target: self.area.read_link(path)? };
                self.archive.entry(&entry(bytes, kind, attributes))?;
            }
            Kind::File { .. } => self.file(path)?,
        }
        Ok(())
    }

    fn file(&mut self, path: &TreePath) -> Result<(), TransferError> {
        let mut file = self.area.read_file(path)?;
        let size = file.size();
        let head = entry(path.as_bytes().to_vec(), treetar::Kind::File { size }, file.attributes());
        let stretches = file.data_stretches();
        let plain = stretches.len() == 1 && stretches[0] == (0..size);
        if size == 0 || plain {
            self.archive.entry(&head)?;
        } else {
            self.archive.sparse(&head, size, &stretches)?;
        }
        if size == 0 {
            file.read_range(0, 0, &mut self.buffer)?;
        }
        for stretch in stretches {
            let mut at = stretch.start;
            while at < stretch.end {
                self.buffer.clear();
                let length = (stretch.end - at).min(BUFFER_BYTES as u64);
                file.read_range(at, length as usize, &mut self.buffer)?;
                self.archive.content(&self.buffer)?;
                at += length;
            }
        }
        self.summary.files += 1;
        self.summary.bytes += size;
        Ok(())
    }
}

const fn entry(path: Vec<u8>, kind: treetar::Kind, attributes: Attributes) -> Entry {
    let Attributes { mode, mtime_s, mtime_ns, uid, gid } = attributes;
    Entry { path, kind, mode: mode as u32, mtime_s, mtime_ns, uid, gid }
}
