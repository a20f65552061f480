//! Remote key provisioning: how a device asks a server for short-lived attestation certificates,
//! and what such a certificate says about it.
//!
//! The request is a COSE_Sign1 (RFC 9052, 4.2) by the key of the device's factory certificate:
//!
//! ```text
//! CertificateRequest = [
//!     protected:   bstr .cbor {1: -7, 33: bstr},  ; ES256; x5chain (RFC 9360): the device's certificate
//!     unprotected: {},
//!     payload:     bstr .cbor [challenge: bstr, keys: [1*20 COSE_Key]],
//!     signature:   bstr .size 64,
//! ]
//! COSE_Key = {1: 2, 3: -7, -1: 1, -2: bstr .size 32, -3: bstr .size 32}    ; P-256
//! ```
//!
//! The challenge is the server's, for one answer. The certificate carries [`ProvisioningInfo`].

use crate::x509::{Certificate, Spki};
use ciborium::Value;
use crypto::ec::Curve;

/// The most keys in one request.
pub const KEYS_MAX: usize = 20;
/// The longest challenge, in bytes.
pub const CHALLENGE_MAX_BYTES: usize = 64;
/// The largest request that is read, in bytes.
const REQUEST_MAX_BYTES: usize = 128 * 1024;
/// How deep a request's CBOR nests at most.
const DEPTH_MAX: usize = 8;

const ALGORITHM: i64 = 1;
const ES256: i64 = -7;
const X5CHAIN: i64 = 33;
const KEY_TYPE: i64 = 1;
const EC2: i64 = 2;
const KEY_ALGORITHM: i64 = 3;
const CURVE: i64 = -1;
const P_256: i64 = 1;
const X: i64 = -2;
const Y: i64 = -3;

/// Why a request, or what a certificate says about provisioning, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisioningError {
    /// Not CBOR, too large, or bytes after its end.
    #[error("{0}: not one CBOR item")]
    Cbor(&'static str),
    /// Something else than the schema has there.
    #[error("{0}: not what the schema has there")]
    Schema(&'static str),
    /// The device's certificate does not parse, or its key is none that signs requests.
    #[error("the device's certificate: not one with a P-256 key")]
    Certificate,
    /// The device's key did not sign this.
    #[error("the request is not signed by the key of its certificate")]
    Signature,
    /// The signer refused, or signed in another form.
    #[error("the device's key did not sign")]
    Signer,
}

type Result<T> = std::result::Result<T, ProvisioningError>;

/// What a device asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The device's factory certificate: its key signs.
    pub device: Certificate,
    /// As the server gave it.
    pub challenge: Vec<u8>,
    /// The keys to certify: P-256.
    pub keys: Vec<Spki>,
}

impl CertificateRequest {
    /// The signed request. `sign` gets the bytes to sign and returns an ECDSA signature with
    /// SHA-256 in its ASN.1 form, as KeyMint's keys make it.
    pub fn encode<E>(
        &self,
        sign: impl FnOnce(&[u8]) -> std::result::Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>> {
        let protected = bytes_of(&Value::Map(vec![
            (ALGORITHM.into(), ES256.into()),
            (X5CHAIN.into(), self.device.as_der().to_vec().into()),
        ]));
        let keys = self.keys.iter().map(cose_key).collect::<Result<Vec<_>>>()?;
        check_sizes(&self.challenge, keys.len())?;
        let payload =
            bytes_of(&Value::Array(vec![self.challenge.clone().into(), Value::Array(keys)]));
        let signature = sign(&to_be_signed(&protected, &payload))
            .ok()
            .and_then(|signature| crypto::ec::to_fixed(Curve::P256, &signature).ok())
            .ok_or(ProvisioningError::Signer)?;
        Ok(bytes_of(&Value::Array(vec![
            protected.into(),
            Value::Map(Vec::new()),
            payload.into(),
            signature.into(),
        ])))
    }

    /// Reads a request and checks its signature. Whether the device is one that may ask, and the
    /// challenge one that was given out, is for the server to say.
    pub fn open(request: &[u8]) -> Result<Self> {
        let [protected, unprotected, payload, signature] = array(value_of(request, "request")?)?;
        let protected = octets(protected, "protected")?;
        if unprotected.as_map().is_none_or(|map| !map.is_empty()) {
            return Err(ProvisioningError::Schema("unprotected"));
        }
        let payload = octets(payload, "payload")?;
        let signature = octets(signature, "signature")?;
        let device = device(value_of(&protected, "protected")?)?;
        let spki = device.public_key();
        spki.as_p_256().ok_or(ProvisioningError::Certificate)?;
        let signed = to_be_signed(&protected, &payload);
        crypto::sign::es256_verify(spki.as_der(), &signed, &signature)
            .map_err(|_| ProvisioningError::Signature)?;
        let [challenge, keys] = array(value_of(&payload, "payload")?)?;
        let challenge = octets(challenge, "challenge")?;
        let keys = keys.into_array().map_err(|_| ProvisioningError::Schema("keys"))?;
        check_sizes(&challenge, keys.len())?;
        let keys = keys.into_iter().map(spki_of).collect::<Result<_>>()?;
        Ok(Self { device, challenge, keys })
    }
}

/// What the server says in a certificate that it provisioned (extension
/// 1.3.6.1.4.1.11129.2.1.30): a CBOR map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvisioningInfo {
    /// How many certificates the device got in the last 30 days: a number that is far from that of
    /// others hints at a stolen key.
    pub certificates_issued: u64,
}

impl ProvisioningInfo {
    /// The extension's value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        bytes_of(&Value::Map(vec![(1.into(), self.certificates_issued.into())]))
    }

    /// From the extension's value. Entries with other numbers than 1 are the server's own.
    pub fn decode(value: &[u8]) -> Result<Self> {
        let place = "provisioning info";
        let map = value_of(value, place)?;
        let issued = entry(&map, 1).and_then(Value::as_integer);
        let certificates_issued = issued.and_then(|issued| u64::try_from(issued).ok());
        Ok(Self {
            certificates_issued: certificates_issued.ok_or(ProvisioningError::Schema(place))?,
        })
    }
}

fn check_sizes(challenge: &[u8], keys: usize) -> Result<()> {
    if !(1..=CHALLENGE_MAX_BYTES).contains(&challenge.len()) {
        return Err(ProvisioningError::Schema("challenge"));
    }
    if !(1..=KEYS_MAX).contains(&keys) {
        return Err(ProvisioningError::Schema("keys"));
    }
    Ok(())
}

/// `Sig_structure` (RFC 9052, 4.4), without external data.
fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    bytes_of(&Value::Array(vec![
        "Signature1".into(),
        protected.to_vec().into(),
        Value::Bytes(Vec::new()),
        payload.to_vec().into(),
    ]))
}

fn device(header: Value) -> Result<Certificate> {
    if entry(&header, ALGORITHM) != Some(&ES256.into()) {
        return Err(ProvisioningError::Schema("algorithm"));
    }
    let chain = entry(&header, X5CHAIN).and_then(Value::as_bytes);
    let der = chain.ok_or(ProvisioningError::Schema("x5chain"))?;
    Certificate::parse(der).map_err(|_| ProvisioningError::Certificate)
}

fn cose_key(key: &Spki) -> Result<Value> {
    let point = key.as_p_256().ok_or(ProvisioningError::Schema("keys"))?;
    Ok(Value::Map(vec![
        (KEY_TYPE.into(), EC2.into()),
        (KEY_ALGORITHM.into(), ES256.into()),
        (CURVE.into(), P_256.into()),
        (X.into(), point[1..33].to_vec().into()),
        (Y.into(), point[33..].to_vec().into()),
    ]))
}

fn spki_of(key: Value) -> Result<Spki> {
    let wrong = || ProvisioningError::Schema("keys");
    for (label, due) in [(KEY_TYPE, EC2), (KEY_ALGORITHM, ES256), (CURVE, P_256)] {
        if entry(&key, label) != Some(&due.into()) {
            return Err(wrong());
        }
    }
    let coordinate = |label| entry(&key, label).and_then(Value::as_bytes);
    let (x, y) = (coordinate(X).ok_or_else(wrong)?, coordinate(Y).ok_or_else(wrong)?);
    if (x.len(), y.len()) != (32, 32) {
        return Err(wrong());
    }
    let mut point = [4; 65];
    point[1..33].copy_from_slice(x);
    point[33..].copy_from_slice(y);
    let spki = Spki::p_256(&point);
    // A point that is not on the curve is no key.
    crypto::ec::PublicKey::from_spki(spki.as_der()).map_err(|_| wrong())?;
    Ok(spki)
}

/// The value under a label that stands there once.
fn entry(map: &Value, label: i64) -> Option<&Value> {
    let label = Value::from(label);
    let mut found = map.as_map()?.iter().filter(|(key, _)| *key == label);
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value)
}

fn array<const N: usize>(value: Value) -> Result<[Value; N]> {
    let wrong = ProvisioningError::Schema("array");
    let items = value.into_array().map_err(|_| wrong.clone())?;
    items.try_into().map_err(|_| wrong)
}

fn octets(value: Value, place: &'static str) -> Result<Vec<u8>> {
    value.into_bytes().map_err(|_| ProvisioningError::Schema(place))
}

fn value_of(mut bytes: &[u8], place: &'static str) -> Result<Value> {
    let wrong = ProvisioningError::Cbor(place);
    if bytes.len() > REQUEST_MAX_BYTES {
        return Err(wrong);
    }
    let value = ciborium::de::from_reader_with_recursion_limit(&mut bytes, DEPTH_MAX)
        .map_err(|_| wrong.clone())?;
    if bytes.is_empty() { Ok(value) } else { Err(wrong) }
}

fn bytes_of(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).expect("values are written to memory");
    out
}
