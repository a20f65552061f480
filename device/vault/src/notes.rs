//! Notes: small encrypted files beside the tree, for whoever keeps state about it.

use crate::area::Area;
use crate::disk::OPEN;
use crate::error::VaultError;
use crate::header::{Attributes, NodeKind};
use crate::node::NewNode;
use crate::reader::FileReader;
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use snapshot::path::TreePath;
use std::fs::File;
use std::sync::Arc;

impl Area {
    /// Keeps `bytes` beside the tree under `name`, in place of what was there. Not synced: a
    /// note is whole or the old one.
    pub fn put_note(&self, name: &str, bytes: &[u8]) -> Result<(), VaultError> {
        let notes = Arc::clone(&self.0.notes);
        let mut node = NewNode::create(self, &TreePath::root(), &notes, NodeKind::File)?;
        node.write_stream(&mut &bytes[..])?;
        node.finish(Attributes::default(), name.as_bytes())
    }

    /// The note called `name`.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>, VaultError> {
        let path = TreePath::root();
        let disk = self.0.keys.disk_name(&self.0.notes.id, name.as_bytes());
        let file = match rustix::fs::openat(&self.0.notes.fd, &disk.name, OPEN, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(VaultError::system(&path, error)),
        };
        let mut reader = FileReader::open(file, &self.0.keys, path.clone())?;
        self.check_place(reader.binding(), &self.0.notes.id, name.as_bytes(), &path)?;
        let mut bytes = Vec::new();
        reader.read_range(0, usize::MAX, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// The names of all notes.
    pub fn notes(&self) -> Result<Vec<String>, VaultError> {
        let names = self.names_in(&self.0.notes)?;
        Ok(names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect())
    }

    /// Removes a note; no error where there is none.
    pub fn remove_note(&self, name: &str) -> Result<(), VaultError> {
        let disk = self.0.keys.disk_name(&self.0.notes.id, name.as_bytes());
        match rustix::fs::unlinkat(&self.0.notes.fd, &disk.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(VaultError::system(&TreePath::root(), error)),
        }
    }
}
