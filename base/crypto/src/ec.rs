//! Elliptic curves over prime fields (NIST SP 800-186, SEC 2): ECDSA (FIPS 186-5) and ECDH
//! (SP 800-56A), with curves chosen at run time.

use crate::Error;
use crate::lc::{self, Key, Owned, check, number, two_calls};
use aws_lc_sys as ffi;
use std::ffi::c_int;
use std::ptr;
use zeroize::Zeroizing;

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-224.
    P224,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// secp256k1.
    Secp256k1,
}

impl Curve {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::P224, Self::P256, Self::P384, Self::P521, Self::Secp256k1];

    /// Bytes of a coordinate, and of a private number.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::P224 => 28,
            Self::P256 | Self::Secp256k1 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    const fn id(self) -> c_int {
        match self {
            Self::P224 => ffi::NID_secp224r1,
            Self::P256 => ffi::NID_X9_62_prime256v1,
            Self::P384 => ffi::NID_secp384r1,
            Self::P521 => ffi::NID_secp521r1,
            Self::Secp256k1 => ffi::NID_secp256k1,
        }
    }

    fn key(self) -> Result<Owned<ffi::EC_KEY>, Error> {
        // SAFETY: a fresh key on a known curve.
        unsafe { Owned::new(ffi::EC_KEY_new_by_curve_name(self.id())) }
    }
}

/// A public key.
pub struct PublicKey {
    key: Key,
    curve: Curve,
}

/// A key pair.
pub struct PrivateKey(PublicKey);

fn checked(key: Key) -> Result<PublicKey, Error> {
    if lc::kind(&key) != ffi::EVP_PKEY_EC {
        return Err(Error::MalformedKey);
    }
    // SAFETY: it is an EC key, which knows its curve.
    let id = unsafe {
        ffi::EC_GROUP_get_curve_name(ffi::EC_KEY_get0_group(ffi::EVP_PKEY_get0_EC_KEY(
            key.as_ptr(),
        )))
    };
    let curve = Curve::ALL.into_iter().find(|curve| curve.id() == id);
    Ok(PublicKey { key, curve: curve.ok_or(Error::MalformedKey)? })
}

fn wrap(ec: Owned<ffi::EC_KEY>) -> Result<PublicKey, Error> {
    // SAFETY: a fresh key shares the parts.
    let key = unsafe {
        let key = Owned::new(ffi::EVP_PKEY_new())?;
        check(ffi::EVP_PKEY_set1_EC_KEY(key.as_ptr(), ec.as_ptr()))?;
        key
    };
    checked(key)
}

impl PublicKey {
    /// From SubjectPublicKeyInfo DER (RFC 5480), on one of the [`Curve`]s, given by its name, with
    /// an uncompressed point. A curve given by its numbers is refused: RFC 5480 (2.1.1) has none.
    pub fn from_spki(der: &[u8]) -> Result<Self, Error> {
        let key = checked(lc::parse_spki(der)?)?;
        if key.to_spki()? == der { Ok(key) } else { Err(Error::MalformedKey) }
    }

    /// From a point in one of SEC 1's forms (2.3.3): `04 || x || y`, or compressed.
    pub fn from_point(curve: Curve, point: &[u8]) -> Result<Self, Error> {
        let ec = curve.key()?;
        // SAFETY: point and key are of the same group; the calls copy.
        unsafe {
            let group = ffi::EC_KEY_get0_group(ec.as_ptr());
            let at = Owned::new(ffi::EC_POINT_new(group))?;
            check(ffi::EC_POINT_oct2point(
                group,
                at.as_ptr(),
                lc::pointer(point),
                point.len(),
                ptr::null_mut(),
            ))
            .and_then(|()| check(ffi::EC_KEY_set_public_key(ec.as_ptr(), at.as_ptr())))
            .map_err(|_| Error::MalformedKey)?;
        }
        wrap(ec)
    }

    /// As SubjectPublicKeyInfo DER.
    pub fn to_spki(&self) -> Result<Vec<u8>, Error> {
        lc::to_spki(&self.key)
    }

    /// As `04 || x || y`.
    pub fn to_point(&self) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; 1 + 2 * self.curve.bytes()];
        // SAFETY: the key has a point; the buffer has its length.
        let written = unsafe {
            ffi::EC_POINT_point2oct(
                ffi::EC_KEY_get0_group(self.ec()),
                ffi::EC_KEY_get0_public_key(self.ec()),
                ffi::point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED,
                out.as_mut_ptr(),
                out.len(),
                ptr::null_mut(),
            )
        };
        if written == out.len() { Ok(out) } else { Err(lc::failed()) }
    }

    /// Its curve.
    #[must_use]
    pub const fn curve(&self) -> Curve {
        self.curve
    }

    fn ec(&self) -> *mut ffi::EC_KEY {
        // SAFETY: `checked` saw that it is an EC key.
        unsafe { ffi::EVP_PKEY_get0_EC_KEY(self.key.as_ptr()) }
    }

    /// Checks an ECDSA signature (DER `Ecdsa-Sig-Value`) over `digest`, whose first bits count
    /// where it is longer than the curve's order.
    pub fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<(), Error> {
        let context = lc::operation(&self.key)?;
        // SAFETY: the context's key lives through the calls, which read the slices.
        unsafe {
            check(ffi::EVP_PKEY_verify_init(context.as_ptr()))?;
            check(ffi::EVP_PKEY_verify(
                context.as_ptr(),
                signature.as_ptr(),
                signature.len(),
                digest.as_ptr(),
                digest.len(),
            ))
        }
        .map_err(|_| Error::Authentication)
    }
}

impl PrivateKey {
    /// A fresh key.
    pub fn generate(curve: Curve) -> Result<Self, Error> {
        let ec = curve.key()?;
        // SAFETY: the key has its curve.
        check(unsafe { ffi::EC_KEY_generate_key(ec.as_ptr()) })?;
        wrap(ec).map(Self)
    }

    /// From PKCS#8 DER (RFC 5915 inside RFC 5958).
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        checked(lc::parse_pkcs8(der)?).map(Self)
    }

    /// From its private number, big-endian.
    pub fn from_number(curve: Curve, private: &[u8]) -> Result<Self, Error> {
        let (ec, private) = (curve.key()?, number(private)?);
        // SAFETY: the point is of the key's group; the calls copy.
        unsafe {
            let group = ffi::EC_KEY_get0_group(ec.as_ptr());
            let at = Owned::new(ffi::EC_POINT_new(group))?;
            let (no_point, no_number, cache) = (ptr::null(), ptr::null(), ptr::null_mut());
            check(ffi::EC_KEY_set_private_key(ec.as_ptr(), private.as_ptr()))
                .and_then(|()| {
                    check(ffi::EC_POINT_mul(
                        group,
                        at.as_ptr(),
                        private.as_ptr(),
                        no_point,
                        no_number,
                        cache,
                    ))
                })
                .and_then(|()| check(ffi::EC_KEY_set_public_key(ec.as_ptr(), at.as_ptr())))
                .and_then(|()| check(ffi::EC_KEY_check_key(ec.as_ptr())))
                .map_err(|_| Error::MalformedKey)?;
        }
        wrap(ec).map(Self)
    }

    /// As PKCS#8 DER.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        lc::to_pkcs8(&self.0.key)
    }

    /// Its public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.0
    }

    /// An ECDSA signature (DER) over `digest`; see [`PublicKey::verify`].
    pub fn sign(&self, digest: &[u8]) -> Result<Vec<u8>, Error> {
        let context = lc::operation(&self.0.key)?;
        // SAFETY: the context's key lives through the calls, which read the digest and write what
        // they said that they would.
        unsafe {
            check(ffi::EVP_PKEY_sign_init(context.as_ptr()))?;
            two_calls(|out, length| {
                ffi::EVP_PKEY_sign(context.as_ptr(), out, length, digest.as_ptr(), digest.len())
            })
        }
        .map(|mut out| std::mem::take(&mut *out))
    }

    /// What this key and `peer` agree on: the x coordinate of the common point. Keys of different
    /// curves agree on nothing.
    pub fn agree(&self, peer: &PublicKey) -> Result<Zeroizing<Vec<u8>>, Error> {
        lc::agree(&self.0.key, &peer.key)
    }
}

/// A DER signature as `r || s`, each of the curve's length (IEEE P1363, JWS, PKCS#11).
pub fn to_fixed(curve: Curve, der: &[u8]) -> Result<Vec<u8>, Error> {
    let half = order_bytes(curve);
    let mut out = vec![0; 2 * half];
    // SAFETY: the parsed signature lives through the calls; each half has its length.
    unsafe {
        let signature = ffi::ECDSA_SIG_from_bytes(der.as_ptr(), der.len());
        if signature.is_null() {
            lc::failed();
            return Err(Error::Authentication);
        }
        let (r, s) = (ffi::ECDSA_SIG_get0_r(signature), ffi::ECDSA_SIG_get0_s(signature));
        let fits = ffi::BN_bn2bin_padded(out.as_mut_ptr(), half, r) == 1
            && ffi::BN_bn2bin_padded(out.as_mut_ptr().add(half), half, s) == 1;
        ffi::ECDSA_SIG_free(signature);
        if fits { Ok(out) } else { Err(Error::Authentication) }
    }
}

/// An `r || s` signature as DER.
pub fn from_fixed(curve: Curve, fixed: &[u8]) -> Result<Vec<u8>, Error> {
    let half = order_bytes(curve);
    if fixed.len() != 2 * half {
        return Err(Error::Authentication);
    }
    let integer = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let bytes = &bytes[zeros.min(bytes.len() - 1)..];
        let sign: &[u8] = if bytes[0] & 0x80 == 0 { &[] } else { &[0] };
        [&[2, (sign.len() + bytes.len()) as u8], sign, bytes].concat()
    };
    let (r, s) = fixed.split_at(half);
    let body = [integer(r), integer(s)].concat();
    let length = body.len() as u8;
    let head: &[u8] = if length < 0x80 { &[0x30, length] } else { &[0x30, 0x81, length] };
    Ok([head, &body].concat())
}

/// Bytes of the order: those of a coordinate, for all of these curves.
const fn order_bytes(curve: Curve) -> usize {
    curve.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;

    #[test]
    fn keys_of_every_curve_sign_agree_and_come_back() {
        for curve in Curve::ALL {
            let key = PrivateKey::generate(curve).unwrap();
            let again = PrivateKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
            let point = PublicKey::from_point(curve, &key.public().to_point().unwrap()).unwrap();
            let spki = PublicKey::from_spki(&key.public().to_spki().unwrap()).unwrap();
            let digest = Hash::Sha512.digest(b"message");
            let signature = again.sign(&digest).unwrap();
            for public in [&point, &spki] {
                assert_eq!(public.verify(&digest, &signature), Ok(()));
                let other = Hash::Sha512.digest(b"massage");
                assert_eq!(public.verify(&other, &signature), Err(Error::Authentication));
            }
            let fixed = to_fixed(curve, &signature).unwrap();
            assert_eq!(fixed.len(), 2 * curve.bytes());
            assert_eq!(from_fixed(curve, &fixed).unwrap(), signature);
            let peer = PrivateKey::generate(curve).unwrap();
            let one = key.agree(peer.public()).unwrap();
            assert_eq!(one, peer.agree(key.public()).unwrap());
            assert_eq!(one.len(), curve.bytes());
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let other = PrivateKey::generate(Curve::P384).unwrap();
        let key = PrivateKey::generate(Curve::P256).unwrap();
        assert!(key.agree(other.public()).is_err());
        assert!(PublicKey::from_point(Curve::P256, &[4; 65]).is_err());
        assert!(PublicKey::from_point(Curve::P256, &[0]).is_err());
        assert!(PrivateKey::from_number(Curve::P256, &[0; 32]).is_err());
        assert!(PrivateKey::from_number(Curve::P256, &[0xff; 32]).is_err());
        let mut trailing = key.to_pkcs8().unwrap();
        trailing.push(0);
        assert!(PrivateKey::from_pkcs8(&trailing).is_err());
    }
}
