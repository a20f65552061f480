//! Writing one partition, and reading it back.

use super::plan::{Content, Part, new_hash};
use super::{InstallError, cores};
use crate::package::Package;
use crate::storage::SlotStorage;
use board::flash::FlashError;
use crypto::digest::Sha256;
use payload::manifest::PartitionUpdate;
use payload::{ApplyError, Computed, ReadAt, WriteAt, bytes_in};
use std::io;

/// Bytes that are read, compared or copied at once.
const PIECE: u64 = 1 << 20;

/// A partition that is written.
pub(super) struct Target<'a> {
    storage: &'a dyn SlotStorage,
    part: &'a Part<'a>,
    package: &'a Package,
}

impl<'a> Target<'a> {
    pub(super) const fn new(
        storage: &'a dyn SlotStorage,
        part: &'a Part<'a>,
        package: &'a Package,
    ) -> Self {
        Self { storage, part, package }
    }

    /// Writes it, makes it durable, reads it back. `more` hears of each stretch that is written.
    pub(super) fn write(&self, more: &(dyn Fn(u64) + Sync)) -> Result<(), InstallError> {
        let due = match self.part.content {
            Content::Update(update) => {
                self.apply(update, more)?;
                new_hash(update).to_vec()
            }
            Content::Copy => {
                self.copy(more)?;
                sha256(self.storage, &self.part.source, self.part.size)?.to_vec()
            }
        };
        self.storage.sync()?;
        if sha256(self.storage, &self.part.target, self.part.size)? == *due {
            Ok(())
        } else {
            Err(InstallError::Result(self.part.name.clone()))
        }
    }

    fn apply(
        &self,
        update: &PartitionUpdate,
        more: &(dyn Fn(u64) + Sync),
    ) -> Result<(), InstallError> {
        let source = Partition { storage: self.storage, name: &self.part.source };
        let target = Partition { storage: self.storage, name: &self.part.target };
        let source = update.old_partition_info.is_some().then_some(&source as &dyn ReadAt);
        cores::each(&update.operations, |operation| {
            let blob = self.package.blob(operation)?;
            payload::apply(operation, &blob, source, &target).map_err(|error| match error {
                ApplyError::Io(error) => InstallError::Storage(error.into()),
                error => InstallError::Apply { name: self.part.name.clone(), error },
            })?;
            more(bytes_in(&operation.dst_extents));
            Ok::<(), InstallError>(())
        })?;
        self.compute(update, &target)
    }

    /// The hash tree and error correction that the package leaves to the device.
    fn compute(
        &self,
        update: &PartitionUpdate,
        target: &Partition<'_>,
    ) -> Result<(), InstallError> {
        let malformed = |_| InstallError::Uncovered(self.part.name.clone());
        let Some(computed) = Computed::of(update).map_err(malformed)? else { return Ok(()) };
        for phase in computed.phases() {
            let pieces: Vec<u64> = (0..phase.pieces()).collect();
            cores::each(&pieces, |&piece| phase.write(piece, target))
                .map_err(|error| InstallError::Storage(FlashError::Io(error)))?;
        }
        Ok(())
    }

    fn copy(&self, more: &(dyn Fn(u64) + Sync)) -> Result<(), InstallError> {
        let target = Partition { storage: self.storage, name: &self.part.target };
        let starts: Vec<u64> = (0..self.part.size).step_by(PIECE as usize).collect();
        cores::each(&starts, |&start| {
            let size = PIECE.min(self.part.size - start);
            let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
            self.storage.read_at(&self.part.source, start, &mut bytes)?;
            target.write_at(start, &bytes)?;
            more(size);
            Ok(())
        })
    }
}

/// A partition as payloads read and write it.
struct Partition<'a> {
    storage: &'a dyn SlotStorage,
    name: &'a str,
}

impl ReadAt for Partition<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.storage.read_at(self.name, offset, buffer).map_err(plain)
    }
}

impl WriteAt for Partition<'_> {
    /// What stands there already is not written again: flash wears.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut present = vec![0; bytes.len()];
        self.storage.read_at(self.name, offset, &mut present).map_err(plain)?;
        if present == bytes {
            return Ok(());
        }
        self.storage.write_later(self.name, offset, bytes).map_err(plain)
    }
}

fn plain(error: FlashError) -> io::Error {
    match error {
        FlashError::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// SHA-256 of a whole partition.
pub(super) fn sha256(
    storage: &dyn SlotStorage,
    partition: &str,
    size: u64,
) -> Result<[u8; 32], FlashError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; PIECE as usize];
    let mut at = 0;
    while at < size {
        let now = PIECE.min(size - at);
        let piece = &mut buffer[..usize::try_from(now).unwrap_or_default()];
        storage.read_at(partition, at, piece)?;
        hash.update(piece);
        at += now;
    }
    Ok(hash.finish())
}
