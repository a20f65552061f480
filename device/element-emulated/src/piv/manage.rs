//! Administration beyond the standard, as `yubico-piv-tool` and its like speak it: version, serial
//! number, metadata, the management key, moving and deleting keys, and starting over.

use super::reference::{DEFAULT_ATTEMPTS, DEFAULT_PIN, DEFAULT_PUK, Which};
use super::slots::{self, ATTESTATION, MANAGEMENT, Origin, SymmetricAlgorithm};
use super::{Answer, Piv, VERSION, objects, parameters};
use crate::state::{Management, Reference, SecretBytes, State};
use iso7816::tlv::{self, Tag};
use iso7816::{Command, Status};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;

/// The management key of a new element, which everybody knows. It is of 3DES, since some tools know
/// nothing else; the first thing to do is to set another.
const DEFAULT_MANAGEMENT_KEY: [u8; 24] =
    [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8];

/// The destination that deletes a key.
const NOWHERE: u8 = 0xFF;

/// What an element remembers that was just made, or that starts over.
pub(crate) fn factory_state(serial: u32, made: String) -> State {
    let object = |content: Vec<u8>| ByteBuf::from(content);
    State {
        sequence: 0,
        serial,
        made,
        pin: Reference::initial(DEFAULT_PIN, DEFAULT_ATTEMPTS),
        puk: Reference::initial(DEFAULT_PUK, DEFAULT_ATTEMPTS),
        management: Management {
            algorithm: SymmetricAlgorithm::TripleDes,
            key: SecretBytes::from(&DEFAULT_MANAGEMENT_KEY[..]),
            touch: false,
            default: true,
        },
        keys: BTreeMap::new(),
        objects: BTreeMap::from([
            (objects::CHUID, object(objects::chuid())),
            (objects::CAPABILITIES, object(objects::capabilities())),
        ]),
    }
}

impl Piv {
    /// The version.
    pub(super) fn version(&mut self, command: &Command<'_>) -> Answer {
        parameters(command, 0, 0)?;
        Ok(VERSION.to_vec())
    }

    /// The serial number.
    pub(super) fn serial(&mut self, command: &Command<'_>) -> Answer {
        parameters(command, 0, 0)?;
        Ok(self.state().serial.to_be_bytes().to_vec())
    }

    /// What can be told about a key, a PIN or the management key (P2).
    pub(super) fn metadata(&mut self, command: &Command<'_>) -> Answer {
        parameters(command, 0, command.p2)?;
        let (slot, state) = (command.p2, self.store.state());
        let told = |parts: &[(Tag, &[u8])]| {
            parts.iter().flat_map(|(tag, value)| tlv::object(*tag, value)).collect()
        };
        if let Some(which) = Which::from_number(slot) {
            let Reference { default, attempts, left, .. } = *which.of(state);
            return Ok(told(&[(1, &[0xFF]), (5, &[default.into()]), (6, &[attempts, left])]));
        }
        if slot == MANAGEMENT {
            let Management { algorithm, touch, default, .. } = state.management;
            let touch = if touch { 2 } else { 1 };
            return Ok(told(&[
                (1, &[algorithm.number()]),
                (2, &[0, touch]),
                (5, &[default.into()]),
            ]));
        }
        let key = state.keys.get(&slots::private(slot)?).ok_or(Status::REFERENCE_NOT_FOUND)?;
        let (algorithm, policies) =
            (key.algorithm.number(), [key.pin.number(), key.touch.number()]);
        let origin = match key.origin {
            Origin::Generated => 1,
            Origin::Imported => 2,
        };
        let public = self.parsed(slot)?.public_objects().map_err(|_| Status::NO_DIAGNOSIS)?;
        Ok(told(&[(1, &[algorithm]), (2, &policies), (3, &[origin]), (4, &public)]))
    }

    /// Sets the management key: `algorithm 9B length key`. P2 says whether it asks for a touch.
    pub(super) fn set_management_key(&mut self, command: &Command<'_>) -> Answer {
        let touch = match (command.p1, command.p2) {
            (0xFF, 0xFF) => false,
            (0xFF, 0xFE) => true,
            _ => return Err(Status::WRONG_PARAMETERS),
        };
        self.require_management()?;
        let [algorithm, MANAGEMENT, length, ref key @ ..] = *command.data else {
            return Err(Status::WRONG_DATA);
        };
        let algorithm = SymmetricAlgorithm::from_number(algorithm).ok_or(Status::WRONG_DATA)?;
        if key.len() != usize::from(length) || key.len() != algorithm.key_bytes() {
            return Err(Status::WRONG_DATA);
        }
        let default = *key == DEFAULT_MANAGEMENT_KEY;
        let management = Management { algorithm, key: SecretBytes::from(key), touch, default };
        self.commit(|state| state.management = management)?;
        Ok(Vec::new())
    }

    /// Moves the key in slot P2 to P1, or deletes it. What attests stays where it is.
    pub(super) fn move_key(&mut self, command: &Command<'_>) -> Answer {
        let (to, from) = (command.p1, slots::private(command.p2)?);
        if from == ATTESTATION || to == ATTESTATION || !(to == NOWHERE || slots::is_private(to)) {
            return Err(Status::WRONG_PARAMETERS);
        }
        self.require_management()?;
        if !self.state().keys.contains_key(&from) {
            return Err(Status::REFERENCE_NOT_FOUND);
        }
        self.parsed.remove(&from);
        self.parsed.remove(&to);
        self.commit(|state| {
            let key = state.keys.remove(&from);
            if let Some(key) = key.filter(|_| to != NOWHERE) {
                state.keys.insert(to, key);
            }
        })?;
        Ok(Vec::new())
    }

    /// Starts over, once PIN and PUK are blocked: keys and objects are gone. What attests stays.
    pub(super) fn reset(&mut self, command: &Command<'_>) -> Answer {
        parameters(command, 0, 0)?;
        if self.state().pin.left > 0 || self.state().puk.left > 0 {
            return Err(Status::CONDITIONS_NOT_SATISFIED);
        }
        self.commit(|state| {
            let mut fresh = factory_state(state.serial, std::mem::take(&mut state.made));
            fresh.keys.extend(state.keys.remove_entry(&ATTESTATION));
            let certificate = objects::ATTESTATION_CERTIFICATE;
            fresh.objects.extend(state.objects.remove_entry(&certificate));
            *state = State { sequence: state.sequence, ..fresh };
        })?;
        self.parsed.clear();
        self.forget();
        Ok(Vec::new())
    }
}
