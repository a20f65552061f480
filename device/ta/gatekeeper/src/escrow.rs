//! A secret for an organisation, as a JWE that any JOSE library opens (RFC 7516, RFC 7518 4.6).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use crypto::aead::Key;
use crypto::digest::sha256;
use crypto::ec::{Curve, PrivateKey, PublicKey};
use crypto::secret::Secret;
use tee_sdk::TeeError;

/// The content encryption: 256 bits of key.
const ENC: &str = "A256GCM";
/// The longest name of an organisation, in bytes.
pub(crate) const MAX_ORGANISATION_BYTES: usize = 64;

/// An organisation's key.
pub(crate) fn public_key(spki: &[u8]) -> Result<PublicKey, TeeError> {
    let key = PublicKey::from_spki(spki).ok().filter(|key| key.curve() == Curve::P256);
    let unfit = "the organisation's key is no P-256 public key (SubjectPublicKeyInfo)";
    key.ok_or_else(|| TeeError::BadParameters(unfit.into()))
}

/// The secret, for whoever has the other half of `to`.
pub(crate) fn encrypted(secret: &Secret<32>, to: &PublicKey) -> Result<String, TeeError> {
    let failed = |error: crypto::Error| TeeError::Resources(format!("the escrow: {error}"));
    let once = PrivateKey::generate(Curve::P256).map_err(failed)?;
    let point = once.public().to_point().map_err(failed)?;
    let (x, y) = point[1..].split_at(32);
    let header = format!(
        r#"{{"alg":"ECDH-ES","enc":"{ENC}","epk":{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}}}"#,
        BASE64URL.encode(x),
        BASE64URL.encode(y)
    );
    let header = BASE64URL.encode(header);
    let key = concat_kdf(&once.agree(to).map_err(failed)?);
    // nonce || ciphertext || tag
    let sealed = Key::aes_256_gcm(key.expose()).seal(header.as_bytes(), secret.expose());
    let (nonce, rest) = sealed.split_at(12);
    let (ciphertext, tag) = rest.split_at(rest.len() - 16);
    let [nonce, ciphertext, tag] = [nonce, ciphertext, tag].map(|part| BASE64URL.encode(part));
    // The key is agreed on: the second part is empty.
    Ok(format!("{header}..{nonce}.{ciphertext}.{tag}"))
}

/// One round of the Concat KDF (NIST SP 800-56A 5.8.1) as RFC 7518 4.6.2 feeds it, with neither
/// party named.
fn concat_kdf(agreed: &[u8]) -> Secret<32> {
    let mut input = zeroize::Zeroizing::new(Vec::with_capacity(128));
    input.extend(1_u32.to_be_bytes());
    input.extend(agreed);
    input.extend((ENC.len() as u32).to_be_bytes());
    input.extend(ENC.as_bytes());
    input.extend([0; 8]);
    input.extend(256_u32.to_be_bytes());
    Secret::new(sha256(&input))
}
