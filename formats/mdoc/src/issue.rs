//! The issuer's side: a document for a person's device (9.1.2).

use crate::cose::{self, Sign1};
use crate::document::{IssuerSigned, Item, SecurityObject, Validity};
use ciborium::Value;
use std::collections::BTreeMap;

/// What is to be issued.
#[derive(Debug, Clone)]
pub struct Issuance<'a> {
    /// The document's type.
    pub doc_type: &'a str,
    /// The namespace of all elements.
    pub namespace: &'a str,
    /// Names and values.
    pub elements: Vec<(String, Value)>,
    /// The device's key: an uncompressed point on P-256.
    pub device_key: [u8; 65],
    /// When the document is valid.
    pub validity: Validity,
}

/// Why nothing was issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// A date after the year 9999.
    #[error("a date lies after the year 9999")]
    Date,
    /// The signer refused.
    #[error("signing: {0}")]
    Signer(String),
}

impl Issuance<'_> {
    /// Makes the document. `chain` is the signer's certificate and those between it and the
    /// authority, DER; `salt` gives the randomness that hides what is not disclosed; `sign` makes an
    /// ES256 signature, `r || s`, over the bytes that it is given.
    pub fn sign<E: std::fmt::Display>(
        &self,
        chain: Vec<Vec<u8>>,
        mut salt: impl FnMut() -> [u8; 32],
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<IssuerSigned, IssueError> {
        let elements = (0_u64..).zip(&self.elements);
        let items: Vec<Item> = elements
            .map(|(id, (name, value))| Item::new(id, &salt(), name, value.clone()))
            .collect();
        let digests = items.iter().map(|item| (item.digest_id, item.digest().to_vec())).collect();
        let object = SecurityObject {
            doc_type: self.doc_type.to_owned(),
            digests: BTreeMap::from([(self.namespace.to_owned(), digests)]),
            device_key: self.device_key,
            validity: self.validity,
        };
        let payload = object.to_payload().ok_or(IssueError::Date)?;
        let protected = cose::es256_header();
        let signature = sign(&cose::to_be_signed(&protected, &payload))
            .map_err(|error| IssueError::Signer(error.to_string()))?;
        let auth = Sign1 { protected, chain, payload: Some(payload), signature };
        Ok(IssuerSigned { items: BTreeMap::from([(self.namespace.to_owned(), items)]), auth })
    }
}
