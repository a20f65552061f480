//! Bytes of commands and responses (Part 1, 18; Part 2, 6): big-endian numbers, and buffers with
//! a length of two bytes before them (TPM2B).
//!
//! What a TPM answers is outside input: [`Response::parse`] and [`Reader`] refuse what is short,
//! long, or does not add up.

use zeroize::Zeroizing;

/// The longest command and response (`TPM_PT_MAX_RESPONSE_SIZE` is 4096 on every PC Client TPM).
pub const MAX_BYTES: usize = 4096;
/// Tag, size, code.
pub const HEADER_BYTES: usize = 10;

const TAG_NO_SESSIONS: u16 = 0x8001;
const TAG_SESSIONS: u16 = 0x8002;

/// An answer that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the TPM's answer is malformed: {0}")]
pub struct Malformed(pub &'static str);

/// Writes parameters. The memory is wiped: parameters may be secret.
#[derive(Debug, Clone, Default)]
pub struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(512)))
    }

    /// One byte.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.raw(&[value])
    }

    /// UINT16.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// UINT32.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// UINT64.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A TPM2B. What is written here has lengths that this crate chose.
    #[must_use]
    pub fn sized(self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).expect("parameters are shorter than a command");
        self.u16(length).raw(bytes)
    }

    /// What was written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Reads a response's parameters from the front.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed("too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed("too short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    /// UINT16.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// UINT32.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// UINT64.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A TPM2B.
    pub fn sized(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// Nothing may be left.
    pub const fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("bytes behind its end")) }
    }
}

/// How a command is authorised.
pub(crate) enum Authorisation<'a> {
    /// Nothing asks for it.
    None,
    /// An empty password.
    Password,
    /// A session: handle, nonce of the caller, attributes, HMAC.
    Session { handle: u32, nonce: &'a [u8], attributes: u8, hmac: &'a [u8] },
}

/// `TPM_RS_PW`: the session of a password.
const PASSWORD_SESSION: u32 = 0x4000_0009;

/// The bytes of a command.
pub(crate) fn command(
    code: u32,
    handles: &[u32],
    authorisation: &Authorisation<'_>,
    parameters: &[u8],
) -> Zeroizing<Vec<u8>> {
    let area = match *authorisation {
        Authorisation::None => None,
        Authorisation::Password => {
            Some(Writer::new().u32(PASSWORD_SESSION).sized(&[]).u8(0).sized(&[]))
        }
        Authorisation::Session { handle, nonce, attributes, hmac } => {
            Some(Writer::new().u32(handle).sized(nonce).u8(attributes).sized(hmac))
        }
    };
    let tag = if area.is_some() { TAG_SESSIONS } else { TAG_NO_SESSIONS };
    let mut body = Writer::new();
    for handle in handles {
        body = body.u32(*handle);
    }
    if let Some(area) = area {
        body = body.u32(area.bytes().len() as u32).raw(area.bytes());
    }
    body = body.raw(parameters);
    let size = (HEADER_BYTES + body.bytes().len()) as u32;
    Writer::new().u16(tag).u32(size).u32(code).raw(body.bytes()).0
}

/// A response, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// `TPM_RC`: 0 = success. Where it is not, nothing else is there.
    pub code: u32,
    /// The handle, where the command gives one.
    pub handle: Option<u32>,
    /// The parameters.
    pub parameters: &'a [u8],
    /// What a session said of itself, where the command had one.
    pub session: Option<SessionAnswer<'a>>,
}

/// A session's part of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionAnswer<'a> {
    /// The TPM's next nonce.
    pub nonce: &'a [u8],
    /// Attributes.
    pub attributes: u8,
    /// HMAC over the response.
    pub hmac: &'a [u8],
}

impl<'a> Response<'a> {
    /// Takes `bytes` apart: the answer to a command that gives a handle or not, and had a session
    /// or not.
    pub fn parse(
        bytes: &'a [u8],
        gives_handle: bool,
        had_session: bool,
    ) -> Result<Self, Malformed> {
        if bytes.len() > MAX_BYTES {
            return Err(Malformed("too long"));
        }
        let mut reader = Reader::new(bytes);
        let (tag, size, code) = (reader.u16()?, reader.u32()?, reader.u32()?);
        if usize::try_from(size) != Ok(bytes.len()) {
            return Err(Malformed("its size is not the one that it says"));
        }
        if code != 0 {
            reader.end()?;
            return Ok(Self { code, handle: None, parameters: &[], session: None });
        }
        if tag != if had_session { TAG_SESSIONS } else { TAG_NO_SESSIONS } {
            return Err(Malformed("its tag"));
        }
        let handle = if gives_handle { Some(reader.u32()?) } else { None };
        if !had_session {
            return Ok(Self { code, handle, parameters: reader.0, session: None });
        }
        let length = reader.u32()?;
        let length = usize::try_from(length).map_err(|_| Malformed("its parameters' size"))?;
        let parameters = reader.take(length)?;
        let (nonce, attributes, hmac) = (reader.sized()?, reader.u8()?, reader.sized()?);
        reader.end()?;
        Ok(Self {
            code,
            handle,
            parameters,
            session: Some(SessionAnswer { nonce, attributes, hmac }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_command_has_the_bytes_of_the_specification() {
        // TPM2_GetRandom of 8 bytes, as tpm2-tools send it.
        let bytes = command(0x17b, &[], &Authorisation::None, Writer::new().u16(8).bytes());
        assert_eq!(*bytes, [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8]);
        let bytes = command(0x13d, &[23], &Authorisation::Password, &[]);
        let expected =
            [0x80, 2, 0, 0, 0, 27, 0, 0, 1, 0x3d, 0, 0, 0, 23, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0];
        assert_eq!(bytes[..25], expected);
        assert_eq!(bytes[25..], [0, 0]);
    }

    fn response(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
        let size = (HEADER_BYTES + body.len()) as u32;
        Writer::new().u16(tag).u32(size).u32(code).raw(body).bytes().to_vec()
    }

    #[test]
    fn refuses_answers_that_do_not_add_up() {
        let good = response(TAG_NO_SESSIONS, 0, &[0, 1, 7]);
        assert_eq!(Response::parse(&good, false, false).unwrap().parameters, [0, 1, 7]);
        for end in 0..HEADER_BYTES {
            assert!(Response::parse(&good[..end], false, false).is_err());
        }
        let hostile = [
            [&good[..], &[0]].concat(),
            response(0x1234, 0, &[]),
            response(TAG_NO_SESSIONS, 0x101, &[0]),
            vec![0; MAX_BYTES + 1],
        ];
        assert!(hostile.iter().all(|bytes| Response::parse(bytes, false, false).is_err()));
        let session = response(TAG_SESSIONS, 0, &[0, 0, 0, 2, 5, 6, 0, 1, 9, 1, 0, 1, 8]);
        let parsed = Response::parse(&session, false, true).unwrap();
        assert_eq!(parsed.parameters, [5, 6]);
        assert_eq!(parsed.session.unwrap().nonce, [9]);
        assert!(Response::parse(&session, false, false).is_err());
        let long = response(TAG_SESSIONS, 0, &[0xff, 0xff, 0xff, 0xff, 5, 6]);
        assert!(Response::parse(&long, false, true).is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_taken_apart_or_refused(bytes: Vec<u8>, handle: bool, session: bool) {
            let _ = Response::parse(&bytes, handle, session);
            let framed = response(TAG_SESSIONS, 0, &bytes);
            if let Ok(parsed) = Response::parse(&framed, handle, session) {
                prop_assert!(parsed.parameters.len() <= bytes.len());
            }
        }
    }
}
