//! GENERAL AUTHENTICATE (SP 800-73-5, part 2, 3.2.4): what the dynamic authentication template asks
//! for, and the management key's part of it. Private keys are in [`super::private`].

use super::slots::{MANAGEMENT, SymmetricAlgorithm};
use super::{Answer, Piv, malformed};
use crate::state::Management;
use crypto::cipher::{Direction, Key, Mode, Padding, Stream};
use iso7816::tlv::{self, Reader};
use iso7816::{Command, Status};

/// The dynamic authentication template.
const TEMPLATE: u32 = 0x7C;
const WITNESS: u32 = 0x80;
const CHALLENGE: u32 = 0x81;
const RESPONSE: u32 = 0x82;
const EXPONENTIATION: u32 = 0x85;

/// What a template brings. An empty object asks for it.
#[derive(Default, Clone, Copy)]
pub(super) struct Template<'a> {
    witness: Option<&'a [u8]>,
    challenge: Option<&'a [u8]>,
    response: Option<&'a [u8]>,
    exponentiation: Option<&'a [u8]>,
}

/// What a private key is asked for.
pub(super) enum Ask<'a> {
    /// Sign or decrypt this.
    Challenge(&'a [u8]),
    /// Agree with the holder of this public point.
    Exponentiation(&'a [u8]),
}

/// A question to the host that is not answered yet.
pub(super) enum Pending {
    /// It shall encrypt this.
    Challenge(Vec<u8>),
    /// It was given this encrypted, shall decrypt it, and may ask back.
    Witness(Vec<u8>),
}

impl<'a> Template<'a> {
    fn parse(data: &'a [u8]) -> Result<Self, Status> {
        let mut reader = Reader::new(tlv::only(data, TEMPLATE).map_err(malformed)?);
        let mut template = Self::default();
        while let Some((tag, value)) = reader.next_object().map_err(malformed)? {
            let place = match tag {
                WITNESS => &mut template.witness,
                CHALLENGE => &mut template.challenge,
                RESPONSE => &mut template.response,
                EXPONENTIATION => &mut template.exponentiation,
                _ => return Err(Status::WRONG_DATA),
            };
            if place.replace(value).is_some() {
                return Err(Status::WRONG_DATA);
            }
        }
        Ok(template)
    }

    /// What a private key is asked for.
    const fn ask(&self) -> Result<Ask<'a>, Status> {
        match self {
            Self { witness: None, challenge: Some(data), response, exponentiation: None }
                if is_empty(*response) =>
            {
                Ok(Ask::Challenge(data))
            }
            Self { witness: None, challenge: None, response, exponentiation: Some(point) }
                if is_empty(*response) =>
            {
                Ok(Ask::Exponentiation(point))
            }
            _ => Err(Status::WRONG_DATA),
        }
    }
}

/// Absent, or there without content.
const fn is_empty(value: Option<&[u8]>) -> bool {
    matches!(value, None | Some([]))
}

/// A template with one object.
pub(super) fn answer(tag: u32, value: &[u8]) -> Vec<u8> {
    tlv::object(TEMPLATE, &tlv::object(tag, value))
}

/// What a private key gives.
pub(super) fn response(value: &[u8]) -> Vec<u8> {
    answer(RESPONSE, value)
}

impl Piv {
    /// GENERAL AUTHENTICATE: P1 is the algorithm, P2 the key.
    pub(super) fn general_authenticate(&mut self, command: &Command<'_>) -> Answer {
        let template = Template::parse(command.data)?;
        let pending = self.session.pending.take();
        if command.p2 != MANAGEMENT {
            return self.use_private_key(command.p1, command.p2, &template.ask()?);
        }
        // 0 stands for the one that the key has.
        let due = self.state().management.algorithm;
        if command.p1 != 0 && SymmetricAlgorithm::from_number(command.p1) != Some(due) {
            return Err(Status::WRONG_PARAMETERS);
        }
        self.authenticate_manager(&template, pending)
    }

    /// The management key: the host proves that it has it (a challenge that it encrypts), or both
    /// sides do (a witness that it decrypts, and a challenge of its own).
    fn authenticate_manager(
        &mut self,
        template: &Template<'_>,
        pending: Option<Pending>,
    ) -> Answer {
        let block = self.state().management.algorithm.block_bytes();
        match (*template, pending) {
            (Template { challenge: Some([]), witness: None, response: None, .. }, _) => {
                self.session.management = false;
                let challenge = random(block);
                self.session.pending = Some(Pending::Challenge(challenge.clone()));
                Ok(answer(CHALLENGE, &challenge))
            }
            (Template { witness: Some([]), challenge: None, response: None, .. }, _) => {
                self.session.management = false;
                let witness = random(block);
                let sealed = self.encrypt(&witness)?;
                self.session.pending = Some(Pending::Witness(witness));
                Ok(answer(WITNESS, &sealed))
            }
            (
                Template { response: Some(said), witness: None, challenge: None, .. },
                Some(Pending::Challenge(asked)),
            ) => {
                let due = self.encrypt(&asked)?;
                self.admit(&due, said)?;
                Ok(Vec::new())
            }
            (
                Template { witness: Some(said), challenge: Some(back), response, .. },
                Some(Pending::Witness(asked)),
            ) if back.len() == block && is_empty(response) => {
                self.admit(&asked, said)?;
                Ok(answer(RESPONSE, &self.encrypt(back)?))
            }
            (Template { exponentiation: Some(_), .. }, _) => Err(Status::WRONG_DATA),
            _ => Err(Status::CONDITIONS_NOT_SATISFIED),
        }
    }

    /// Takes the host for the manager where it said what was due, and somebody touched the element
    /// where the key asks for that.
    fn admit(&mut self, due: &[u8], said: &[u8]) -> Result<(), Status> {
        if !crypto::constant_time_eq(due, said) {
            return Err(Status::SECURITY_NOT_SATISFIED);
        }
        if self.state().management.touch {
            self.require_touch()?;
        }
        self.session.management = true;
        Ok(())
    }

    /// One block under the management key.
    fn encrypt(&self, block: &[u8]) -> Answer {
        let key = cipher_key(&self.state().management)?;
        let (mode, mut out) = (Mode::Ecb(Padding::None), Vec::new());
        let done = Stream::new(&key, Direction::Encrypt, mode).and_then(|mut stream| {
            stream.update(block, &mut out)?;
            stream.finish(&mut out)
        });
        done.map_err(|_| Status::NO_DIAGNOSIS)?;
        Ok(out)
    }
}

fn cipher_key(management: &Management) -> Result<Key, Status> {
    let bytes = &management.key.0[..];
    match management.algorithm {
        SymmetricAlgorithm::TripleDes => bytes.try_into().ok().map(Key::legacy_triple_des),
        _ => Key::aes(bytes).ok(),
    }
    .ok_or(Status::NO_DIAGNOSIS)
}

fn random(bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    crypto::random(&mut out);
    out
}
