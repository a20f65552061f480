//! AES-GCM (NIST SP 800-38D), AES-GCM-SIV (RFC 8452) and ChaCha20-Poly1305 (RFC 8439).
//!
//! A sealed text is `nonce (12) || ciphertext || tag (16)`.

use crate::Error;
use aws_lc_rs::aead::{
    AES_128_GCM, AES_128_GCM_SIV, AES_256_GCM, AES_256_GCM_SIV, Aad, Algorithm, CHACHA20_POLY1305,
    LessSafeKey, Nonce, UnboundKey,
};

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;
/// What [`Key::seal`] adds to a plaintext.
pub const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// An AEAD key, expanded once.
pub struct Key(LessSafeKey);

impl Key {
    /// AES-256-GCM.
    #[must_use]
    pub fn aes_256_gcm(key: &[u8; 32]) -> Self {
        Self::new(&AES_256_GCM, key)
    }

    /// AES-128-GCM.
    #[must_use]
    pub fn aes_128_gcm(key: &[u8; 16]) -> Self {
        Self::new(&AES_128_GCM, key)
    }

    /// AES-256-GCM-SIV: the same nonce twice reveals only that two messages are equal.
    #[must_use]
    pub fn aes_256_gcm_siv(key: &[u8; 32]) -> Self {
        Self::new(&AES_256_GCM_SIV, key)
    }

    /// AES-128-GCM-SIV.
    #[must_use]
    pub fn aes_128_gcm_siv(key: &[u8; 16]) -> Self {
        Self::new(&AES_128_GCM_SIV, key)
    }

    /// ChaCha20-Poly1305.
    #[must_use]
    pub fn chacha20_poly1305(key: &[u8; 32]) -> Self {
        Self::new(&CHACHA20_POLY1305, key)
    }

    fn new(algorithm: &'static Algorithm, key: &[u8]) -> Self {
        let key = UnboundKey::new(algorithm, key).expect("the key has the algorithm's length");
        Self(LessSafeKey::new(key))
    }

    /// Seals `plaintext` under a fresh random nonce.
    #[must_use]
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = crate::random_array();
        let mut out = Vec::with_capacity(plaintext.len() + OVERHEAD_BYTES);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plaintext);
        let tag = self.seal_in_place(nonce, aad, &mut out[NONCE_BYTES..]);
        out.extend_from_slice(&tag);
        out
    }

    /// Opens what [`Key::seal`] made.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        if sealed.len() < OVERHEAD_BYTES {
            return Err(Error::Authentication);
        }
        let (nonce, rest) = sealed.split_at(NONCE_BYTES);
        let mut buffer = rest.to_vec();
        let nonce = nonce.try_into().expect("split at the nonce's length");
        let length = self.open_in_place(nonce, aad, &mut buffer)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Encrypts `buffer` where it lies and returns the tag. The caller never gives the same
    /// nonce twice under one key, except with AES-GCM-SIV.
    #[must_use]
    pub fn seal_in_place(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        self.0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), buffer)
            .expect("the message is below the algorithm's limit of 64 GiB")
            .as_ref()
            .try_into()
            .expect("GCM tags have 16 bytes")
    }

    /// Decrypts `buffer` (ciphertext || tag) where it lies; the plaintext is its first part.
    pub fn open_in_place<'b>(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], Error> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), buffer)
            .map_err(|_| Error::Authentication)
    }

    /// Decrypts `ciphertext` into `out`, which has its length, where the tag lies elsewhere.
    /// On [`Error::Authentication`] nothing can be said of `out`.
    pub fn open_separate(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_BYTES],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0
            .open_separate_gather(nonce, Aad::from(aad), ciphertext, tag, out)
            .map_err(|_| Error::Authentication)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        for key in
            [Key::aes_256_gcm(&[7; 32]), Key::aes_128_gcm(&[7; 16]), Key::aes_256_gcm_siv(&[7; 32])]
        {
            let sealed = key.seal(b"where", b"what");
            assert_eq!(key.open(b"where", &sealed).as_deref(), Ok(&b"what"[..]));
            assert_eq!(key.open(b"elsewhere", &sealed), Err(Error::Authentication));
            for bit in 0..sealed.len() * 8 {
                let mut altered = sealed.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(key.open(b"where", &altered), Err(Error::Authentication));
            }
            for length in 0..sealed.len() {
                assert_eq!(key.open(b"where", &sealed[..length]), Err(Error::Authentication));
            }
        }
    }

    #[test]
    fn opens_a_text_whose_tag_lies_elsewhere() {
        let key = Key::aes_256_gcm(&[7; 32]);
        let mut text = *b"what";
        let tag = key.seal_in_place([1; 12], b"where", &mut text);
        let mut out = [0; 4];
        key.open_separate([1; 12], b"where", &text, &tag, &mut out).unwrap();
        assert_eq!(&out, b"what");
        for (nonce, aad, tag) in
            [([2; 12], &b"where"[..], tag), ([1; 12], b"there", tag), ([1; 12], b"where", [0; 16])]
        {
            let opened = key.open_separate(nonce, aad, &text, &tag, &mut out);
            assert_eq!(opened, Err(Error::Authentication));
        }
        let short = key.open_separate([1; 12], b"where", &text, &tag, &mut out[..3]);
        assert_eq!(short, Err(Error::Authentication));
    }
}
