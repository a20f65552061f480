//! The PIV application (NIST SP 800-73-5, part 2), and the commands beyond it that administer it.
//!
//! | file | commands |
//! |---|---|
//! | `objects` | GET DATA, PUT DATA |
//! | `reference` | VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER, attempts |
//! | `authenticate` | GENERAL AUTHENTICATE: the management key |
//! | `private` | GENERAL AUTHENTICATE: signing, decrypting, agreeing |
//! | `generate` | GENERATE ASYMMETRIC KEY PAIR, importing |
//! | `manage` | version, serial number, metadata, management key, moving keys, reset |
//! | `attest` | attestation of a key |

mod attest;
mod authenticate;
mod generate;
mod manage;
pub mod objects;
mod private;
mod reference;
pub mod slots;

use crate::presence::Presence;
use crate::state::State;
use crate::store::Store;
use authenticate::Pending;
use effects::Clock;
use iso7816::tlv;
use iso7816::{Command, Status};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use attest::self_signed;
pub(crate) use manage::factory_state;
pub(crate) use private::PrivateKey;

/// The application's name (SP 800-73-5, part 1, 2.2): the provider's part, then application and
/// version.
const AID: [u8; 11] = [0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00];
/// The provider's part.
const PROVIDER: usize = 5;

/// The version that administrative tools are told: they choose commands by it.
pub const VERSION: [u8; 3] = [5, 7, 1];

/// The application.
pub struct Piv {
    store: Store,
    presence: Box<dyn Presence>,
    clock: Box<dyn Clock>,
    session: Session,
    /// Private keys that were used, parsed.
    parsed: HashMap<u8, Arc<PrivateKey>>,
    /// When somebody touched the element last.
    touched: Option<Duration>,
}

/// What was proved since the last reset.
#[derive(Default)]
struct Session {
    /// The PIN was verified.
    pin: bool,
    /// The PIN was verified, and no key that always asks for it was used since.
    pin_fresh: bool,
    /// The management key was.
    management: bool,
    /// A challenge that is not answered yet.
    pending: Option<Pending>,
}

/// What a command gives.
type Answer = Result<Vec<u8>, Status>;

/// A command of the application.
type Run = fn(&mut Piv, &Command<'_>) -> Answer;

/// Instructions and what they do.
const INSTRUCTIONS: &[(u8, Run)] = &[
    (0x20, Piv::verify),
    (0x24, Piv::change_reference_data),
    (0x2C, Piv::reset_retry_counter),
    (0x47, Piv::generate),
    (0x87, Piv::general_authenticate),
    (0xCB, Piv::get_data),
    (0xDB, Piv::put_data),
    // Beyond the standard.
    (0xF6, Piv::move_key),
    (0xF7, Piv::metadata),
    (0xF8, Piv::serial),
    (0xF9, Piv::attest),
    (0xFA, Piv::set_attempts),
    (0xFB, Piv::reset),
    (0xFD, Piv::version),
    (0xFE, Piv::import),
    (0xFF, Piv::set_management_key),
];

impl Piv {
    pub(crate) fn new(store: Store, presence: Box<dyn Presence>, clock: Box<dyn Clock>) -> Self {
        let (session, parsed) = (Session::default(), HashMap::new());
        Self { store, presence, clock, session, parsed, touched: None }
    }

    /// What it remembers.
    #[must_use]
    pub const fn state(&self) -> &State {
        self.store.state()
    }

    /// Forgets what was proved.
    pub(crate) fn forget(&mut self) {
        self.session = Session::default();
        self.touched = None;
    }

    pub(crate) fn run(&mut self, command: &Command<'_>) -> Answer {
        if command.ins != 0x87 {
            self.session.pending = None;
        }
        let run = INSTRUCTIONS.iter().find(|(ins, _)| *ins == command.ins);
        let (_, run) = run.ok_or(Status::UNKNOWN_INSTRUCTION)?;
        run(self, command)
    }

    /// Changes what is remembered. Nothing is answered before it is durable.
    fn commit<T>(&mut self, change: impl FnOnce(&mut State) -> T) -> Result<T, Status> {
        self.store.commit(change).map_err(|_| Status::MEMORY_FAILURE)
    }

    fn require_management(&self) -> Result<(), Status> {
        if self.session.management { Ok(()) } else { Err(Status::SECURITY_NOT_SATISFIED) }
    }

    /// Waits for a touch and remembers when it came.
    fn require_touch(&mut self) -> Result<(), Status> {
        if !self.presence.touched() {
            return Err(Status::SECURITY_NOT_SATISFIED);
        }
        self.touched = Some(self.clock.monotonic());
        Ok(())
    }
}

/// SELECT by name: the application's full name, or its beginning from the provider's part on.
pub(crate) fn select(command: &Command<'_>) -> Answer {
    if command.p1 != 0x04 || command.p2 != 0x00 {
        return Err(Status::WRONG_PARAMETERS);
    }
    if command.data.len() < PROVIDER || !AID.starts_with(command.data) {
        return Err(Status::NOT_FOUND);
    }
    let authority = tlv::object(0x4F, &AID[..PROVIDER]);
    let template = [
        tlv::object(0x4F, &AID[PROVIDER..]),
        tlv::object(0x79, &authority),
        tlv::object(0x50, b"Holdfast PIV"),
    ];
    Ok(tlv::object(0x61, &template.concat()))
}

/// Refuses parameters other than these.
fn parameters(command: &Command<'_>, p1: u8, p2: u8) -> Result<(), Status> {
    if (command.p1, command.p2) == (p1, p2) { Ok(()) } else { Err(Status::WRONG_PARAMETERS) }
}

/// What is wrong with a data object, as a status.
fn malformed(_: tlv::TlvError) -> Status {
    Status::WRONG_DATA
}
