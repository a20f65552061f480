//! Response APDUs: data and two status bytes (ISO/IEC 7816-4, 5.6).

use std::fmt;

/// SW1 and SW2.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

impl Status {
    /// Done.
    pub const OK: Self = Self(0x9000);
    /// The memory could not be written.
    pub const MEMORY_FAILURE: Self = Self(0x6581);
    /// Lc or Le is wrong.
    pub const WRONG_LENGTH: Self = Self(0x6700);
    /// Only the basic logical channel is there.
    pub const NO_LOGICAL_CHANNEL: Self = Self(0x6881);
    /// Secure messaging is not there.
    pub const NO_SECURE_MESSAGING: Self = Self(0x6882);
    /// The last command of a chain was due.
    pub const LAST_OF_CHAIN_EXPECTED: Self = Self(0x6883);
    /// Who asks has not shown that he may.
    pub const SECURITY_NOT_SATISFIED: Self = Self(0x6982);
    /// The reference data is blocked.
    pub const BLOCKED: Self = Self(0x6983);
    /// The conditions of use are not met.
    pub const CONDITIONS_NOT_SATISFIED: Self = Self(0x6985);
    /// The data field is wrong.
    pub const WRONG_DATA: Self = Self(0x6A80);
    /// There is no such function.
    pub const NOT_SUPPORTED: Self = Self(0x6A81);
    /// There is no such application, file or data object.
    pub const NOT_FOUND: Self = Self(0x6A82);
    /// There is no room.
    pub const NO_SPACE: Self = Self(0x6A84);
    /// P1 or P2 is wrong.
    pub const WRONG_PARAMETERS: Self = Self(0x6A86);
    /// There is no such key or reference data.
    pub const REFERENCE_NOT_FOUND: Self = Self(0x6A88);
    /// There is no such instruction.
    pub const UNKNOWN_INSTRUCTION: Self = Self(0x6D00);
    /// There is no such class.
    pub const UNKNOWN_CLASS: Self = Self(0x6E00);
    /// Nothing more can be said.
    pub const NO_DIAGNOSIS: Self = Self(0x6F00);

    /// The reference data was wrong; so many attempts are left (up to 15 can be told).
    #[must_use]
    pub const fn attempts_left(attempts: u8) -> Self {
        Self(0x63C0 | if attempts > 15 { 15 } else { attempts as u16 })
    }

    /// More of the answer is there: so many bytes, or 256 or more.
    #[must_use]
    pub const fn more(bytes: usize) -> Self {
        Self(0x6100 | if bytes > 255 { 0 } else { bytes as u16 })
    }

    /// How many attempts are left, where this says it.
    #[must_use]
    pub const fn attempts(self) -> Option<u8> {
        if self.0 & 0xFFF0 == 0x63C0 { Some((self.0 & 0x0F) as u8) } else { None }
    }

    /// SW1.
    #[must_use]
    pub const fn sw1(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// What it means, for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::OK => "done",
            Self::MEMORY_FAILURE => "its memory could not be written",
            Self::WRONG_LENGTH => "wrong length",
            Self::SECURITY_NOT_SATISFIED => "the PIN or the management key is needed first",
            Self::BLOCKED => "blocked after too many wrong attempts",
            Self::CONDITIONS_NOT_SATISFIED => "the conditions of use are not met",
            Self::WRONG_DATA => "the data is wrong",
            Self::NOT_SUPPORTED => "not supported",
            Self::NOT_FOUND => "nothing of that name is there",
            Self::NO_SPACE => "no room",
            Self::WRONG_PARAMETERS => "wrong parameters",
            Self::REFERENCE_NOT_FOUND => "no such key or reference data",
            Self::UNKNOWN_INSTRUCTION => "no such instruction",
            Self::UNKNOWN_CLASS => "no such class",
            _ if self.attempts().is_some() => "wrong PIN or PUK",
            _ => "refused",
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:04X})", self.meaning(), self.0)
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Data; empty where the status is an error.
    pub data: Vec<u8>,
    /// SW1 and SW2.
    pub status: Status,
}

/// The bytes are no response: they lack a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a response has at least the 2 bytes of its status")]
pub struct ResponseError;

impl Response {
    /// Done, with this data.
    #[must_use]
    pub const fn ok(data: Vec<u8>) -> Self {
        Self { data, status: Status::OK }
    }

    /// As bytes.
    #[must_use]
    pub fn encode(mut self) -> Vec<u8> {
        self.data.extend_from_slice(&self.status.0.to_be_bytes());
        self.data
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ResponseError> {
        let (data, status) = bytes.split_last_chunk().ok_or(ResponseError)?;
        Ok(Self { data: data.to_vec(), status: Status(u16::from_be_bytes(*status)) })
    }
}

impl From<Status> for Response {
    fn from(status: Status) -> Self {
        Self { data: Vec::new(), status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_and_status_are_told_apart() {
        let bytes = Response::ok(vec![1, 2]).encode();
        assert_eq!(bytes, [1, 2, 0x90, 0]);
        assert_eq!(Response::decode(&bytes), Ok(Response::ok(vec![1, 2])));
        assert_eq!(Response::decode(&[0x90]), Err(ResponseError));
    }

    #[test]
    fn attempts_and_rests_are_told_in_the_status() {
        assert_eq!(Status::attempts_left(3), Status(0x63C3));
        assert_eq!(Status::attempts_left(200).attempts(), Some(15));
        assert_eq!(Status::OK.attempts(), None);
        assert_eq!((Status::more(5), Status::more(256)), (Status(0x6105), Status(0x6100)));
    }
}
