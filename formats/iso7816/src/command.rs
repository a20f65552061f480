//! Command APDUs: a header, data, and how much the host wants back (ISO/IEC 7816-3, 12.1.3).

/// The bit of the class byte that says: more of this command follows (7816-4, 5.4.1).
pub const CHAINED: u8 = 0x10;

/// The most data of a short command.
const SHORT_DATA: usize = 255;
/// The most data of an extended command.
const EXTENDED_DATA: usize = 65_535;

/// How many bytes of answer the host takes at most (Ne): 0 to 65,536.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ne(u32);

impl Ne {
    /// None: the command has no Le field.
    pub const NONE: Self = Self(0);
    /// All that a short answer holds: 256.
    pub const SHORT: Self = Self(256);
    /// All that an extended answer holds: 65,536.
    pub const EXTENDED: Self = Self(65_536);

    /// `bytes`, or [`Ne::EXTENDED`] where that is more.
    #[must_use]
    pub const fn of(bytes: u32) -> Self {
        if bytes > Self::EXTENDED.0 { Self::EXTENDED } else { Self(bytes) }
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.0 as usize
    }

    const fn is_short(self) -> bool {
        self.0 <= Self::SHORT.0
    }

    /// From a field of one byte, where 0 stands for 256.
    fn short(field: u8) -> Self {
        if field == 0 { Self::SHORT } else { Self(field.into()) }
    }

    /// From a field of two bytes, where 0 stands for 65,536.
    fn extended(field: [u8; 2]) -> Self {
        match u16::from_be_bytes(field) {
            0 => Self::EXTENDED,
            some => Self(some.into()),
        }
    }
}

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// Class.
    pub cla: u8,
    /// Instruction.
    pub ins: u8,
    /// First parameter.
    pub p1: u8,
    /// Second parameter.
    pub p2: u8,
    /// Data; up to 65,535 bytes.
    pub data: &'a [u8],
    /// How much the host wants back.
    pub ne: Ne,
}

/// Why bytes are no command, or a command has no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Fewer than the four bytes of a header.
    #[error("a command has a header of 4 bytes, not {0}")]
    Header(usize),
    /// The length fields do not fit the bytes that came.
    #[error("the length fields Lc and Le do not fit the {0} bytes after the header")]
    Lengths(usize),
    /// More data than an extended command holds.
    #[error("a command holds 65535 bytes of data, not {0}")]
    TooLong(usize),
}

impl<'a> Command<'a> {
    /// A command without data that wants nothing back.
    #[must_use]
    pub const fn new(cla: u8, ins: u8, p1: u8, p2: u8) -> Self {
        Self { cla, ins, p1, p2, data: &[], ne: Ne::NONE }
    }

    /// The same with this data.
    #[must_use]
    pub const fn with_data(mut self, data: &'a [u8]) -> Self {
        self.data = data;
        self
    }

    /// The same, wanting this much back.
    #[must_use]
    pub const fn with_ne(mut self, ne: Ne) -> Self {
        self.ne = ne;
        self
    }

    /// Whether more of this command follows.
    #[must_use]
    pub const fn is_chained(&self) -> bool {
        self.cla & CHAINED != 0
    }

    /// Reads one of the seven forms: with or without data, with or without Le, short or extended.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CommandError> {
        let Some((&[cla, ins, p1, p2], body)) = bytes.split_first_chunk() else {
            return Err(CommandError::Header(bytes.len()));
        };
        let (data, ne) = Self::body(body).ok_or(CommandError::Lengths(body.len()))?;
        Ok(Self { cla, ins, p1, p2, data, ne })
    }

    fn body(body: &'a [u8]) -> Option<(&'a [u8], Ne)> {
        match *body {
            [] => Some((&[], Ne::NONE)),
            [le] => Some((&[], Ne::short(le))),
            [0, a, b] => Some((&[], Ne::extended([a, b]))),
            [0, a, b, ref rest @ ..] => {
                let (data, le) = rest.split_at_checked(u16::from_be_bytes([a, b]).into())?;
                match *le {
                    _ if data.is_empty() => None,
                    [] => Some((data, Ne::NONE)),
                    [a, b] => Some((data, Ne::extended([a, b]))),
                    _ => None,
                }
            }
            [0, _] => None,
            [lc, ref rest @ ..] => {
                let (data, le) = rest.split_at_checked(lc.into())?;
                match *le {
                    [] => Some((data, Ne::NONE)),
                    [le] => Some((data, Ne::short(le))),
                    _ => None,
                }
            }
        }
    }

    /// Writes the shortest form.
    pub fn encode(&self) -> Result<Vec<u8>, CommandError> {
        let length = self.data.len();
        if length > EXTENDED_DATA {
            return Err(CommandError::TooLong(length));
        }
        let mut out = vec![self.cla, self.ins, self.p1, self.p2];
        let ne = self.ne.0.to_be_bytes();
        if length <= SHORT_DATA && self.ne.is_short() {
            out.extend((length > 0).then_some(length as u8));
            out.extend_from_slice(self.data);
            out.extend((self.ne > Ne::NONE).then_some(ne[3]));
        } else {
            out.push(0);
            if length > 0 {
                out.extend_from_slice(&(length as u16).to_be_bytes());
                out.extend_from_slice(self.data);
            }
            if self.ne > Ne::NONE {
                out.extend_from_slice(&ne[2..]);
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_each_of_the_seven_forms() {
        let long = [7; 300];
        let mut extended = vec![0, 1, 2, 3, 0, 1, 44];
        extended.extend_from_slice(&long);
        let mut with_le = extended.clone();
        with_le.extend_from_slice(&[0, 0]);
        let header = Command::new(0, 1, 2, 3);
        let table: [(&[u8], Command<'_>); 7] = [
            (&[0, 1, 2, 3], header),
            (&[0, 1, 2, 3, 0], header.with_ne(Ne::SHORT)),
            (&[0, 1, 2, 3, 2, 9, 8], header.with_data(&[9, 8])),
            (&[0, 1, 2, 3, 2, 9, 8, 4], header.with_data(&[9, 8]).with_ne(Ne::of(4))),
            (&[0, 1, 2, 3, 0, 2, 0], header.with_ne(Ne::of(512))),
            (&extended, header.with_data(&long)),
            (&with_le, header.with_data(&long).with_ne(Ne::EXTENDED)),
        ];
        for (bytes, command) in table {
            assert_eq!(Command::decode(bytes), Ok(command));
            assert_eq!(command.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn refuses_lengths_that_do_not_fit() {
        for body in [
            &[2, 1][..],
            &[1, 1, 1, 1],
            &[0, 0],
            &[0, 0, 0, 0],
            &[0, 0, 0, 0, 0],
            &[0, 0, 2, 1],
            &[0, 0, 1, 1, 1],
            &[0, 0, 1, 1, 1, 1, 1],
        ] {
            let bytes = [&[0, 1, 2, 3], body].concat();
            assert_eq!(Command::decode(&bytes), Err(CommandError::Lengths(body.len())), "{body:?}");
        }
        assert_eq!(Command::decode(&[0; 3]), Err(CommandError::Header(3)));
        let long = vec![0; EXTENDED_DATA + 1];
        assert_eq!(
            Command::new(0, 0, 0, 0).with_data(&long).encode(),
            Err(CommandError::TooLong(long.len()))
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(header: [u8; 4], data in prop::collection::vec(any::<u8>(), 0..700), ne in 0_u32..=70_000) {
            let [cla, ins, p1, p2] = header;
            let command = Command { cla, ins, p1, p2, data: &data, ne: Ne::of(ne) };
            let bytes = command.encode().unwrap();
            prop_assert_eq!(Command::decode(&bytes), Ok(command));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(command) = Command::decode(&bytes) {
                let again = command.encode().unwrap();
                prop_assert_eq!(Command::decode(&again), Ok(command));
            }
        }
    }
}
