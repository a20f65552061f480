//! An identity in the secure element (SPEC S3.3.2): opened with a proof of the issuer's, downloaded,
//! used with the PIN, given up.
//!
//! The key is made inside the element at activation, in the signature slot, which asks for the PIN at
//! each use; the document lies in an object that is read after the PIN only. Nothing of either is
//! kept anywhere else. Sending and receiving is the caller's.

mod manager;

use iso7816::tlv::{self, Reader, TlvError};
use mdoc::{IssuerSigned, Presentation, Session};
use secure_element::{
    ATTESTATION_CERTIFICATE, IDENTITY, PinPolicy, Piv, PivError, SIGNATURE, SecureElement,
};
use wire::eid::{Open, Purpose, Signed, statement};
use zeroize::Zeroizing;

/// The PIN that every new element has: an identity is not opened behind it.
const PIN_OF_NEW_ELEMENTS: &str = "123456";
/// Fields of the object that holds an identity.
const NAME: u32 = 0x80;
const DOCUMENT: u32 = 0x81;
const CERTIFICATE: u32 = 0x70;

/// Why something could not be done with an identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// The element.
    #[error(transparent)]
    Piv(#[from] PivError),
    /// The PIN is the one that every new element has.
    #[error("the element still has the PIN of every new one; change it first")]
    InitialPin,
    /// The management key is neither the first one nor the one that an identity left.
    #[error("somebody else manages this element: its management key is not known here")]
    ForeignManager,
    /// There is one already.
    #[error("there is an identity in this element; deregister it first")]
    Occupied,
    /// There is none, or it has no document yet.
    #[error("there is no {0} in this element")]
    Missing(&'static str),
    /// What lies there is damaged.
    #[error("what lies in the element is malformed: {0}")]
    Object(#[from] TlvError),
    /// The document is.
    #[error("the document is malformed: {0}")]
    Document(#[from] mdoc::DecodeError),
    /// The document is for another key.
    #[error("the document was issued for another element's key")]
    OtherKey,
    /// An item that was chosen is not in the document.
    #[error("the document has no element {0:?}")]
    NoElement(String),
    /// Cryptography failed.
    #[error(transparent)]
    Crypto(#[from] crypto::Error),
}

/// An identity, as it lies in the element.
struct Kept {
    name: String,
    document: Option<Zeroizing<Vec<u8>>>,
}

/// The holder's side of an identity.
pub struct Wallet<E>(Piv<E>);

impl<E: SecureElement> Wallet<E> {
    /// On this element.
    pub fn open(element: E) -> Result<Self, WalletError> {
        Ok(Self(Piv::open(element)?))
    }

    /// Makes the identity's key, and what opens the identity at its issuer. A key of an opening that
    /// was broken off is replaced; one with an identity is not.
    pub fn activate(
        &mut self,
        pin: &str,
        account: &str,
        proof: &str,
        challenge: &[u8],
    ) -> Result<Open, WalletError> {
        if pin == PIN_OF_NEW_ELEMENTS {
            return Err(WalletError::InitialPin);
        }
        self.0.verify(pin)?;
        if self.kept()?.is_some() {
            return Err(WalletError::Occupied);
        }
        self.manage()?;
        self.0.generate(SIGNATURE, PinPolicy::Always)?;
        let attestation = self.0.attest(SIGNATURE)?;
        let attester = self.0.object(ATTESTATION_CERTIFICATE)?;
        let attester = attester.ok_or(WalletError::Missing("attestation certificate"))?;
        let attester = Reader::new(&attester).expect(CERTIFICATE)?.to_vec();
        Ok(Open {
            account: account.to_owned(),
            proof: proof.to_owned(),
            attestation: attestation.into(),
            attester: attester.into(),
            signed: self.say(pin, Purpose::Open, account, challenge)?,
        })
    }

    /// Keeps the name under which the issuer opened the identity.
    pub fn opened(&mut self, pin: &str, identity: &str) -> Result<(), WalletError> {
        self.keep(pin, &tlv::object(NAME, identity.as_bytes()))
    }

    /// The name of the identity.
    pub fn identity(&mut self, pin: &str) -> Result<String, WalletError> {
        self.0.verify(pin)?;
        Ok(self.kept()?.ok_or(WalletError::Missing("identity"))?.name)
    }

    /// Signs a statement about this identity for its issuer.
    pub fn state(
        &mut self,
        pin: &str,
        purpose: Purpose,
        challenge: &[u8],
    ) -> Result<Signed, WalletError> {
        let identity = self.identity(pin)?;
        self.say(pin, purpose, &identity, challenge)
    }

    /// Keeps the document that the issuer sent. One for another key is refused.
    pub fn keep_document(&mut self, pin: &str, issuer_signed: &[u8]) -> Result<(), WalletError> {
        let identity = self.identity(pin)?;
        let object = IssuerSigned::decode(issuer_signed)?.security_object()?;
        let attested = self.0.attest(SIGNATURE)?;
        if !attested.windows(object.device_key.len()).any(|part| part == object.device_key) {
            return Err(WalletError::OtherKey);
        }
        let parts =
            [tlv::object(NAME, identity.as_bytes()), tlv::object(DOCUMENT, issuer_signed)].concat();
        self.keep(pin, &Zeroizing::new(parts))
    }

    /// The document, for its holder to look at.
    pub fn document(&mut self, pin: &str) -> Result<IssuerSigned, WalletError> {
        self.0.verify(pin)?;
        let kept = self.kept()?.ok_or(WalletError::Missing("identity"))?;
        let document = kept.document.ok_or(WalletError::Missing("document"))?;
        Ok(IssuerSigned::decode(&document)?)
    }

    /// Shows the chosen elements, and no other, in this session.
    pub fn present(
        &mut self,
        pin: &str,
        session: &Session,
        chosen: &[String],
    ) -> Result<Presentation, WalletError> {
        let document = self.document(pin)?;
        let has =
            |name: &String| document.items().values().flatten().any(|it| it.identifier == *name);
        if let Some(missing) = chosen.iter().find(|name| !has(name)) {
            return Err(WalletError::NoElement(missing.clone()));
        }
        let doc_type = document.security_object()?.doc_type;
        let shown = document.disclose(|_, name| chosen.iter().any(|it| it == name));
        let signature = self.sign(pin, &session.to_be_signed(&doc_type))?;
        let signature = crypto::ec::to_fixed(crypto::ec::Curve::P256, &signature)?;
        Ok(Presentation::new(&doc_type, shown, signature))
    }

    /// Signs a message: ECDSA with SHA-256, DER.
    pub fn sign(&mut self, pin: &str, message: &[u8]) -> Result<Vec<u8>, WalletError> {
        // The key asks for the PIN each time.
        self.0.verify(pin)?;
        Ok(self.0.sign(SIGNATURE, &crypto::digest::sha256(message))?)
    }

    /// Destroys the key and the document. Whatever was issued for the key is worth nothing then.
    pub fn destroy(&mut self, pin: &str) -> Result<(), WalletError> {
        self.0.verify(pin)?;
        self.manage()?;
        self.0.delete_key(SIGNATURE)?;
        Ok(self.0.put_object(IDENTITY, &[])?)
    }

    fn say(
        &mut self,
        pin: &str,
        purpose: Purpose,
        subject: &str,
        challenge: &[u8],
    ) -> Result<Signed, WalletError> {
        let signature = self.sign(pin, &statement(purpose, subject, challenge))?;
        Ok(Signed { challenge: challenge.to_vec().into(), signature: signature.into() })
    }

    fn keep(&mut self, pin: &str, content: &[u8]) -> Result<(), WalletError> {
        self.0.verify(pin)?;
        self.manage()?;
        Ok(self.0.put_object(IDENTITY, content)?)
    }

    /// What lies in the element; the PIN was verified.
    fn kept(&mut self) -> Result<Option<Kept>, WalletError> {
        let Some(object) = self.0.object(IDENTITY)? else { return Ok(None) };
        let mut reader = Reader::new(&object);
        let name = String::from_utf8_lossy(reader.expect(NAME)?).into_owned();
        let document = reader.take(DOCUMENT)?.map(|it| Zeroizing::new(it.to_vec()));
        reader.finish()?;
        Ok(Some(Kept { name, document }))
    }
}
