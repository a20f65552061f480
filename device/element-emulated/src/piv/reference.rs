//! PIN and PUK: VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER (SP 800-73-5, part 2, 3.2).
//!
//! An attempt is written down before it is looked at: whoever cuts the power after a wrong guess
//! has used it up all the same.

use super::{Answer, Piv};
use crate::state::{REFERENCE_BYTES, Reference, State};
use iso7816::{Command, Status};

/// The PIN of a new element.
pub(super) const DEFAULT_PIN: [u8; REFERENCE_BYTES] = *b"123456\xFF\xFF";
/// Its PUK.
pub(super) const DEFAULT_PUK: [u8; REFERENCE_BYTES] = *b"12345678";
/// How often each may be guessed.
pub(super) const DEFAULT_ATTEMPTS: u8 = 3;

/// A value as a command brings it.
type Value = [u8; REFERENCE_BYTES];

/// Which reference data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// The application's PIN.
    Pin,
    /// The PIN unblocking key.
    Puk,
}

impl Which {
    /// By its number.
    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0x80 => Some(Self::Pin),
            0x81 => Some(Self::Puk),
            _ => None,
        }
    }

    pub(super) const fn of(self, state: &State) -> &Reference {
        match self {
            Self::Pin => &state.pin,
            Self::Puk => &state.puk,
        }
    }

    const fn of_mut(self, state: &mut State) -> &mut Reference {
        match self {
            Self::Pin => &mut state.pin,
            Self::Puk => &mut state.puk,
        }
    }

    /// Whether a value has the right form: 6 to 8 digits for a PIN, 6 to 8 bytes for a PUK, filled
    /// up with `FF`.
    fn is_well_formed(self, value: &Value) -> bool {
        let used = value.iter().position(|byte| *byte == 0xFF).unwrap_or(REFERENCE_BYTES);
        let (said, filling) = value.split_at(used);
        used >= 6
            && filling.iter().all(|byte| *byte == 0xFF)
            && (self == Self::Puk || said.iter().all(u8::is_ascii_digit))
    }
}

impl Piv {
    /// VERIFY. Without data it asks how things stand; with P1 = FF it takes the proof back.
    pub(super) fn verify(&mut self, command: &Command<'_>) -> Answer {
        if Which::from_number(command.p2) != Some(Which::Pin) {
            return Err(Status::REFERENCE_NOT_FOUND);
        }
        match (command.p1, command.data) {
            (0x00, []) if self.session.pin => Ok(Vec::new()),
            (0x00, []) => Err(standing(&self.state().pin)),
            (0x00, data) => {
                let value = value(data, Status::WRONG_DATA)?;
                self.check(Which::Pin, &value)?;
                (self.session.pin, self.session.pin_fresh) = (true, true);
                Ok(Vec::new())
            }
            (0xFF, []) => {
                self.forget_pin();
                Ok(Vec::new())
            }
            _ => Err(Status::WRONG_PARAMETERS),
        }
    }

    /// CHANGE REFERENCE DATA: the old value, the new one.
    pub(super) fn change_reference_data(&mut self, command: &Command<'_>) -> Answer {
        let which = Which::from_number(command.p2).ok_or(Status::REFERENCE_NOT_FOUND)?;
        let (old, new) = two_values(command)?;
        if !which.is_well_formed(&new) {
            return Err(Status::WRONG_DATA);
        }
        self.check(which, &old)?;
        self.commit(|state| which.of_mut(state).set(new))?;
        Ok(Vec::new())
    }

    /// RESET RETRY COUNTER: the PUK, a new PIN.
    pub(super) fn reset_retry_counter(&mut self, command: &Command<'_>) -> Answer {
        if Which::from_number(command.p2) != Some(Which::Pin) {
            return Err(Status::REFERENCE_NOT_FOUND);
        }
        let (puk, pin) = two_values(command)?;
        if !Which::Pin.is_well_formed(&pin) {
            return Err(Status::WRONG_DATA);
        }
        self.check(Which::Puk, &puk)?;
        self.commit(|state| state.pin.set(pin))?;
        Ok(Vec::new())
    }

    /// Sets how often PIN and PUK may be guessed (P1, P2), and gives both the values that a new
    /// element has.
    pub(super) fn set_attempts(&mut self, command: &Command<'_>) -> Answer {
        self.require_management()?;
        if !self.session.pin {
            return Err(Status::SECURITY_NOT_SATISFIED);
        }
        let (pin, puk) = (command.p1, command.p2);
        if pin == 0 || puk == 0 || !command.data.is_empty() {
            return Err(Status::WRONG_PARAMETERS);
        }
        self.commit(|state| {
            state.pin = Reference::initial(DEFAULT_PIN, pin);
            state.puk = Reference::initial(DEFAULT_PUK, puk);
        })?;
        self.forget_pin();
        Ok(Vec::new())
    }

    /// Uses an attempt up, then compares. A right value gives all attempts back.
    fn check(&mut self, which: Which, value: &Value) -> Result<(), Status> {
        if which == Which::Pin {
            self.forget_pin();
        }
        if which.of(self.state()).left == 0 {
            return Err(Status::BLOCKED);
        }
        self.commit(|state| which.of_mut(state).left -= 1)?;
        let reference = which.of(self.state());
        if !crypto::constant_time_eq(&reference.value.0, value) {
            return Err(Status::attempts_left(reference.left));
        }
        self.commit(|state| {
            let reference = which.of_mut(state);
            reference.left = reference.attempts;
        })
    }

    pub(super) const fn forget_pin(&mut self) {
        (self.session.pin, self.session.pin_fresh) = (false, false);
    }
}

/// How many attempts are left, as VERIFY without data says it.
const fn standing(reference: &Reference) -> Status {
    match reference.left {
        0 => Status::BLOCKED,
        left => Status::attempts_left(left),
    }
}

/// The one value of a command. A malformed one uses no attempt up (3.2.1).
fn value(data: &[u8], otherwise: Status) -> Result<Value, Status> {
    let value = Value::try_from(data).map_err(|_| otherwise)?;
    if Which::Pin.is_well_formed(&value) { Ok(value) } else { Err(otherwise) }
}

/// The two values of a command.
fn two_values(command: &Command<'_>) -> Result<(Value, Value), Status> {
    if command.p1 != 0 {
        return Err(Status::WRONG_PARAMETERS);
    }
    match command.data.split_first_chunk() {
        Some((first, second)) => {
            Ok((*first, Value::try_from(second).map_err(|_| Status::WRONG_DATA)?))
        }
        None => Err(Status::WRONG_DATA),
    }
}
