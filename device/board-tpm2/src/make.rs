//! Manufacture: what the TPM shall hold is made in it, and written down.

use crate::address::Address;
use crate::chip::SealedChip;
use crate::commands::{NvKind, Object, Tpm};
use crate::error::TpmError;
use crate::measure::{self, PCR};
use crate::record::{self, Place, Record};
use crate::silicon::{Access, CHIP, MADE, SEAL, Use, connect};
use rpmb_chip::FileStore;
use std::path::Path;

/// What manufacture puts into a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Serial number.
    pub serial: String,
    /// SHA-256 of the maker's root keys (AVB public-key blobs): one, or two.
    pub root_keys: Vec<[u8; 32]>,
    /// What the monotonic counters start at.
    pub counters: [u64; 2],
    /// Blocks of the RPMB chip.
    pub blocks: u32,
}

/// Makes a board in `folder`, which exists, on the TPM at `address`. Its HUK is made by the TPM
/// and known to nobody. Refuses where there is a board. The record comes last: with it the board
/// is one. Where it fails, what it put into the TPM is taken out again.
pub fn make(folder: &Path, address: &Address, order: &Order) -> Result<(), TpmError> {
    let path = folder.join(record::FILE);
    if path.exists() {
        return Err(TpmError::Made(path));
    }
    let mut tpm = connect(address)?;
    let mut put = Put::default();
    let made = put.make(&mut tpm, order).and_then(|parts| {
        // The connection ends first: behind a socket there is room for one.
        drop(tpm);
        finish(folder, address, order, parts)
    });
    if made.is_err() {
        put.take_back(address);
    }
    made
}

/// What was put into a TPM so far.
#[derive(Default)]
struct Put {
    objects: Vec<u32>,
    indexes: Vec<u32>,
}

/// What a board consists of.
struct Parts {
    anchor: crate::commands::Anchor,
    huk: Object,
    fuses: Object,
    counters: [Object; 2],
    chip: Object,
}

impl Put {
    fn make(&mut self, tpm: &mut Tpm, order: &Order) -> Result<Parts, TpmError> {
        let event = measure::event(&order.serial, &order.root_keys);
        let policy = measure::policy(&event);
        let anchor = tpm.make_anchor()?;
        self.objects.push(anchor.object.handle);
        let huk = tpm.make_hmac_key(anchor.object.handle, &policy)?;
        self.objects.push(huk.handle);
        let mut define = |tpm: &mut Tpm, kind| {
            tpm.define(kind, &policy).inspect(|index| self.indexes.push(index.handle))
        };
        let fuses = define(tpm, NvKind::Bits)?;
        let counters = [define(tpm, NvKind::Counter)?, define(tpm, NvKind::Counter)?];
        let chip = define(tpm, NvKind::Counter)?;
        tpm.reset_pcr(PCR)?;
        tpm.extend_pcr(PCR, &event)?;
        tpm.in_session(&anchor, |tpm, session| {
            tpm.set_bits(session, &fuses, MADE)?;
            [&counters[0], &counters[1], &chip]
                .into_iter()
                .try_for_each(|index| tpm.increment(session, index))
        })?;
        let written = |kind: NvKind, index: Object| Object {
            name: kind.written_name(index.handle, &policy),
            ..index
        };
        Ok(Parts {
            anchor,
            huk,
            fuses: written(NvKind::Bits, fuses),
            counters: counters.map(|index| written(NvKind::Counter, index)),
            chip: written(NvKind::Counter, chip),
        })
    }

    /// Takes all of it out again, as far as the TPM lets.
    fn take_back(&self, address: &Address) {
        let Ok(mut tpm) = connect(address) else { return };
        for index in &self.indexes {
            let _ = tpm.undefine(*index);
        }
        for object in &self.objects {
            let _ = tpm.evict(*object);
        }
    }
}

/// The board's files: the chip and its seal, the TPM's address, the record.
fn finish(folder: &Path, address: &Address, order: &Order, parts: Parts) -> Result<(), TpmError> {
    let Parts { anchor, huk, fuses, counters, chip } = parts;
    let (storage, unique) = (Place::from(&anchor.object), Place::from(&huk));
    let mut record = Record::new(&order.serial, &order.root_keys, storage, unique);
    record.fuses = fuses.handle;
    record.counters = counters.each_ref().map(|counter| counter.handle);
    record.chip = chip.handle;
    let access = Access::new(address.clone(), anchor, huk, fuses, counters, chip);
    let [first, second, epoch] = access.in_session(|tpm, session| {
        Ok([
            tpm.read_nv(session, &access.counters[0])?,
            tpm.read_nv(session, &access.counters[1])?,
            tpm.read_nv(session, &access.chip)?,
        ])
    })?;
    let [bl1, tee] = order.counters;
    record.bases = [first.wrapping_sub(bl1), second.wrapping_sub(tee)];
    make_chip(folder, order.blocks, &access, epoch)?;
    record::put_address(folder, address)?;
    let mac = access.huk(Use::Record, &record.encode())?;
    record.write(folder, &mac)
}

fn make_chip(folder: &Path, blocks: u32, access: &Access, epoch: u64) -> Result<(), TpmError> {
    let path = folder.join(CHIP);
    let io = |error| TpmError::Io(path.clone(), error);
    // A chip without a record was never used.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let file = FileStore::create(&path, blocks + 1).map_err(io)?;
    let key = access.huk(Use::Chip, &[])?;
    SealedChip::create(file, &folder.join(SEAL), &key, epoch).map_err(io)?;
    Ok(())
}

/// Takes what the board in `folder` has in its TPM out of it, for good: the board is thrown away.
/// Only what has the names that the record says goes; where it is not all there, nothing does.
pub fn discard(folder: &Path) -> Result<(), TpmError> {
    let (record, _) = Record::read(folder)?;
    let access = match Access::find(record::address(folder)?, &record) {
        Err(TpmError::Missing(_) | TpmError::Foreign(_)) => return Ok(()),
        found => found?,
    };
    let [first, second] = record.counters;
    let put = Put {
        objects: vec![record.anchor.handle, record.huk.handle],
        indexes: vec![record.fuses, first, second, record.chip],
    };
    put.take_back(&record::address(folder)?);
    drop(access);
    Ok(())
}
