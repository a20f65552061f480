//! The bootloader message (AOSP `bootable/recovery`, `bootloader_message.h`): what the system asks
//! of the next boot, in front of the slots' metadata.
//!
//! 2048 bytes: command 32, status 32, recovery 768, stage 32, 1184 reserved. Texts end with a zero
//! byte. Android reads texts and ignores what is behind them; here all of that must be zero, and
//! what is written fits the first 512 bytes: one sector, which storage writes whole or not at all.
//! Command and status are empty or begin with a small letter, the recovery text with its heading.

use super::MiscError;

/// Bytes of the message.
pub const MESSAGE_BYTES: usize = 2048;
/// Bytes that [`BootloaderMessage::encode`] gives: all others are zero.
pub const MESSAGE_SECTOR_BYTES: usize = 512;
/// Boot recovery instead of the system.
pub const BOOT_RECOVERY: &str = "boot-recovery";

/// Fields: where each begins, and how many bytes it has.
const COMMAND: (usize, usize) = (0, 32);
const STATUS: (usize, usize) = (32, 32);
const RECOVERY: (usize, usize) = (64, 768);
/// The first line of recovery's arguments.
const HEADING: &str = "recovery";
const UPDATE_PACKAGE: &str = "--update_package=";

/// What the next boot shall do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootloaderMessage {
    /// What the bootloader does; empty: nothing.
    pub command: String,
    /// For whoever works on the command: how far it came.
    pub status: String,
    /// What recovery does: `recovery`, then an argument a line.
    pub recovery: String,
}

impl BootloaderMessage {
    /// Asks recovery to install the package at `path` (`/data/…`).
    #[must_use]
    pub fn install(path: &str) -> Self {
        Self {
            command: BOOT_RECOVERY.to_owned(),
            status: String::new(),
            recovery: format!("{HEADING}\n{UPDATE_PACKAGE}{path}\n"),
        }
    }

    /// The package that recovery shall install. Arguments that are not known are ignored, as
    /// Android's recovery does.
    #[must_use]
    pub fn update_package(&self) -> Option<&str> {
        let mut lines = self.recovery.lines();
        lines.next().filter(|line| *line == HEADING)?;
        lines.find_map(|line| line.strip_prefix(UPDATE_PACKAGE))
    }

    /// The message's first sector. Refuses texts that do not fit it, or hold what no text does.
    pub fn encode(&self) -> Result<[u8; MESSAGE_SECTOR_BYTES], MiscError> {
        let mut out = [0; MESSAGE_SECTOR_BYTES];
        let room = (RECOVERY.0, MESSAGE_SECTOR_BYTES - RECOVERY.0);
        for ((start, size), text) in
            [(COMMAND, &self.command), (STATUS, &self.status), (room, &self.recovery)]
        {
            // One byte is left for the zero behind it.
            if text.len() >= size {
                return Err(MiscError::Message);
            }
            out[start..start + text.len()].copy_from_slice(text.as_bytes());
        }
        if self.is_good() { Ok(out) } else { Err(MiscError::Message) }
    }

    fn is_good(&self) -> bool {
        let words = |text: &str| {
            text.is_empty() || text.starts_with(|first: char| first.is_ascii_lowercase())
        };
        let recovery = self.recovery.is_empty() || self.recovery.lines().next() == Some(HEADING);
        let printable = [&self.command, &self.status, &self.recovery];
        let printable = printable.iter().all(|text| text.bytes().all(is_text));
        words(&self.command) && words(&self.status) && recovery && printable
    }

    /// Reads the whole message. Stage and reserved bytes must be zero.
    pub fn decode(bytes: &[u8; MESSAGE_BYTES]) -> Result<Self, MiscError> {
        let end = RECOVERY.0 + RECOVERY.1;
        if let Some(at) = bytes[end..].iter().position(|&byte| byte != 0) {
            return Err(MiscError::StrayByte(end + at));
        }
        let message = Self {
            command: text(bytes, COMMAND)?,
            status: text(bytes, STATUS)?,
            recovery: text(bytes, RECOVERY)?,
        };
        if message.is_good() { Ok(message) } else { Err(MiscError::Message) }
    }
}

/// A text, the zero byte behind it, and nothing more.
fn text(bytes: &[u8; MESSAGE_BYTES], (start, size): (usize, usize)) -> Result<String, MiscError> {
    let field = &bytes[start..start + size];
    let length = field.iter().position(|&byte| byte == 0).ok_or(MiscError::Message)?;
    let (text, rest) = field.split_at(length);
    if let Some(at) = rest.iter().position(|&byte| byte != 0) {
        return Err(MiscError::StrayByte(start + length + at));
    }
    String::from_utf8(text.to_vec()).map_err(|_| MiscError::Message)
}

/// Printable ASCII and the end of a line.
const fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n')
}
