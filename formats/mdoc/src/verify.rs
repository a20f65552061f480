//! The reader's side (9.3.1): is this what a trusted issuer signed, of this device, for this session?

use crate::decode;
use crate::document::{IssuerSigned, SecurityObject, Validity};
use crate::error::{DecodeError, Refusal};
use crate::present::{Presentation, Session};
use ciborium::Value;
use crypto::ec::{Curve, PublicKey};
use keyattest::x509::Certificate;

/// What a presentation proves.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The document's type.
    pub doc_type: String,
    /// Namespace, name and value of each item that was shown.
    pub items: Vec<(String, String, Value)>,
    /// When the document is valid.
    pub validity: Validity,
    /// The device's key: an uncompressed point on P-256.
    pub device_key: [u8; 65],
    /// The issuer's certificate, DER.
    pub issuer: Vec<u8>,
}

impl Presentation {
    /// Checks everything, against `anchors` (the authorities that are trusted here) at `now`
    /// (seconds since 1970). The session is the reader's own: who takes it from the other side
    /// checks nothing.
    pub fn verify(
        &self,
        session: &Session,
        anchors: &[Certificate],
        now: u64,
    ) -> Result<Verified, Refusal> {
        let object = self.issuer_signed.verify(anchors, now)?;
        if object.doc_type != self.doc_type {
            let (said, signed) = (self.doc_type.clone(), object.doc_type);
            return Err(Refusal::DocumentType { said, signed });
        }
        let signed = session.authentication(&self.doc_type, &self.device_names);
        let key = PublicKey::from_point(Curve::P256, &object.device_key);
        let key = key.map_err(|_| DecodeError::Field("deviceKey"))?;
        // Elements that only the device vouches for are not looked at, so there may be none.
        let empty = decode::value(&self.device_names, "nameSpaces")? == Value::Map(Vec::new());
        if !empty
            || self.device_auth.payload.is_some()
            || !self.device_auth.is_signed_by(&key, &signed)
        {
            return Err(Refusal::DeviceSignature);
        }
        let items = self.issuer_signed.items.iter().flat_map(|(namespace, items)| {
            items.iter().map(|it| (namespace.clone(), it.identifier.clone(), it.value.clone()))
        });
        Ok(Verified {
            items: items.collect(),
            doc_type: object.doc_type,
            validity: object.validity,
            device_key: object.device_key,
            issuer: self.issuer_signed.auth.chain.first().cloned().unwrap_or_default(),
        })
    }
}

impl IssuerSigned {
    /// The issuer's part alone: chain, signature, dates, and the digest of each item. What shows it
    /// is not checked: a document without its device proves nothing about who holds it.
    pub fn verify(&self, anchors: &[Certificate], now: u64) -> Result<SecurityObject, Refusal> {
        let signer = self.trusted_signer(anchors, now)?;
        let payload = self.auth.payload.as_deref().ok_or(DecodeError::Field("payload"))?;
        let key = PublicKey::from_spki(signer.public_key().as_der());
        if !key.is_ok_and(|key| self.auth.is_signed_by(&key, payload)) {
            return Err(Refusal::IssuerSignature);
        }
        let object = SecurityObject::decode(payload)?;
        if !(object.validity.from..=object.validity.until).contains(&now) {
            return Err(Refusal::DocumentTime);
        }
        for (namespace, items) in &self.items {
            for (at, item) in items.iter().enumerate() {
                let due = object.digests.get(namespace).and_then(|all| all.get(&item.digest_id));
                let again = items[..at].iter().any(|it| it.digest_id == item.digest_id);
                if again || due.is_none_or(|due| **due != item.digest()) {
                    return Err(Refusal::Altered(item.identifier.clone()));
                }
            }
        }
        Ok(object)
    }

    /// The signer's certificate, where its chain leads to an anchor and all of it is valid now.
    fn trusted_signer(&self, anchors: &[Certificate], now: u64) -> Result<Certificate, Refusal> {
        let parse = |der: &Vec<u8>| Certificate::parse(der).map_err(|_| Refusal::UntrustedIssuer);
        let chain = self.auth.chain.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let (first, last) = chain.first().zip(chain.last()).ok_or(Refusal::UntrustedIssuer)?;
        let linked =
            chain.windows(2).all(|pair| pair[0].is_issued_by(&pair[1]) && is_authority(&pair[1]));
        let anchor = anchors.iter().find(|anchor| last.is_issued_by(anchor));
        let anchor = anchor.filter(|_| linked).ok_or(Refusal::UntrustedIssuer)?;
        let is_valid = |it: &Certificate| (it.validity().0..=it.validity().1).contains(&now);
        if !chain.iter().chain([anchor]).all(is_valid) {
            return Err(Refusal::CertificateTime);
        }
        Ok(first.clone())
    }
}

/// Whether a certificate may sign others: its basic constraints begin with TRUE.
fn is_authority(certificate: &Certificate) -> bool {
    let constraints = certificate.extension(keyattest::x509::oid::BASIC_CONSTRAINTS);
    matches!(constraints, Some([0x30, _, 0x01, 0x01, 0xFF, ..]))
}
