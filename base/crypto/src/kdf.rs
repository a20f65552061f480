//! HKDF-SHA-256 and HKDF-SHA-512 (RFC 5869).

use crate::secret::Secret;
use aws_lc_rs::hkdf;

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(
    algorithm: hkdf::Algorithm,
    ikm: &[u8],
    salt: &[u8],
    info: &[&[u8]],
) -> Secret<N> {
    let mut out = [0; N];
    hkdf::Salt::new(algorithm, salt)
        .extract(ikm)
        .expand(info, Length(N))
        .and_then(|okm| okm.fill(&mut out))
        .expect("N is below 255 times the hash length");
    Secret::new(out)
}

/// HKDF-SHA-256 with the info string given in parts that are concatenated.
#[must_use]
pub fn hkdf_sha256<const N: usize>(ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> Secret<N> {
    derive(hkdf::HKDF_SHA256, ikm, salt, info)
}

/// HKDF-SHA-512 with the info string given in parts that are concatenated.
#[must_use]
pub fn hkdf_sha512<const N: usize>(ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> Secret<N> {
    derive(hkdf::HKDF_SHA512, ikm, salt, info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hkdf_sha256_agrees_with_rfc_5869_a_1() {
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let okm: Secret<42> = hkdf_sha256(&[0x0b; 22], &salt, &[&info[..4], &info[4..]]);
        assert_eq!(okm.expose()[..4], [0x3c, 0xb2, 0x5f, 0x25]);
        assert_eq!(okm.expose()[38..], [0x87, 0x18, 0x58, 0x65]);
    }
}
