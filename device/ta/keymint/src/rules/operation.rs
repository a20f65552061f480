//! The parameters of an operation, against what its key obeys.

use super::{AlgorithmRules, curve_bits, digest_bits, hash, nist_curve, of, of_mode};
use keymint::{
    Algorithm, Authorizations, BlockMode, Digest, EcCurve, ErrorCode, KeyPurpose,
    MAX_ED25519_MESSAGE_BYTES, PaddingMode,
};
use serde_bytes::ByteBuf;
use std::collections::BTreeSet;
use tee_sdk::engine::{Cipher, Hash, Input, Operation, Padding, Scheme};

/// How an operation goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Each piece goes to the engine as it comes.
    Pieces(Operation),
    /// The same for a block cipher, whose text has rules of length.
    Text { operation: Operation, block: usize, padding: PaddingMode, decrypts: bool },
    /// AES-GCM: encrypts, the tag at the end; or decrypts, the tag at the end of the input.
    Gcm { nonce: Vec<u8>, tag_bytes: u8, decrypts: bool },
    /// A MAC of so many bytes.
    Mac { bytes: usize },
    /// Checks a MAC of at least so many bytes.
    CheckMac { least_bytes: usize },
    /// The input is kept and goes to the engine at the end.
    Whole {
        operation: Operation,
        /// The most bytes of input; what is more is refused.
        most_bytes: usize,
        /// Where the engine does not like the input, this is why.
        refused: ErrorCode,
    },
    /// Only the first bytes of the input count.
    Prefix { operation: Operation, bytes: usize },
    /// The input is a peer's public key.
    Agree { curve: EcCurve },
}

/// The nonce of an operation.
enum Nonce {
    None,
    Given(Vec<u8>),
    Fresh { bytes: usize },
}

/// The longest ML-DSA message, in bytes.
const MAX_ML_DSA_MESSAGE_BYTES: usize = 64 * 1024;

/// Whether the key has this purpose at all.
pub(crate) fn check_purpose(key: &Authorizations, purpose: KeyPurpose) -> Result<(), ErrorCode> {
    let rules = of(key.algorithm.ok_or(ErrorCode::InvalidKeyBlob)?);
    if matches!(purpose, KeyPurpose::WrapKey | KeyPurpose::AttestKey) {
        return Err(ErrorCode::IncompatiblePurpose);
    }
    if !rules.usable.contains(&purpose) {
        return Err(ErrorCode::UnsupportedPurpose);
    }
    if key.purpose.contains(&purpose) { Ok(()) } else { Err(ErrorCode::IncompatiblePurpose) }
}

/// How an operation with `params` goes. `nonce` gives fresh bytes; those that were needed are
/// the second result.
pub(crate) fn plan<E: From<ErrorCode>>(
    key: &Authorizations,
    purpose: KeyPurpose,
    params: &Authorizations,
    fresh: impl FnOnce(usize) -> Result<Vec<u8>, E>,
) -> Result<(Plan, Option<Vec<u8>>), E> {
    let algorithm = key.algorithm.ok_or(ErrorCode::InvalidKeyBlob)?;
    let plan = match algorithm {
        Algorithm::Rsa => rsa(key, purpose, params)?,
        Algorithm::Ec => ec(key, purpose, params)?,
        Algorithm::MlDsa => Plan::Whole {
            operation: Operation::Sign(Scheme::MlDsa),
            most_bytes: MAX_ML_DSA_MESSAGE_BYTES,
            refused: ErrorCode::InvalidArgument,
        },
        Algorithm::Hmac => hmac(key, purpose, params)?,
        Algorithm::Aes | Algorithm::TripleDes => {
            let mode = block_mode(key, params)?;
            let (given, chosen) = match nonce(key, purpose, params, algorithm, mode)? {
                Nonce::None => (Vec::new(), None),
                Nonce::Given(bytes) => (bytes, None),
                Nonce::Fresh { bytes } => {
                    let chosen = fresh(bytes)?;
                    (chosen.clone(), Some(chosen))
                }
            };
            return Ok((cipher(key, purpose, params, mode, given)?, chosen));
        }
    };
    Ok((plan, None))
}

/// The one value that an operation names, which its key must have.
fn one<T: Copy + Ord>(
    named: &BTreeSet<T>,
    of_key: &BTreeSet<T>,
    known: &[T],
    unsupported: ErrorCode,
    incompatible: ErrorCode,
) -> Result<T, ErrorCode> {
    let one = named.first().copied().filter(|_| named.len() == 1).ok_or(unsupported)?;
    if !known.contains(&one) {
        return Err(unsupported);
    }
    if of_key.contains(&one) { Ok(one) } else { Err(incompatible) }
}

fn padding(
    rules: &AlgorithmRules,
    key: &Authorizations,
    params: &Authorizations,
) -> Result<PaddingMode, ErrorCode> {
    let (unsupported, incompatible) =
        (ErrorCode::UnsupportedPaddingMode, ErrorCode::IncompatiblePaddingMode);
    one(&params.padding, &key.padding, rules.paddings, unsupported, incompatible)
}

fn digest(
    rules: &AlgorithmRules,
    key: &Authorizations,
    params: &Authorizations,
) -> Result<Digest, ErrorCode> {
    let (unsupported, incompatible) = (ErrorCode::UnsupportedDigest, ErrorCode::IncompatibleDigest);
    one(&params.digest, &key.digest, rules.digests, unsupported, incompatible)
}

fn block_mode(key: &Authorizations, params: &Authorizations) -> Result<BlockMode, ErrorCode> {
    let (unsupported, incompatible) =
        (ErrorCode::UnsupportedBlockMode, ErrorCode::IncompatibleBlockMode);
    one(&params.block_mode, &key.block_mode, BlockMode::ALL, unsupported, incompatible)
}

fn rsa(
    key: &Authorizations,
    purpose: KeyPurpose,
    params: &Authorizations,
) -> Result<Plan, ErrorCode> {
    let rules = of(Algorithm::Rsa);
    let padding = padding(rules, key, params)?;
    let bytes = key.key_size.unwrap_or_default() as usize / 8;
    let digest = || digest(rules, key, params);
    let hashed = |of: Digest| hash(of).ok_or(ErrorCode::IncompatibleDigest);
    match (purpose, padding) {
        (KeyPurpose::Sign, PaddingMode::None) => match digest()? {
            Digest::None => Ok(whole(Operation::Sign(Scheme::RsaBare), bytes)),
            _ => Err(ErrorCode::IncompatibleDigest),
        },
        (KeyPurpose::Sign, PaddingMode::RsaPkcs1Sign) => Ok(match hash(digest()?) {
            Some(hash) => {
                let scheme = Scheme::RsaPkcs1 { hash, input: Input::Message };
                Plan::Pieces(Operation::Sign(scheme))
            }
            // 11 bytes belong to the padding (RFC 8017, 9.2).
            None => whole(Operation::Sign(Scheme::RsaPkcs1Bare), bytes.saturating_sub(11)),
        }),
        (KeyPurpose::Sign, PaddingMode::RsaPss) => {
            let digest = digest()?;
            let hash = hashed(digest)?;
            let digest_bytes = digest_bits(digest) as usize / 8;
            if bytes < 2 * digest_bytes + 2 {
                return Err(ErrorCode::IncompatibleDigest);
            }
            let salt_bytes = digest_bytes as u16;
            let scheme = Scheme::RsaPss { hash, mask: hash, salt_bytes, input: Input::Message };
            Ok(Plan::Pieces(Operation::Sign(scheme)))
        }
        (KeyPurpose::Decrypt, PaddingMode::None) => {
            Ok(whole(Operation::Decrypt(Cipher::RsaBare), bytes))
        }
        (KeyPurpose::Decrypt, PaddingMode::RsaPkcs1Encrypt) => {
            Ok(secret(Operation::Decrypt(Cipher::LegacyRsaPkcs1), bytes))
        }
        (KeyPurpose::Decrypt, PaddingMode::RsaOaep) => {
            let hash = hashed(digest()?)?;
            let mask = mask_digest(key, params)?;
            let label = ByteBuf::new();
            Ok(secret(Operation::Decrypt(Cipher::RsaOaep { hash, mask, label }), bytes))
        }
        _ => Err(ErrorCode::IncompatiblePaddingMode),
    }
}

/// An input that is too large a number is an argument out of range.
const fn whole(operation: Operation, most_bytes: usize) -> Plan {
    Plan::Whole { operation, most_bytes, refused: ErrorCode::InvalidArgument }
}

/// Whatever is wrong inside, the answer is the same.
const fn secret(operation: Operation, most_bytes: usize) -> Plan {
    Plan::Whole { operation, most_bytes, refused: ErrorCode::UnknownError }
}

/// The digest of OAEP's mask: SHA-1 where nothing is said, and then a key that names any must
/// name that.
fn mask_digest(key: &Authorizations, params: &Authorizations) -> Result<Hash, ErrorCode> {
    let of_key = &key.rsa_oaep_mgf_digest;
    let named = &params.rsa_oaep_mgf_digest;
    if named.len() > 1 || named.contains(&Digest::None) {
        return Err(ErrorCode::UnsupportedMgfDigest);
    }
    let default = of_key.is_empty() && named.is_empty();
    let digest = named.first().copied().unwrap_or(Digest::Sha1);
    if !default && !of_key.contains(&digest) {
        return Err(ErrorCode::IncompatibleMgfDigest);
    }
    hash(digest).ok_or(ErrorCode::UnsupportedMgfDigest)
}

fn ec(
    key: &Authorizations,
    purpose: KeyPurpose,
    params: &Authorizations,
) -> Result<Plan, ErrorCode> {
    let curve = key.ec_curve.ok_or(ErrorCode::InvalidKeyBlob)?;
    if purpose == KeyPurpose::AgreeKey {
        return Ok(Plan::Agree { curve });
    }
    let digest = digest(of(Algorithm::Ec), key, params)?;
    match (nist_curve(curve), hash(digest)) {
        (None, None) => Ok(Plan::Whole {
            operation: Operation::Sign(Scheme::Ed25519),
            most_bytes: MAX_ED25519_MESSAGE_BYTES,
            refused: ErrorCode::InvalidArgument,
        }),
        (None, Some(_)) => Err(ErrorCode::IncompatibleDigest),
        (Some(_), None) => Ok(Plan::Prefix {
            operation: Operation::Sign(Scheme::EcdsaBare),
            bytes: curve_bits(curve).div_ceil(8) as usize,
        }),
        (Some(_), Some(hash)) => {
            Ok(Plan::Pieces(Operation::Sign(Scheme::Ecdsa { hash, input: Input::Message })))
        }
    }
}

fn hmac(
    key: &Authorizations,
    purpose: KeyPurpose,
    params: &Authorizations,
) -> Result<Plan, ErrorCode> {
    if !params.digest.is_empty() {
        digest(of(Algorithm::Hmac), key, params)?;
    }
    let whole = key.digest.first().map_or(0, |digest| digest_bits(*digest));
    let least = key.min_mac_length.unwrap_or(whole);
    if purpose == KeyPurpose::Verify {
        return Ok(Plan::CheckMac { least_bytes: least as usize / 8 });
    }
    let bits = params.mac_length.ok_or(ErrorCode::MissingMacLength)?;
    if !bits.is_multiple_of(8) || bits > whole {
        return Err(ErrorCode::UnsupportedMacLength);
    }
    if bits < least {
        return Err(ErrorCode::InvalidMacLength);
    }
    Ok(Plan::Mac { bytes: bits as usize / 8 })
}

/// The nonce that a mode needs: the caller's, where they may or must bring it.
fn nonce(
    key: &Authorizations,
    purpose: KeyPurpose,
    params: &Authorizations,
    algorithm: Algorithm,
    mode: BlockMode,
) -> Result<Nonce, ErrorCode> {
    let rules = of_mode(algorithm, mode).ok_or(ErrorCode::UnsupportedBlockMode)?;
    let given = params.nonce.as_ref();
    let encrypts = purpose == KeyPurpose::Encrypt;
    if encrypts && given.is_some() && !key.caller_nonce {
        return Err(ErrorCode::CallerNonceProhibited);
    }
    if rules.nonce_bytes == 0 {
        return Ok(Nonce::None);
    }
    match given {
        Some(nonce) if nonce.len() != rules.nonce_bytes => Err(ErrorCode::InvalidNonce),
        None if !encrypts => Err(ErrorCode::MissingNonce),
        Some(nonce) => Ok(Nonce::Given(nonce.to_vec())),
        None => Ok(Nonce::Fresh { bytes: rules.nonce_bytes }),
    }
}

fn cipher(
    key: &Authorizations,
    purpose: KeyPurpose,
    params: &Authorizations,
    mode: BlockMode,
    nonce: Vec<u8>,
) -> Result<Plan, ErrorCode> {
    let algorithm = key.algorithm.ok_or(ErrorCode::InvalidKeyBlob)?;
    let rules = of_mode(algorithm, mode).ok_or(ErrorCode::UnsupportedBlockMode)?;
    let padding = padding(of(algorithm), key, params)?;
    if !rules.paddings.contains(&padding) {
        return Err(ErrorCode::IncompatiblePaddingMode);
    }
    let decrypts = purpose == KeyPurpose::Decrypt;
    let filled = if padding == PaddingMode::Pkcs7 { Padding::Pkcs7 } else { Padding::None };
    let with = match mode {
        BlockMode::Gcm => {
            return Ok(Plan::Gcm { nonce, tag_bytes: gcm_tag(key, params)?, decrypts });
        }
        BlockMode::Ecb => Cipher::Ecb(filled),
        BlockMode::Cbc => Cipher::Cbc { iv: ByteBuf::from(nonce), padding: filled },
        BlockMode::Ctr => Cipher::Ctr { counter: ByteBuf::from(nonce) },
    };
    let operation = if decrypts { Operation::Decrypt(with) } else { Operation::Encrypt(with) };
    let block = match (mode, algorithm) {
        (BlockMode::Ctr, _) => 1,
        (_, Algorithm::TripleDes) => 8,
        _ => 16,
    };
    Ok(Plan::Text { operation, block, padding, decrypts })
}

fn gcm_tag(key: &Authorizations, params: &Authorizations) -> Result<u8, ErrorCode> {
    let bits = params.mac_length.ok_or(ErrorCode::MissingMacLength)?;
    if !bits.is_multiple_of(8) || !(96..=128).contains(&bits) {
        return Err(ErrorCode::UnsupportedMacLength);
    }
    if bits < key.min_mac_length.unwrap_or(128) {
        return Err(ErrorCode::InvalidMacLength);
    }
    Ok((bits / 8) as u8)
}
