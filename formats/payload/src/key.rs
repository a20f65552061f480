//! Keys that sign payloads and OTA zips: PEM files (RFC 7468) and certificates (RFC 5280).

use crate::der::{self, Reader, container, element, tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto::sign::{Curve, DigestVerifier, EcdsaKey, RsaKey};

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P_256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P_384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const SHA256_WITH_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// Why a key or a certificate is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No PEM block of the kind that is due.
    #[error("no PEM block with {0}: give a PEM file")]
    NoPem(&'static str),
    /// A PEM block whose inside is not base64.
    #[error("the PEM block {0:?} is not base64")]
    Base64(String),
    /// Malformed DER.
    #[error("malformed key or certificate: {0}")]
    Der(#[from] der::Error),
    /// A key of another kind.
    #[error("the key is neither RSA nor ECDSA on P-256 or P-384")]
    Kind,
    /// A certificate whose own signature does not say SHA-256.
    #[error("the certificate is not signed with SHA-256: its kind of signature is not accepted")]
    CertificateHash,
    /// A key that recovery does not take.
    #[error("recovery takes RSA of 2048 or 4096 bits with exponent 3 or 65537, and ECDSA on P-256")]
    RecoveryKind,
    /// The crypto library does not take the key.
    #[error("the private key is not usable: RSA of 2048 to 8192 bits, or ECDSA on P-256")]
    Private,
    /// Who signs elsewhere did not.
    #[error("the signer says: {0}")]
    Signer(String),
    /// Who signs elsewhere gave something else.
    #[error("the signer gave no signature of this key: does it hold another one?")]
    OtherSigner,
}

/// A public key, as SubjectPublicKeyInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: Vec<u8>,
    verifier: DigestVerifier,
}

impl PublicKey {
    /// From SubjectPublicKeyInfo DER.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let mut outer = Reader::new(spki);
        let mut parts = outer.enter(tag::SEQUENCE, "subjectPublicKeyInfo")?;
        outer.finish("subjectPublicKeyInfo")?;
        let mut algorithm = parts.enter(tag::SEQUENCE, "algorithm")?;
        parts.expect(tag::BIT_STRING, "subjectPublicKey")?;
        parts.finish("subjectPublicKeyInfo")?;
        let kind = algorithm.expect(tag::OID, "algorithm")?.value;
        let parameters = algorithm.any("parameters")?;
        let verifier = match (kind, parameters.value) {
            (RSA, []) => DigestVerifier::RsaPkcs1,
            (EC, P_256) => DigestVerifier::Ecdsa(Curve::P256),
            (EC, P_384) => DigestVerifier::Ecdsa(Curve::P384),
            _ => return Err(KeyError::Kind),
        };
        Ok(Self { spki: spki.to_vec(), verifier })
    }

    /// Every key in a PEM file: public keys and certificates.
    pub fn from_pem(text: &str) -> Result<Vec<Self>, KeyError> {
        let mut keys = Vec::new();
        for block in pem(text)? {
            match block.label.as_str() {
                "PUBLIC KEY" => keys.push(Self::from_spki(&block.der)?),
                "CERTIFICATE" => keys.push(Certificate::from_der(&block.der)?.public_key),
                _ => {}
            }
        }
        if keys.is_empty() {
            return Err(KeyError::NoPem("a public key or a certificate"));
        }
        Ok(keys)
    }

    /// SubjectPublicKeyInfo DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Refuses what recovery does not take: only RSA of 2048 or 4096 bits with exponent 3 or 65537,
    /// and ECDSA on P-256.
    pub fn require_recovery_kind(&self) -> Result<(), KeyError> {
        match self.verifier {
            DigestVerifier::Ecdsa(Curve::P256) => Ok(()),
            DigestVerifier::Ecdsa(_) => Err(KeyError::RecoveryKind),
            DigestVerifier::RsaPkcs1 => {
                let (modulus, exponent) = self.rsa()?;
                let usual = [256, 512].contains(&modulus.len()) && modulus[0] & 0x80 != 0;
                let usual = usual && [&[3][..], &[1, 0, 1]].contains(&exponent);
                if usual { Ok(()) } else { Err(KeyError::RecoveryKind) }
            }
        }
    }

    /// What signatures of it are.
    pub fn kind(&self) -> Result<KeyKind, KeyError> {
        Ok(match self.verifier {
            DigestVerifier::RsaPkcs1 => KeyKind::Rsa { bytes: self.rsa()?.0.len() },
            DigestVerifier::Ecdsa(curve) => KeyKind::Ecdsa(curve),
        })
    }

    /// Modulus and exponent without leading zeros (RFC 8017, A.1.1).
    fn rsa(&self) -> Result<(&[u8], &[u8]), der::Error> {
        let mut spki = Reader::new(&self.spki).enter(tag::SEQUENCE, "subjectPublicKeyInfo")?;
        spki.expect(tag::SEQUENCE, "algorithm")?;
        let bits = spki.expect(tag::BIT_STRING, "subjectPublicKey")?.value;
        let key = bits.strip_prefix(&[0]).ok_or(der::Error::Length("subjectPublicKey"))?;
        let mut numbers = Reader::new(key).enter(tag::SEQUENCE, "RSAPublicKey")?;
        let modulus = numbers.expect(tag::INTEGER, "modulus")?.value;
        let exponent = numbers.expect(tag::INTEGER, "publicExponent")?.value;
        let bare =
            |number: &'_ [u8]| number.len() - number.strip_prefix(&[0]).unwrap_or(number).len();
        Ok((&modulus[bare(modulus)..], &exponent[bare(exponent)..]))
    }

    /// Whether `signature` is this key's over the message whose SHA-256 is `digest`.
    #[must_use]
    pub fn verifies(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        self.verifier.verify(&self.spki, digest, signature).is_ok()
    }
}

/// A certificate: what signing and verifying OTA files need of it. Whoever lists a certificate
/// trusts it; neither its validity nor its issuer counts (as in recovery).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    issuer: Vec<u8>,
    serial: Vec<u8>,
    /// The key that it is about.
    pub public_key: PublicKey,
    sha256: bool,
}

impl Certificate {
    /// Parses one certificate and nothing after it.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let mut outer = Reader::new(der);
        let mut parts = outer.enter(tag::SEQUENCE, "Certificate")?;
        outer.finish("Certificate")?;
        let mut tbs = parts.enter(tag::SEQUENCE, "tbsCertificate")?;
        let mut algorithm = parts.enter(tag::SEQUENCE, "signatureAlgorithm")?;
        parts.expect(tag::BIT_STRING, "signatureValue")?;
        parts.finish("Certificate")?;
        tbs.optional(tag::CONTEXT_0, "version")?;
        let serial = tbs.expect(tag::INTEGER, "serialNumber")?.raw.to_vec();
        tbs.expect(tag::SEQUENCE, "signature")?;
        let issuer = tbs.expect(tag::SEQUENCE, "issuer")?.raw.to_vec();
        tbs.expect(tag::SEQUENCE, "validity")?;
        tbs.expect(tag::SEQUENCE, "subject")?;
        let spki = tbs.expect(tag::SEQUENCE, "subjectPublicKeyInfo")?.raw;
        let hash = algorithm.expect(tag::OID, "signatureAlgorithm")?.value;
        Ok(Self {
            der: der.to_vec(),
            issuer,
            serial,
            public_key: PublicKey::from_spki(spki)?,
            sha256: [SHA256_WITH_RSA, SHA256_WITH_ECDSA].contains(&hash),
        })
    }

    /// Every certificate in a PEM file.
    pub fn from_pem(text: &str) -> Result<Vec<Self>, KeyError> {
        let blocks = pem(text)?;
        let blocks = blocks.iter().filter(|block| block.label == "CERTIFICATE");
        let found: Vec<_> =
            blocks.map(|block| Self::from_der(&block.der)).collect::<Result<_, _>>()?;
        if found.is_empty() { Err(KeyError::NoPem("a certificate")) } else { Ok(found) }
    }

    /// The DER bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// `Name` of the issuer, DER.
    #[must_use]
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// `CertificateSerialNumber`, DER.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Recovery takes the hash from the certificate's own signature: it must be SHA-256. (It also
    /// knows SHA-1, which is broken and refused here.)
    pub const fn require_sha256(&self) -> Result<(), KeyError> {
        if self.sha256 { Ok(()) } else { Err(KeyError::CertificateHash) }
    }

    /// As a PEM file.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let text = STANDARD.encode(&self.der);
        let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            out.extend(line.iter().map(|&byte| char::from(byte)));
            out.push('\n');
        }
        out + "-----END CERTIFICATE-----\n"
    }
}

/// What signatures of a key are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA PKCS#1 v1.5.
    Rsa {
        /// Bytes of the modulus, and of every signature.
        bytes: usize,
    },
    /// ECDSA, as DER.
    Ecdsa(Curve),
}

impl KeyKind {
    /// The most bytes that a signature has. An ECDSA signature may be shorter.
    #[must_use]
    pub const fn max_signature_bytes(self) -> usize {
        match self {
            Self::Rsa { bytes } => bytes,
            // SEQUENCE of two INTEGERs of 33 or 49 bytes at most.
            Self::Ecdsa(Curve::P256) => 72,
            Self::Ecdsa(Curve::P384) => 104,
        }
    }
}

/// Somebody who holds a private key and signs: an HSM, a program, another machine.
pub trait Signer: Send + Sync {
    /// A signature over the message whose SHA-256 is `digest`, or why there is none.
    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, String>;
}

/// A private key that signs SHA-256 digests.
pub enum SigningKey {
    /// RSA PKCS#1 v1.5.
    Rsa(RsaKey),
    /// ECDSA on P-256.
    Ecdsa(EcdsaKey),
    /// Held by somebody else: who can be known by the public half, and signs.
    Elsewhere(PublicKey, Box<dyn Signer>),
}

impl SigningKey {
    /// From a PEM file: PKCS#8, PKCS#1 (`RSA PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`), not
    /// encrypted.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        for block in pem(text)? {
            let pkcs8 = match block.label.as_str() {
                "PRIVATE KEY" => block.der,
                "RSA PRIVATE KEY" => pkcs8(RSA, &element(tag::NULL, &[]), &block.der),
                "EC PRIVATE KEY" => pkcs8(EC, &element(tag::OID, P_256), &block.der),
                _ => continue,
            };
            return Self::from_pkcs8(&pkcs8);
        }
        Err(KeyError::NoPem("an unencrypted private key"))
    }

    /// From PKCS#8 DER.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        RsaKey::from_pkcs8(der)
            .map(Self::Rsa)
            .or_else(|_| EcdsaKey::from_pkcs8(Curve::P256, der).map(Self::Ecdsa))
            .map_err(|_| KeyError::Private)
    }

    /// The public half.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        let spki = match self {
            Self::Rsa(key) => key.public_key_spki(),
            Self::Ecdsa(key) => key.public_key_spki(),
            Self::Elsewhere(public, _) => return Ok(public.clone()),
        };
        PublicKey::from_spki(&spki.map_err(|_| KeyError::Private)?)
    }

    /// What its signatures are.
    pub fn kind(&self) -> Result<KeyKind, KeyError> {
        match self {
            Self::Rsa(key) => Ok(KeyKind::Rsa { bytes: key.modulus().len() }),
            Self::Ecdsa(_) => Ok(KeyKind::Ecdsa(Curve::P256)),
            Self::Elsewhere(public, _) => public.kind(),
        }
    }

    /// A signature over the message whose SHA-256 is `digest`. What comes from elsewhere is
    /// verified.
    pub fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, KeyError> {
        match self {
            Self::Rsa(key) => key.sign_sha256_digest(digest).map_err(|_| KeyError::Private),
            Self::Ecdsa(key) => key.sign_sha256_digest(digest).map_err(|_| KeyError::Private),
            Self::Elsewhere(public, signer) => {
                let signature = signer.sign(digest).map_err(KeyError::Signer)?;
                let right = public.verifies(digest, &signature);
                if right { Ok(signature) } else { Err(KeyError::OtherSigner) }
            }
        }
    }
}

/// `PrivateKeyInfo` (RFC 5958) around an older form of private key.
fn pkcs8(algorithm: &[u8], parameters: &[u8], key: &[u8]) -> Vec<u8> {
    let algorithm = container(tag::SEQUENCE, &[&element(tag::OID, algorithm), parameters]);
    let version = element(tag::INTEGER, &[0]);
    container(tag::SEQUENCE, &[&version, &algorithm, &element(tag::OCTET_STRING, key)])
}

struct Block {
    label: String,
    der: Vec<u8>,
}

/// The blocks of a PEM file; text between them is skipped.
fn pem(text: &str) -> Result<Vec<Block>, KeyError> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines().map(str::trim) {
        let begin = line.strip_prefix("-----BEGIN ").and_then(|it| it.strip_suffix("-----"));
        if let Some(label) = begin {
            open = Some((label.to_owned(), String::new()));
        } else if line.starts_with("-----END ") {
            if let Some((label, body)) = open.take() {
                let der = STANDARD.decode(&body).map_err(|_| KeyError::Base64(label.clone()))?;
                blocks.push(Block { label, der });
            }
        } else if let Some((_, body)) = &mut open {
            body.push_str(line);
        }
    }
    Ok(blocks)
}
