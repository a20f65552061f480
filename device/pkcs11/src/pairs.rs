//! Key pairs: templates, and the numbers that a private key comes with.

use crate::attributes::Attributes;
use crate::error::{Result, Rv, ensure, fail};
use crate::key::Algorithm;
use crate::keyforms::{self, PublicKey};
use crate::making::Template;
use crate::mechanism::{Mechanism, Scheme};
use crypto::curve25519::{Ed25519, X25519};
use crypto::ec;
use crypto::rsa::{self, Floor, Numbers};
use cryptoki_sys::*;
use zeroize::Zeroizing;

/// Sets what a half of a pair says of its public key.
pub(crate) fn describe(attributes: &mut Attributes, spki: &[u8]) -> Result<()> {
    let algorithm = match attributes.key_type() {
        CKK_RSA => Algorithm::Rsa(0),
        _ => keyforms::curve(attributes.due(CKA_EC_PARAMS)?)?,
    };
    PublicKey::from_spki(spki, algorithm)?.describe(attributes)
}

/// The two templates of `C_GenerateKeyPair`, completed.
pub(crate) fn drafts(
    mechanism: &Mechanism,
    public: Template,
    private: Template,
) -> Result<(Attributes, Attributes, Algorithm)> {
    let mut public = Attributes::from_template(public)?;
    let mut private = Attributes::from_template(private)?;
    for half in [&public, &private] {
        half.refuse_read_only()?;
        let given = [CKA_MODULUS, CKA_EC_POINT, CKA_VALUE, CKA_PRIVATE_EXPONENT];
        let given = given.into_iter().any(|code| half.get(code).is_some());
        ensure(!given, CKR_TEMPLATE_INCONSISTENT)?;
    }
    let algorithm = match mechanism.scheme(CKF_GENERATE_KEY_PAIR)? {
        Scheme::GenerateRsa => rsa_wanted(&public, private.flag(CKA_TOKEN))?,
        Scheme::GenerateEc => curve_wanted(&public, |it| matches!(it, Algorithm::Ec(_)))?,
        Scheme::GenerateEdwards => curve_wanted(&public, |it| it == Algorithm::Ed25519)?,
        Scheme::GenerateMontgomery => curve_wanted(&public, |it| it == Algorithm::X25519)?,
        _ => return fail(CKR_MECHANISM_INVALID),
    };
    let key_type = keyforms::key_type(algorithm);
    public.expect_number(CKA_KEY_TYPE, key_type)?;
    private.expect_number(CKA_KEY_TYPE, key_type)?;
    if let Some(params) = public.get(CKA_EC_PARAMS).map(<[u8]>::to_vec) {
        private.set(CKA_EC_PARAMS, params);
    }
    public.complete(CKO_PUBLIC_KEY)?;
    private.complete(CKO_PRIVATE_KEY)?;
    Ok((public, private, algorithm))
}

/// In the token, what is safe today; in the session also what old peers have.
fn rsa_wanted(public: &Attributes, in_token: bool) -> Result<Algorithm> {
    let bits = public.due_number(CKA_MODULUS_BITS)?;
    let known = matches!(bits, 2048 | 3072 | 4096) || (bits == 1024 && !in_token);
    ensure(known, CKR_KEY_SIZE_RANGE)?;
    if let Some(exponent) = public.get(CKA_PUBLIC_EXPONENT) {
        let start = exponent.iter().take_while(|byte| **byte == 0).count();
        ensure(exponent[start..] == [1, 0, 1], CKR_ATTRIBUTE_VALUE_INVALID)?;
    }
    Ok(Algorithm::Rsa(bits as u32))
}

fn curve_wanted(public: &Attributes, fits: fn(Algorithm) -> bool) -> Result<Algorithm> {
    let algorithm = keyforms::curve(public.due(CKA_EC_PARAMS)?)?;
    ensure(fits(algorithm), CKR_CURVE_NOT_SUPPORTED)?;
    Ok(algorithm)
}

/// Takes the numbers of a private key out of its template: PKCS #8 DER.
pub(crate) fn taken(attributes: &mut Attributes) -> Result<(Algorithm, Zeroizing<Vec<u8>>)> {
    if attributes.key_type() == CKK_RSA {
        return taken_rsa(attributes);
    }
    let algorithm = keyforms::curve(attributes.due(CKA_EC_PARAMS)?)?;
    let same = keyforms::key_type(algorithm) == attributes.key_type();
    ensure(same, CKR_TEMPLATE_INCONSISTENT)?;
    let value = Zeroizing::new(attributes.take_due(CKA_VALUE)?);
    // It follows from the private number.
    attributes.take(CKA_EC_POINT);
    let seed = || value.as_slice().try_into().map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID));
    let pkcs8 = match algorithm {
        Algorithm::Ec(curve) => ec::PrivateKey::from_number(curve, &value)?.to_pkcs8()?,
        Algorithm::Ed25519 => Ed25519::from_seed(seed()?)?.to_pkcs8()?,
        Algorithm::X25519 => X25519::from_seed(seed()?)?.to_pkcs8()?,
        _ => return fail(CKR_TEMPLATE_INCONSISTENT),
    };
    Ok((algorithm, pkcs8))
}

fn taken_rsa(attributes: &mut Attributes) -> Result<(Algorithm, Zeroizing<Vec<u8>>)> {
    let n = attributes.take_due(CKA_MODULUS)?;
    let e = attributes.take_due(CKA_PUBLIC_EXPONENT)?;
    let secrets = [
        CKA_PRIVATE_EXPONENT,
        CKA_PRIME_1,
        CKA_PRIME_2,
        CKA_EXPONENT_1,
        CKA_EXPONENT_2,
        CKA_COEFFICIENT,
    ];
    let secrets = secrets.map(|code| attributes.take_due(code).map(Zeroizing::new));
    let [d, p, q, dp, dq, qi] = secrets;
    let (d, p, q, dp, dq, qi) = (d?, p?, q?, dp?, dq?, qi?);
    let numbers = Numbers { n: &n, e: &e, d: &d, p: &p, q: &q, dp: &dp, dq: &dq, qi: &qi };
    let key = rsa::PrivateKey::from_numbers(&numbers, Floor::Legacy1024)?;
    Ok((Algorithm::Rsa(key.public().bits()), key.to_pkcs8()?))
}
