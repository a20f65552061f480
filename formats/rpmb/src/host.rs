//! The holder of the key: builds requests and checks responses.
//!
//! Every request is complete for one exchange; key programming and writes carry their result
//! read behind them. A response is believed only after its MAC, its nonce or counter, its
//! address and its kind were checked.

use crate::BLOCK_BYTES;
use crate::configuration::{Configuration, Register};
use crate::frame::{
    Block, Frame, MAC_BYTES, NONCE_BYTES, OperationResult, Request, frames_mac, join, split,
};

/// Why a response is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Not the frames that are due.
    #[error("RPMB: the response has {got} bytes where {expected} are due")]
    Length {
        /// Bytes that came.
        got: usize,
        /// Bytes that were due.
        expected: usize,
    },
    /// A field says something else than was asked.
    #[error("RPMB: the response answers another question ({0})")]
    Mismatch(&'static str),
    /// The MAC is not of our key.
    #[error("RPMB: the response is not authentic: the chip has another key, or it was altered")]
    Authentication,
    /// The chip refused.
    #[error("RPMB: the chip refused: {0}")]
    Result(OperationResult),
    /// A result code that JEDEC does not define.
    #[error("RPMB: unknown result {0:#06x}")]
    UnknownResult(u16),
}

/// Programs `key`.
#[must_use]
pub fn program_key(key: &[u8; MAC_BYTES]) -> Vec<u8> {
    let request = Frame { mac: *key, kind: Request::ProgramKey.code(), ..Frame::default() };
    join(&[request, read_result()])
}

/// Checks the response to [`program_key`]. It has no MAC: read the counter afterwards.
pub fn check_key(response: &[u8]) -> Result<(), Refused> {
    let frames = frames_of(response, 1)?;
    expect_kind(&frames[0], Request::ProgramKey)?;
    expect_ok(&frames[0])
}

/// Reads the write counter.
#[must_use]
pub fn read_counter(nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
    let kind = Request::ReadCounter.code();
    join(&[Frame { nonce: *nonce, kind, ..Frame::default() }])
}

/// Checks the response to [`read_counter`] and gives the counter.
/// [`OperationResult::NoKey`] is believed without a MAC: there is no key to make one.
pub fn check_counter(
    key: &[u8; MAC_BYTES],
    nonce: &[u8; NONCE_BYTES],
    response: &[u8],
) -> Result<u32, Refused> {
    Ok(check_register(Request::ReadCounter, key, nonce, response)?.counter)
}

/// Gives the counter without a key to check it with: what anybody may have put there.
pub fn unchecked_counter(response: &[u8]) -> Result<u32, Refused> {
    let frames = frames_of(response, 1)?;
    expect_kind(&frames[0], Request::ReadCounter)?;
    expect_ok(&frames[0])?;
    Ok(frames[0].counter)
}

/// Reads the device configuration.
#[must_use]
pub fn read_configuration(nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
    let kind = Request::ReadConfiguration.code();
    join(&[Frame { nonce: *nonce, kind, ..Frame::default() }])
}

/// Checks the response to [`read_configuration`].
pub fn check_configuration(
    key: &[u8; MAC_BYTES],
    nonce: &[u8; NONCE_BYTES],
    response: &[u8],
) -> Result<Configuration, Refused> {
    let frame = check_register(Request::ReadConfiguration, key, nonce, response)?;
    Ok(Configuration::decode(&frame.data))
}

fn check_register(
    request: Request,
    key: &[u8; MAC_BYTES],
    nonce: &[u8; NONCE_BYTES],
    response: &[u8],
) -> Result<Frame, Refused> {
    let frames = frames_of(response, 1)?;
    expect_kind(&frames[0], request)?;
    if OperationResult::from_field(frames[0].result) == Some(OperationResult::NoKey) {
        return Err(Refused::Result(OperationResult::NoKey));
    }
    expect_mac(key, &frames)?;
    expect_ok(&frames[0])?;
    if frames[0].nonce != *nonce {
        return Err(Refused::Mismatch("nonce"));
    }
    Ok(frames[0].clone())
}

/// Writes `blocks` (1 to [`crate::MAX_WRITE_FRAMES`]) from block `address` on; `counter` is
/// what the chip's counter stands at now.
#[must_use]
pub fn write(key: &[u8; MAC_BYTES], counter: u32, address: u16, blocks: &[Block]) -> Vec<u8> {
    let mut frames: Vec<Frame> = blocks
        .iter()
        .map(|data| Frame {
            data: *data,
            counter,
            address,
            count: blocks.len() as u16,
            kind: Request::Write.code(),
            ..Frame::default()
        })
        .collect();
    sign(key, &mut frames);
    frames.push(read_result());
    join(&frames)
}

/// Sets or clears a register of the device configuration; `counter` is what the chip's counter
/// stands at now.
#[must_use]
pub fn write_configuration(
    key: &[u8; MAC_BYTES],
    counter: u32,
    register: Register,
    value: bool,
) -> Vec<u8> {
    let mut data = [0; BLOCK_BYTES];
    data[BLOCK_BYTES - 1] = u8::from(value);
    let kind = Request::WriteConfiguration.code();
    let address = register.address();
    let mut frames = vec![Frame { data, counter, address, count: 1, kind, ..Frame::default() }];
    sign(key, &mut frames);
    frames.push(read_result());
    join(&frames)
}

fn sign(key: &[u8; MAC_BYTES], frames: &mut [Frame]) {
    let mac = frames_mac(key, frames);
    if let Some(last) = frames.last_mut() {
        last.mac = mac;
    }
}

/// Checks the response to [`write`]; `counter` is what the chip's counter must stand at now:
/// one more than in the request, however many blocks it had.
pub fn check_write(
    key: &[u8; MAC_BYTES],
    counter: u32,
    address: u16,
    response: &[u8],
) -> Result<(), Refused> {
    check_written(Request::Write, key, counter, address, response)
}

/// Checks the response to [`write_configuration`]; `counter` is what the chip's counter must
/// stand at now.
pub fn check_configured(
    key: &[u8; MAC_BYTES],
    counter: u32,
    register: Register,
    response: &[u8],
) -> Result<(), Refused> {
    check_written(Request::WriteConfiguration, key, counter, register.address(), response)
}

fn check_written(
    request: Request,
    key: &[u8; MAC_BYTES],
    counter: u32,
    address: u16,
    response: &[u8],
) -> Result<(), Refused> {
    let frames = frames_of(response, 1)?;
    expect_kind(&frames[0], request)?;
    if OperationResult::from_field(frames[0].result) == Some(OperationResult::NoKey) {
        return Err(Refused::Result(OperationResult::NoKey));
    }
    expect_mac(key, &frames)?;
    expect_ok(&frames[0])?;
    if frames[0].address != address {
        return Err(Refused::Mismatch("address"));
    }
    if frames[0].counter != counter {
        return Err(Refused::Mismatch("counter"));
    }
    Ok(())
}

/// Reads `count` blocks from block `address` on.
#[must_use]
pub fn read(nonce: &[u8; NONCE_BYTES], address: u16, count: u16) -> Vec<u8> {
    let kind = Request::Read.code();
    join(&[Frame { nonce: *nonce, address, count, kind, ..Frame::default() }])
}

/// Checks the response to [`read`] and gives the blocks.
pub fn check_read(
    key: &[u8; MAC_BYTES],
    nonce: &[u8; NONCE_BYTES],
    address: u16,
    count: u16,
    response: &[u8],
) -> Result<Vec<Block>, Refused> {
    let frames = split(response).map_err(|_| length(response, count.into()))?;
    let first = frames.first().ok_or_else(|| length(response, count.into()))?;
    expect_kind(first, Request::Read)?;
    if OperationResult::from_field(first.result) == Some(OperationResult::NoKey) {
        return Err(Refused::Result(OperationResult::NoKey));
    }
    expect_mac(key, &frames)?;
    for frame in &frames {
        expect_kind(frame, Request::Read)?;
        expect_ok(frame)?;
        if frame.nonce != *nonce {
            return Err(Refused::Mismatch("nonce"));
        }
        if frame.address != address || frame.count != count {
            return Err(Refused::Mismatch("address or block count"));
        }
    }
    if frames.len() != usize::from(count) {
        return Err(length(response, count.into()));
    }
    Ok(frames.into_iter().map(|frame| frame.data).collect())
}

/// Gives the blocks without a key to check them with: what anybody may have put there.
pub fn unchecked_read(address: u16, count: u16, response: &[u8]) -> Result<Vec<Block>, Refused> {
    let frames = frames_of(response, count.into())?;
    for frame in &frames {
        expect_kind(frame, Request::Read)?;
        expect_ok(frame)?;
        if frame.address != address {
            return Err(Refused::Mismatch("address or block count"));
        }
    }
    Ok(frames.into_iter().map(|frame| frame.data).collect())
}

fn read_result() -> Frame {
    Frame { kind: Request::ReadResult.code(), ..Frame::default() }
}

fn frames_of(response: &[u8], count: usize) -> Result<Vec<Frame>, Refused> {
    match split(response) {
        Ok(frames) if frames.len() == count => Ok(frames),
        _ => Err(length(response, count)),
    }
}

const fn length(response: &[u8], frames: usize) -> Refused {
    Refused::Length { got: response.len(), expected: frames * crate::FRAME_BYTES }
}

fn expect_kind(frame: &Frame, request: Request) -> Result<(), Refused> {
    if frame.kind == request.response_code() { Ok(()) } else { Err(Refused::Mismatch("kind")) }
}

fn expect_mac(key: &[u8; MAC_BYTES], frames: &[Frame]) -> Result<(), Refused> {
    let mac = frames.last().map(|frame| &frame.mac[..]).unwrap_or_default();
    if crypto::constant_time_eq(mac, &frames_mac(key, frames)) {
        Ok(())
    } else {
        Err(Refused::Authentication)
    }
}

fn expect_ok(frame: &Frame) -> Result<(), Refused> {
    match OperationResult::from_field(frame.result) {
        Some(OperationResult::Ok) => Ok(()),
        Some(result) => Err(Refused::Result(result)),
        None => Err(Refused::UnknownResult(frame.result)),
    }
}
