//! Operations of a session: a message in one part or in many, and output that may not fit.
//!
//! Asking for the length, and a buffer that is too small, leave an operation as it was (5.2). What
//! came out of the key is kept until it was fetched: no message is worked on twice.

use crate::border::Output;
use crate::error::{Result, Rv, ensure, fail};
use crate::key::Stream;
use crypto::hash::Hasher;
use cryptoki_sys::*;
use zeroize::Zeroizing;

/// How many bytes come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// So many, at the end.
    Fixed(usize),
    /// As many as go in.
    Same,
    /// As many as go in, in whole blocks; encrypting with padding, up to a block more.
    Blocks { bytes: usize, padded: bool },
    /// As many as go in, and a tag.
    Sealed(usize),
    /// As many as go in without the tag, at the end.
    Opened(usize),
}

impl Shape {
    /// Bytes in all at most, after so many bytes of input in all.
    const fn whole(self, taken: usize) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Same => taken,
            Self::Blocks { bytes, padded: true } => (taken / bytes + 1) * bytes,
            Self::Blocks { bytes, padded: false } => taken.next_multiple_of(bytes),
            Self::Sealed(tag) => taken + tag,
            Self::Opened(tag) => taken.saturating_sub(tag),
        }
    }

    /// As before, while more input is to come.
    const fn partial(self, taken: usize) -> usize {
        match self {
            Self::Fixed(_) | Self::Opened(_) => 0,
            Self::Blocks { bytes, .. } => taken / bytes * bytes,
            Self::Same | Self::Sealed(_) => taken,
        }
    }
}

/// An operation that goes on.
pub(crate) struct Active {
    /// `None` after its end, while its output waits.
    stream: Option<Box<dyn Stream>>,
    shape: Shape,
    taken: usize,
    given: usize,
    /// It takes its message in parts.
    parts: bool,
    /// What came out and did not fit.
    waiting: Option<Wiped>,
    /// It waits for a login of its own (`CKA_ALWAYS_AUTHENTICATE`).
    pub(crate) wants_login: bool,
}

impl Active {
    /// An operation that begins.
    pub(crate) fn new(stream: Box<dyn Stream>, shape: Shape) -> Self {
        Self {
            stream: Some(stream),
            shape,
            taken: 0,
            given: 0,
            parts: false,
            waiting: None,
            wants_login: false,
        }
    }

    /// The same with a key that wants a login for each operation.
    pub(crate) fn with_login(self, wants_login: bool) -> Self {
        Self { wants_login, ..self }
    }

    /// What does the work, for a message in one part.
    pub(crate) fn into_stream(self) -> Option<Box<dyn Stream>> {
        self.stream
    }

    /// Whether `C_…Update` was called.
    pub(crate) const fn has_parts(&self) -> bool {
        self.parts
    }

    fn stream(&mut self) -> Result<&mut Box<dyn Stream>> {
        self.stream.as_mut().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
    }

    /// Takes a part whose output goes nowhere.
    fn feed(&mut self, input: &[u8]) -> Result<()> {
        self.parts = true;
        self.taken += input.len();
        let mut nothing = Vec::new();
        self.stream()?.update(input, &mut nothing)
    }

    fn update(&mut self, input: &[u8], output: &Output) -> Result<()> {
        self.parts = true;
        if self.waiting.is_none() {
            if output.is_query() {
                let most = self.shape.partial(self.taken + input.len());
                output.tell(most.saturating_sub(self.given));
                return Ok(());
            }
            self.taken += input.len();
            let mut out = Vec::new();
            self.stream()?.update(input, &mut out)?;
            self.waiting = Some(Wiped(out));
        }
        let fetched = self.fetch(output)?;
        self.given += fetched.unwrap_or(0);
        Ok(())
    }

    /// Whether the operation is over.
    fn finish(&mut self, input: &[u8], output: &Output) -> Result<bool> {
        if self.stream.is_some() {
            // Output of a part that was not fetched comes first.
            ensure(self.waiting.is_none(), CKR_OPERATION_ACTIVE)?;
            if output.is_query() {
                let most = self.shape.whole(self.taken + input.len());
                output.tell(most.saturating_sub(self.given));
                return Ok(false);
            }
            let mut out = Vec::with_capacity(input.len() + 32);
            if let Some(stream) = self.stream.take() {
                stream.finish(input, &mut out)?;
            }
            self.waiting = Some(Wiped(out));
        }
        Ok(self.fetch(output)?.is_some())
    }

    /// Hands out what waits; says how many bytes it was, once it was fetched.
    fn fetch(&mut self, output: &Output) -> Result<Option<usize>> {
        let Some(waiting) = &self.waiting else { return Ok(Some(0)) };
        output.write(&waiting.0)?;
        if output.is_query() {
            return Ok(None);
        }
        Ok(self.waiting.take().map(|fetched| fetched.0.len()))
    }
}

/// Bytes that are overwritten when they go, as fast as memory can be: a megabyte of them byte by
/// byte takes longer than to encrypt it.
struct Wiped(Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        // SAFETY: the bytes are this value's own; the call can't be left out by the compiler.
        unsafe { libc::explicit_bzero(self.0.as_mut_ptr().cast(), self.0.len()) };
    }
}

/// Where a session keeps an operation of a kind.
pub(crate) type Slot = Option<Active>;

/// Begins an operation.
pub(crate) fn begin(slot: &mut Slot, make: impl FnOnce() -> Result<Active>) -> Result<()> {
    ensure(slot.is_none(), CKR_OPERATION_ACTIVE)?;
    *slot = Some(make()?);
    Ok(())
}

fn active(slot: &mut Slot) -> Result<&mut Active> {
    let active = slot.as_mut().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
    // The operation waits on: the login may still come.
    ensure(!active.wants_login, CKR_USER_NOT_LOGGED_IN)?;
    Ok(active)
}

/// Ends the operation where something else went wrong than that the output did not fit.
fn settle<T>(slot: &mut Slot, result: Result<T>) -> Result<T> {
    if matches!(result, Err(Rv(code)) if code != CKR_BUFFER_TOO_SMALL) {
        *slot = None;
    }
    result
}

/// A part without output.
pub(crate) fn feed(slot: &mut Slot, input: &[u8]) -> Result<()> {
    let result = active(slot)?.feed(input);
    settle(slot, result)
}

/// A part.
pub(crate) fn update(slot: &mut Slot, input: &[u8], output: &Output) -> Result<()> {
    let result = active(slot)?.update(input, output);
    settle(slot, result)
}

/// The end of a message in parts.
pub(crate) fn finish(slot: &mut Slot, output: &Output) -> Result<()> {
    let result = active(slot)?.finish(&[], output);
    if settle(slot, result)? {
        *slot = None;
    }
    Ok(())
}

/// A message in one part.
pub(crate) fn once(slot: &mut Slot, input: &[u8], output: &Output) -> Result<()> {
    ensure(!active(slot)?.has_parts(), CKR_OPERATION_ACTIVE)?;
    let result = active(slot)?.finish(input, output);
    if settle(slot, result)? {
        *slot = None;
    }
    Ok(())
}

/// What is hashed.
pub(crate) struct Hashing(pub(crate) Hasher);

impl Stream for Hashing {
    fn update(&mut self, input: &[u8], _: &mut Vec<u8>) -> Result<()> {
        self.0.update(input);
        Ok(())
    }

    fn finish(mut self: Box<Self>, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.0.update(input);
        out.extend_from_slice(&self.0.finish());
        Ok(())
    }
}

/// What is taken as a whole.
pub(crate) struct Gathering {
    held: Zeroizing<Vec<u8>>,
    most: usize,
    too_long: CK_RV,
}

impl Gathering {
    /// Of so many bytes at most.
    pub(crate) fn new(most: usize, too_long: CK_RV) -> Self {
        Self { held: Zeroizing::default(), most, too_long }
    }
}

impl Stream for Gathering {
    fn update(&mut self, input: &[u8], _: &mut Vec<u8>) -> Result<()> {
        if input.len() > self.most - self.held.len() {
            return fail(self.too_long);
        }
        self.held.extend_from_slice(input);
        Ok(())
    }

    fn finish(mut self: Box<Self>, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.update(input, out)?;
        out.extend_from_slice(&self.held);
        Ok(())
    }
}

/// What is done at the end with all that came out.
pub(crate) struct Then<F> {
    pub(crate) first: Box<dyn Stream>,
    pub(crate) then: F,
}

impl<F: FnOnce(&[u8]) -> Result<Zeroizing<Vec<u8>>> + Send> Stream for Then<F> {
    fn update(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.first.update(input, out)
    }

    fn finish(self: Box<Self>, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut first = Zeroizing::new(Vec::new());
        self.first.finish(input, &mut first)?;
        out.extend_from_slice(&(self.then)(&first)?);
        Ok(())
    }
}

/// What is shown only at the end: plaintext before its tag was checked.
pub(crate) struct Withheld {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) held: Zeroizing<Vec<u8>>,
}

impl Stream for Withheld {
    fn update(&mut self, input: &[u8], _: &mut Vec<u8>) -> Result<()> {
        self.stream.update(input, &mut self.held)
    }

    fn finish(self: Box<Self>, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let Self { stream, mut held } = *self;
        stream.finish(input, &mut held)?;
        out.extend_from_slice(&held);
        Ok(())
    }
}

/// What may have so many bytes and no more.
pub(crate) struct Limited {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) left: u64,
}

impl Limited {
    fn take(&mut self, input: &[u8]) -> Result<()> {
        let left = self.left.checked_sub(input.len() as u64);
        self.left = left.ok_or(Rv(CKR_DATA_LEN_RANGE))?;
        Ok(())
    }
}

impl Stream for Limited {
    fn update(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.take(input)?;
        self.stream.update(input, out)
    }

    fn finish(mut self: Box<Self>, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.take(input)?;
        self.stream.finish(input, out)
    }
}

/// A verification: what comes out is held against a signature.
pub(crate) struct Checking {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) judge: Judge,
    pub(crate) parts: bool,
}

/// Says whether a signature belongs to what came out.
pub(crate) type Judge = Box<dyn FnOnce(&[u8], &[u8]) -> Result<()> + Send>;

impl Checking {
    /// A part.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<()> {
        self.parts = true;
        self.stream.update(input, &mut Vec::new())
    }

    /// The end.
    pub(crate) fn finish(self, input: &[u8], signature: &[u8]) -> Result<()> {
        let mut out = Vec::new();
        self.stream.finish(input, &mut out)?;
        (self.judge)(&out, signature)
    }
}
