//! What needs no secret: checking signatures and encrypting to a key pair, here, under the key's
//! certificate. KeyMint does neither.

use super::data::said;
use crate::exit::Misused;
use anyhow::{Context as _, Result};
use crypto::hash::{Hash, Hasher};
use crypto::rsa::{Encryption, Floor, Signature};
use crypto::{curve25519, ec, rsa};
use keyattest::x509::Certificate;
use keymint::{Algorithm, Authorizations, Digest, EcCurve, MAX_ED25519_MESSAGE_BYTES, PaddingMode};
use keystore_client::api::KeyInfo;
use std::io::Read;

/// The function behind KeyMint's name; `None` for [`Digest::None`].
pub(super) const fn hash(digest: Digest) -> Option<Hash> {
    Some(match digest {
        Digest::None => return None,
        Digest::Md5 => Hash::LegacyMd5,
        Digest::Sha1 => Hash::LegacySha1,
        Digest::Sha2_224 => Hash::Sha224,
        Digest::Sha2_256 => Hash::Sha256,
        Digest::Sha2_384 => Hash::Sha384,
        Digest::Sha2_512 => Hash::Sha512,
    })
}

/// SubjectPublicKeyInfo of the key.
fn public_key(info: &KeyInfo) -> Result<Vec<u8>> {
    let own = info.certificates.first().context("the key has no certificate")?;
    let own = Certificate::parse(own).context("the key's certificate")?;
    Ok(own.public_key().as_der().to_vec())
}

/// Whether the signature is right.
pub(super) fn verify(
    info: &KeyInfo,
    params: &Authorizations,
    input: &mut impl Read,
    signature: &[u8],
) -> Result<bool> {
    let key = &info.characteristics.hardware_enforced;
    let (spki, (digest, padding)) = (public_key(info)?, said(params));
    let checked = match (key.algorithm, key.ec_curve) {
        (Some(Algorithm::Ec), Some(EcCurve::Curve25519)) => {
            let message = whole(input, MAX_ED25519_MESSAGE_BYTES)?;
            let public = curve25519::ed25519_from_spki(&spki)?;
            curve25519::ed25519_verify(&public, &message, signature)
        }
        (Some(Algorithm::Ec), _) => {
            let public = ec::PublicKey::from_spki(&spki)?;
            public.verify(&digested(digest, input)?, signature)
        }
        (Some(Algorithm::Rsa), _) => {
            let public = rsa::PublicKey::from_spki(&spki, Floor::Bits2048)?;
            let how = signature_of(digest, padding)?;
            public.verify(how, &digested(digest, input)?, signature)
        }
        _ => return Err(Misused("this program checks no ML-DSA signatures".into()).into()),
    };
    Ok(checked.is_ok())
}

/// A short text to an RSA key.
pub(super) fn encrypt(
    info: &KeyInfo,
    params: &Authorizations,
    input: &mut impl Read,
) -> Result<Vec<u8>> {
    let public = rsa::PublicKey::from_spki(&public_key(info)?, Floor::Bits2048)
        .map_err(|_| Misused("only RSA keys and symmetric ones encrypt".into()))?;
    let text = whole(input, public.bytes())?;
    let (digest, padding) = said(params);
    let how = match padding {
        Some(PaddingMode::RsaOaep) => Encryption::Oaep {
            hash: hash(digest).ok_or_else(|| Misused("OAEP needs --digest".into()))?,
            mask: params
                .rsa_oaep_mgf_digest
                .first()
                .and_then(|digest| hash(*digest))
                .unwrap_or(Hash::LegacySha1),
            label: b"",
        },
        Some(PaddingMode::RsaPkcs1Encrypt) => Encryption::LegacyPkcs1,
        Some(PaddingMode::None) => Encryption::Bare,
        _ => return Err(Misused("say --padding: rsa_oaep, or what else the key has".into()).into()),
    };
    Ok(public.encrypt(how, &text)?)
}

fn signature_of(digest: Digest, padding: Option<PaddingMode>) -> Result<Signature> {
    Ok(match (padding, hash(digest)) {
        (Some(PaddingMode::RsaPkcs1Sign), Some(hash)) => Signature::Pkcs1(hash),
        (Some(PaddingMode::RsaPkcs1Sign), None) => Signature::Pkcs1Bare,
        (Some(PaddingMode::RsaPss), Some(hash)) => {
            Signature::Pss { hash, mask: hash, salt: hash.digest(b"").len() }
        }
        _ => {
            let how = "say --padding, rsa_pkcs1_1_5_sign or rsa_pss, and --digest";
            return Err(Misused(how.into()).into());
        }
    })
}

/// The digest of the input, or with [`Digest::None`] the input.
fn digested(digest: Digest, input: &mut impl Read) -> Result<Vec<u8>> {
    let Some(hash) = hash(digest) else { return whole(input, 1024) };
    let (mut hasher, mut piece) = (Hasher::new(hash), vec![0; 64 << 10]);
    loop {
        match input.read(&mut piece).context("reading")? {
            0 => return Ok(hasher.finish().to_vec()),
            read => hasher.update(&piece[..read]),
        }
    }
}

fn whole(input: &mut impl Read, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(most as u64 + 1).read_to_end(&mut bytes).context("reading")?;
    if bytes.len() > most {
        return Err(Misused(format!("at most {most} bytes fit")).into());
    }
    Ok(bytes)
}
