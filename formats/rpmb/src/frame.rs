//! The frame: 512 bytes, big-endian (JESD84-B51, table 18).

use crate::BLOCK_BYTES;

/// Bytes of a frame.
pub const FRAME_BYTES: usize = 512;
/// Bytes of a MAC and of the key.
pub const MAC_BYTES: usize = 32;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 16;
/// Set in the result field once the write counter stands at its end.
pub const COUNTER_EXPIRED: u16 = 0x80;

/// What one frame carries.
pub type Block = [u8; BLOCK_BYTES];

const MAC_AT: usize = 196;
const DATA_AT: usize = 228;
const NONCE_AT: usize = 484;
const COUNTER_AT: usize = 500;
const ADDRESS_AT: usize = 504;
const COUNT_AT: usize = 506;
const RESULT_AT: usize = 508;
const KIND_AT: usize = 510;

/// Why bytes are not frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are not a whole number of RPMB frames of 512")]
pub struct MalformedFrame(pub usize);

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Request {
    /// Programs the authentication key, once in the chip's life.
    ProgramKey = 1,
    /// Reads the write counter.
    ReadCounter = 2,
    /// Writes blocks.
    Write = 3,
    /// Reads blocks.
    Read = 4,
    /// Asks what became of the last key programming or write, of either kind.
    ReadResult = 5,
    /// Writes a register of the device configuration (JESD84-B51 and later).
    WriteConfiguration = 6,
    /// Reads the device configuration.
    ReadConfiguration = 7,
}

impl Request {
    /// From the frame's last field.
    #[must_use]
    pub const fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::ProgramKey,
            2 => Self::ReadCounter,
            3 => Self::Write,
            4 => Self::Read,
            5 => Self::ReadResult,
            6 => Self::WriteConfiguration,
            7 => Self::ReadConfiguration,
            _ => return None,
        })
    }

    /// The frame's last field in a request.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The frame's last field in the response.
    #[must_use]
    pub const fn response_code(self) -> u16 {
        self.code() << 8
    }
}

/// The result of an operation, without the bit [`COUNTER_EXPIRED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum OperationResult {
    /// Done.
    Ok = 0,
    /// General failure.
    General = 1,
    /// The MAC does not match.
    Authentication = 2,
    /// The counter in the request is not the chip's: a replay, or a lost answer.
    Counter = 3,
    /// Out of the chip's range, or misaligned.
    Address = 4,
    /// Writing failed, or the counter is used up.
    Write = 5,
    /// Reading failed.
    Read = 6,
    /// No key is programmed yet.
    NoKey = 7,
}

impl OperationResult {
    /// From the result field, whose expiry bit is ignored.
    #[must_use]
    pub const fn from_field(field: u16) -> Option<Self> {
        Some(match field & !COUNTER_EXPIRED {
            0 => Self::Ok,
            1 => Self::General,
            2 => Self::Authentication,
            3 => Self::Counter,
            4 => Self::Address,
            5 => Self::Write,
            6 => Self::Read,
            7 => Self::NoKey,
            _ => return None,
        })
    }
}

impl std::fmt::Display for OperationResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ok => "done",
            Self::General => "general failure",
            Self::Authentication => "authentication failure: the MAC is not of its key",
            Self::Counter => "counter failure: the request is not for its write counter",
            Self::Address => "address failure: it has no such block",
            Self::Write => "write failure",
            Self::Read => "read failure",
            Self::NoKey => "no authentication key is programmed yet",
        })
    }
}

/// One frame. The 196 stuff bytes in front are zero when encoded and ignored when decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// The key (in [`Request::ProgramKey`]), or the MAC (in the last frame of a message).
    pub mac: [u8; MAC_BYTES],
    /// Data, as it is stored.
    pub data: Block,
    /// Proves that a read answer is fresh.
    pub nonce: [u8; NONCE_BYTES],
    /// The write counter.
    pub counter: u32,
    /// The first block, in units of 256 bytes.
    pub address: u16,
    /// How many blocks.
    pub count: u16,
    /// See [`OperationResult`] and [`COUNTER_EXPIRED`].
    pub result: u16,
    /// See [`Request::code`] and [`Request::response_code`].
    pub kind: u16,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            mac: [0; MAC_BYTES],
            data: [0; BLOCK_BYTES],
            nonce: [0; NONCE_BYTES],
            counter: 0,
            address: 0,
            count: 0,
            result: 0,
            kind: 0,
        }
    }
}

impl std::fmt::Debug for Frame {
    /// Without MAC and data: they may be a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("counter", &self.counter)
            .field("address", &self.address)
            .field("count", &self.count)
            .field("result", &self.result)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Frame {
    /// Reads a frame.
    #[must_use]
    pub fn decode(bytes: &[u8; FRAME_BYTES]) -> Self {
        let u16_at = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        Self {
            mac: array_at(bytes, MAC_AT),
            data: array_at(bytes, DATA_AT),
            nonce: array_at(bytes, NONCE_AT),
            counter: u32::from_be_bytes(array_at(bytes, COUNTER_AT)),
            address: u16_at(ADDRESS_AT),
            count: u16_at(COUNT_AT),
            result: u16_at(RESULT_AT),
            kind: u16_at(KIND_AT),
        }
    }

    /// Writes a frame.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_BYTES] {
        let mut bytes = [0; FRAME_BYTES];
        bytes[MAC_AT..DATA_AT].copy_from_slice(&self.mac);
        bytes[DATA_AT..NONCE_AT].copy_from_slice(&self.data);
        bytes[NONCE_AT..COUNTER_AT].copy_from_slice(&self.nonce);
        bytes[COUNTER_AT..ADDRESS_AT].copy_from_slice(&self.counter.to_be_bytes());
        bytes[ADDRESS_AT..COUNT_AT].copy_from_slice(&self.address.to_be_bytes());
        bytes[COUNT_AT..RESULT_AT].copy_from_slice(&self.count.to_be_bytes());
        bytes[RESULT_AT..KIND_AT].copy_from_slice(&self.result.to_be_bytes());
        bytes[KIND_AT..].copy_from_slice(&self.kind.to_be_bytes());
        bytes
    }
}

fn array_at<const N: usize>(bytes: &[u8; FRAME_BYTES], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("every field lies inside the frame")
}

/// HMAC-SHA-256 over bytes 228 to 511 of every frame of a message.
#[must_use]
pub fn frames_mac(key: &[u8; MAC_BYTES], frames: &[Frame]) -> [u8; MAC_BYTES] {
    let encoded: Vec<_> = frames.iter().map(Frame::encode).collect();
    let parts: Vec<&[u8]> = encoded.iter().map(|frame| &frame[DATA_AT..]).collect();
    crypto::mac::hmac_sha256(key, &parts)
}

/// Cuts bytes into frames.
pub fn split(bytes: &[u8]) -> Result<Vec<Frame>, MalformedFrame> {
    let (frames, rest) = bytes.as_chunks::<FRAME_BYTES>();
    if rest.is_empty() {
        Ok(frames.iter().map(Frame::decode).collect())
    } else {
        Err(MalformedFrame(bytes.len()))
    }
}

/// Puts frames behind each other.
#[must_use]
pub fn join(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::encode).collect()
}
