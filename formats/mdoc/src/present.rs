//! The device's side: chosen items, and a signature over the session in which they are shown (9.1.3).

use crate::cose::{self, Sign1};
use crate::decode::{self, Map, array, embedded, number, text};
use crate::document::IssuerSigned;
use crate::error::DecodeError;
use ciborium::Value;

/// To whom a document is shown, and in answer to what: a session of OpenID for Verifiable
/// Presentations 1.0 (B.2.6.1). A presentation for one is worth nothing in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who asks (`client_id`).
    pub audience: String,
    /// What it chose at random for this session.
    pub nonce: String,
    /// Where the answer goes (`response_uri`).
    pub response_uri: String,
}

impl Session {
    /// The session transcript: no engagement, no reader key, and the hash of what the reader sent.
    fn transcript(&self) -> Value {
        let info = Value::Array(vec![
            Value::from(self.audience.as_str()),
            Value::from(self.nonce.as_str()),
            Value::Null,
            Value::from(self.response_uri.as_str()),
        ]);
        let hash = crypto::digest::sha256(&decode::bytes(&info));
        let handover = vec![Value::from("OpenID4VPHandover"), Value::Bytes(hash.to_vec())];
        Value::Array(vec![Value::Null, Value::Null, Value::Array(handover)])
    }

    /// `DeviceAuthenticationBytes` (9.1.3.4).
    pub(crate) fn authentication(&self, doc_type: &str, device_names: &[u8]) -> Vec<u8> {
        let content = Value::Array(vec![
            Value::from("DeviceAuthentication"),
            self.transcript(),
            Value::from(doc_type),
            decode::embed(device_names),
        ]);
        decode::bytes(&decode::embed(&decode::bytes(&content)))
    }

    /// What the device signs with its key to show a document of this type here: ES256 over these
    /// bytes, as `r || s`.
    #[must_use]
    pub fn to_be_signed(&self, doc_type: &str) -> Vec<u8> {
        cose::to_be_signed(&cose::es256_header(), &self.authentication(doc_type, &no_names()))
    }
}

/// No data elements of the device's own.
fn no_names() -> Vec<u8> {
    decode::bytes(&Value::Map(Vec::new()))
}

/// A document as a device shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Presentation {
    pub(crate) doc_type: String,
    pub(crate) issuer_signed: IssuerSigned,
    /// The bytes of the device's own data elements.
    pub(crate) device_names: Vec<u8>,
    pub(crate) device_auth: Sign1,
}

impl Presentation {
    /// Items that were chosen, and the device's signature over [`Session::to_be_signed`].
    #[must_use]
    pub fn new(doc_type: &str, issuer_signed: IssuerSigned, signature: Vec<u8>) -> Self {
        let protected = cose::es256_header();
        let device_auth = Sign1 { protected, chain: Vec::new(), payload: None, signature };
        let doc_type = doc_type.to_owned();
        Self { doc_type, issuer_signed, device_names: no_names(), device_auth }
    }

    /// As a `DeviceResponse` (8.3.2.1.2.2) with one document.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let device_auth = decode::map(vec![("deviceSignature", self.device_auth.to_value())]);
        let device_signed = decode::map(vec![
            ("nameSpaces", decode::embed(&self.device_names)),
            ("deviceAuth", device_auth),
        ]);
        let document = decode::map(vec![
            ("docType", Value::from(self.doc_type.as_str())),
            ("issuerSigned", self.issuer_signed.to_value()),
            ("deviceSigned", device_signed),
        ]);
        decode::bytes(&decode::map(vec![
            ("version", Value::from("1.0")),
            ("documents", Value::Array(vec![document])),
            ("status", Value::from(0)),
        ]))
    }

    /// Reads a `DeviceResponse` with one document, and nothing behind it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut response = Map::from(decode::value(bytes, "DeviceResponse")?, "DeviceResponse")?;
        let version = text(response.take("version")?, "version")?;
        if version != "1.0" {
            return Err(DecodeError::Unsupported { field: "version", found: version });
        }
        if number(&response.take("status")?, "status")? != 0 {
            return Err(DecodeError::Field("status"));
        }
        let documents = array(response.take("documents")?, "documents")?;
        let [document]: [Value; 1] =
            documents.try_into().map_err(|_| DecodeError::Field("documents"))?;
        let mut document = Map::from(document, "documents")?;
        let mut signed = Map::from(document.take("deviceSigned")?, "deviceSigned")?;
        let mut auth = Map::from(signed.take("deviceAuth")?, "deviceAuth")?;
        Ok(Self {
            doc_type: text(document.take("docType")?, "docType")?,
            issuer_signed: IssuerSigned::from_value(document.take("issuerSigned")?)?,
            device_names: embedded(signed.take("nameSpaces")?, "nameSpaces")?,
            device_auth: Sign1::decode(auth.take("deviceSignature")?, "deviceSignature")?,
        })
    }

    /// The document's type, as it says itself.
    #[must_use]
    pub fn doc_type(&self) -> &str {
        &self.doc_type
    }
}
