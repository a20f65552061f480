//! Any card in a reader of pcscd, over the socket that its library uses: protocol 4.4 of pcsc-lite,
//! numbers in this machine's order.
//!
//! A message is its size and its kind, then the message; the answer is the same message with its
//! fields filled in. Data of a command follows the message, data of a response follows the answer.

use crate::{ElementError, SecureElement};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where pcscd listens, unless `PCSCLITE_CSOCK_NAME` says otherwise.
const SOCKET: &str = "/run/pcscd/pcscd.comm";
/// The variable that its library looks at.
const SOCKET_VARIABLE: &str = "PCSCLITE_CSOCK_NAME";
/// How long an answer may take: a key of 4096 bits takes seconds, a touch fifteen.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

const PROTOCOL: [u32; 2] = [4, 4];
const READER_NAME_BYTES: usize = 128;
/// Name, counter, state, sharing, ATR of 33 bytes and three of padding, its length, protocol.
const READER_BYTES: usize = READER_NAME_BYTES + 12 + 36 + 8;
const READERS: usize = 16;
/// The longest response: an extended one.
const RESPONSE_BYTES: u32 = 65_536 + 2;

/// `SCARD_STATE_PRESENT`, as pcscd keeps it.
const PRESENT: u32 = 0x0004;
const SCOPE_SYSTEM: u32 = 2;
const SHARE_EXCLUSIVE: u32 = 1;
const PROTOCOL_T0_OR_T1: u32 = 3;
const RESET_CARD: u32 = 1;
/// Bytes of the header that says which protocol carries a command.
const PCI_BYTES: u32 = 16;

/// Kinds of messages.
#[derive(Clone, Copy)]
enum Kind {
    Establish = 0x01,
    Connect = 0x04,
    Disconnect = 0x06,
    Transmit = 0x09,
    Version = 0x11,
    Readers = 0x12,
}

/// pcscd's word that something can't be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct Refused(pub u32);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let meaning = match self.0 {
            0x8010_0009 => "there is no such reader",
            0x8010_000B => "another program has the card",
            0x8010_000C => "there is no card in the reader",
            0x8010_0016 => "the card went silent during the exchange",
            0x8010_0017 => "the reader is gone",
            0x8010_0066 => "the card does not answer to a reset",
            0x8010_0068 => "the card was reset in the meantime",
            0x8010_0069 => "the card was taken out",
            0x8010_006A => "this user may not use smart cards (polkit)",
            _ => "error",
        };
        write!(f, "{meaning} ({:08X})", self.0)
    }
}

/// A reader, as pcscd lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Its name.
    pub name: String,
    /// Whether a card is in it.
    pub has_card: bool,
}

/// pcscd.
#[derive(Debug)]
pub struct Pcscd {
    line: UnixStream,
    context: u32,
}

/// A card that this program has alone. What it proved ends with it: the card is reset.
#[derive(Debug)]
pub struct Card {
    pcscd: Pcscd,
    handle: u32,
    protocol: u32,
}

/// Where pcscd listens.
fn socket() -> PathBuf {
    std::env::var_os(SOCKET_VARIABLE).map_or_else(|| SOCKET.into(), PathBuf::from)
}

impl Pcscd {
    /// Connects to pcscd where its library would.
    pub fn connect() -> Result<Self, ElementError> {
        Self::connect_at(&socket())
    }

    /// Connects to pcscd at this socket.
    pub fn connect_at(path: &Path) -> Result<Self, ElementError> {
        let line = UnixStream::connect(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        line.set_read_timeout(Some(ANSWER_WITHIN))?;
        let mut pcscd = Self { line, context: 0 };
        let [major, minor] = PROTOCOL;
        let [_, _, said] = pcscd.exchange(Kind::Version, [major, minor, 0])?;
        accept(said)?;
        let [_, context, said] = pcscd.exchange(Kind::Establish, [SCOPE_SYSTEM, 0, 0])?;
        accept(said)?;
        pcscd.context = context;
        Ok(pcscd)
    }

    /// The readers that are there.
    pub fn readers(&mut self) -> Result<Vec<Reader>, ElementError> {
        self.send(Kind::Readers, &[])?;
        let mut table = [0; READERS * READER_BYTES];
        self.line.read_exact(&mut table)?;
        Ok(table.as_chunks::<READER_BYTES>().0.iter().filter_map(reader).collect())
    }

    /// The card in the first reader whose name contains `name`.
    pub fn card(mut self, name: &str) -> Result<Card, ElementError> {
        let readers = self.readers()?;
        let found = readers.iter().find(|it| it.has_card && it.name.contains(name));
        let Some(Reader { name: found, .. }) = found else {
            let there = readers.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ElementError::NoCard { name: name.to_owned(), there });
        };
        let mut padded = [0; READER_NAME_BYTES];
        let bytes = found.as_bytes();
        padded[..bytes.len()].copy_from_slice(bytes);
        let message = [
            &self.context.to_ne_bytes()[..],
            &padded,
            &words(&[SHARE_EXCLUSIVE, PROTOCOL_T0_OR_T1, 0, 0, 0]),
        ];
        self.send(Kind::Connect, &message.concat())?;
        let mut answer = [0; 4 + READER_NAME_BYTES + 20];
        self.line.read_exact(&mut answer)?;
        let (_, last) = answer.split_at(4 + READER_NAME_BYTES + 8);
        let [handle, protocol, said] = numbers(last)?;
        accept(said)?;
        Ok(Card { pcscd: self, handle, protocol })
    }

    fn send(&mut self, kind: Kind, message: &[u8]) -> io::Result<()> {
        let head = words(&[message.len() as u32, kind as u32]);
        self.line.write_all(&[&head, message].concat())
    }

    /// A message of `N` numbers, and its answer.
    fn exchange<const N: usize>(
        &mut self,
        kind: Kind,
        message: [u32; N],
    ) -> Result<[u32; N], ElementError> {
        self.send(kind, &words(&message))?;
        self.receive()
    }

    fn receive<const N: usize>(&mut self) -> Result<[u32; N], ElementError> {
        let mut answer = vec![0; 4 * N];
        self.line.read_exact(&mut answer)?;
        numbers(&answer)
    }
}

impl SecureElement for Card {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, ElementError> {
        let length = u32::try_from(command.len());
        let length = length.map_err(|_| ElementError::Malformed("a command too long to send"))?;
        let (handle, protocol) = (self.handle, self.protocol);
        let message = [handle, protocol, PCI_BYTES, length, protocol, PCI_BYTES, RESPONSE_BYTES, 0];
        let head = words(&[4 * message.len() as u32, Kind::Transmit as u32]);
        self.pcscd.line.write_all(&[&head, &words(&message), command].concat())?;
        let [.., length, said] = self.pcscd.receive::<8>()?;
        accept(said)?;
        if length > RESPONSE_BYTES {
            return Err(ElementError::Malformed("a response longer than any"));
        }
        let mut response = vec![0; length as usize];
        self.pcscd.line.read_exact(&mut response)?;
        Ok(response)
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // pcscd resets the card of a program that goes away without a word, too.
        let _ = self.pcscd.exchange(Kind::Disconnect, [self.handle, RESET_CARD, 0]);
    }
}

/// 0 is success.
const fn accept(said: u32) -> Result<(), ElementError> {
    if said == 0 { Ok(()) } else { Err(ElementError::Pcsc(Refused(said))) }
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn numbers<const N: usize>(bytes: &[u8]) -> Result<[u32; N], ElementError> {
    let (words, _) = bytes.as_chunks::<4>();
    let numbers: Vec<u32> = words.iter().map(|word| u32::from_ne_bytes(*word)).collect();
    numbers.try_into().map_err(|_| ElementError::Malformed("a message of pcscd of another length"))
}

/// A row of the table of readers; none where it is empty.
fn reader(row: &[u8; READER_BYTES]) -> Option<Reader> {
    let (name, rest) = row.split_at(READER_NAME_BYTES);
    let name = name.split(|byte| *byte == 0).next().filter(|name| !name.is_empty())?;
    let state = u32::from_ne_bytes(rest.get(4..8)?.try_into().ok()?);
    Some(Reader {
        name: String::from_utf8_lossy(name).into_owned(),
        has_card: state & PRESENT != 0,
    })
}
