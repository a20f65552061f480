//! What comes with a mechanism: structures of C become values that can be trusted to be whole.

use super::{Entry, Mechanism, Scheme, hash_named};
use crate::border::{MAX_VALUE_BYTES, array, place};
use crate::cmac::BLOCK_BYTES;
use crate::error::{Result, Rv, ensure, fail};
use crypto::hash::Hash;
use cryptoki_sys::*;

/// The parameters of a mechanism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parameters {
    /// None.
    None,
    /// An initial vector, of a block.
    Iv(Vec<u8>),
    /// An initial counter, of a block, and how many bytes there are before it comes back.
    Counter { iv: Vec<u8>, most: u64 },
    /// What GCM needs.
    Gcm { iv: Vec<u8>, aad: Vec<u8>, tag_bytes: usize },
    /// What OAEP needs.
    Oaep { hash: Hash, mask: Hash, label: Vec<u8> },
    /// What PSS needs.
    Pss { hash: Hash, mask: Hash, salt: usize },
    /// Bytes of a tag.
    Tag(usize),
    /// A peer's point, and what becomes of the common secret.
    Agree { kdf: Kdf, shared: Vec<u8>, point: Vec<u8> },
    /// What HKDF needs.
    Hkdf(Hkdf),
}

/// A derivation by HKDF (RFC 5869).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hkdf {
    pub(crate) extract: bool,
    pub(crate) expand: bool,
    pub(crate) hash: Hash,
    pub(crate) salt: Salt,
    pub(crate) info: Vec<u8>,
}

/// The salt of the extraction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Salt {
    None,
    Data(Vec<u8>),
    Key(CK_OBJECT_HANDLE),
}

/// What becomes of a secret that two keys agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kdf {
    /// It is used as it is.
    Null,
    /// The derivation of ANSI X9.63.
    X963(Hash),
}

impl Mechanism {
    /// Reads a mechanism with its parameters.
    ///
    /// # Safety
    /// `at` is null or points to a mechanism, whose parameter is null or of the length that goes
    /// with it, and so is what that points to.
    pub(crate) unsafe fn read(at: *mut CK_MECHANISM) -> Result<Self> {
        // SAFETY: the caller's promise.
        let mechanism = unsafe { place(at)? };
        let entry = Entry::find(mechanism.mechanism)?;
        let raw = Raw { at: mechanism.pParameter.cast(), length: mechanism.ulParameterLen };
        // SAFETY: the caller's promise.
        let parameters = unsafe { parameters(entry, &raw)? };
        Ok(Self { entry, parameters })
    }
}

/// A parameter before it was looked at.
struct Raw {
    at: *mut u8,
    length: CK_ULONG,
}

const INVALID: CK_RV = CKR_MECHANISM_PARAM_INVALID;

impl Raw {
    /// A structure.
    ///
    /// # Safety
    /// The pointer is null or leads to so many bytes as it says.
    unsafe fn read<T: Copy>(&self) -> Result<T> {
        let whole = !self.at.is_null() && self.length == size_of::<T>() as CK_ULONG;
        ensure(whole, INVALID)?;
        // SAFETY: so many bytes are there. PKCS #11 does not say that they are aligned.
        Ok(unsafe { self.at.cast::<T>().read_unaligned() })
    }

    fn none(&self) -> Result<Parameters> {
        // Some callers pass an empty string and mean nothing.
        ensure(self.length == 0, INVALID).map(|()| Parameters::None)
    }

    /// # Safety
    /// As [`Self::read`].
    unsafe fn iv(&self, bytes: usize) -> Result<Parameters> {
        ensure(self.length == bytes as CK_ULONG, INVALID)?;
        // SAFETY: the caller's promise.
        unsafe { copied(self.at, self.length) }.map(Parameters::Iv)
    }
}

/// # Safety
/// `at` is null or points to so many bytes.
unsafe fn copied(at: *const u8, length: CK_ULONG) -> Result<Vec<u8>> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { array(at, length, MAX_VALUE_BYTES) };
    bytes.map(<[u8]>::to_vec).map_err(|_| Rv(INVALID))
}

/// # Safety
/// As [`Mechanism::read`].
unsafe fn parameters(entry: &Entry, raw: &Raw) -> Result<Parameters> {
    // SAFETY: the caller's promise, in all arms.
    unsafe {
        match entry.scheme {
            Scheme::Cbc(CKK_DES3) | Scheme::CbcPad(CKK_DES3) => raw.iv(8),
            Scheme::Cbc(_) | Scheme::CbcPad(_) => raw.iv(16),
            Scheme::Ctr => {
                let ctr: CK_AES_CTR_PARAMS = raw.read()?;
                ensure((1..=128).contains(&ctr.ulCounterBits), INVALID)?;
                let most = before_wrap(u128::from_be_bytes(ctr.cb), ctr.ulCounterBits as u32);
                Ok(Parameters::Counter { iv: ctr.cb.to_vec(), most })
            }
            Scheme::Gcm => gcm(&raw.read()?),
            Scheme::RsaOaep => oaep(&raw.read()?),
            Scheme::RsaPss(named) => pss(named, &raw.read()?),
            Scheme::Ecdh => agree(&raw.read()?),
            Scheme::Hmac(hash) => mac(entry, hash.bytes(), raw),
            Scheme::Cmac => mac(entry, BLOCK_BYTES, raw),
            Scheme::Hkdf => hkdf(&raw.read()?),
            Scheme::EdDsa if raw.length != 0 => eddsa(&raw.read()?),
            _ => raw.none(),
        }
    }
}

/// Bytes until a counter of so many bits would come back to where it was.
fn before_wrap(initial: u128, bits: u32) -> u64 {
    let largest = u128::MAX >> (128 - bits);
    let blocks = (largest - (initial & largest)).saturating_add(1);
    u64::try_from(blocks.saturating_mul(16)).unwrap_or(u64::MAX)
}

/// # Safety
/// As [`Mechanism::read`].
unsafe fn hkdf(hkdf: &CK_HKDF_PARAMS) -> Result<Parameters> {
    let flag = |flag| match flag {
        CK_FALSE => Ok(false),
        CK_TRUE => Ok(true),
        _ => fail(INVALID),
    };
    let (extract, expand) = (flag(hkdf.bExtract)?, flag(hkdf.bExpand)?);
    ensure(extract || expand, INVALID)?;
    let salt = match hkdf.ulSaltType {
        _ if !extract => Salt::None,
        CKF_HKDF_SALT_NULL => Salt::None,
        // SAFETY: the caller's promise.
        CKF_HKDF_SALT_DATA => Salt::Data(unsafe { copied(hkdf.pSalt, hkdf.ulSaltLen)? }),
        CKF_HKDF_SALT_KEY => Salt::Key(hkdf.hSaltKey),
        _ => return fail(INVALID),
    };
    let hash = hash_named(hkdf.prfHashMechanism)?;
    // SAFETY: the caller's promise.
    let info = unsafe { copied(hkdf.pInfo, hkdf.ulInfoLen)? };
    Ok(Parameters::Hkdf(Hkdf { extract, expand, hash, salt, info }))
}

/// # Safety
/// As [`Mechanism::read`].
unsafe fn mac(entry: &Entry, whole_bytes: usize, raw: &Raw) -> Result<Parameters> {
    let general = [
        CKM_AES_CMAC_GENERAL,
        CKM_SHA_1_HMAC_GENERAL,
        CKM_SHA224_HMAC_GENERAL,
        CKM_SHA256_HMAC_GENERAL,
        CKM_SHA384_HMAC_GENERAL,
        CKM_SHA512_HMAC_GENERAL,
    ];
    if !general.contains(&entry.code) {
        return raw.none();
    }
    // SAFETY: the caller's promise.
    let bytes: CK_ULONG = unsafe { raw.read()? };
    // KeyMint makes no tag of less than 64 bits.
    ensure((8..=whole_bytes as CK_ULONG).contains(&bytes), INVALID)?;
    Ok(Parameters::Tag(bytes as usize))
}

/// # Safety
/// As [`Mechanism::read`].
unsafe fn gcm(gcm: &CK_GCM_PARAMS) -> Result<Parameters> {
    let tag_bytes = gcm.ulTagBits / 8;
    ensure(gcm.ulTagBits.is_multiple_of(8) && (12..=16).contains(&tag_bytes), INVALID)?;
    // Other nonces than of 12 bytes are hashed to the counter, where two may meet.
    ensure(gcm.ulIvLen == 12, INVALID)?;
    // SAFETY: the caller's promise.
    let (iv, aad) = unsafe { (copied(gcm.pIv, 12)?, copied(gcm.pAAD, gcm.ulAADLen)?) };
    Ok(Parameters::Gcm { iv, aad, tag_bytes: tag_bytes as usize })
}

fn mask(function: CK_RSA_PKCS_MGF_TYPE) -> Result<Hash> {
    Ok(match function {
        CKG_MGF1_SHA1 => Hash::LegacySha1,
        CKG_MGF1_SHA224 => Hash::Sha224,
        CKG_MGF1_SHA256 => Hash::Sha256,
        CKG_MGF1_SHA384 => Hash::Sha384,
        CKG_MGF1_SHA512 => Hash::Sha512,
        _ => return fail(INVALID),
    })
}

/// # Safety
/// As [`Mechanism::read`].
unsafe fn oaep(oaep: &CK_RSA_PKCS_OAEP_PARAMS) -> Result<Parameters> {
    let labelled = oaep.source == CKZ_DATA_SPECIFIED;
    ensure(labelled || (oaep.source == 0 && oaep.ulSourceDataLen == 0), INVALID)?;
    let (hash, mask) = (hash_named(oaep.hashAlg)?, mask(oaep.mgf)?);
    // SAFETY: the caller's promise.
    let label = unsafe { copied(oaep.pSourceData.cast(), oaep.ulSourceDataLen)? };
    Ok(Parameters::Oaep { hash, mask, label })
}

fn pss(named: Option<Hash>, pss: &CK_RSA_PKCS_PSS_PARAMS) -> Result<Parameters> {
    let (hash, mask) = (hash_named(pss.hashAlg)?, mask(pss.mgf)?);
    ensure(named.is_none_or(|named| named == hash), INVALID)?;
    let salt = usize::try_from(pss.sLen).ok().filter(|salt| *salt <= 512);
    Ok(Parameters::Pss { hash, mask, salt: salt.ok_or(Rv(INVALID))? })
}

/// Pure Ed25519 only: no prehash, no context.
fn eddsa(eddsa: &CK_EDDSA_PARAMS) -> Result<Parameters> {
    ensure(eddsa.phFlag == CK_FALSE && eddsa.ulContextDataLen == 0, INVALID)?;
    Ok(Parameters::None)
}

/// # Safety
/// As [`Mechanism::read`].
unsafe fn agree(agree: &CK_ECDH1_DERIVE_PARAMS) -> Result<Parameters> {
    let kdf = match agree.kdf {
        CKD_NULL => Kdf::Null,
        CKD_SHA1_KDF => Kdf::X963(Hash::LegacySha1),
        CKD_SHA224_KDF => Kdf::X963(Hash::Sha224),
        CKD_SHA256_KDF => Kdf::X963(Hash::Sha256),
        CKD_SHA384_KDF => Kdf::X963(Hash::Sha384),
        CKD_SHA512_KDF => Kdf::X963(Hash::Sha512),
        _ => return fail(INVALID),
    };
    ensure(kdf != Kdf::Null || agree.ulSharedDataLen == 0, INVALID)?;
    // SAFETY: the caller's promise.
    let (shared, point) = unsafe {
        (
            copied(agree.pSharedData, agree.ulSharedDataLen)?,
            copied(agree.pPublicData, agree.ulPublicDataLen)?,
        )
    };
    Ok(Parameters::Agree { kdf, shared, point })
}
