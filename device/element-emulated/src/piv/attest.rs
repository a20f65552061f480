//! Attestation: a certificate by the attestation key which says that a key was made in here, for
//! which slot, and under which rules.
//!
//! Its extensions are those that verifiers of PIV attestation know: firmware version, serial
//! number, PIN and touch policy.

use super::private::PrivateKey;
use super::slots::{self, ATTESTATION, Algorithm, Origin, PinPolicy, TouchPolicy};
use super::{Answer, Piv, VERSION, objects};
use crate::state::{Key, State};
use crate::x509::{self, Certificate, Extension};
use crypto::Error;
use iso7816::{Command, Status};
use serde_bytes::ByteBuf;

/// 1.3.6.1.4.1.41482.3.3: the firmware's version.
const FIRMWARE: &[u8] = b"\x2B\x06\x01\x04\x01\x82\xC4\x0A\x03\x03";
/// 1.3.6.1.4.1.41482.3.7: the serial number.
const SERIAL: &[u8] = b"\x2B\x06\x01\x04\x01\x82\xC4\x0A\x03\x07";
/// 1.3.6.1.4.1.41482.3.8: the PIN policy and the touch policy.
const POLICIES: &[u8] = b"\x2B\x06\x01\x04\x01\x82\xC4\x0A\x03\x08";

impl Piv {
    /// Attests the key in slot P1.
    pub(super) fn attest(&mut self, command: &Command<'_>) -> Answer {
        super::parameters(command, command.p1, 0)?;
        let slot = slots::private(command.p1)?;
        let key = self.state().keys.get(&slot).ok_or(Status::REFERENCE_NOT_FOUND)?;
        if key.origin != Origin::Generated {
            return Err(Status::CONDITIONS_NOT_SATISFIED);
        }
        let policies = [key.pin.number(), key.touch.number()];
        let subject = self.parsed(slot)?;
        let attester = self.parsed(ATTESTATION)?;
        let state = self.state();
        let serial = x509::integer(&state.serial.to_be_bytes());
        let object = state.objects.get(&objects::ATTESTATION_CERTIFICATE);
        let issuer = objects::certificate_in(object.ok_or(Status::NOT_FOUND)?)?;
        let certificate = Certificate {
            issuer: x509::subject_of(issuer).map_err(super::malformed)?,
            subject: &x509::name(&format!("Holdfast PIV Attestation {slot:02x}")),
            not_before: &state.made,
            public_key: &subject.to_spki().map_err(|_| Status::NO_DIAGNOSIS)?,
            extensions: vec![
                Extension { id: FIRMWARE, critical: false, value: VERSION.to_vec() },
                Extension { id: SERIAL, critical: false, value: serial },
                Extension { id: POLICIES, critical: false, value: policies.to_vec() },
            ],
        };
        certificate.sign(&attester).map_err(|_| Status::NO_DIAGNOSIS)
    }
}

/// Gives a new element the key that attests, and a certificate of its own for it.
pub(crate) fn self_signed(state: &mut State) -> Result<(), Error> {
    let key = PrivateKey::generate(Algorithm::P256)?;
    let name = x509::name(&format!("Holdfast element {:08x}", state.serial));
    let certificate = Certificate {
        issuer: &name,
        subject: &name,
        not_before: &state.made,
        public_key: &key.to_spki()?,
        extensions: vec![Extension::authority()],
    };
    let certificate = ByteBuf::from(objects::certificate_object(&certificate.sign(&key)?));
    state.objects.insert(objects::ATTESTATION_CERTIFICATE, certificate);
    let key = Key {
        algorithm: Algorithm::P256,
        pkcs8: key.to_pkcs8()?,
        pin: PinPolicy::Never,
        touch: TouchPolicy::Never,
        origin: Origin::Generated,
    };
    state.keys.insert(ATTESTATION, key);
    Ok(())
}
