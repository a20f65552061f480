//! The crypto engine by handle (SPEC S2.1.4): key objects and operations of a TA.
//!
//! The model is that of GlobalPlatform's TEE Internal Core API, chapters 5 and 6: a key object has
//! a type and usage flags, both fixed when it is made; an operation is begun with a key, takes its
//! message in pieces, and is finished. A TA holds handles. It sees key material that it brought
//! along or asked to be extractable, and no other.
//!
//! What is weak has `Legacy` in its name.

mod call;

pub use call::{Answer, Call, Run, Span};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// The most bytes of a message, associated data, or text in one call.
pub const MAX_DATA_BYTES: usize = 64 * 1024;
/// The most key objects of a TA at the same time.
pub const MAX_KEYS: usize = 128;
/// The most operations of a TA at the same time.
pub const MAX_OPERATIONS: usize = 32;
/// The most operations in one [`Call::RunAll`]; all its messages together have at most
/// [`MAX_DATA_BYTES`].
pub const MAX_RUNS: usize = 64;
/// The most bytes of a message in shared memory: a megabyte, and a tag behind it.
pub const MAX_MEMORY_RUN_BYTES: u32 = (1 << 20) + 16;
/// The longest label of a derivation, and the longest name of a stored key, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Names a key object or an operation of the TA that got it. Other TAs, and later processes of
/// the same TA, have no use for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub u64);

/// A hash function (FIPS 180-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hash {
    /// MD5 (RFC 1321), broken.
    LegacyMd5,
    /// SHA-1; collisions are known.
    LegacySha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-512/224.
    #[serde(rename = "sha512_224")]
    Sha512_224,
    /// SHA-512/256.
    #[serde(rename = "sha512_256")]
    Sha512_256,
}

/// An elliptic curve for ECDSA and ECDH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// What a key object is a key of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyType {
    /// AES with 128 bits.
    Aes128,
    /// AES with 192 bits.
    Aes192,
    /// AES with 256 bits.
    Aes256,
    /// 3DES with three keys: 24 bytes.
    LegacyTripleDes,
    /// HMAC.
    Hmac {
        /// The one hash function that it is for.
        hash: Hash,
        /// Bytes of the key, 1 to 256.
        bytes: u16,
    },
    /// A secret that other keys derive from (HKDF), and nothing else.
    Secret {
        /// Its length, 1 to 256.
        bytes: u16,
    },
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// RSA with 1024 bits.
    LegacyRsa1024,
    /// ECDSA and ECDH.
    Ec(Curve),
    /// Ed25519.
    Ed25519,
    /// X25519.
    X25519,
    /// ML-DSA-65.
    MlDsa65,
    /// ML-DSA-87.
    MlDsa87,
}

/// What a key object may be used for: a set of flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usage(u16);

impl Usage {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// [`Operation::Encrypt`].
    pub const ENCRYPT: Self = Self(1);
    /// [`Operation::Decrypt`].
    pub const DECRYPT: Self = Self(1 << 1);
    /// [`Operation::Mac`].
    pub const MAC: Self = Self(1 << 2);
    /// [`Operation::Sign`].
    pub const SIGN: Self = Self(1 << 3);
    /// [`Operation::VerifyMac`] and [`Operation::Verify`].
    pub const VERIFY: Self = Self(1 << 4);
    /// [`Call::Derive`].
    pub const DERIVE: Self = Self(1 << 5);
    /// [`Call::Wrap`]. Such a key encrypts and decrypts nothing else.
    pub const WRAP: Self = Self(1 << 6);
    /// [`Call::Unwrap`]. Such a key encrypts and decrypts nothing else.
    pub const UNWRAP: Self = Self(1 << 7);
    /// [`Call::Export`]: the TA may have its bytes.
    pub const EXTRACTABLE: Self = Self(1 << 8);

    const NAMES: [(Self, &'static str); 9] = [
        (Self::ENCRYPT, "encrypt"),
        (Self::DECRYPT, "decrypt"),
        (Self::MAC, "mac"),
        (Self::SIGN, "sign"),
        (Self::VERIFY, "verify"),
        (Self::DERIVE, "derive"),
        (Self::WRAP, "wrap"),
        (Self::UNWRAP, "unwrap"),
        (Self::EXTRACTABLE, "extractable"),
    ];

    /// Both sets: `|` for constants.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `flags` are in it.
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether one of `flags` is in it.
    #[must_use]
    pub const fn intersects(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }
}

impl BitOr for Usage {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Usage {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag));
        f.debug_set().entries(names.map(|(_, name)| name)).finish()
    }
}

/// What is fixed about a key object when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attributes {
    /// What it is a key of.
    pub key_type: KeyType,
    /// What it may be used for.
    pub usage: Usage,
}

impl Attributes {
    /// A key of `key_type` for `usage`.
    #[must_use]
    pub const fn new(key_type: KeyType, usage: Usage) -> Self {
        Self { key_type, usage }
    }
}

/// Where a key object came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The engine's generator.
    Generated,
    /// The TA brought its bytes along.
    Imported,
    /// The HUK, or another key object.
    Derived,
}

/// What a TA may know about a key object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Type and usage.
    pub attributes: Attributes,
    /// Where it came from.
    pub origin: Origin,
}

/// How a key object derives from another.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Derivation {
    /// HKDF (RFC 5869) of a [`KeyType::Secret`]: a key of any symmetric type.
    Hkdf {
        /// The hash function.
        hash: Hash,
        /// May be empty.
        salt: ByteBuf,
        /// What the key is for.
        info: ByteBuf,
    },
    /// ECDH (SP 800-56A) or X25519 (RFC 7748) of a key pair: the bare common secret, a
    /// [`KeyType::Secret`] of the curve's length. HKDF comes next.
    Agree {
        /// The peer's public key: SubjectPublicKeyInfo, a point (SEC 1), or X25519's 32 bytes.
        peer: ByteBuf,
    },
}

impl fmt::Debug for Derivation {
    /// Names the function only: a salt may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hkdf { .. } => "Hkdf(..)",
            Self::Agree { .. } => "Agree(..)",
        })
    }
}

/// How a key object travels under another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrapping {
    /// AES-GCM over the key with its attributes, under AES-128 or AES-256. The one that unwraps
    /// gets a key with the same attributes.
    AesGcm {
        /// What it is bound to.
        associated: ByteBuf,
    },
    /// AES key wrap with padding (RFC 5649) over the bare bytes, for other implementations. It
    /// carries no attributes, so it takes extractable keys only.
    AesKwp,
}

/// What becomes of a text that is not whole blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// It is refused.
    None,
    /// It is filled up as PKCS#7 does (RFC 5652, 6.3).
    Pkcs7,
}

/// A cipher, by the mode that its key's type leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cipher {
    /// AES or 3DES, each block by itself.
    Ecb(Padding),
    /// AES or 3DES, cipher block chaining.
    Cbc {
        /// The initial vector: a block.
        iv: ByteBuf,
        /// What becomes of an odd end.
        padding: Padding,
    },
    /// AES, counter mode.
    Ctr {
        /// The first counter block.
        counter: ByteBuf,
    },
    /// AES-GCM (SP 800-38D).
    Gcm {
        /// 1 to 128 bytes, 12 are usual; never the same twice under one key.
        nonce: ByteBuf,
        /// Bytes of the tag, 12 to 16.
        tag_bytes: u8,
    },
    /// RSA-OAEP (RFC 8017, 7.1). One piece.
    RsaOaep {
        /// The hash function of the label.
        hash: Hash,
        /// What the mask is made with.
        mask: Hash,
        /// What is bound to the text; mostly empty.
        label: ByteBuf,
    },
    /// RSA with the padding of PKCS#1 v1.5 (RFC 8017, 7.2). Who learns whether the padding was
    /// right can decrypt: never tell. One piece.
    LegacyRsaPkcs1,
    /// The bare RSA operation. One piece.
    RsaBare,
}

/// What a signature is made over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The message, in any number of pieces; the engine hashes it.
    Message,
    /// Its digest, in one piece.
    Digest,
}

/// A signature scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// RSA PKCS#1 v1.5 (RFC 8017, 8.2).
    RsaPkcs1 {
        /// The hash function, named in the signature.
        hash: Hash,
        /// What comes in.
        input: Input,
    },
    /// RSA PKCS#1 v1.5 without the hash function's name, over any bytes.
    RsaPkcs1Bare,
    /// RSA-PSS (RFC 8017, 8.1).
    RsaPss {
        /// The hash function.
        hash: Hash,
        /// What the mask is made with.
        mask: Hash,
        /// Bytes of the salt.
        salt_bytes: u16,
        /// What comes in.
        input: Input,
    },
    /// The bare RSA operation on a number below the modulus.
    RsaBare,
    /// ECDSA (FIPS 186-5); signatures are DER.
    Ecdsa {
        /// The hash function.
        hash: Hash,
        /// What comes in.
        input: Input,
    },
    /// ECDSA over any bytes in place of a digest; the first bits count.
    EcdsaBare,
    /// Ed25519 (RFC 8032). One piece.
    Ed25519,
    /// ML-DSA (FIPS 204) with an empty context. One piece.
    MlDsa,
}

/// What is done, and how. Keys of the wrong type or without the usage are refused when it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A digest; needs no key. The result is the digest.
    Digest(Hash),
    /// HMAC or CMAC, as the key's type says. The result is the whole tag.
    Mac,
    /// Checks a MAC, which comes with [`Call::Finish`]: whole, or its first half at least.
    VerifyMac,
    /// Encrypts. GCM's tag is the end of the result.
    Encrypt(Cipher),
    /// Decrypts. GCM's tag comes with [`Call::Finish`].
    Decrypt(Cipher),
    /// Signs. The result is the signature.
    Sign(Scheme),
    /// Checks a signature, which comes with [`Call::Finish`].
    Verify(Scheme),
}
