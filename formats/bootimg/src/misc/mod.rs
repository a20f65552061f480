//! The misc partition: the bootloader message ([`BootloaderMessage`]), and the metadata of the slots
//! (AOSP `libavb_ab`, `AvbABData`).
//!
//! Android's newer boot control HAL keeps another structure at the same place:
//! [`BootloaderControl`]. The partition holds exactly one of them: [`SlotMetadata::parse_partition`]
//! refuses one with any other byte set. The CRC-32 finds accidents, not attackers: what a slot may boot is decided by
//! signatures and rollback indexes; this only says which slot to try first.

mod bootloader_control;
mod flow;
mod message;

pub use bootloader_control::{BootloaderControl, ControlSlot, MAX_SLOTS, MergeStatus};
pub use flow::{Chosen, ROLLBACK_LOCATIONS, RollbackIndexes, SlotVerdict, choose_slot};
pub use message::{BOOT_RECOVERY, BootloaderMessage, MESSAGE_BYTES, MESSAGE_SECTOR_BYTES};

/// Where the metadata is in the partition, in bytes.
pub const METADATA_OFFSET: usize = MESSAGE_BYTES;
/// Bytes of the metadata.
pub const METADATA_BYTES: usize = 32;
/// The highest priority.
pub const MAX_PRIORITY: u8 = 15;
/// The most tries that a fresh slot gets.
pub const MAX_TRIES: u8 = 7;

/// One of the two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// The first one.
    A,
    /// The second one.
    B,
}

impl Slot {
    /// Both slots.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// What partition names end with.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::A => "_a",
            Self::B => "_b",
        }
    }

    /// The slot with this suffix.
    #[must_use]
    pub fn from_suffix(suffix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.suffix() == suffix)
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// What is known of one slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotState {
    priority: u8,
    tries_remaining: u8,
    successful: bool,
}

impl SlotState {
    /// A slot that was just filled: first choice, 7 tries.
    pub const FRESH: Self =
        Self { priority: MAX_PRIORITY, tries_remaining: MAX_TRIES, successful: false };
    /// A slot that must not boot.
    pub const UNBOOTABLE: Self = Self { priority: 0, tries_remaining: 0, successful: false };

    /// A state, if its numbers are in range.
    #[must_use]
    pub const fn new(priority: u8, tries_remaining: u8, successful: bool) -> Option<Self> {
        if priority <= MAX_PRIORITY && tries_remaining <= MAX_TRIES {
            Some(Self { priority, tries_remaining, successful })
        } else {
            None
        }
    }

    /// 1 to 15, higher is tried first; 0 = not bootable.
    #[must_use]
    pub const fn priority(self) -> u8 {
        self.priority
    }

    /// How many more boots may be tried before the slot was marked successful: 0 to 7.
    #[must_use]
    pub const fn tries_remaining(self) -> u8 {
        self.tries_remaining
    }

    /// Whether the system in it came up once.
    #[must_use]
    pub const fn is_successful(self) -> bool {
        self.successful
    }

    /// Whether it may be tried.
    #[must_use]
    pub const fn is_bootable(self) -> bool {
        self.priority > 0 && (self.successful || self.tries_remaining > 0)
    }

    /// The state with all that cannot be made unbootable, as libavb_ab does before it chooses:
    /// tries used up without success, and tries left after success.
    const fn normalized(self) -> Self {
        if self.is_bootable() && !(self.successful && self.tries_remaining > 0) {
            self
        } else {
            Self::UNBOOTABLE
        }
    }
}

/// The metadata of both slots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotMetadata {
    minor_version: u8,
    slots: [SlotState; 2],
}

impl SlotMetadata {
    /// The metadata of a device that has its system in slot a only: b is empty.
    #[must_use]
    pub const fn first_boot() -> Self {
        Self { minor_version: 0, slots: [SlotState::FRESH, SlotState::UNBOOTABLE] }
    }

    /// The metadata that libavb_ab puts where it finds none: both slots fresh, a first.
    #[must_use]
    pub const fn initial() -> Self {
        let second = SlotState { priority: MAX_PRIORITY - 1, ..SlotState::FRESH };
        Self { minor_version: 0, slots: [SlotState::FRESH, second] }
    }

    /// Makes every slot that cannot boot unbootable in one and the same way.
    pub fn normalize(&mut self) {
        self.slots = self.slots.map(SlotState::normalized);
    }

    /// The state of a slot.
    #[must_use]
    pub const fn get(&self, slot: Slot) -> SlotState {
        self.slots[slot.index()]
    }

    /// Sets the state of a slot.
    pub const fn set(&mut self, slot: Slot, state: SlotState) {
        self.slots[slot.index()] = state;
    }

    /// The slot to try: the bootable one with the highest priority, a before b.
    #[must_use]
    pub fn choose(&self) -> Option<Slot> {
        let [a, b] = self.slots.map(SlotState::normalized);
        match (a.is_bootable(), b.is_bootable()) {
            (true, true) if b.priority > a.priority => Some(Slot::B),
            (true, _) => Some(Slot::A),
            (false, true) => Some(Slot::B),
            (false, false) => None,
        }
    }

    /// Counts a try of `slot`, to be stored before it boots. A successful slot has no tries to
    /// count.
    pub fn count_try(&mut self, slot: Slot) {
        let state = &mut self.slots[slot.index()];
        if !state.successful {
            state.tries_remaining = state.tries_remaining.saturating_sub(1);
        }
    }

    /// The slot's system came up. Says whether the slot could have booted; if not, it becomes
    /// [`SlotState::UNBOOTABLE`].
    pub const fn mark_successful(&mut self, slot: Slot) -> bool {
        let state = &mut self.slots[slot.index()];
        // The last try is counted before it boots, so the slot that now runs may have none left.
        if state.priority == 0 {
            *state = SlotState::UNBOOTABLE;
            return false;
        }
        state.tries_remaining = 0;
        state.successful = true;
        true
    }

    /// The slot was filled with a new system and is tried next; the other one comes after it.
    pub fn mark_active(&mut self, slot: Slot) {
        self.slots[slot.index()] = SlotState::FRESH;
        let other = &mut self.slots[slot.other().index()];
        other.priority = other.priority.min(MAX_PRIORITY - 1);
    }

    /// The slot must not boot: before it is written to, or because it was refused.
    pub const fn mark_unbootable(&mut self, slot: Slot) {
        self.slots[slot.index()] = SlotState::UNBOOTABLE;
    }

    /// The 32 bytes of the metadata.
    #[must_use]
    pub fn encode(&self) -> [u8; METADATA_BYTES] {
        let mut out = [0; METADATA_BYTES];
        out[..4].copy_from_slice(b"\0AB0");
        out[4..6].copy_from_slice(&[1, self.minor_version]);
        for (field, slot) in out[8..16].chunks_exact_mut(4).zip(self.slots) {
            field[..3].copy_from_slice(&[
                slot.priority,
                slot.tries_remaining,
                u8::from(slot.successful),
            ]);
        }
        let crc = crc32fast::hash(&out[..28]);
        out[28..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads the 32 bytes of the metadata. A later minor version is read as far as it is known,
    /// and kept.
    pub fn decode(bytes: &[u8; METADATA_BYTES]) -> Result<Self, MiscError> {
        if bytes[..4] != *b"\0AB0" {
            return Err(MiscError::Magic);
        }
        if bytes[28..] != crc32fast::hash(&bytes[..28]).to_be_bytes() {
            return Err(MiscError::Crc);
        }
        if bytes[4] != 1 {
            return Err(MiscError::Version(bytes[4], bytes[5]));
        }
        let mut metadata = Self { minor_version: bytes[5], ..Self::default() };
        for (slot, field) in Slot::ALL.into_iter().zip(bytes[8..16].chunks_exact(4)) {
            let state = SlotState::new(field[0], field[1], field[2] == 1);
            metadata.set(slot, state.ok_or(MiscError::Field)?);
        }
        if metadata.encode() != *bytes {
            return Err(MiscError::Field);
        }
        Ok(metadata)
    }

    /// Reads a whole misc partition: a good message, the metadata, and zeros.
    pub fn parse_partition(partition: &[u8]) -> Result<Self, MiscError> {
        let too_small = MiscError::TooSmall(partition.len());
        let (message, rest) =
            partition.split_first_chunk::<MESSAGE_BYTES>().ok_or_else(|| too_small.clone())?;
        let (metadata, rest) = rest.split_first_chunk::<METADATA_BYTES>().ok_or(too_small)?;
        BootloaderMessage::decode(message)?;
        if let Some(at) = rest.iter().position(|&byte| byte != 0) {
            return Err(MiscError::StrayByte(METADATA_OFFSET + METADATA_BYTES + at));
        }
        Self::decode(metadata)
    }

    /// A whole misc partition of `partition_bytes`, if the metadata fits.
    #[must_use]
    pub fn encode_partition(&self, partition_bytes: usize) -> Option<Vec<u8>> {
        let mut out = vec![0; partition_bytes];
        out.get_mut(METADATA_OFFSET..METADATA_OFFSET + METADATA_BYTES)?
            .copy_from_slice(&self.encode());
        Some(out)
    }
}

/// What is wrong with a misc partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MiscError {
    /// It is smaller than what it must hold.
    #[error("a misc partition of {0} bytes is too small")]
    TooSmall(usize),
    /// The magic is missing.
    #[error("the slot metadata does not start with its magic")]
    Magic,
    /// The check sum is wrong.
    #[error("the CRC-32 of the slot metadata is wrong")]
    Crc,
    /// Another version.
    #[error("version {0}.{1} of the slot metadata is not supported: 1 is")]
    Version(u8, u8),
    /// A value out of range, or a reserved byte that is not zero.
    #[error("the slot metadata has a field that is out of range or reserved")]
    Field,
    /// A text of the bootloader message does not end, does not fit or is no text.
    #[error("the bootloader message has a text that does not fit its field or is no ASCII text")]
    Message,
    /// A byte that must be zero is not.
    #[error("byte {0} of the misc partition is not zero")]
    StrayByte(usize),
}
