//! The slot metadata of Android's boot control HAL (`bootloader_control` in AOSP
//! `hardware/interfaces/boot/1.1/default/boot_control`): 32 bytes at the same place as
//! `libavb_ab`'s, little-endian.

use super::{METADATA_BYTES, MiscError, SlotState};

/// The most slots.
pub const MAX_SLOTS: usize = 4;

const MAGIC: u32 = 0x4241_4342;
const VERSION: u8 = 1;

/// One slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ControlSlot {
    /// Priority, tries and success.
    pub state: SlotState,
    /// dm-verity found damage: the slot is not booted again.
    pub verity_corrupted: bool,
}

impl ControlSlot {
    /// Whether it may be tried.
    #[must_use]
    pub const fn is_bootable(&self) -> bool {
        self.state.is_bootable() && !self.verity_corrupted
    }
}

/// How far a virtual A/B update is merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum MergeStatus {
    /// There is no snapshot.
    #[default]
    None = 0,
    /// Not known.
    Unknown = 1,
    /// Snapshots exist; the new slot has not booted.
    Snapshotted = 2,
    /// Merging goes on.
    Merging = 3,
    /// Cancelled.
    Cancelled = 4,
}

impl MergeStatus {
    const ALL: [Self; 5] =
        [Self::None, Self::Unknown, Self::Snapshotted, Self::Merging, Self::Cancelled];
}

/// The metadata of all slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootloaderControl {
    /// The slot that booted: `_a`; up to 4 bytes.
    pub slot_suffix: String,
    /// The slots that exist: 1 to [`MAX_SLOTS`].
    pub slots: Vec<ControlSlot>,
    /// How many more boots recovery may try: 0 to 7.
    pub recovery_tries_remaining: u8,
    /// How far an update is merged.
    pub merge_status: MergeStatus,
}

impl BootloaderControl {
    /// The number of the slot to try: the bootable one with the highest priority, the first of
    /// equals.
    #[must_use]
    pub fn choose(&self) -> Option<usize> {
        let bootable = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_bootable());
        // Of equals `max_by_key` gives the last; going backwards makes that the first.
        bootable.rev().max_by_key(|(_, slot)| slot.state.priority()).map(|(number, _)| number)
    }

    /// The 32 bytes.
    pub fn encode(&self) -> Result<[u8; METADATA_BYTES], MiscError> {
        let fits = (1..=MAX_SLOTS).contains(&self.slots.len())
            && self.recovery_tries_remaining <= 7
            && self.slot_suffix.len() <= 4
            && !self.slot_suffix.contains('\0');
        if !fits {
            return Err(MiscError::Field);
        }
        let mut out = [0; METADATA_BYTES];
        out[..self.slot_suffix.len()].copy_from_slice(self.slot_suffix.as_bytes());
        out[4..8].copy_from_slice(&MAGIC.to_le_bytes());
        out[8] = VERSION;
        let status = u16::from(self.merge_status as u8);
        let numbers =
            self.slots.len() as u16 | u16::from(self.recovery_tries_remaining) << 3 | status << 6;
        out[9..11].copy_from_slice(&numbers.to_le_bytes());
        for (field, slot) in out[12..20].chunks_exact_mut(2).zip(&self.slots) {
            let state = slot.state;
            field[0] = state.priority()
                | state.tries_remaining() << 4
                | u8::from(state.is_successful()) << 7;
            field[1] = u8::from(slot.verity_corrupted);
        }
        let crc = crc32fast::hash(&out[..28]);
        out[28..].copy_from_slice(&crc.to_le_bytes());
        Ok(out)
    }

    /// Reads the 32 bytes.
    pub fn decode(bytes: &[u8; METADATA_BYTES]) -> Result<Self, MiscError> {
        if bytes[4..8] != MAGIC.to_le_bytes() {
            return Err(MiscError::Magic);
        }
        if bytes[28..] != crc32fast::hash(&bytes[..28]).to_le_bytes() {
            return Err(MiscError::Crc);
        }
        if bytes[8] != VERSION {
            return Err(MiscError::Version(bytes[8], 0));
        }
        let suffix = bytes[..4].split(|&byte| byte == 0).next().unwrap_or_default();
        let numbers = u16::from_le_bytes([bytes[9], bytes[10]]);
        let status = usize::from(numbers >> 6 & 7);
        let control = Self {
            slot_suffix: String::from_utf8(suffix.to_vec()).map_err(|_| MiscError::Field)?,
            slots: bytes[12..20]
                .chunks_exact(2)
                .take(usize::from(numbers & 7))
                .map(decode_slot)
                .collect::<Result<_, _>>()?,
            recovery_tries_remaining: (numbers >> 3 & 7) as u8,
            merge_status: *MergeStatus::ALL.get(status).ok_or(MiscError::Field)?,
        };
        // What is reserved must be zero.
        if control.encode()? == *bytes { Ok(control) } else { Err(MiscError::Field) }
    }
}

fn decode_slot(field: &[u8]) -> Result<ControlSlot, MiscError> {
    let state = SlotState::new(field[0] & 0xf, field[0] >> 4 & 7, field[0] >> 7 == 1);
    Ok(ControlSlot { state: state.ok_or(MiscError::Field)?, verity_corrupted: field[1] & 1 == 1 })
}
