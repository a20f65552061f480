//! A flash in memory that loses its power at a given step.
//!
//! Steps are counted: every write and every sync. At the last one power goes: of the write itself
//! and of everything that was not synced, each sector is kept or lost by lot; a sector is never torn.
//! After that nothing answers. Writes to misc are one sector each, and synced.

use crate::maker::{Images, KIB, SLOTTED};
use avb::policy::BootState;
use board::flash::{Flash, FlashError};
use board::verdict::Refusal;
use bootimg::gpt::{Gpt, Guid, PartitionSpec};
use bootimg::misc::{BootloaderMessage, MESSAGE_SECTOR_BYTES, METADATA_OFFSET, Slot, SlotMetadata};
use device_update::SlotStorage;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard};
use tee_api::boot::Trust;

const SECTOR: usize = 512;

/// Mistakes that an installer, or a storage, could make. The test must notice each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// The target slot is never made unbootable.
    pub(crate) stays_bootable: bool,
    /// Syncs do nothing.
    pub(crate) never_syncs: bool,
}

/// The flash.
pub(crate) struct Disk {
    gpt: Gpt,
    state: Mutex<State>,
    flaw: Flaw,
}

#[derive(Clone)]
struct State {
    /// What a reader sees.
    current: Vec<u8>,
    /// What is there after a power cut.
    durable: Vec<u8>,
    /// Sectors that were written and not synced.
    dirty: Vec<usize>,
    steps: u64,
    /// The step at which power goes.
    last: Option<u64>,
    dead: bool,
    lot: u64,
}

impl State {
    /// A coin, the same ones in every run of the test.
    fn coin(&mut self) -> bool {
        self.lot = self.lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.lot >> 40 & 1 == 1
    }

    /// Counts a step; at the last one power goes.
    fn step(&mut self) -> io::Result<()> {
        if !self.dead {
            self.steps += 1;
            if self.last == Some(self.steps) {
                self.dead = true;
                for sector in std::mem::take(&mut self.dirty) {
                    if self.coin() {
                        self.keep(sector);
                    }
                }
            }
        }
        if self.dead { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }

    fn keep(&mut self, sector: usize) {
        let place = sector * SECTOR..(sector + 1) * SECTOR;
        self.durable[place.clone()].copy_from_slice(&self.current[place]);
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.current[at..at + bytes.len()].copy_from_slice(bytes);
        self.dirty.extend(at / SECTOR..(at + bytes.len()).div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector);
        }
    }
}

impl Disk {
    /// A device with `a` and `b` in its slots, and this metadata.
    pub(crate) fn new(a: &Images, b: &Images, slots: &SlotMetadata) -> Self {
        let mut number = 0;
        let mut spec = |name: String, size_bytes: usize| {
            number += 1;
            PartitionSpec {
                name,
                type_guid: Guid::LINUX_DATA,
                unique_guid: Guid::from_bytes([number; 16]),
                size_bytes: size_bytes as u64,
            }
        };
        let mut specs: Vec<_> = SLOTTED
            .iter()
            .flat_map(|(name, size)| ["_a", "_b"].map(|it| (format!("{name}{it}"), *size)))
            .map(|(name, size)| spec(name, size))
            .collect();
        specs.push(spec("misc".into(), 4 * KIB));
        let gpt = Gpt::layout(Guid::from_bytes([99; 16]), &specs).unwrap();
        let mut bytes = vec![0; usize::try_from(gpt.disk_bytes()).unwrap()];
        let encoded = gpt.encode();
        bytes[..encoded.head.len()].copy_from_slice(&encoded.head);
        let tail = usize::try_from(encoded.tail_offset).unwrap();
        bytes[tail..].copy_from_slice(&encoded.tail);
        let disk = Self::of(gpt, bytes);
        for (suffix, images) in [("_a", a), ("_b", b)] {
            for (name, image) in images {
                disk.write_later(&format!("{name}{suffix}"), 0, image).unwrap();
            }
        }
        disk.put_slots(slots).unwrap();
        disk
    }

    fn of(gpt: Gpt, bytes: Vec<u8>) -> Self {
        let state = State {
            current: bytes.clone(),
            durable: bytes,
            dirty: Vec::new(),
            steps: 0,
            last: None,
            dead: false,
            lot: 7,
        };
        Self { gpt, state: Mutex::new(state), flaw: Flaw::default() }
    }

    /// The same flash, whose power goes at step `last`, counted from now.
    pub(crate) fn dying_at(&self, last: u64, flaw: Flaw) -> Self {
        let mut copy = Self::of(self.gpt.clone(), self.state().durable.clone());
        let state = copy.state.get_mut().unwrap();
        (state.last, state.lot) = (Some(last), last);
        copy.flaw = flaw;
        copy
    }

    /// What is there once power is back.
    pub(crate) fn after_the_cut(&self) -> Self {
        Self::of(self.gpt.clone(), self.state().durable.clone())
    }

    /// Steps so far.
    pub(crate) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// The images in a slot.
    pub(crate) fn images(&self, slot: Slot) -> Images {
        let read = |(name, size): &(&'static str, usize)| {
            let mut bytes = vec![0; *size];
            self.read_at(&format!("{name}{}", slot.suffix()), 0, &mut bytes).unwrap();
            (*name, bytes)
        };
        SLOTTED.iter().map(read).collect()
    }

    /// The flash as the real stages open it.
    pub(crate) fn flash(&self) -> Flash {
        let file: File = tempfile::tempfile().unwrap();
        file.write_all_at(&self.state().current, 0).unwrap();
        Flash::open(file).unwrap()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn place(&self, name: &str, offset: u64, length: usize) -> Result<usize, FlashError> {
        let partition = self.gpt.partition(name);
        let partition = partition.ok_or_else(|| FlashError::NoPartition(name.to_owned()))?;
        if offset + length as u64 > partition.size_bytes() {
            return Err(FlashError::Outside(name.to_owned()));
        }
        Ok(usize::try_from(partition.offset_bytes() + offset).unwrap())
    }

    /// One sector, synced.
    fn put(&self, offset: usize, bytes: &[u8]) -> Result<(), FlashError> {
        let at = self.place("misc", offset as u64, bytes.len())?;
        let mut state = self.state();
        state.write(at, bytes);
        state.step()?;
        state.sync();
        Ok(())
    }
}

impl SlotStorage for Disk {
    fn partitions(&self) -> BTreeMap<String, u64> {
        self.gpt.partitions().iter().map(|it| (it.name.clone(), it.size_bytes())).collect()
    }

    fn read_at(&self, partition: &str, offset: u64, buffer: &mut [u8]) -> Result<(), FlashError> {
        let at = self.place(partition, offset, buffer.len())?;
        let state = self.state();
        if state.dead {
            return Err(io::Error::other("the power is gone").into());
        }
        buffer.copy_from_slice(&state.current[at..at + buffer.len()]);
        Ok(())
    }

    fn write_later(&self, partition: &str, offset: u64, bytes: &[u8]) -> Result<(), FlashError> {
        let at = self.place(partition, offset, bytes.len())?;
        let mut state = self.state();
        if !state.dead {
            state.write(at, bytes);
        }
        Ok(state.step()?)
    }

    fn sync(&self) -> Result<(), FlashError> {
        let mut state = self.state();
        state.step()?;
        if !self.flaw.never_syncs {
            state.sync();
        }
        Ok(())
    }

    fn slots(&self) -> Result<SlotMetadata, FlashError> {
        let mut misc = vec![0; 4 * KIB];
        self.read_at("misc", 0, &mut misc)?;
        Ok(SlotMetadata::parse_partition(&misc)?)
    }

    fn put_slots(&self, slots: &SlotMetadata) -> Result<(), FlashError> {
        let closes = Slot::ALL.iter().any(|slot| !slots.get(*slot).is_bootable());
        if self.flaw.stays_bootable && closes {
            return Ok(());
        }
        if self.flaw.never_syncs {
            // As a storage that keeps its order only within misc.
            let at = self.place("misc", METADATA_OFFSET as u64, 32)?;
            let mut state = self.state();
            let elsewhere = std::mem::take(&mut state.dirty);
            state.write(at, &slots.encode());
            state.step()?;
            state.sync();
            state.dirty = elsewhere;
            return Ok(());
        }
        self.put(METADATA_OFFSET, &slots.encode())
    }

    fn message(&self) -> Result<BootloaderMessage, FlashError> {
        let mut bytes = [0; METADATA_OFFSET];
        self.read_at("misc", 0, &mut bytes)?;
        Ok(BootloaderMessage::decode(&bytes)?)
    }

    fn put_message(&self, message: &BootloaderMessage) -> Result<(), FlashError> {
        let bytes: [u8; MESSAGE_SECTOR_BYTES] = message.encode()?;
        self.put(0, &bytes)
    }

    fn verify(&self, slot: Slot, trust: &Trust) -> Result<BootState, Refusal> {
        self.flash().verify(slot, trust)
    }
}
