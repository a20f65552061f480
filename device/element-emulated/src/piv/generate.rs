//! GENERATE ASYMMETRIC KEY PAIR (SP 800-73-5, part 2, 3.3.1), and the import of a key that somebody
//! brings.

use super::private::{PrivateKey, curve};
use super::slots::{self, Algorithm, Origin, PinPolicy, TouchPolicy};
use super::{Answer, Piv, malformed, parameters};
use crate::state::Key;
use crypto::rsa::Floor;
use crypto::{ec, rsa};
use iso7816::tlv::{self, Reader};
use iso7816::{Command, Status};

/// The control reference template.
const CONTROL: u32 = 0xAC;
const ALGORITHM: u32 = 0x80;
const PIN_POLICY: u32 = 0xAA;
const TOUCH_POLICY: u32 = 0xAB;
/// An RSA key's parts: the primes, two exponents, a coefficient.
const PRIME_P: u32 = 0x01;
const PRIME_Q: u32 = 0x02;
const REST_OF_RSA: [u32; 3] = [0x03, 0x04, 0x05];
/// A curve's private number.
const EC_PRIVATE: u32 = 0x06;

/// A key's rules, as a command says them.
struct Policies {
    pin: PinPolicy,
    touch: TouchPolicy,
}

impl Policies {
    fn read(reader: &mut Reader<'_>, slot: u8) -> Result<Self, Status> {
        let pin = number(reader.take(PIN_POLICY).map_err(malformed)?)?;
        let touch = number(reader.take(TOUCH_POLICY).map_err(malformed)?)?;
        reader.finish().map_err(malformed)?;
        Ok(Self {
            pin: PinPolicy::from_number(pin, slot)?,
            touch: TouchPolicy::from_number(touch)?,
        })
    }
}

/// An object of one byte; 0 where it is not there.
const fn number(value: Option<&[u8]>) -> Result<u8, Status> {
    match value {
        None => Ok(0),
        Some([number]) => Ok(*number),
        Some(_) => Err(Status::WRONG_DATA),
    }
}

impl Piv {
    /// GENERATE ASYMMETRIC KEY PAIR: P2 is the slot. The answer is the public key.
    pub(super) fn generate(&mut self, command: &Command<'_>) -> Answer {
        parameters(command, 0x00, command.p2)?;
        let slot = slots::private(command.p2)?;
        self.require_management()?;
        let mut reader = Reader::new(tlv::only(command.data, CONTROL).map_err(malformed)?);
        let algorithm = number(Some(reader.expect(ALGORITHM).map_err(malformed)?))?;
        let algorithm = Algorithm::from_number(algorithm).ok_or(Status::WRONG_DATA)?;
        let policies = Policies::read(&mut reader, slot)?;
        let key = PrivateKey::generate(algorithm).map_err(|_| Status::NO_DIAGNOSIS)?;
        let public = key.public_objects().map_err(|_| Status::NO_DIAGNOSIS)?;
        self.put_key(slot, algorithm, &key, &policies, Origin::Generated)?;
        Ok(tlv::object(0x7F49, &public))
    }

    /// Imports a key: P1 is the algorithm, P2 the slot.
    pub(super) fn import(&mut self, command: &Command<'_>) -> Answer {
        let slot = slots::private(command.p2)?;
        let algorithm = Algorithm::from_number(command.p1).ok_or(Status::WRONG_PARAMETERS)?;
        self.require_management()?;
        let mut reader = Reader::new(command.data);
        let key = match curve(algorithm) {
            Some(curve) => read_ec(&mut reader, curve),
            None => read_rsa(&mut reader, algorithm),
        }?;
        let policies = Policies::read(&mut reader, slot)?;
        self.put_key(slot, algorithm, &key, &policies, Origin::Imported)?;
        Ok(Vec::new())
    }

    fn put_key(
        &mut self,
        slot: u8,
        algorithm: Algorithm,
        key: &PrivateKey,
        policies: &Policies,
        origin: Origin,
    ) -> Result<(), Status> {
        let pkcs8 = key.to_pkcs8().map_err(|_| Status::NO_DIAGNOSIS)?;
        let Policies { pin, touch } = *policies;
        let key = Key { algorithm, pkcs8, pin, touch, origin };
        self.parsed.remove(&slot);
        self.commit(|state| state.keys.insert(slot, key))?;
        Ok(())
    }
}

/// A curve's private number. It may be shorter than the curve's: zeros in front were dropped.
fn read_ec(reader: &mut Reader<'_>, curve: ec::Curve) -> Result<PrivateKey, Status> {
    let private = reader.expect(EC_PRIVATE).map_err(malformed)?;
    if private.len() > curve.bytes() {
        return Err(Status::WRONG_DATA);
    }
    let key = ec::PrivateKey::from_number(curve, private).map_err(|_| Status::WRONG_DATA)?;
    Ok(PrivateKey::Ec(curve, key))
}

/// An RSA key's primes. The other parts follow from them, and are checked by being made anew.
fn read_rsa(reader: &mut Reader<'_>, algorithm: Algorithm) -> Result<PrivateKey, Status> {
    let p = reader.expect(PRIME_P).map_err(malformed)?;
    let q = reader.expect(PRIME_Q).map_err(malformed)?;
    for tag in REST_OF_RSA {
        reader.expect(tag).map_err(malformed)?;
    }
    let bits = algorithm.rsa_bits().ok_or(Status::WRONG_PARAMETERS)?;
    let half = bits as usize / 16;
    if p.len() != half || q.len() != half {
        return Err(Status::WRONG_DATA);
    }
    match rsa::PrivateKey::from_primes(p, q, Floor::Bits2048) {
        Ok(key) if key.public().bits() == bits => Ok(PrivateKey::Rsa(key)),
        _ => Err(Status::WRONG_DATA),
    }
}
