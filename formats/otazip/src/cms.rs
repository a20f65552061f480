//! PKCS#7 `SignedData` (RFC 5652) with one signer and no signed attributes: the signature is over
//! the content itself.

use payload::der::{self, Reader, container, element, tag};
use payload::key::{Certificate, KeyKind};

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// Why a PKCS#7 message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CmsError {
    /// Malformed DER.
    #[error("malformed PKCS#7: {0}")]
    Der(#[from] der::Error),
    /// Not `SignedData` over `data`.
    #[error("the PKCS#7 message is not signed data")]
    Type,
    /// Not exactly one signer.
    #[error("the PKCS#7 message does not have exactly one signer")]
    Signers,
    /// The signature is over attributes, not over the file.
    #[error("the signature is over attributes, not over the file: sign without attributes")]
    Attributes,
}

/// What counts of a message. Its certificates do not: trust comes from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedData {
    /// The content, where it is inside.
    pub content: Option<Vec<u8>>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl SignedData {
    /// Reads a message and nothing after it.
    pub fn decode(bytes: &[u8]) -> Result<Self, CmsError> {
        let mut outer = Reader::new(bytes);
        let mut info = outer.enter(tag::SEQUENCE, "ContentInfo")?;
        outer.finish("ContentInfo")?;
        if info.expect(tag::OID, "contentType")?.value != SIGNED_DATA {
            return Err(CmsError::Type);
        }
        let mut explicit = info.enter(tag::CONTEXT_0, "content")?;
        info.finish("ContentInfo")?;
        let mut fields = explicit.enter(tag::SEQUENCE, "SignedData")?;
        explicit.finish("content")?;
        fields.expect(tag::INTEGER, "version")?;
        fields.expect(tag::SET, "digestAlgorithms")?;
        let content = content(fields.enter(tag::SEQUENCE, "encapContentInfo")?)?;
        fields.optional(tag::CONTEXT_0, "certificates")?;
        fields.optional(tag::CONTEXT_1, "crls")?;
        let mut signers = fields.enter(tag::SET, "signerInfos")?;
        fields.finish("SignedData")?;
        if signers.is_empty() {
            return Err(CmsError::Signers);
        }
        let signature = signature(signers.enter(tag::SEQUENCE, "SignerInfo")?)?;
        if !signers.is_empty() {
            return Err(CmsError::Signers);
        }
        Ok(Self { content, signature })
    }
}

fn content(mut info: Reader<'_>) -> Result<Option<Vec<u8>>, CmsError> {
    if info.expect(tag::OID, "eContentType")?.value != DATA {
        return Err(CmsError::Type);
    }
    if info.is_empty() {
        return Ok(None);
    }
    let mut explicit = info.enter(tag::CONTEXT_0, "eContent")?;
    info.finish("encapContentInfo")?;
    let content = explicit.expect(tag::OCTET_STRING, "eContent")?.value;
    explicit.finish("eContent")?;
    Ok(Some(content.to_vec()))
}

fn signature(mut info: Reader<'_>) -> Result<Vec<u8>, CmsError> {
    info.expect(tag::INTEGER, "version")?;
    info.any("sid")?;
    info.expect(tag::SEQUENCE, "digestAlgorithm")?;
    if info.peek() == Some(tag::CONTEXT_0) {
        return Err(CmsError::Attributes);
    }
    info.expect(tag::SEQUENCE, "signatureAlgorithm")?;
    Ok(info.expect(tag::OCTET_STRING, "signature")?.value.to_vec())
}

/// A message around `signature`, which a key of this kind made over the content. `content` goes
/// inside where it is given.
#[must_use]
pub fn encode(
    certificate: &Certificate,
    kind: KeyKind,
    signature: &[u8],
    content: Option<&[u8]>,
) -> Vec<u8> {
    let sha256 = container(tag::SEQUENCE, &[&element(tag::OID, SHA256)]);
    let data = element(tag::OID, DATA);
    let encapsulated = match content {
        None => container(tag::SEQUENCE, &[&data]),
        Some(content) => {
            let inner = element(tag::CONTEXT_0, &element(tag::OCTET_STRING, content));
            container(tag::SEQUENCE, &[&data, &inner])
        }
    };
    let one = element(tag::INTEGER, &[1]);
    let signed = container(
        tag::SEQUENCE,
        &[
            &one,
            &element(tag::SET, &sha256),
            &encapsulated,
            &element(tag::CONTEXT_0, certificate.der()),
            &element(tag::SET, &signer(certificate, kind, &sha256, signature)),
        ],
    );
    let explicit = element(tag::CONTEXT_0, &signed);
    container(tag::SEQUENCE, &[&element(tag::OID, SIGNED_DATA), &explicit])
}

fn signer(certificate: &Certificate, kind: KeyKind, sha256: &[u8], signature: &[u8]) -> Vec<u8> {
    let algorithm = match kind {
        KeyKind::Rsa { .. } => {
            container(tag::SEQUENCE, &[&element(tag::OID, RSA), &element(tag::NULL, &[])])
        }
        KeyKind::Ecdsa(_) => container(tag::SEQUENCE, &[&element(tag::OID, ECDSA_SHA256)]),
    };
    let id = container(tag::SEQUENCE, &[certificate.issuer(), certificate.serial()]);
    container(
        tag::SEQUENCE,
        &[
            &element(tag::INTEGER, &[1]),
            &id,
            sha256,
            &algorithm,
            &element(tag::OCTET_STRING, signature),
        ],
    )
}
