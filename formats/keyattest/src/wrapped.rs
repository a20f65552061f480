//! Keys on their way into KeyMint: `SecureKeyWrapper`, as `IKeyMintDevice.importWrappedKey`
//! describes it.
//!
//! ```text
//! SecureKeyWrapper ::= SEQUENCE {
//!     version                INTEGER,        -- 0
//!     encryptedTransportKey  OCTET STRING,   -- RSA-OAEP
//!     initializationVector   OCTET STRING,   -- 12 octets
//!     keyDescription         KeyDescription, -- also the associated data of AES-GCM
//!     encryptedKey           OCTET STRING,   -- AES-256-GCM
//!     tag                    OCTET STRING    -- 16 octets
//! }
//! KeyDescription ::= SEQUENCE { keyFormat INTEGER, keyParams AuthorizationList }
//! ```

use crate::asn1::{self, Elements};
use crate::{AuthorizationList, DecodeError, decode};

/// The attestation version whose tags a wrapped key may have: all.
const NEWEST: u32 = 500;

/// A wrapped key, nothing of it believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureKeyWrapper {
    /// The key of AES-256-GCM, masked, under RSA-OAEP.
    pub encrypted_transport_key: Vec<u8>,
    /// The nonce.
    pub initialization_vector: [u8; 12],
    /// `KeyDescription` in DER: what the tag covers besides.
    pub description: Vec<u8>,
    /// KeyMint's number of the format that the key has inside.
    pub key_format: u64,
    /// What the key is to obey.
    pub params: AuthorizationList,
    /// The ciphertext.
    pub encrypted_key: Vec<u8>,
    /// The tag.
    pub tag: [u8; 16],
}

impl SecureKeyWrapper {
    /// Reads DER, and nothing after it.
    pub fn parse(der: &[u8]) -> Result<Self, DecodeError> {
        let place = "SecureKeyWrapper";
        let mut fields = asn1::only(der, place)?.sequence(place)?;
        if fields.next("version")?.unsigned("version")? != 0 {
            return Err(DecodeError::Range { place: "version" });
        }
        let encrypted_transport_key = octets(&mut fields, "encryptedTransportKey")?.to_vec();
        let initialization_vector = sized(octets(&mut fields, "initializationVector")?, place)?;
        let description = fields.next("keyDescription")?;
        let encrypted_key = octets(&mut fields, "encryptedKey")?.to_vec();
        let tag = sized(octets(&mut fields, "tag")?, place)?;
        fields.finish()?;
        let mut inside = description.sequence("keyDescription")?;
        let key_format = inside.next("keyFormat")?.unsigned("keyFormat")?;
        let params = decode::list(&mut inside, "keyParams", NEWEST, &mut Vec::new())?;
        inside.finish()?;
        Ok(Self {
            encrypted_transport_key,
            initialization_vector,
            description: description.raw.to_vec(),
            key_format,
            params,
            encrypted_key,
            tag,
        })
    }
}

fn octets<'a>(fields: &mut Elements<'a>, place: &'static str) -> Result<&'a [u8], DecodeError> {
    fields.next(place)?.octets(place)
}

fn sized<const N: usize>(bytes: &[u8], place: &'static str) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Range { place })
}
