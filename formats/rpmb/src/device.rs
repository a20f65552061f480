//! The chip: a state machine over what it stores.

use crate::frame::{
    Block, COUNTER_EXPIRED, Frame, MAC_BYTES, OperationResult, Request, frames_mac, join, split,
};
use crate::{BLOCK_BYTES, MAX_WRITE_FRAMES};

/// What the chip keeps: blocks, the write counter, the key.
pub trait Store {
    /// Why it could not.
    type Error;

    /// How many blocks of 256 bytes there are; at most 65,536.
    fn blocks(&self) -> u32;
    /// The key, once it is programmed.
    fn key(&self) -> Option<[u8; MAC_BYTES]>;
    /// The write counter; starts at 0.
    fn counter(&self) -> u32;
    /// Programs the key, durably. Called at most once in a store's life.
    fn program_key(&mut self, key: &[u8; MAC_BYTES]) -> Result<(), Self::Error>;
    /// Reads `count` blocks from block `first`; the caller checked the range.
    fn read(&self, first: u16, count: u16) -> Result<Vec<Block>, Self::Error>;
    /// Writes `blocks` from block `first` and sets the counter: durably when it returns, and
    /// all or nothing whenever power goes. The caller checked the range.
    fn write(&mut self, first: u16, blocks: &[Block], counter: u32) -> Result<(), Self::Error>;
}

/// An RPMB chip over `S`.
#[derive(Debug)]
pub struct RpmbDevice<S> {
    store: S,
    /// The answer to the next [`Request::ReadResult`].
    result: Frame,
}

impl<S: Store> RpmbDevice<S> {
    /// Powers the chip on.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self { store, result: Frame::default() }
    }

    /// What it stores.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Takes request frames and gives the response frames: none for a key programming or a
    /// write (their result is read), none for bytes that are not frames. One call may carry
    /// several requests behind each other, as a write and its result read.
    pub fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        let Ok(frames) = split(request) else {
            return Vec::new();
        };
        let mut rest = frames.as_slice();
        let mut response = Vec::new();
        while let Some(first) = rest.first() {
            let length = message_frames(first).min(rest.len());
            let (message, behind) = rest.split_at(length);
            response.extend(self.handle(first, message));
            rest = behind;
        }
        join(&response)
    }

    fn handle(&mut self, first: &Frame, message: &[Frame]) -> Vec<Frame> {
        match Request::from_code(first.kind) {
            Some(Request::ProgramKey) => {
                self.result = self.program_key(first);
                Vec::new()
            }
            Some(Request::Write) => {
                self.result = self.write(first, message);
                Vec::new()
            }
            Some(Request::ReadCounter) => vec![self.read_counter(first)],
            Some(Request::Read) => self.read(first),
            Some(Request::ReadResult) => vec![std::mem::take(&mut self.result)],
            None => vec![Frame {
                kind: first.kind << 8,
                result: self.field(OperationResult::General),
                ..Frame::default()
            }],
        }
    }

    fn program_key(&mut self, request: &Frame) -> Frame {
        let done = self.store.key().is_none() && self.store.program_key(&request.mac).is_ok();
        let result = if done { OperationResult::Ok } else { OperationResult::General };
        Frame {
            kind: Request::ProgramKey.response_code(),
            result: result as u16,
            ..Frame::default()
        }
    }

    fn read_counter(&self, request: &Frame) -> Frame {
        let result =
            if self.store.key().is_some() { OperationResult::Ok } else { OperationResult::NoKey };
        self.signed(Frame {
            kind: Request::ReadCounter.response_code(),
            nonce: request.nonce,
            counter: self.store.counter(),
            result: self.field(result),
            ..Frame::default()
        })
    }

    fn write(&mut self, first: &Frame, message: &[Frame]) -> Frame {
        let result = match self.checked_write(first, message) {
            Ok(()) => OperationResult::Ok,
            Err(result) => result,
        };
        self.signed(Frame {
            kind: Request::Write.response_code(),
            counter: self.store.counter(),
            address: first.address,
            result: self.field(result),
            ..Frame::default()
        })
    }

    /// The checks of a write, in the order of JESD84-B51 6.6.22.4.3.
    fn checked_write(&mut self, first: &Frame, message: &[Frame]) -> Result<(), OperationResult> {
        let key = self.store.key().ok_or(OperationResult::NoKey)?;
        let counter = self.store.counter();
        if counter == u32::MAX {
            return Err(OperationResult::Write);
        }
        if !self.in_range(first) {
            return Err(OperationResult::Address);
        }
        let alike = |frame: &Frame| {
            (frame.kind, frame.address, frame.count, frame.counter)
                == (first.kind, first.address, first.count, first.counter)
        };
        let whole = message.len() == usize::from(first.count) && message.iter().all(alike);
        if !whole || message.len() > MAX_WRITE_FRAMES {
            return Err(OperationResult::General);
        }
        let mac = &message[message.len() - 1].mac;
        if !crypto::constant_time_eq(mac, &frames_mac(&key, message)) {
            return Err(OperationResult::Authentication);
        }
        if first.counter != counter {
            return Err(OperationResult::Counter);
        }
        let blocks: Vec<Block> = message.iter().map(|frame| frame.data).collect();
        self.store.write(first.address, &blocks, counter + 1).map_err(|_| OperationResult::Write)
    }

    fn read(&self, request: &Frame) -> Vec<Frame> {
        let answer = Frame {
            kind: Request::Read.response_code(),
            nonce: request.nonce,
            address: request.address,
            count: request.count,
            ..Frame::default()
        };
        let blocks = self.checked_read(request);
        let (result, blocks) = match blocks {
            Ok(blocks) => (OperationResult::Ok, blocks),
            Err(result) => (result, vec![[0; BLOCK_BYTES]]),
        };
        let mut frames: Vec<Frame> = blocks
            .into_iter()
            .map(|data| Frame { data, result: self.field(result), ..answer.clone() })
            .collect();
        self.sign(&mut frames);
        frames
    }

    fn checked_read(&self, request: &Frame) -> Result<Vec<Block>, OperationResult> {
        if self.store.key().is_none() {
            return Err(OperationResult::NoKey);
        }
        if !self.in_range(request) {
            return Err(OperationResult::Address);
        }
        self.store.read(request.address, request.count).map_err(|_| OperationResult::Read)
    }

    /// Whether the blocks that `request` names exist; none at all do not.
    fn in_range(&self, request: &Frame) -> bool {
        let end = u32::from(request.address) + u32::from(request.count);
        request.count > 0 && end <= self.store.blocks()
    }

    fn field(&self, result: OperationResult) -> u16 {
        let expired = self.store.counter() == u32::MAX;
        result as u16 | if expired { COUNTER_EXPIRED } else { 0 }
    }

    fn signed(&self, frame: Frame) -> Frame {
        let mut frames = [frame];
        self.sign(&mut frames);
        let [frame] = frames;
        frame
    }

    /// Puts the MAC into the last frame. Without a key there is none.
    fn sign(&self, frames: &mut [Frame]) {
        let Some(key) = self.store.key() else { return };
        let mac = frames_mac(&key, frames);
        if let Some(last) = frames.last_mut() {
            last.mac = mac;
        }
    }
}

/// How many frames the request that starts with `first` has.
fn message_frames(first: &Frame) -> usize {
    match Request::from_code(first.kind) {
        Some(Request::Write) => usize::from(first.count).max(1),
        _ => 1,
    }
}
