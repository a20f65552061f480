//! An element in memory, whose storage and board can lose their power at any write.

use crypto::cipher::{Direction, Key, Mode, Padding, Stream};
use crypto::secret::Secret;
use effects::{ManualClock, UnixMillis};
use element_emulated::binding::Binding;
use element_emulated::card::Element;
use element_emulated::make;
use element_emulated::presence::{Nobody, Presence};
use element_emulated::store::{Storage, Store, StoreError};
use iso7816::tlv;
use iso7816::{Command, Ne, Response, Status};
use std::io;
use std::sync::{Arc, Mutex};

/// The management key of a new element.
pub(crate) const MANAGEMENT_KEY: [u8; 24] =
    [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8];
pub(crate) const PIN: &[u8; 8] = b"123456\xFF\xFF";
pub(crate) const PUK: &[u8; 8] = b"12345678";

/// Two values of reference data, one after the other.
pub(crate) fn pair(first: &[u8; 8], second: &[u8; 8]) -> Vec<u8> {
    [*first, *second].concat()
}

/// What survives a power cut.
#[derive(Debug, Default, Clone)]
pub(crate) struct Disk {
    pub(crate) state: Option<Vec<u8>>,
    pub(crate) counter: u64,
    /// Which board this is.
    pub(crate) board: u8,
}

/// How the power goes at a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before it has an effect.
    Before,
    /// After it had one, and before anybody is told.
    After,
}

/// A disk, and when its power goes.
#[derive(Debug, Default)]
struct Powered {
    disk: Disk,
    writes: usize,
    cut: Option<(usize, Cut)>,
    off: bool,
}

impl Powered {
    fn write(&mut self, effect: impl FnOnce(&mut Disk)) -> io::Result<()> {
        let gone = || io::Error::other("the power is gone");
        let cut = self.cut.filter(|(at, _)| *at == self.writes).map(|(_, cut)| cut);
        self.writes += 1;
        self.off |= cut == Some(Cut::Before);
        if self.off {
            return Err(gone());
        }
        effect(&mut self.disk);
        self.off |= cut == Some(Cut::After);
        if self.off { Err(gone()) } else { Ok(()) }
    }
}

/// A board in memory.
#[derive(Debug, Default, Clone)]
pub(crate) struct Board(Arc<Mutex<Powered>>);

impl Board {
    pub(crate) fn with(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(Powered { disk, ..Powered::default() })))
    }

    /// The power goes at the write of this number, counted from now.
    pub(crate) fn cut(&self, at: usize, cut: Cut) {
        let mut powered = self.0.lock().unwrap();
        powered.writes = 0;
        powered.cut = Some((at, cut));
    }

    pub(crate) fn is_off(&self) -> bool {
        self.0.lock().unwrap().off
    }

    pub(crate) fn disk(&self) -> Disk {
        self.0.lock().unwrap().disk.clone()
    }

    pub(crate) fn open(&self) -> Result<Store, StoreError> {
        Store::open(Box::new(self.clone()), Box::new(self.clone()))
    }
}

impl Storage for Board {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.disk().state)
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().write(|disk| disk.state = Some(bytes.to_vec()))
    }
}

impl Binding for Board {
    fn key(&self) -> io::Result<Secret<32>> {
        Ok(Secret::new([self.disk().board; 32]))
    }

    fn counter(&self) -> io::Result<u64> {
        Ok(self.disk().counter)
    }

    fn raise(&mut self, to: u64) -> io::Result<()> {
        assert!(to >= self.disk().counter, "a counter only rises");
        if to == self.disk().counter {
            return Ok(());
        }
        self.0.lock().unwrap().write(|disk| disk.counter = to)
    }
}

/// Somebody who touches the element so many times when asked.
pub(crate) struct Finger(pub(crate) Arc<Mutex<u32>>);

impl Presence for Finger {
    fn touched(&mut self) -> bool {
        let mut left = self.0.lock().unwrap();
        let touched = *left > 0;
        *left = left.saturating_sub(1);
        touched
    }
}

/// An element in a reader.
pub(crate) struct Card {
    pub(crate) element: Element,
    pub(crate) board: Board,
    pub(crate) clock: Arc<ManualClock>,
}

/// A clock that a test moves.
struct Shared(Arc<ManualClock>);

impl effects::Clock for Shared {
    fn now(&self) -> UnixMillis {
        self.0.now()
    }

    fn monotonic(&self) -> std::time::Duration {
        self.0.monotonic()
    }
}

impl Card {
    /// A new one, selected.
    pub(crate) fn new() -> Self {
        Self::touched_by(Nobody)
    }

    pub(crate) fn touched_by(presence: impl Presence + 'static) -> Self {
        let board = Board::default();
        let now = UnixMillis(1_790_000_000_000);
        make::make(Box::new(board.clone()), Box::new(board.clone()), now).unwrap();
        Self::with(board, presence)
    }

    /// The one on this board.
    pub(crate) fn on(board: Board) -> Self {
        Self::with(board, Nobody)
    }

    fn with(board: Board, presence: impl Presence + 'static) -> Self {
        let clock = Arc::new(ManualClock::new(UnixMillis(0)));
        let shared = Box::new(Shared(clock.clone()));
        let element = Element::new(board.open().unwrap(), Box::new(presence), shared);
        let mut card = Self { element, board, clock };
        card.select();
        card
    }

    pub(crate) fn select(&mut self) {
        let select = Command::new(0, 0xA4, 4, 0).with_data(&[0xA0, 0, 0, 3, 8]);
        assert_eq!(self.send(&select).status, Status::OK);
    }

    pub(crate) fn send(&mut self, command: &Command<'_>) -> Response {
        Response::decode(&self.element.transmit(&command.encode().unwrap())).unwrap()
    }

    /// A command with an answer of any length.
    pub(crate) fn ask(&mut self, ins: u8, p1: u8, p2: u8, data: &[u8]) -> Result<Vec<u8>, Status> {
        let command = Command::new(0, ins, p1, p2).with_data(data).with_ne(Ne::EXTENDED);
        let Response { data, status } = self.send(&command);
        if status == Status::OK { Ok(data) } else { Err(status) }
    }

    pub(crate) fn verify(&mut self, pin: &[u8; 8]) -> Result<(), Status> {
        self.ask(0x20, 0, 0x80, pin).map(drop)
    }

    /// Proves the management key of a new element, both ways.
    pub(crate) fn manage(&mut self) -> Result<(), Status> {
        self.manage_with(0x03, &Key::legacy_triple_des(&MANAGEMENT_KEY), 8)
    }

    pub(crate) fn manage_with(&mut self, p1: u8, key: &Key, block: usize) -> Result<(), Status> {
        let asked = self.ask(0x87, p1, 0x9B, &tlv::object(0x7C, &[0x80, 0]))?;
        let witness = tlv::only(tlv::only(&asked, 0x7C).unwrap(), 0x80).unwrap().to_vec();
        let mine = vec![7; block];
        let back = [
            tlv::object(0x80, &ecb(key, Direction::Decrypt, &witness)),
            tlv::object(0x81, &mine),
            tlv::object(0x82, &[]),
        ];
        let answer = self.ask(0x87, p1, 0x9B, &tlv::object(0x7C, &back.concat()))?;
        let proof = tlv::only(tlv::only(&answer, 0x7C).unwrap(), 0x82).unwrap();
        assert_eq!(proof, ecb(key, Direction::Encrypt, &mine), "the card has the key too");
        Ok(())
    }

    /// A new key in `slot`: its public half, as data objects.
    pub(crate) fn generate(&mut self, slot: u8, algorithm: u8) -> Vec<u8> {
        self.generate_with(slot, &[0x80, 1, algorithm])
    }

    pub(crate) fn generate_with(&mut self, slot: u8, control: &[u8]) -> Vec<u8> {
        let answer = self.ask(0x47, 0, slot, &tlv::object(0xAC, control)).unwrap();
        tlv::only(&answer, 0x7F49).unwrap().to_vec()
    }

    /// GENERAL AUTHENTICATE with a private key.
    pub(crate) fn operate(
        &mut self,
        slot: u8,
        algorithm: u8,
        tag: u32,
        data: &[u8],
    ) -> Result<Vec<u8>, Status> {
        let template = [tlv::object(0x82, &[]), tlv::object(tag, data)].concat();
        let answer = self.ask(0x87, algorithm, slot, &tlv::object(0x7C, &template))?;
        Ok(tlv::only(tlv::only(&answer, 0x7C).unwrap(), 0x82).unwrap().to_vec())
    }

    pub(crate) fn put(&mut self, tag: &[u8], content: &[u8]) -> Result<(), Status> {
        let data = [tlv::object(0x5C, tag), tlv::object(0x53, content)].concat();
        self.ask(0xDB, 0x3F, 0xFF, &data).map(drop)
    }

    pub(crate) fn get(&mut self, tag: &[u8]) -> Result<Vec<u8>, Status> {
        let object = self.ask(0xCB, 0x3F, 0xFF, &tlv::object(0x5C, tag))?;
        Ok(tlv::only(&object, 0x53).unwrap().to_vec())
    }

    /// Metadata, by tag.
    pub(crate) fn metadata(&mut self, slot: u8, tag: u32) -> Option<Vec<u8>> {
        let all = self.ask(0xF7, 0, slot, &[]).unwrap();
        let mut reader = tlv::Reader::new(&all);
        while let Some((found, value)) = reader.next_object().unwrap() {
            if found == tag {
                return Some(value.to_vec());
            }
        }
        None
    }

    /// The public key of an elliptic-curve answer.
    pub(crate) fn point(public: &[u8]) -> Vec<u8> {
        tlv::only(public, 0x86).unwrap().to_vec()
    }
}

pub(crate) fn ecb(key: &Key, direction: Direction, block: &[u8]) -> Vec<u8> {
    let mut stream = Stream::new(key, direction, Mode::Ecb(Padding::None)).unwrap();
    let mut out = Vec::new();
    stream.update(block, &mut out).unwrap();
    stream.finish(&mut out).unwrap();
    out
}
