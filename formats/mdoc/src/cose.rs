//! COSE_Sign1 (RFC 9052, 4.2) with ES256 and ES384 (RFC 9053, 2.1), and P-256 keys (7.1).

use crate::decode::{self, Map, array, byte_string};
use crate::error::DecodeError;
use ciborium::Value;
use crypto::ec::{self, Curve};
use crypto::hash::Hash;

const ALGORITHM: i64 = 1;
const CERTIFICATES: i64 = 33;
const ES256: i64 = -7;
const ES384: i64 = -35;
/// The most certificates of a chain.
const MAX_CHAIN: usize = 8;

/// A signed message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sign1 {
    pub(crate) protected: Vec<u8>,
    /// DER, the signer's first.
    pub(crate) chain: Vec<Vec<u8>>,
    /// None where it travels apart.
    pub(crate) payload: Option<Vec<u8>>,
    /// `r || s`.
    pub(crate) signature: Vec<u8>,
}

/// The protected header that says ES256.
pub(crate) fn es256_header() -> Vec<u8> {
    decode::bytes(&Value::Map(vec![(Value::from(ALGORITHM), Value::from(ES256))]))
}

/// What is signed (4.4).
pub(crate) fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    decode::bytes(&Value::Array(vec![
        Value::from("Signature1"),
        Value::Bytes(protected.to_vec()),
        Value::Bytes(Vec::new()),
        Value::Bytes(payload.to_vec()),
    ]))
}

impl Sign1 {
    pub(crate) fn decode(value: Value, field: &'static str) -> Result<Self, DecodeError> {
        let value = if let Value::Tag(18, inner) = value { *inner } else { value };
        let parts: Result<[Value; 4], _> = array(value, field)?.try_into();
        let [protected, unprotected, payload, signature] =
            parts.map_err(|_| DecodeError::Field(field))?;
        let payload = match payload {
            Value::Null => None,
            payload => Some(byte_string(payload, field)?),
        };
        let mut unprotected = Map::from(unprotected, field)?;
        let chain = match unprotected.optional(&Value::from(CERTIFICATES), "x5chain")? {
            None => Vec::new(),
            Some(Value::Bytes(one)) => vec![one],
            Some(Value::Array(many)) if many.len() <= MAX_CHAIN => {
                many.into_iter().map(|it| byte_string(it, "x5chain")).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(DecodeError::Field("x5chain")),
        };
        let protected = byte_string(protected, field)?;
        Ok(Self { protected, chain, payload, signature: byte_string(signature, field)? })
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut chain: Vec<Value> = self.chain.iter().cloned().map(Value::Bytes).collect();
        let chain = match chain.len() {
            0 => None,
            1 => chain.pop(),
            _ => Some(Value::Array(chain)),
        };
        let unprotected =
            chain.map(|chain| (Value::from(CERTIFICATES), chain)).into_iter().collect();
        Value::Array(vec![
            Value::Bytes(self.protected.clone()),
            Value::Map(unprotected),
            self.payload.clone().map_or(Value::Null, Value::Bytes),
            Value::Bytes(self.signature.clone()),
        ])
    }

    /// Whether `key` signed `payload`, with the algorithm that belongs to its curve.
    pub(crate) fn is_signed_by(&self, key: &ec::PublicKey, payload: &[u8]) -> bool {
        let Ok(header) = decode::value(&self.protected, "protected header") else { return false };
        let algorithm = Map::from(header, "protected header")
            .and_then(|mut header| header.take_number(ALGORITHM, "alg"))
            .ok()
            .and_then(|it| it.as_integer())
            .and_then(|it| i64::try_from(it).ok());
        let (curve, hash) = match algorithm {
            Some(ES256) => (Curve::P256, Hash::Sha256),
            Some(ES384) => (Curve::P384, Hash::Sha384),
            _ => return false,
        };
        let digest = hash.digest(&to_be_signed(&self.protected, payload));
        key.curve() == curve
            && ec::from_fixed(curve, &self.signature)
                .and_then(|signature| key.verify(&digest, &signature))
                .is_ok()
    }
}

const KEY_TYPE: i64 = 1;
const KEY_TYPE_EC2: i64 = 2;
const EC2_CURVE: i64 = -1;
const EC2_CURVE_P256: i64 = 1;
const EC2_X: i64 = -2;
const EC2_Y: i64 = -3;

/// A P-256 point as a COSE_Key.
pub(crate) fn key_to_value(point: &[u8; 65]) -> Value {
    let (x, y) = point[1..].split_at(32);
    let entry = |key: i64, value: Value| (Value::from(key), value);
    Value::Map(vec![
        entry(KEY_TYPE, Value::from(KEY_TYPE_EC2)),
        entry(EC2_CURVE, Value::from(EC2_CURVE_P256)),
        entry(EC2_X, Value::Bytes(x.to_vec())),
        entry(EC2_Y, Value::Bytes(y.to_vec())),
    ])
}

/// The P-256 point of a COSE_Key; whether it lies on the curve is seen when it is used.
pub(crate) fn key_from_value(value: Value) -> Result<[u8; 65], DecodeError> {
    let field = "deviceKey";
    let mut key = Map::from(value, field)?;
    let known = key.take_number(KEY_TYPE, field)? == Value::from(KEY_TYPE_EC2)
        && key.take_number(EC2_CURVE, field)? == Value::from(EC2_CURVE_P256);
    if !known {
        return Err(DecodeError::Unsupported { field, found: "a key that is not P-256".into() });
    }
    let x = byte_string(key.take_number(EC2_X, field)?, field)?;
    let y = byte_string(key.take_number(EC2_Y, field)?, field)?;
    let point = [&[4][..], &x, &y].concat();
    if x.len() == 32 {
        point.try_into().map_err(|_| DecodeError::Field(field))
    } else {
        Err(DecodeError::Field(field))
    }
}
