//! What the device remembers between runs: in the area's notes, encrypted like everything there.
//!
//! - `sync`: the snapshot that the area and the cloud last had in common.
//! - `sync-next`: the one that is about to become that, while its head is being set.
//! - `sync-pack-…`: one for each pack that the cloud acknowledged since, by the generation that
//!   it was to follow: pack name, block names. Under another head they no longer count: the
//!   cloud may have swept them.

use super::SyncError;
use crypto::digest::sha256;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use snapshot::block::{BlockId, PackId};
use snapshot::manifest::{Kind, Manifest, Piece};
use std::collections::HashMap;
use vault::{Area, Id};
use wire::sync::{Head, Root};

const STATE: &str = "sync";
const NEXT: &str = "sync-next";
const PACK: &str = "sync-pack-";

/// A snapshot that both sides had.
pub(super) struct State {
    pub(super) generation: u64,
    /// Names of the manifest's own blocks.
    pub(super) manifest_ids: Vec<String>,
    pub(super) manifest: Manifest,
    /// The version of each file of the manifest, in its order.
    pub(super) versions: Vec<Id>,
}

#[derive(Serialize, Deserialize)]
struct Kept(ByteArray<32>, u64, Vec<String>, ByteBuf, ByteBuf);

/// Which pack of the cloud each block lies in, as far as this device knows.
#[derive(Default)]
pub(super) struct Known {
    /// All packs that were heard of.
    pub(super) packs: Vec<PackId>,
    numbers: HashMap<PackId, u32>,
    /// For each block the pack, as a place in `packs`.
    pub(super) blocks: HashMap<BlockId, u32>,
}

impl State {
    /// The state for the account with `root`, if there is one; `head` tells whether the last
    /// run was cut off after its head had been set.
    pub(super) fn load(
        area: &Area,
        root: &Root,
        head: Option<&Head>,
    ) -> Result<Option<Self>, SyncError> {
        if let Some(next) = Self::read(area, NEXT, root)?
            && head.is_some_and(|head| {
                head.generation == next.generation && head.manifest == next.manifest_ids
            })
        {
            return Ok(Some(next));
        }
        Self::read(area, STATE, root)
    }

    /// Keeps it until the cloud's head is known to have moved.
    pub(super) fn announce(&self, area: &Area, root: &Root) -> Result<(), SyncError> {
        self.write(area, NEXT, root)?;
        Ok(area.sync()?)
    }

    /// Keeps it; what the notes said before is part of it.
    pub(super) fn keep(&self, area: &Area, root: &Root) -> Result<(), SyncError> {
        self.write(area, STATE, root)?;
        for note in area.notes()?.iter().filter(|note| note.starts_with(PACK)) {
            area.remove_note(note)?;
        }
        area.remove_note(NEXT)?;
        Ok(area.sync()?)
    }

    /// The pieces of each version of a file that was in the snapshot.
    pub(super) fn pieces_by_version(&self) -> HashMap<Id, (u64, &[Piece])> {
        let files = self.manifest.entries.iter().filter_map(|entry| match &entry.kind {
            Kind::File { size, pieces } => Some((*size, &pieces[..])),
            _ => None,
        });
        self.versions.iter().copied().zip(files).collect()
    }

    fn read(area: &Area, note: &str, root: &Root) -> Result<Option<Self>, SyncError> {
        let Some(bytes) = area.note(note)? else { return Ok(None) };
        let kept: Result<Kept, _> = ciborium::from_reader(&bytes[..]);
        // A state of another account or program is as good as none: more is sent then.
        let Ok(Kept(account, generation, manifest_ids, manifest, versions)) = kept else {
            return Ok(None);
        };
        let Ok(manifest) = Manifest::decode(&manifest) else { return Ok(None) };
        let (versions, rest) = versions.as_chunks::<32>();
        if *account != account_mark(root) || !rest.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { generation, manifest_ids, manifest, versions: versions.to_vec() }))
    }

    fn write(&self, area: &Area, note: &str, root: &Root) -> Result<(), SyncError> {
        let kept = Kept(
            ByteArray::new(account_mark(root)),
            self.generation,
            self.manifest_ids.clone(),
            ByteBuf::from(self.manifest.encode()),
            ByteBuf::from(self.versions.concat()),
        );
        let mut bytes = Vec::new();
        ciborium::into_writer(&kept, &mut bytes).expect("a vector takes every byte");
        Ok(area.put_note(note, &bytes)?)
    }
}

/// Blocks have other names under another root.
fn account_mark(root: &Root) -> [u8; 32] {
    sha256(root.wrapped_id_key.as_bytes())
}

impl Known {
    /// Adds the packs of a manifest.
    pub(super) fn add_manifest(&mut self, manifest: &Manifest) {
        let numbers: Vec<u32> = manifest.packs.iter().map(|pack| self.number(*pack)).collect();
        for entry in &manifest.entries {
            let Kind::File { pieces, .. } = &entry.kind else { continue };
            for piece in pieces {
                if let Piece::Block { id, pack } = piece {
                    self.blocks.insert(*id, numbers[*pack as usize]);
                }
            }
        }
    }

    /// Adds a pack.
    pub(super) fn add_pack(&mut self, pack: PackId, blocks: &[BlockId]) {
        let number = self.number(pack);
        self.blocks.extend(blocks.iter().map(|id| (*id, number)));
    }

    fn number(&mut self, pack: PackId) -> u32 {
        *self.numbers.entry(pack).or_insert_with(|| {
            self.packs.push(pack);
            u32::try_from(self.packs.len() - 1).expect("fewer than 2^32 packs of 8 MiB")
        })
    }
}

/// Notes that the cloud has `pack`, which is for the snapshot after `follows`.
pub(super) fn note_pack(
    area: &Area,
    follows: u64,
    pack: &PackId,
    blocks: &[BlockId],
) -> Result<(), SyncError> {
    let bytes = [&pack.0[..], &snapshot::block::join_ids(blocks)].concat();
    Ok(area.put_note(&format!("{PACK}{follows}-{pack}"), &bytes)?)
}

/// The packs that were noted for the snapshot after `follows`.
pub(super) fn noted_packs(area: &Area, follows: u64, known: &mut Known) -> Result<(), SyncError> {
    let prefix = format!("{PACK}{follows}-");
    for note in area.notes()?.iter().filter(|note| note.starts_with(&prefix)) {
        let bytes = area.note(note)?.unwrap_or_default();
        let (ids, rest) = bytes.as_chunks::<32>();
        if let Some((pack, blocks)) = ids.split_first()
            && rest.is_empty()
        {
            let blocks: Vec<_> = blocks.iter().copied().map(BlockId).collect();
            known.add_pack(PackId(*pack), &blocks);
        }
    }
    Ok(())
}
