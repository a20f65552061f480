//! The PIV application from the host's side (NIST SP 800-73-5, part 2), as far as an identity needs
//! it: P-256 keys, objects, PIN, management key, attestation.

use crate::{ElementError, ManagementKey, ManagementKind, SecureElement};
use crypto::cipher::Direction;
use iso7816::tlv::{self, Reader, Tag, TlvError};
use iso7816::{Command, GET_RESPONSE, Ne, Response, SELECT, Status, split};
use zeroize::Zeroizing;

/// The slot of the signature key: the PIN each time.
pub const SIGNATURE: u8 = 0x9C;
/// The slot of the card's own key: no PIN.
pub const CARD_AUTHENTICATION: u8 = 0x9E;
/// Printed information, read after the PIN.
pub const PRINTED: Tag = 0x5F_C109;
/// The object that holds an identity, read after the PIN.
pub const IDENTITY: Tag = 0x5F_FF40;
/// The certificate of what attests.
pub const ATTESTATION_CERTIFICATE: Tag = 0x5F_FF01;

const PROVIDER: [u8; 5] = [0xA0, 0x00, 0x00, 0x03, 0x08];
const P256: u8 = 0x11;
const MANAGEMENT: u8 = 0x9B;
const PIN: u8 = 0x80;
/// The longest answer that is put together from pieces.
const ANSWER_BYTES: usize = 64 * 1024;

/// Why the application did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PivError {
    /// The PIN or the PUK is wrong.
    #[error("wrong PIN: {left} attempts are left")]
    WrongPin {
        /// How many attempts are left.
        left: u8,
    },
    /// Too many wrong ones.
    #[error("the PIN is blocked; the PUK unblocks it")]
    Blocked,
    /// A PIN has 6 to 8 digits.
    #[error("a PIN has 6 to 8 digits")]
    PinForm,
    /// There is no PIV application.
    #[error("the card has no PIV application: {0}")]
    NoApplication(Status),
    /// The card refused.
    #[error("the card refused to {what}: {status}")]
    Refused {
        /// What it was asked.
        what: &'static str,
        /// Its word.
        status: Status,
    },
    /// The card is not reached.
    #[error(transparent)]
    Element(#[from] ElementError),
    /// The card's answer has another form.
    #[error("the card's answer is malformed: {0}")]
    Malformed(#[from] TlvError),
    /// Cryptography failed.
    #[error(transparent)]
    Crypto(#[from] crypto::Error),
    /// The card did not prove that it has the management key.
    #[error("the card does not know the management key that it was asked for")]
    Impostor,
}

/// When a new key asks for the PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinPolicy {
    /// Never.
    Never = 1,
    /// Once after each reset.
    Once = 2,
    /// Before each use.
    Always = 3,
}

/// The application on a card.
pub struct Piv<E>(E);

impl<E: SecureElement> Piv<E> {
    /// Selects it.
    pub fn open(element: E) -> Result<Self, PivError> {
        let mut piv = Self(element);
        match piv.run(&Command::new(0, SELECT, 4, 0).with_data(&PROVIDER))? {
            Response { status: Status::OK, .. } => Ok(piv),
            Response { status, .. } => Err(PivError::NoApplication(status)),
        }
    }

    /// Verifies the PIN.
    pub fn verify(&mut self, pin: &str) -> Result<(), PivError> {
        let value = padded(pin)?;
        self.reference(&Command::new(0, 0x20, 0, PIN).with_data(&*value), "verify the PIN")
    }

    /// Changes the PIN.
    pub fn change_pin(&mut self, old: &str, new: &str) -> Result<(), PivError> {
        let both = Zeroizing::new([*padded(old)?, *padded(new)?].concat());
        self.reference(&Command::new(0, 0x24, 0, PIN).with_data(&both), "change the PIN")
    }

    fn reference(&mut self, command: &Command<'_>, what: &'static str) -> Result<(), PivError> {
        match self.run(command)?.status {
            Status::OK => Ok(()),
            Status::BLOCKED => Err(PivError::Blocked),
            status => Err(status
                .attempts()
                .map_or(PivError::Refused { what, status }, |left| PivError::WrongPin { left })),
        }
    }

    /// The algorithm of the card's management key; 3DES where the card does not say.
    pub fn management_kind(&mut self) -> Result<ManagementKind, PivError> {
        let answer = self.run(&Command::new(0, 0xF7, 0, MANAGEMENT))?;
        let mut reader = Reader::new(&answer.data);
        let number = if answer.status == Status::OK { reader.take(0x01)? } else { None };
        let kind = number.and_then(|it| it.first()).and_then(|it| ManagementKind::from_number(*it));
        Ok(kind.unwrap_or(ManagementKind::TripleDes))
    }

    /// Proves the management key to the card, and has the card prove it back.
    pub fn authenticate(&mut self, key: &ManagementKey) -> Result<(), PivError> {
        const WHAT: &str = "take the management key";
        let asked = self.general(key.kind.number(), MANAGEMENT, &tlv::object(0x80, &[]), WHAT)?;
        let witness = tlv::only(&asked, 0x80)?;
        if witness.len() != key.kind.block_bytes() {
            return Err(PivError::Malformed(TlvError::Short));
        }
        let mut challenge = vec![0; key.kind.block_bytes()];
        crypto::random(&mut challenge);
        let answer = [
            tlv::object(0x80, &key.block(Direction::Decrypt, witness)?),
            tlv::object(0x81, &challenge),
            tlv::object(0x82, &[]),
        ];
        let proof = self.general(key.kind.number(), MANAGEMENT, &answer.concat(), WHAT)?;
        let due = key.block(Direction::Encrypt, &challenge)?;
        let right = crypto::constant_time_eq(&due, tlv::only(&proof, 0x82)?);
        if right { Ok(()) } else { Err(PivError::Impostor) }
    }

    /// Sets the management key.
    pub fn set_management_key(&mut self, key: &ManagementKey) -> Result<(), PivError> {
        let head = [key.kind.number(), MANAGEMENT, key.bytes.len() as u8];
        let data = Zeroizing::new([&head[..], &key.bytes].concat());
        let command = Command::new(0, 0xFF, 0xFF, 0xFF).with_data(&data);
        self.done(&command, "set the management key").map(drop)
    }

    /// Makes a P-256 key in `slot`: its public point.
    pub fn generate(&mut self, slot: u8, pin: PinPolicy) -> Result<Vec<u8>, PivError> {
        let control = [tlv::object(0x80, &[P256]), tlv::object(0xAA, &[pin as u8])].concat();
        let data = tlv::object(0xAC, &control);
        let answer = self.done(&Command::new(0, 0x47, 0, slot).with_data(&data), "make a key")?;
        Ok(tlv::only(tlv::only(&answer, 0x7F49)?, 0x86)?.to_vec())
    }

    /// Signs a digest with the P-256 key in `slot`: a DER signature.
    pub fn sign(&mut self, slot: u8, digest: &[u8]) -> Result<Vec<u8>, PivError> {
        let template = [tlv::object(0x82, &[]), tlv::object(0x81, digest)].concat();
        let answer = self.general(P256, slot, &template, "sign")?;
        Ok(tlv::only(&answer, 0x82)?.to_vec())
    }

    /// The certificate by which the card attests the key in `slot`, DER.
    pub fn attest(&mut self, slot: u8) -> Result<Vec<u8>, PivError> {
        self.done(&Command::new(0, 0xF9, slot, 0), "attest a key")
    }

    /// Deletes the key in `slot`, for good. One that is not there is fine.
    pub fn delete_key(&mut self, slot: u8) -> Result<(), PivError> {
        match self.run(&Command::new(0, 0xF6, 0xFF, slot))?.status {
            Status::OK | Status::REFERENCE_NOT_FOUND => Ok(()),
            status => Err(PivError::Refused { what: "delete a key", status }),
        }
    }

    /// An object; none where it is not there.
    pub fn object(&mut self, tag: Tag) -> Result<Option<Zeroizing<Vec<u8>>>, PivError> {
        let name = tag.to_be_bytes();
        let data = tlv::object(0x5C, &name[1..]);
        match self.run(&Command::new(0, 0xCB, 0x3F, 0xFF).with_data(&data))? {
            Response { status: Status::NOT_FOUND, .. } => Ok(None),
            Response { status: Status::OK, data } => {
                Ok(Some(Zeroizing::new(tlv::only(&data, 0x53)?.to_vec())))
            }
            Response { status, .. } => Err(PivError::Refused { what: "read an object", status }),
        }
    }

    /// Writes an object; an empty one is deleted.
    pub fn put_object(&mut self, tag: Tag, content: &[u8]) -> Result<(), PivError> {
        let name = tag.to_be_bytes();
        let data = [tlv::object(0x5C, &name[1..]), tlv::object(0x53, content)].concat();
        let data = Zeroizing::new(data);
        let command = Command::new(0, 0xDB, 0x3F, 0xFF).with_data(&data);
        self.done(&command, "write an object").map(drop)
    }

    /// GENERAL AUTHENTICATE: the content of the answer's template.
    fn general(
        &mut self,
        algorithm: u8,
        key: u8,
        template: &[u8],
        what: &'static str,
    ) -> Result<Vec<u8>, PivError> {
        let data = tlv::object(0x7C, template);
        let answer = self.done(&Command::new(0, 0x87, algorithm, key).with_data(&data), what)?;
        Ok(tlv::only(&answer, 0x7C)?.to_vec())
    }

    fn done(&mut self, command: &Command<'_>, what: &'static str) -> Result<Vec<u8>, PivError> {
        match self.run(command)? {
            Response { status: Status::OK, data } => Ok(data),
            Response { status, .. } => Err(PivError::Refused { what, status }),
        }
    }

    /// Sends a command, in a chain where it is long, and collects its answer.
    fn run(&mut self, command: &Command<'_>) -> Result<Response, PivError> {
        let mut response = Response::ok(Vec::new());
        for piece in split(&command.with_ne(Ne::SHORT)) {
            response = self.exchange(&piece)?;
            if piece.is_chained() && response.status != Status::OK {
                return Ok(response);
            }
        }
        while response.status.sw1() == 0x61 {
            let next = self.exchange(&Command::new(0, GET_RESPONSE, 0, 0).with_ne(Ne::SHORT))?;
            response.data.extend_from_slice(&next.data);
            response.status = next.status;
            if next.data.is_empty() && next.status.sw1() == 0x61
                || response.data.len() > ANSWER_BYTES
            {
                return Err(ElementError::Malformed("an answer without an end").into());
            }
        }
        Ok(response)
    }

    fn exchange(&mut self, command: &Command<'_>) -> Result<Response, PivError> {
        let bytes = command.encode().map_err(|_| ElementError::Malformed("a command too long"))?;
        let answer = self.0.transmit(&Zeroizing::new(bytes))?;
        let response = Response::decode(&answer);
        Ok(response.map_err(|_| ElementError::Malformed("no status"))?)
    }
}

/// A PIN as the card takes it.
fn padded(pin: &str) -> Result<Zeroizing<[u8; 8]>, PivError> {
    if !(6..=8).contains(&pin.len()) || !pin.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PivError::PinForm);
    }
    let mut value = Zeroizing::new([0xFF; 8]);
    value[..pin.len()].copy_from_slice(pin.as_bytes());
    Ok(value)
}
