//! The chip: a state machine over what it stores.

use crate::configuration::{Configuration, Register};
use crate::frame::{
    Block, COUNTER_EXPIRED, Frame, MAC_BYTES, OperationResult, Request, frames_mac, join, split,
};
use crate::{BLOCK_BYTES, MAX_WRITE_FRAMES};

/// What the chip keeps: blocks, the write counter, the key, one bit of configuration.
pub trait Store {
    /// Why it could not.
    type Error;

    /// How many blocks of 256 bytes there are; at most 65,536.
    fn blocks(&self) -> u32;
    /// The key, once it is programmed.
    fn key(&self) -> Option<[u8; MAC_BYTES]>;
    /// The write counter; starts at 0.
    fn counter(&self) -> u32;
    /// Register 1 of the device configuration; starts as `false`.
    fn secure_wp_mode_enable(&self) -> bool;
    /// Programs the key, durably. Called at most once in a store's life.
    fn program_key(&mut self, key: &[u8; MAC_BYTES]) -> Result<(), Self::Error>;
    /// Reads `count` blocks from block `first`; the caller checked the range.
    fn read(&self, first: u16, count: u16) -> Result<Vec<Block>, Self::Error>;
    /// Writes `blocks` from block `first` and sets the counter: durably when it returns, and
    /// all or nothing whenever power goes. The caller checked the range.
    fn write(&mut self, first: u16, blocks: &[Block], counter: u32) -> Result<(), Self::Error>;
    /// Sets register 1 of the device configuration and the counter, as durably as
    /// [`Store::write`].
    fn configure(&mut self, secure_wp_mode_enable: bool, counter: u32) -> Result<(), Self::Error>;
}

/// What the chip answers when it is read next. One request replaces what the one before it left.
#[derive(Debug)]
enum Pending {
    /// No request wants an answer.
    Nothing,
    /// The result register.
    Result,
    /// An answer to this request.
    Answer(Request, Box<Frame>),
    /// This one was no request.
    Unknown(u16),
}

/// An RPMB chip over `S`.
#[derive(Debug)]
pub struct RpmbDevice<S> {
    store: S,
    /// The result register: the answer to the next [`Request::ReadResult`].
    result: Frame,
    pending: Pending,
    /// Register 2 of the device configuration: gone with the power.
    secure_wp_mode_config: bool,
    max_write_frames: usize,
}

impl<S: Store> RpmbDevice<S> {
    /// Powers the chip on.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self {
            store,
            result: Frame::default(),
            pending: Pending::Nothing,
            secure_wp_mode_config: false,
            max_write_frames: MAX_WRITE_FRAMES,
        }
    }

    /// A chip whose reliable write takes at most so many frames (EXT_CSD\[222\]): 1 to
    /// [`MAX_WRITE_FRAMES`]; what is outside becomes the nearest of these.
    #[must_use]
    pub fn with_max_write_frames(mut self, frames: usize) -> Self {
        self.max_write_frames = frames.clamp(1, MAX_WRITE_FRAMES);
        self
    }

    /// What it stores.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The device configuration.
    #[must_use]
    pub fn configuration(&self) -> Configuration {
        Configuration {
            secure_wp_mode_enable: self.store.secure_wp_mode_enable(),
            secure_wp_mode_config: self.secure_wp_mode_config,
        }
    }

    /// Takes the frames of CMD25: one request, or several behind each other. Bytes that are not
    /// whole frames are not taken, and no answer waits after them.
    pub fn send(&mut self, request: &[u8]) {
        self.pending = Pending::Nothing;
        let Ok(frames) = split(request) else { return };
        let mut rest = frames.as_slice();
        while let Some(first) = rest.first() {
            let length = message_frames(first).min(rest.len());
            let (message, behind) = rest.split_at(length);
            self.handle(first, message);
            rest = behind;
        }
    }

    /// Gives the `frames` frames of CMD18, all of them, whatever was asked. A read whose block
    /// count is 0 has the count of this call, as on eMMC. What waits is given once.
    pub fn receive(&mut self, frames: u16) -> Vec<u8> {
        let frames = frames.max(1);
        let mut answer = self.answer(frames);
        let failed = Frame { result: self.field(OperationResult::General), ..Frame::default() };
        answer.resize(frames.into(), failed);
        join(&answer)
    }

    /// A whole exchange: [`RpmbDevice::send`], then as many frames as its last request has an
    /// answer: none where no answer waits, one where a read of several is refused.
    pub fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        self.send(request);
        let frames = match &self.pending {
            Pending::Nothing => return Vec::new(),
            Pending::Answer(Request::Read, read)
                if read.count == 0 || self.checked_range(read, read.count) =>
            {
                read.count
            }
            _ => 1,
        };
        join(&self.answer(frames))
    }

    fn handle(&mut self, first: &Frame, message: &[Frame]) {
        self.pending = Pending::Nothing;
        match Request::from_code(first.kind) {
            Some(Request::ProgramKey) => self.result = self.program_key(first),
            Some(kind @ (Request::Write | Request::WriteConfiguration)) => {
                self.result = self.write(kind, first, message);
            }
            Some(Request::ReadResult) => self.pending = Pending::Result,
            Some(kind) => self.pending = Pending::Answer(kind, Box::new(first.clone())),
            None => self.pending = Pending::Unknown(first.kind),
        }
    }

    fn answer(&mut self, frames: u16) -> Vec<Frame> {
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Nothing => Vec::new(),
            Pending::Result => vec![std::mem::take(&mut self.result)],
            Pending::Answer(Request::Read, request) => self.read(&request, frames),
            Pending::Answer(kind, request) => vec![self.read_register(kind, &request)],
            Pending::Unknown(kind) => vec![Frame {
                kind: kind << 8,
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

    /// The write counter, or the device configuration.
    fn read_register(&self, kind: Request, request: &Frame) -> Frame {
        let has_key = self.store.key().is_some();
        let configuration = kind == Request::ReadConfiguration && has_key;
        self.signed(Frame {
            kind: kind.response_code(),
            data: if configuration { self.configuration().encode() } else { [0; BLOCK_BYTES] },
            nonce: request.nonce,
            counter: if configuration { 0 } else { self.store.counter() },
            result: self.field(if has_key { OperationResult::Ok } else { OperationResult::NoKey }),
            ..Frame::default()
        })
    }

    fn write(&mut self, kind: Request, first: &Frame, message: &[Frame]) -> Frame {
        let done = match kind {
            Request::Write => self.write_blocks(first, message),
            _ => self.write_configuration(first, message),
        };
        let result = done.err().unwrap_or(OperationResult::Ok);
        self.signed(Frame {
            kind: kind.response_code(),
            counter: self.store.counter(),
            address: first.address,
            result: self.field(result),
            ..Frame::default()
        })
    }

    fn write_blocks(&mut self, first: &Frame, message: &[Frame]) -> Result<(), OperationResult> {
        let in_range = self.checked_range(first, first.count);
        let counter = self.authorized(first, message, in_range)?;
        let blocks: Vec<Block> = message.iter().map(|frame| frame.data).collect();
        self.store.write(first.address, &blocks, counter + 1).map_err(|_| OperationResult::Write)
    }

    fn write_configuration(
        &mut self,
        first: &Frame,
        message: &[Frame],
    ) -> Result<(), OperationResult> {
        let register = Register::from_address(first.address);
        let counter = self.authorized(first, message, register.is_some())?;
        let register = register.ok_or(OperationResult::Address)?;
        let new = self.configuration().with(register, first).ok_or(OperationResult::General)?;
        self.store
            .configure(new.secure_wp_mode_enable, counter + 1)
            .map_err(|_| OperationResult::Write)?;
        self.secure_wp_mode_config = new.secure_wp_mode_config;
        Ok(())
    }

    /// The checks of a write, in the order of JESD84-B51 6.6.22.4.3: key, counter expired,
    /// address, shape of the message, MAC, counter. Gives the counter that now stands.
    fn authorized(
        &self,
        first: &Frame,
        message: &[Frame],
        address_exists: bool,
    ) -> Result<u32, OperationResult> {
        let key = self.store.key().ok_or(OperationResult::NoKey)?;
        let counter = self.store.counter();
        if counter == u32::MAX {
            return Err(OperationResult::Write);
        }
        if !address_exists {
            return Err(OperationResult::Address);
        }
        if !self.is_whole(first, message) {
            return Err(OperationResult::General);
        }
        let last = message.last().ok_or(OperationResult::General)?;
        if !crypto::constant_time_eq(&last.mac, &frames_mac(&key, message)) {
            return Err(OperationResult::Authentication);
        }
        if first.counter != counter { Err(OperationResult::Counter) } else { Ok(counter) }
    }

    /// Whether `message` has the frames that its first one announces, alike and not too many.
    fn is_whole(&self, first: &Frame, message: &[Frame]) -> bool {
        let announces = |frame: &Frame| (frame.kind, frame.address, frame.count, frame.counter);
        let most = if first.kind == Request::Write.code() { self.max_write_frames } else { 1 };
        message.len() == usize::from(first.count)
            && message.len() <= most
            && message.iter().all(|frame| announces(frame) == announces(first))
    }

    /// Answers a read with `frames` frames, each with the result, the MAC in the last.
    fn read(&self, request: &Frame, frames: u16) -> Vec<Frame> {
        let (result, blocks) = match self.checked_read(request, frames) {
            Ok(blocks) => (OperationResult::Ok, blocks),
            Err(result) => (result, vec![[0; BLOCK_BYTES]; frames.max(1).into()]),
        };
        let answer = Frame {
            kind: Request::Read.response_code(),
            nonce: request.nonce,
            address: request.address,
            count: if request.count == 0 { frames } else { request.count },
            result: self.field(result),
            ..Frame::default()
        };
        let mut frames: Vec<Frame> =
            blocks.into_iter().map(|data| Frame { data, ..answer.clone() }).collect();
        self.sign(&mut frames);
        frames
    }

    fn checked_read(&self, request: &Frame, frames: u16) -> Result<Vec<Block>, OperationResult> {
        if self.store.key().is_none() {
            return Err(OperationResult::NoKey);
        }
        let count = if request.count == 0 { frames } else { request.count };
        if !self.checked_range(request, count) {
            return Err(OperationResult::Address);
        }
        if count != frames {
            return Err(OperationResult::General);
        }
        self.store.read(request.address, count).map_err(|_| OperationResult::Read)
    }

    /// Whether `count` blocks from the request's address on exist; none at all do not.
    fn checked_range(&self, request: &Frame, count: u16) -> bool {
        let end = u32::from(request.address) + u32::from(count);
        count > 0 && end <= self.store.blocks()
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
