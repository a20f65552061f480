//! RSA's paddings around the bare operation (RFC 8017): PSS and OAEP.
//!
//! KeyMint hashes the message itself for PSS and knows no label for OAEP; callers of PKCS #11 come
//! with a digest and with a label. So the padding is done here, and the private operation where
//! the key lies.

use crate::error::{Result, ensure};
use crypto::hash::{Hash, Hasher};
use cryptoki_sys::*;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

/// MGF1 (appendix B.2.1), over `target`.
fn mask(hash: Hash, seed: &[u8], target: &mut [u8]) {
    for (count, chunk) in (0u32..).zip(target.chunks_mut(hash.bytes())) {
        let mut hasher = Hasher::new(hash);
        hasher.update(seed);
        hasher.update(&count.to_be_bytes());
        chunk.iter_mut().zip(hasher.finish().iter()).for_each(|(byte, mask)| *byte ^= mask);
    }
}

/// What a signature of PKCS#1 v1.5 was made over (9.2, taken apart). Everything in it is public.
pub(crate) fn signed(block: &[u8]) -> Option<&[u8]> {
    let rest = block.strip_prefix(&[0, 1])?;
    let padding = rest.iter().take_while(|byte| **byte == 0xff).count();
    let message = rest[padding..].strip_prefix(&[0])?;
    (padding >= 8).then_some(message)
}

/// EMSA-PSS-ENCODE (9.1.1) for a modulus of so many bits, which is a multiple of eight.
pub(crate) fn pss(
    digest: &[u8],
    hash: Hash,
    mask_hash: Hash,
    salt_bytes: usize,
    modulus_bytes: usize,
) -> Result<Vec<u8>> {
    ensure(digest.len() == hash.bytes(), CKR_DATA_LEN_RANGE)?;
    let fits = hash.bytes() + salt_bytes + 2 <= modulus_bytes;
    ensure(fits, CKR_MECHANISM_PARAM_INVALID)?;
    let mut salt = vec![0; salt_bytes];
    crypto::random(&mut salt);
    let mut hasher = Hasher::new(hash);
    for part in [&[0; 8], digest, &salt] {
        hasher.update(part);
    }
    let hashed = hasher.finish();
    let masked = modulus_bytes - hash.bytes() - 1;
    let mut encoded = vec![0; modulus_bytes];
    encoded[masked - salt_bytes - 1] = 1;
    encoded[masked - salt_bytes..masked].copy_from_slice(&salt);
    mask(mask_hash, &hashed, &mut encoded[..masked]);
    encoded[0] &= 0x7f;
    encoded[masked..modulus_bytes - 1].copy_from_slice(&hashed);
    encoded[modulus_bytes - 1] = 0xbc;
    Ok(encoded)
}

/// EME-OAEP decoding (7.1.2, step 3). What was wrong does not show, neither in the code nor in
/// the time.
pub(crate) fn oaep(
    encoded: &[u8],
    hash: Hash,
    mask_hash: Hash,
    label: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let size = hash.bytes();
    ensure(encoded.len() >= 2 * size + 2, CKR_ENCRYPTED_DATA_INVALID)?;
    let mut encoded = Zeroizing::new(encoded.to_vec());
    let (first, rest) = encoded.split_at_mut(1);
    let (seed, data) = rest.split_at_mut(size);
    mask(mask_hash, data, seed);
    mask(mask_hash, seed, data);
    let mut good = first[0].ct_eq(&0) & data[..size].ct_eq(&hash.digest(label));
    let mut start = 0u32;
    let mut found = Choice::from(0);
    for (at, byte) in (0u32..).zip(&data[size..]) {
        let one = byte.ct_eq(&1);
        start.conditional_assign(&(at + 1), one & !found);
        good &= found | one | byte.ct_eq(&0);
        found |= one;
    }
    ensure((good & found).into(), CKR_ENCRYPTED_DATA_INVALID)?;
    Ok(Zeroizing::new(data[size + start as usize..].to_vec()))
}

/// `DigestInfo` (9.2) of a digest, DER.
pub(crate) fn digest_info(hash: Hash, digest: &[u8]) -> Vec<u8> {
    /// The last bytes of the hash function's object identifier, with the head of its arc.
    const fn oid(hash: Hash) -> &'static [u8] {
        const NIST: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
        const fn nist(last: u8) -> [u8; 9] {
            let [a, b, c, d, e, f, g, h] = NIST;
            [a, b, c, d, e, f, g, h, last]
        }
        const ALL: [[u8; 9]; 6] = [nist(1), nist(2), nist(3), nist(4), nist(5), nist(6)];
        match hash {
            Hash::LegacyMd5 => &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05],
            Hash::LegacySha1 => &[0x2b, 0x0e, 0x03, 0x02, 0x1a],
            Hash::Sha256 => &ALL[0],
            Hash::Sha384 => &ALL[1],
            Hash::Sha512 => &ALL[2],
            Hash::Sha224 => &ALL[3],
            Hash::Sha512_224 => &ALL[4],
            Hash::Sha512_256 => &ALL[5],
        }
    }
    // Everything here is shorter than 128 bytes: one byte of length each.
    let oid = oid(hash);
    let algorithm = [&[0x30, oid.len() as u8 + 4, 0x06, oid.len() as u8], oid, &[0x05, 0]].concat();
    let digest = [&[0x04, digest.len() as u8], digest].concat();
    [&[0x30, (algorithm.len() + digest.len()) as u8][..], &algorithm, &digest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::rsa::{Encryption, PrivateKey, Signature};

    #[test]
    fn pss_that_is_padded_here_verifies_elsewhere() {
        let key = PrivateKey::generate(2048).unwrap();
        for (hash, salt) in [(Hash::Sha256, 32), (Hash::Sha512, 0), (Hash::LegacySha1, 20)] {
            let digest = hash.digest(b"message");
            let padded = pss(&digest, hash, Hash::Sha256, salt, 256).unwrap();
            let signature = key.sign(Signature::Bare, &padded).unwrap();
            let how = Signature::Pss { hash, mask: Hash::Sha256, salt };
            key.public().verify(how, &digest, &signature).unwrap();
        }
        assert!(pss(&[0; 64], Hash::Sha512, Hash::Sha512, 191, 256).is_err());
    }

    #[test]
    fn oaep_of_elsewhere_is_read_here_and_no_byte_may_be_wrong() {
        let key = PrivateKey::generate(2048).unwrap();
        let (hash, mask) = (Hash::Sha256, Hash::LegacySha1);
        let how = Encryption::Oaep { hash, mask, label: b"label" };
        let sealed = key.public().encrypt(how, b"text").unwrap();
        let bare = key.decrypt(Encryption::Bare, &sealed).unwrap();
        assert_eq!(&*oaep(&bare, hash, mask, b"label").unwrap(), b"text");
        assert!(oaep(&bare, hash, mask, b"other").is_err());
        for at in [0, 1, 40, 200, 255] {
            let mut wrong = bare.to_vec();
            wrong[at] ^= 1;
            let read = oaep(&wrong, hash, mask, b"label");
            assert!(read.is_err(), "{at}");
        }
    }

    #[test]
    fn a_digest_is_named_as_the_library_names_it() {
        let key = PrivateKey::generate(2048).unwrap();
        for hash in [Hash::LegacySha1, Hash::Sha224, Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let digest = hash.digest(b"message");
            let bare = key.sign(Signature::Pkcs1Bare, &digest_info(hash, &digest)).unwrap();
            key.public().verify(Signature::Pkcs1(hash), &digest, &bare).unwrap();
        }
    }
}
