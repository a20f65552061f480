//! The card's operating system: power and reset, commands in chains, answers in pieces, and which
//! application is selected (ISO/IEC 7816-4).

use crate::piv::{self, Piv};
use crate::presence::Presence;
use crate::store::Store;
use effects::Clock;
use iso7816::{
    CHAINED, Chain, ChainError, Command, GET_RESPONSE, Ne, Outbox, Response, SELECT, Status, Step,
};

/// The answer to reset (ISO/IEC 7816-3, 8.2): T=1; historical bytes as compact TLV: selection by
/// name, data in bytes, command chaining, extended lengths, and who made this.
pub const ATR: [u8; 17] = {
    let mut atr = *b"\x3B\x8D\x01\x80\x73\xC0\x21\xC0\x57holdfst\x00";
    let (mut sum, mut index) = (0, 1);
    while index < atr.len() - 1 {
        sum ^= atr[index];
        index += 1;
    }
    atr[atr.len() - 1] = sum;
    atr
};

/// The most data of one command, chained or extended.
pub const COMMAND_BYTES: usize = 16 * 1024;

/// A secure element.
pub struct Element {
    piv: Piv,
    /// Whether the PIV application is selected.
    selected: bool,
    chain: Chain,
    outbox: Outbox,
}

impl Element {
    /// With this memory. It has power, and nothing is selected.
    #[must_use]
    pub fn new(store: Store, presence: Box<dyn Presence>, clock: Box<dyn Clock>) -> Self {
        let piv = Piv::new(store, presence, clock);
        Self { piv, selected: false, chain: Chain::default(), outbox: Outbox::default() }
    }

    /// Power was lost, or the reader reset the card: whatever was proved is forgotten.
    pub fn reset(&mut self) {
        self.piv.forget();
        self.selected = false;
        self.chain.clear();
        self.outbox.clear();
    }

    /// What the application remembers.
    #[must_use]
    pub const fn piv(&self) -> &Piv {
        &self.piv
    }

    /// A command in, its response out. Whatever comes, there is a response.
    pub fn transmit(&mut self, bytes: &[u8]) -> Vec<u8> {
        let response = match Command::decode(bytes) {
            Ok(command) => self.answer(&command).unwrap_or_else(Response::from),
            Err(_) => Status::WRONG_LENGTH.into(),
        };
        response.encode()
    }

    fn answer(&mut self, command: &Command<'_>) -> Result<Response, Status> {
        check_class(command.cla)?;
        // Whoever names no length takes what a short answer holds: so do the tools.
        let ne = if command.ne == Ne::NONE { Ne::SHORT } else { command.ne };
        if command.ins == GET_RESPONSE && !command.is_chained() {
            return self.rest(command, ne);
        }
        self.outbox.clear();
        let data = match self.chain.push(command, COMMAND_BYTES) {
            Ok(Step::More) => return Ok(Response::ok(Vec::new())),
            Ok(Step::Whole(data)) => data,
            Err(ChainError::Interrupted) => return Err(Status::LAST_OF_CHAIN_EXPECTED),
            Err(_) => return Err(Status::WRONG_LENGTH),
        };
        let data = zeroize::Zeroizing::new(data);
        let whole = Command { data: &data, ..*command };
        let answer = self.run(&whole)?;
        Ok(self.outbox.send(answer, ne))
    }

    /// GET RESPONSE: the next piece of the last answer.
    fn rest(&mut self, command: &Command<'_>, ne: Ne) -> Result<Response, Status> {
        self.chain.clear();
        match command {
            Command { p1: 0, p2: 0, data: [], .. } if !self.outbox.is_empty() => {
                Ok(self.outbox.next(ne))
            }
            Command { p1: 0, p2: 0, .. } => Err(Status::CONDITIONS_NOT_SATISFIED),
            _ => Err(Status::WRONG_PARAMETERS),
        }
    }

    fn run(&mut self, command: &Command<'_>) -> Result<Vec<u8>, Status> {
        if command.ins == SELECT {
            let answer = piv::select(command)?;
            self.selected = true;
            return Ok(answer);
        }
        if !self.selected {
            return Err(Status::UNKNOWN_INSTRUCTION);
        }
        self.piv.run(command)
    }
}

/// Only the interindustry class on the basic channel, in the clear.
const fn check_class(cla: u8) -> Result<(), Status> {
    match cla & !CHAINED {
        0x00 => Ok(()),
        0x04 | 0x08 | 0x0C => Err(Status::NO_SECURE_MESSAGING),
        0x01..=0x03 => Err(Status::NO_LOGICAL_CHANNEL),
        _ => Err(Status::UNKNOWN_CLASS),
    }
}
