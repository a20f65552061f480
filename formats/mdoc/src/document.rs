//! What an issuer signed (9.1.2): items, and the mobile security object over their digests.

use crate::cose::{self, Sign1};
use crate::decode::{self, Map, array, byte_string, date, embedded, number, text};
use crate::error::DecodeError;
use ciborium::Value;
use std::collections::BTreeMap;

/// One data element, as the issuer salted it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The bytes that were hashed, without their tag.
    content: Vec<u8>,
    /// Which digest it is.
    pub digest_id: u64,
    /// Its name.
    pub identifier: String,
    /// Its value.
    pub value: Value,
}

impl Item {
    /// A new one.
    pub(crate) fn new(digest_id: u64, random: &[u8], identifier: &str, value: Value) -> Self {
        let content = decode::bytes(&decode::map(vec![
            ("digestID", Value::from(digest_id)),
            ("random", Value::Bytes(random.to_vec())),
            ("elementIdentifier", Value::from(identifier)),
            ("elementValue", value.clone()),
        ]));
        Self { content, digest_id, identifier: identifier.to_owned(), value }
    }

    fn decode(value: Value) -> Result<Self, DecodeError> {
        let content = embedded(value, "IssuerSignedItemBytes")?;
        let mut item = Map::from(decode::value(&content, "IssuerSignedItem")?, "IssuerSignedItem")?;
        let salt = byte_string(item.take("random")?, "random")?;
        // Shorter salts let values be guessed (9.1.2.5).
        if salt.len() < 16 {
            return Err(DecodeError::Field("random"));
        }
        Ok(Self {
            digest_id: number(&item.take("digestID")?, "digestID")?,
            identifier: text(item.take("elementIdentifier")?, "elementIdentifier")?,
            value: item.take("elementValue")?,
            content,
        })
    }

    /// Its digest (9.1.2.5): over the tagged bytes.
    pub(crate) fn digest(&self) -> [u8; 32] {
        crypto::digest::sha256(&decode::bytes(&decode::embed(&self.content)))
    }
}

/// From when to when a document is valid: seconds since 1970, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// When it was signed.
    pub signed: u64,
    /// Its first second.
    pub from: u64,
    /// Its last second.
    pub until: u64,
}

/// The mobile security object (9.1.2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityObject {
    /// The document's type.
    pub doc_type: String,
    /// Digests by namespace and number.
    pub digests: BTreeMap<String, BTreeMap<u64, Vec<u8>>>,
    /// The device's key: an uncompressed point on P-256.
    pub device_key: [u8; 65],
    /// When it is valid.
    pub validity: Validity,
}

impl SecurityObject {
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let content = embedded(decode::value(payload, "payload")?, "MobileSecurityObjectBytes")?;
        let field = "MobileSecurityObject";
        let mut object = Map::from(decode::value(&content, field)?, field)?;
        for (field, due) in [("version", "1.0"), ("digestAlgorithm", "SHA-256")] {
            let found = text(object.take(field)?, field)?;
            if found != due {
                return Err(DecodeError::Unsupported { field, found });
            }
        }
        let mut key = Map::from(object.take("deviceKeyInfo")?, "deviceKeyInfo")?;
        let mut validity = Map::from(object.take("validityInfo")?, "validityInfo")?;
        Ok(Self {
            doc_type: text(object.take("docType")?, "docType")?,
            digests: digests(object.take("valueDigests")?)?,
            device_key: cose::key_from_value(key.take("deviceKey")?)?,
            validity: Validity {
                signed: date(validity.take("signed")?, "signed")?,
                from: date(validity.take("validFrom")?, "validFrom")?,
                until: date(validity.take("validUntil")?, "validUntil")?,
            },
        })
    }

    /// As the payload of the issuer's signature; none where a date is too far away.
    pub(crate) fn to_payload(&self) -> Option<Vec<u8>> {
        let digests = self.digests.iter().map(|(namespace, digests)| {
            let digests =
                digests.iter().map(|(id, it)| (Value::from(*id), Value::Bytes(it.clone())));
            (Value::from(namespace.as_str()), Value::Map(digests.collect()))
        });
        let validity = decode::map(vec![
            ("signed", decode::to_date(self.validity.signed)?),
            ("validFrom", decode::to_date(self.validity.from)?),
            ("validUntil", decode::to_date(self.validity.until)?),
        ]);
        let key = decode::map(vec![("deviceKey", cose::key_to_value(&self.device_key))]);
        let object = decode::map(vec![
            ("version", Value::from("1.0")),
            ("digestAlgorithm", Value::from("SHA-256")),
            ("valueDigests", Value::Map(digests.collect())),
            ("deviceKeyInfo", key),
            ("docType", Value::from(self.doc_type.as_str())),
            ("validityInfo", validity),
        ]);
        Some(decode::bytes(&decode::embed(&decode::bytes(&object))))
    }
}

fn digests(value: Value) -> Result<BTreeMap<String, BTreeMap<u64, Vec<u8>>>, DecodeError> {
    let field = "valueDigests";
    let mut all = BTreeMap::new();
    for (namespace, value) in Map::from(value, field)?.entries() {
        let mut digests = BTreeMap::new();
        for (id, digest) in Map::from(value, field)?.entries() {
            if digests.insert(number(&id, field)?, byte_string(digest, field)?).is_some() {
                return Err(DecodeError::Twice(field));
            }
        }
        if all.insert(text(namespace, field)?, digests).is_some() {
            return Err(DecodeError::Twice(field));
        }
    }
    Ok(all)
}

/// Items and the issuer's signature over their digests.
#[derive(Debug, Clone, PartialEq)]
pub struct IssuerSigned {
    pub(crate) items: BTreeMap<String, Vec<Item>>,
    pub(crate) auth: Sign1,
}

impl IssuerSigned {
    /// Reads one and nothing behind it. What it says is not checked: that is the reader's side.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_value(decode::value(bytes, "IssuerSigned")?)
    }

    pub(crate) fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut map = Map::from(value, "issuerSigned")?;
        let auth = Sign1::decode(map.take("issuerAuth")?, "issuerAuth")?;
        let mut items = BTreeMap::new();
        for (namespace, list) in Map::from(map.take("nameSpaces")?, "nameSpaces")?.entries() {
            let list = array(list, "nameSpaces")?.into_iter().map(Item::decode);
            let list = list.collect::<Result<Vec<_>, _>>()?;
            if items.insert(text(namespace, "nameSpaces")?, list).is_some() {
                return Err(DecodeError::Twice("nameSpaces"));
            }
        }
        Ok(Self { items, auth })
    }

    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        decode::bytes(&self.to_value())
    }

    pub(crate) fn to_value(&self) -> Value {
        let namespaces = self.items.iter().map(|(namespace, items)| {
            let items = items.iter().map(|item| decode::embed(&item.content)).collect();
            (Value::from(namespace.as_str()), Value::Array(items))
        });
        decode::map(vec![
            ("nameSpaces", Value::Map(namespaces.collect())),
            ("issuerAuth", self.auth.to_value()),
        ])
    }

    /// Its items, by namespace.
    #[must_use]
    pub const fn items(&self) -> &BTreeMap<String, Vec<Item>> {
        &self.items
    }

    /// What the issuer says it signed. Only a reader who checks the signature may believe it.
    pub fn security_object(&self) -> Result<SecurityObject, DecodeError> {
        let payload = self.auth.payload.as_deref().ok_or(DecodeError::Field("payload"))?;
        SecurityObject::decode(payload)
    }

    /// The same with only those items whose namespace and name `chosen` takes.
    #[must_use]
    pub fn disclose(&self, chosen: impl Fn(&str, &str) -> bool) -> Self {
        let items = self.items.iter().map(|(namespace, items)| {
            let kept = items.iter().filter(|item| chosen(namespace, &item.identifier));
            (namespace.clone(), kept.cloned().collect::<Vec<_>>())
        });
        let items = items.filter(|(_, items)| !items.is_empty()).collect();
        Self { items, auth: self.auth.clone() }
    }
}
