//! The mechanisms, as a table.

mod parameters;

pub(crate) use parameters::{Hkdf, Kdf, Parameters, Salt};

use crate::error::{Result, Rv};
use crypto::hash::Hash;
use cryptoki_sys::*;

/// A mechanism as a caller named it.
#[derive(Debug, Clone)]
pub(crate) struct Mechanism {
    /// Its line in the table.
    pub(crate) entry: &'static Entry,
    /// What came with it.
    pub(crate) parameters: Parameters,
}

impl Mechanism {
    /// As [`Scheme`], and that the mechanism may be used for this.
    pub(crate) fn scheme(&self, for_what: CK_FLAGS) -> Result<Scheme> {
        if self.entry.flags & for_what == 0 {
            return Err(Rv(CKR_MECHANISM_INVALID));
        }
        Ok(self.entry.scheme)
    }
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) code: CK_MECHANISM_TYPE,
    pub(crate) scheme: Scheme,
    /// Sizes of keys, in the unit of PKCS #11: bits of RSA and EC, bytes of the others.
    pub(crate) sizes: (CK_ULONG, CK_ULONG),
    /// What it is for.
    pub(crate) flags: CK_FLAGS,
}

/// What a mechanism does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Digest(Hash),
    GenerateRsa,
    GenerateEc,
    GenerateEdwards,
    GenerateMontgomery,
    GenerateSecret(CK_KEY_TYPE),
    /// PKCS#1 v1.5, over a digest with its name where a hash function is given.
    RsaPkcs1(Option<Hash>),
    RsaBare,
    RsaPss(Option<Hash>),
    RsaOaep,
    Ecdsa(Option<Hash>),
    EdDsa,
    /// HMAC; the general kind takes the tag's length.
    Hmac(Hash),
    /// CMAC of AES; the same.
    Cmac,
    Ecb(CK_KEY_TYPE),
    Cbc(CK_KEY_TYPE),
    CbcPad(CK_KEY_TYPE),
    Ctr,
    Gcm,
    /// RFC 3394; padded: RFC 5649.
    KeyWrap {
        padded: bool,
    },
    Ecdh,
    Hkdf,
}

impl Scheme {
    /// The type of key that it works with.
    pub(crate) const fn fits(self, key: CK_KEY_TYPE) -> bool {
        match self {
            Self::RsaPkcs1(_) | Self::RsaBare | Self::RsaPss(_) | Self::RsaOaep => key == CKK_RSA,
            Self::Ecdsa(_) => key == CKK_EC,
            Self::EdDsa => key == CKK_EC_EDWARDS,
            Self::Ecdh => key == CKK_EC || key == CKK_EC_MONTGOMERY,
            Self::Hmac(hash) => key == CKK_GENERIC_SECRET || key == hmac_key(hash),
            Self::Ecb(of) | Self::Cbc(of) | Self::CbcPad(of) => key == of,
            Self::Ctr | Self::Gcm | Self::Cmac | Self::KeyWrap { .. } => key == CKK_AES,
            Self::Hkdf => key == CKK_GENERIC_SECRET || is_hmac_key(key),
            _ => false,
        }
    }
}

/// A type of keys for HMAC with one hash function.
const fn is_hmac_key(key: CK_KEY_TYPE) -> bool {
    let mut at = 0;
    while at < Hash::ALL.len() {
        if key == hmac_key(Hash::ALL[at]) {
            return true;
        }
        at += 1;
    }
    false
}

/// The type of keys for HMAC with this hash function only.
pub(crate) const fn hmac_key(hash: Hash) -> CK_KEY_TYPE {
    match hash {
        Hash::LegacyMd5 => CKK_MD5_HMAC,
        Hash::LegacySha1 => CKK_SHA_1_HMAC,
        Hash::Sha224 => CKK_SHA224_HMAC,
        Hash::Sha256 => CKK_SHA256_HMAC,
        Hash::Sha384 => CKK_SHA384_HMAC,
        Hash::Sha512 => CKK_SHA512_HMAC,
        Hash::Sha512_224 => CKK_SHA512_224_HMAC,
        Hash::Sha512_256 => CKK_SHA512_256_HMAC,
    }
}

/// The hash function of a mechanism that is a digest, as parameters name it.
pub(crate) fn hash_named(code: CK_MECHANISM_TYPE) -> Result<Hash> {
    match Entry::find(code).map(|entry| entry.scheme) {
        Ok(Scheme::Digest(hash)) => Ok(hash),
        _ => Err(Rv(CKR_MECHANISM_PARAM_INVALID)),
    }
}

impl Entry {
    /// The line of a mechanism.
    pub(crate) fn find(code: CK_MECHANISM_TYPE) -> Result<&'static Self> {
        MECHANISMS.iter().find(|entry| entry.code == code).ok_or(Rv(CKR_MECHANISM_INVALID))
    }

    /// What `C_GetMechanismInfo` says.
    pub(crate) const fn info(&self) -> CK_MECHANISM_INFO {
        // The curves are named by object identifier, points are not compressed (section 2.3.2).
        const EC: CK_FLAGS = CKF_EC_F_P | CKF_EC_OID | CKF_EC_UNCOMPRESS;
        let curves = match self.scheme {
            Scheme::GenerateEc | Scheme::Ecdsa(_) | Scheme::Ecdh => EC,
            _ => 0,
        };
        // Where the private half works, the key is in the device's TEE.
        let hardware = if matches!(self.scheme, Scheme::Digest(_)) { 0 } else { CKF_HW };
        CK_MECHANISM_INFO {
            ulMinKeySize: self.sizes.0,
            ulMaxKeySize: self.sizes.1,
            flags: self.flags | curves | hardware,
        }
    }
}

const SIGNS: CK_FLAGS = CKF_SIGN | CKF_VERIFY | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY;
const RECOVERS: CK_FLAGS = CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER;
const SEALS: CK_FLAGS = CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT;
const ENCRYPTS: CK_FLAGS = CKF_ENCRYPT | CKF_DECRYPT;
const WRAPS: CK_FLAGS = CKF_WRAP | CKF_UNWRAP;

/// The TEE has 2048 and more.
const RSA: (CK_ULONG, CK_ULONG) = (1024, 4096);
const EC: (CK_ULONG, CK_ULONG) = (224, 521);
const CURVE_25519: (CK_ULONG, CK_ULONG) = (255, 255);
const AES: (CK_ULONG, CK_ULONG) = (16, 32);
const DES: (CK_ULONG, CK_ULONG) = (24, 24);
const HMAC: (CK_ULONG, CK_ULONG) = (8, 64);
const NO_KEY: (CK_ULONG, CK_ULONG) = (0, 0);

const fn line(
    code: CK_MECHANISM_TYPE,
    scheme: Scheme,
    sizes: (CK_ULONG, CK_ULONG),
    flags: CK_FLAGS,
) -> Entry {
    Entry { code, scheme, sizes, flags }
}

/// All that this module can do. docs/pkcs11.md shows it.
pub(crate) const MECHANISMS: &[Entry] = &[
    line(CKM_RSA_PKCS_KEY_PAIR_GEN, Scheme::GenerateRsa, RSA, CKF_GENERATE_KEY_PAIR),
    line(CKM_RSA_PKCS, Scheme::RsaPkcs1(None), RSA, SIGNS | RECOVERS | ENCRYPTS | WRAPS),
    line(CKM_RSA_X_509, Scheme::RsaBare, RSA, SIGNS | RECOVERS | ENCRYPTS),
    line(CKM_RSA_PKCS_OAEP, Scheme::RsaOaep, RSA, ENCRYPTS | WRAPS),
    line(CKM_RSA_PKCS_PSS, Scheme::RsaPss(None), RSA, SIGNS),
    line(CKM_SHA1_RSA_PKCS, Scheme::RsaPkcs1(Some(Hash::LegacySha1)), RSA, SIGNS),
    line(CKM_SHA224_RSA_PKCS, Scheme::RsaPkcs1(Some(Hash::Sha224)), RSA, SIGNS),
    line(CKM_SHA256_RSA_PKCS, Scheme::RsaPkcs1(Some(Hash::Sha256)), RSA, SIGNS),
    line(CKM_SHA384_RSA_PKCS, Scheme::RsaPkcs1(Some(Hash::Sha384)), RSA, SIGNS),
    line(CKM_SHA512_RSA_PKCS, Scheme::RsaPkcs1(Some(Hash::Sha512)), RSA, SIGNS),
    line(CKM_SHA1_RSA_PKCS_PSS, Scheme::RsaPss(Some(Hash::LegacySha1)), RSA, SIGNS),
    line(CKM_SHA224_RSA_PKCS_PSS, Scheme::RsaPss(Some(Hash::Sha224)), RSA, SIGNS),
    line(CKM_SHA256_RSA_PKCS_PSS, Scheme::RsaPss(Some(Hash::Sha256)), RSA, SIGNS),
    line(CKM_SHA384_RSA_PKCS_PSS, Scheme::RsaPss(Some(Hash::Sha384)), RSA, SIGNS),
    line(CKM_SHA512_RSA_PKCS_PSS, Scheme::RsaPss(Some(Hash::Sha512)), RSA, SIGNS),
    line(CKM_EC_KEY_PAIR_GEN, Scheme::GenerateEc, EC, CKF_GENERATE_KEY_PAIR),
    line(CKM_ECDSA, Scheme::Ecdsa(None), EC, SIGNS),
    line(CKM_ECDSA_SHA1, Scheme::Ecdsa(Some(Hash::LegacySha1)), EC, SIGNS),
    line(CKM_ECDSA_SHA224, Scheme::Ecdsa(Some(Hash::Sha224)), EC, SIGNS),
    line(CKM_ECDSA_SHA256, Scheme::Ecdsa(Some(Hash::Sha256)), EC, SIGNS),
    line(CKM_ECDSA_SHA384, Scheme::Ecdsa(Some(Hash::Sha384)), EC, SIGNS),
    line(CKM_ECDSA_SHA512, Scheme::Ecdsa(Some(Hash::Sha512)), EC, SIGNS),
    line(CKM_ECDH1_DERIVE, Scheme::Ecdh, EC, CKF_DERIVE),
    line(CKM_EC_EDWARDS_KEY_PAIR_GEN, Scheme::GenerateEdwards, CURVE_25519, CKF_GENERATE_KEY_PAIR),
    line(CKM_EDDSA, Scheme::EdDsa, CURVE_25519, SIGNS),
    line(
        CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
        Scheme::GenerateMontgomery,
        CURVE_25519,
        CKF_GENERATE_KEY_PAIR,
    ),
    line(CKM_AES_KEY_GEN, Scheme::GenerateSecret(CKK_AES), AES, CKF_GENERATE),
    line(CKM_AES_ECB, Scheme::Ecb(CKK_AES), AES, ENCRYPTS),
    line(CKM_AES_CBC, Scheme::Cbc(CKK_AES), AES, ENCRYPTS),
    line(CKM_AES_CBC_PAD, Scheme::CbcPad(CKK_AES), AES, ENCRYPTS | WRAPS),
    line(CKM_AES_CTR, Scheme::Ctr, AES, ENCRYPTS),
    line(CKM_AES_GCM, Scheme::Gcm, AES, ENCRYPTS | WRAPS | SEALS),
    line(CKM_AES_CMAC, Scheme::Cmac, AES, SIGNS),
    line(CKM_AES_CMAC_GENERAL, Scheme::Cmac, AES, SIGNS),
    line(CKM_AES_KEY_WRAP, Scheme::KeyWrap { padded: false }, AES, WRAPS),
    line(CKM_AES_KEY_WRAP_KWP, Scheme::KeyWrap { padded: true }, AES, WRAPS),
    line(CKM_DES3_KEY_GEN, Scheme::GenerateSecret(CKK_DES3), DES, CKF_GENERATE),
    line(CKM_DES3_ECB, Scheme::Ecb(CKK_DES3), DES, ENCRYPTS),
    line(CKM_DES3_CBC, Scheme::Cbc(CKK_DES3), DES, ENCRYPTS),
    line(CKM_DES3_CBC_PAD, Scheme::CbcPad(CKK_DES3), DES, ENCRYPTS),
    line(
        CKM_GENERIC_SECRET_KEY_GEN,
        Scheme::GenerateSecret(CKK_GENERIC_SECRET),
        HMAC,
        CKF_GENERATE,
    ),
    line(CKM_SHA_1_HMAC, Scheme::Hmac(Hash::LegacySha1), HMAC, SIGNS),
    line(CKM_SHA_1_HMAC_GENERAL, Scheme::Hmac(Hash::LegacySha1), HMAC, SIGNS),
    line(CKM_SHA224_HMAC, Scheme::Hmac(Hash::Sha224), HMAC, SIGNS),
    line(CKM_SHA224_HMAC_GENERAL, Scheme::Hmac(Hash::Sha224), HMAC, SIGNS),
    line(CKM_SHA256_HMAC, Scheme::Hmac(Hash::Sha256), HMAC, SIGNS),
    line(CKM_SHA256_HMAC_GENERAL, Scheme::Hmac(Hash::Sha256), HMAC, SIGNS),
    line(CKM_SHA384_HMAC, Scheme::Hmac(Hash::Sha384), HMAC, SIGNS),
    line(CKM_SHA384_HMAC_GENERAL, Scheme::Hmac(Hash::Sha384), HMAC, SIGNS),
    line(CKM_SHA512_HMAC, Scheme::Hmac(Hash::Sha512), HMAC, SIGNS),
    line(CKM_SHA512_HMAC_GENERAL, Scheme::Hmac(Hash::Sha512), HMAC, SIGNS),
    line(CKM_HKDF_DERIVE, Scheme::Hkdf, HMAC, CKF_DERIVE),
    line(CKM_MD5, Scheme::Digest(Hash::LegacyMd5), NO_KEY, CKF_DIGEST),
    line(CKM_SHA_1, Scheme::Digest(Hash::LegacySha1), NO_KEY, CKF_DIGEST),
    line(CKM_SHA224, Scheme::Digest(Hash::Sha224), NO_KEY, CKF_DIGEST),
    line(CKM_SHA256, Scheme::Digest(Hash::Sha256), NO_KEY, CKF_DIGEST),
    line(CKM_SHA384, Scheme::Digest(Hash::Sha384), NO_KEY, CKF_DIGEST),
    line(CKM_SHA512, Scheme::Digest(Hash::Sha512), NO_KEY, CKF_DIGEST),
    line(CKM_SHA512_224, Scheme::Digest(Hash::Sha512_224), NO_KEY, CKF_DIGEST),
    line(CKM_SHA512_256, Scheme::Digest(Hash::Sha512_256), NO_KEY, CKF_DIGEST),
];
