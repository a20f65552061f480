//! JSON Web Signature, compact form (RFC 7515, 7.1) with ES256 (RFC 7518, 3.4), nothing else:
//! no other algorithm is understood, so none can be confused with it.
//!
//! Not covered: registered claims. Who issued a token, for whom and until when is for its
//! caller to check.
//!
//! ```
//! use crypto::sign::{Curve, EcdsaKey};
//! let key = EcdsaKey::generate(Curve::P256)?;
//! let token = jws::sign(&serde_json::json!({"sub": "me"}), |m| key.sign_fixed(m))?;
//! let claims: serde_json::Value = jws::verify(&token, &key.public_key_spki()?)?;
//! assert_eq!(claims["sub"], "me");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, de::DeserializeOwned};

/// The header of a token whose key needs no name.
const HEADER: &str = r#"{"alg":"ES256","typ":"JWT"}"#;
/// The largest token that is looked at.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Why a token was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not three base64url parts, not JSON, or too long.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// Signed with an algorithm other than ES256.
    #[error("the token's algorithm is not ES256")]
    Algorithm,
    /// The signature is not of this key over this content.
    #[error("the token's signature does not verify")]
    Signature,
    /// The claims do not have the form that is due here.
    #[error("the token's claims: {0}")]
    Claims(String),
    /// The signer refused.
    #[error("signing: {0}")]
    Signer(String),
}

/// A token over `claims`; `signer` makes an ES256 signature (`r || s`) over the bytes it is
/// given.
pub fn sign<C: Serialize, E: std::fmt::Display>(
    claims: &C,
    signer: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, Error> {
    sign_under(HEADER, claims, signer)
}

/// The same, with the name of the key in the header (RFC 7515, 4.1.4), for readers that know more
/// keys than one.
pub fn sign_as<C: Serialize, E: std::fmt::Display>(
    key_id: &str,
    claims: &C,
    signer: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, Error> {
    let header = serde_json::json!({ "alg": "ES256", "kid": key_id, "typ": "JWT" });
    sign_under(&header.to_string(), claims, signer)
}

fn sign_under<C: Serialize, E: std::fmt::Display>(
    header: &str,
    claims: &C,
    signer: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, Error> {
    let claims = serde_json::to_vec(claims).map_err(|error| Error::Claims(error.to_string()))?;
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = signer(token.as_bytes()).map_err(|error| Error::Signer(error.to_string()))?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// The claims of `token`, if `public_key` (SubjectPublicKeyInfo DER or an uncompressed point)
/// signed it.
pub fn verify<C: DeserializeOwned>(token: &str, public_key: &[u8]) -> Result<C, Error> {
    let (signed, claims, signature) = split(token)?;
    crypto::sign::es256_verify(public_key, signed.as_bytes(), &signature)
        .map_err(|_| Error::Signature)?;
    serde_json::from_slice(&claims).map_err(|error| Error::Claims(error.to_string()))
}

/// The claims of `token` before its signature was checked: only to find out whose key it says
/// it is under. Never act on them.
pub fn unverified_claims<C: DeserializeOwned>(token: &str) -> Result<C, Error> {
    let (_, claims, _) = split(token)?;
    serde_json::from_slice(&claims).map_err(|error| Error::Claims(error.to_string()))
}

fn split(token: &str) -> Result<(&str, Vec<u8>, Vec<u8>), Error> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Error::Malformed("longer than 16 KiB"));
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Error::Malformed("no signature"))?;
    let (header, claims) = signed.split_once('.').ok_or(Error::Malformed("no claims"))?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::Malformed("base64"));
    let header: serde_json::Value = serde_json::from_slice(&decode(header)?)
        .map_err(|_| Error::Malformed("the header is not JSON"))?;
    if header["alg"] != "ES256" || header.get("crit").is_some() {
        return Err(Error::Algorithm);
    }
    Ok((signed, decode(claims)?, decode(signature)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::sign::{Curve, EcdsaKey};

    #[test]
    fn refuses_every_altered_character() {
        let key = EcdsaKey::generate(Curve::P256).unwrap();
        let spki = key.public_key_spki().unwrap();
        let token = sign(&"claims", |m| key.sign_fixed(m)).unwrap();
        assert_eq!(verify::<String>(&token, &spki).as_deref(), Ok("claims"));
        for at in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(verify::<String>(&altered, &spki).is_err(), "character {at}");
        }
    }

    #[test]
    fn a_token_may_name_its_key() {
        let key = EcdsaKey::generate(Curve::P256).unwrap();
        let token = sign_as("a \"key\"", &1, |m| key.sign_fixed(m)).unwrap();
        assert_eq!(verify::<u8>(&token, &key.public_key_spki().unwrap()), Ok(1));
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["kid"], "a \"key\"");
    }

    #[test]
    fn refuses_the_none_algorithm() {
        let key = EcdsaKey::generate(Curve::P256).unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let token = format!("{none}.{}.", URL_SAFE_NO_PAD.encode("1"));
        let refused = verify::<u8>(&token, &key.public_key_spki().unwrap());
        assert_eq!(refused, Err(Error::Algorithm));
    }
}
