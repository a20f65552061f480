//! The emulated element behind its own socket: two bytes of length, then an APDU.

use crate::{ElementError, SecureElement};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take: a key of 4096 bits takes seconds, a touch fifteen.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A line to it.
#[derive(Debug)]
pub struct Socket(UnixStream);

impl Socket {
    /// Connects to the socket at `path`.
    pub fn connect(path: &Path) -> Result<Self, ElementError> {
        let line = UnixStream::connect(path)?;
        line.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self(line))
    }
}

impl SecureElement for Socket {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, ElementError> {
        let length = u16::try_from(command.len());
        let length = length.map_err(|_| ElementError::Malformed("a command too long to send"))?;
        self.0.write_all(&[&length.to_be_bytes(), command].concat())?;
        let mut length = [0; 2];
        self.0.read_exact(&mut length)?;
        let mut response = vec![0; u16::from_be_bytes(length).into()];
        self.0.read_exact(&mut response)?;
        Ok(response)
    }
}
