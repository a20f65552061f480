//! The enumerations, numbered as the AIDL numbers them.

use crate::form::{Named, named_forms};

macro_rules! enumeration {
    (
        $(#[$doc:meta])*
        $type:ident, $kind:literal {
            $($(#[$variant_doc:meta])* $variant:ident = $number:literal $name:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$variant_doc])* $variant = $number,)*
        }

        impl $type {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// KeyMint's number.
            #[must_use]
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// What has KeyMint's number; `None` where nothing has.
            #[must_use]
            pub fn from_number(number: u64) -> Option<Self> {
                let number = i64::try_from(number).ok()?;
                <Self as Named>::with_number(number)
            }
        }

        impl Named for $type {
            const KIND: &'static str = $kind;

            fn all() -> &'static [Self] {
                Self::ALL
            }

            fn number(self) -> i64 {
                i64::from(self as u32)
            }

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        named_forms!($type);
    };
}

enumeration! {
    /// What a key is a key of.
    Algorithm, "an algorithm" {
        /// RSA.
        Rsa = 1 "rsa",
        /// Elliptic curves: ECDSA, ECDH, Ed25519, X25519, as [`EcCurve`] says.
        Ec = 3 "ec",
        /// ML-DSA (FIPS 204), KeyMint 5.
        MlDsa = 4 "ml_dsa",
        /// AES.
        Aes = 32 "aes",
        /// 3DES with three keys.
        TripleDes = 33 "triple_des",
        /// HMAC.
        Hmac = 128 "hmac",
    }
}

enumeration! {
    /// What a key may be used for.
    KeyPurpose, "a purpose" {
        /// Encrypts.
        Encrypt = 0 "encrypt",
        /// Decrypts.
        Decrypt = 1 "decrypt",
        /// Signs, or makes a MAC.
        Sign = 2 "sign",
        /// Checks a MAC.
        Verify = 3 "verify",
        /// Unwraps keys that are imported.
        WrapKey = 5 "wrap_key",
        /// Agrees on a secret with a peer.
        AgreeKey = 6 "agree_key",
        /// Signs attestations, and nothing else.
        AttestKey = 7 "attest_key",
    }
}

enumeration! {
    /// How a block cipher goes from block to block.
    BlockMode, "a block mode" {
        /// Each block by itself.
        Ecb = 1 "ecb",
        /// Cipher block chaining.
        Cbc = 2 "cbc",
        /// Counter mode.
        Ctr = 3 "ctr",
        /// Galois/counter mode: authenticated.
        Gcm = 32 "gcm",
    }
}

enumeration! {
    /// A hash function.
    Digest, "a digest" {
        /// None: what comes is signed as it is.
        None = 0 "none",
        /// MD5, broken.
        Md5 = 1 "md5",
        /// SHA-1; collisions are known.
        Sha1 = 2 "sha1",
        /// SHA-224.
        Sha2_224 = 3 "sha_2_224",
        /// SHA-256.
        Sha2_256 = 4 "sha_2_256",
        /// SHA-384.
        Sha2_384 = 5 "sha_2_384",
        /// SHA-512.
        Sha2_512 = 6 "sha_2_512",
    }
}

enumeration! {
    /// How a message is filled up.
    PaddingMode, "a padding mode" {
        /// Not at all.
        None = 1 "none",
        /// RSA-OAEP.
        RsaOaep = 2 "rsa_oaep",
        /// RSA-PSS.
        RsaPss = 3 "rsa_pss",
        /// PKCS#1 v1.5 for encryption.
        RsaPkcs1Encrypt = 4 "rsa_pkcs1_1_5_encrypt",
        /// PKCS#1 v1.5 for signatures.
        RsaPkcs1Sign = 5 "rsa_pkcs1_1_5_sign",
        /// PKCS#7.
        Pkcs7 = 64 "pkcs7",
    }
}

enumeration! {
    /// An elliptic curve.
    EcCurve, "a curve" {
        /// NIST P-224.
        P224 = 0 "p_224",
        /// NIST P-256.
        P256 = 1 "p_256",
        /// NIST P-384.
        P384 = 2 "p_384",
        /// NIST P-521.
        P521 = 3 "p_521",
        /// Ed25519 for signatures, X25519 for agreements.
        Curve25519 = 4 "curve_25519",
    }
}

enumeration! {
    /// A parameter set of ML-DSA.
    MlDsaVariant, "a variant of ML-DSA" {
        /// ML-DSA-65.
        MlDsa65 = 0 "ml_dsa_65",
        /// ML-DSA-87.
        MlDsa87 = 1 "ml_dsa_87",
    }
}

enumeration! {
    /// Where a key comes from.
    KeyOrigin, "an origin" {
        /// Made in the TEE.
        Generated = 0 "generated",
        /// Derived in the TEE.
        Derived = 1 "derived",
        /// Came from outside in the clear.
        Imported = 2 "imported",
        /// Not used any more.
        Reserved = 3 "reserved",
        /// Came from outside, wrapped.
        SecurelyImported = 4 "securely_imported",
    }
}

enumeration! {
    /// The form of key material that is imported.
    KeyFormat, "a key format" {
        /// A certificate: public keys only, which are not imported.
        X509 = 0 "x509",
        /// PKCS#8 of a key pair.
        Pkcs8 = 1 "pkcs8",
        /// The bytes of a symmetric key, of an Ed25519 or of an X25519 key.
        Raw = 3 "raw",
    }
}

enumeration! {
    /// Who enforces an authorization.
    SecurityLevel, "a security level" {
        /// Software.
        Software = 0 "software",
        /// The trusted execution environment.
        TrustedEnvironment = 1 "trusted_environment",
        /// A secure element.
        StrongBox = 2 "strongbox",
        /// The keystore service.
        Keystore = 100 "keystore",
    }
}
