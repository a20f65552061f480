//! Who signed a payload.

use crate::support::{BLOCK, full_payload, real_inputs, words};
use crypto::sign::{Curve, EcdsaKey, RsaKey};
use payload::compress::Compression;
use payload::key::{KeyError, PublicKey, SigningKey};
use payload::make::Builder;
use payload::{Hasher, Payload, signature};

fn ecdsa() -> SigningKey {
    SigningKey::Ecdsa(EcdsaKey::generate(Curve::P256).unwrap())
}

/// Which key signed the metadata, and which the payload.
fn signers(file: &[u8], keys: &[PublicKey]) -> (Option<usize>, Option<usize>) {
    let payload = Payload::open(file, file.len() as u64).unwrap();
    let metadata = crypto::digest::sha256(payload.metadata());
    let mut hasher = Hasher::new(&payload);
    hasher.update(file);
    let at = payload.signatures().unwrap();
    let place = |it: u64| usize::try_from(it).unwrap();
    let end = &file[place(at.start)..place(at.end)];
    (
        signature::signer(payload.metadata_signature(), &metadata, keys).unwrap(),
        signature::signer(end, &hasher.finish().signed, keys).unwrap(),
    )
}

#[test]
fn s2_6_every_signer_is_found_and_no_other() {
    let (rsa, ec) = (SigningKey::Rsa(RsaKey::generate(2048).unwrap()), ecdsa());
    let image = words(1, 20 * BLOCK);
    let (file, _) = full_payload(&[("boot", &image)], Compression::Xz(0), &[&rsa, &ec]);
    let [rsa, ec, other] = [&rsa, &ec, &ecdsa()].map(|key| key.public_key().unwrap());
    assert_eq!(signers(&file, &[other.clone(), rsa]), (Some(1), Some(1)));
    assert_eq!(signers(&file, std::slice::from_ref(&ec)), (Some(0), Some(0)));
    assert_eq!(signers(&file, &[other]), (None, None));

    let payload = Payload::open(&file, file.len() as u64).unwrap();
    let end = payload.signatures().unwrap();
    for at in [30, payload.blobs().start + 1, payload.blobs().end - 1, end.end - 60] {
        let mut altered = file.clone();
        altered[usize::try_from(at).unwrap()] ^= 1;
        if Payload::open(&altered, altered.len() as u64).is_err() {
            continue;
        }
        assert_ne!(signers(&altered, std::slice::from_ref(&ec)).1, Some(0), "byte {at}");
    }
}

#[test]
fn padded_ecdsa_signatures_have_one_length_and_verify() {
    let key = ecdsa();
    let public = [key.public_key().unwrap()];
    for message in 0..40_u8 {
        let digest = [message; 32];
        let signed = signature::sign(&[&key], &digest).unwrap();
        assert_eq!(signed.len(), signature::signed_bytes(&[&key]).unwrap());
        let one = &signature::decode(&signed).unwrap()[0];
        assert_eq!(one.data.len(), 72);
        assert!(one.unpadded().unwrap().len() <= 72);
        assert_eq!(signature::signer(&signed, &digest, &public), Ok(Some(0)));
        let longer = signature::Signature { unpadded_size: Some(73), ..one.clone() };
        let longer = signature::encode(&[longer]);
        assert_eq!(signature::signer(&longer, &digest, &public), Ok(None));
    }
}

#[test]
fn another_key_signs_the_same_blobs() {
    let (first, second) = (ecdsa(), ecdsa());
    let image = words(1, 20 * BLOCK);
    let (file, _) = full_payload(&[("boot", &image)], Compression::Xz(0), &[&first, &first]);
    let payload = Payload::open(&file, file.len() as u64).unwrap();
    let blobs = payload.blobs();
    let blobs = &file[usize::try_from(blobs.start).unwrap()..usize::try_from(blobs.end).unwrap()];
    let (again, _) = crate::support::assemble(Builder::resign(&payload), blobs, &[&second]);
    assert_eq!(signers(&again, &[second.public_key().unwrap()]), (Some(0), Some(0)));
    assert_eq!(signers(&again, &[first.public_key().unwrap()]), (None, None));
    let operations = |payload: &Payload| payload.manifest().partitions.clone();
    let again = Payload::open(&again, again.len() as u64).unwrap();
    assert_eq!(operations(&again), operations(&payload));
}

#[test]
fn real_keys_of_every_form_sign() {
    let Some(folder) = real_inputs("ota-payload") else { return };
    for name in
        ["unittest_key.pem", "unittest_key2.pem", "unittest_key_EC.pem", "unittest_key_RSA4096.pem"]
    {
        let key = SigningKey::from_pem(&std::fs::read_to_string(folder.join(name)).unwrap());
        let key = key.unwrap_or_else(|error| panic!("{name}: {error}"));
        let signed = signature::sign(&[&key], &[5; 32]).unwrap();
        let public = [key.public_key().unwrap()];
        assert_eq!(signature::signer(&signed, &[5; 32], &public), Ok(Some(0)), "{name}");
    }
}

#[test]
fn what_is_no_key_says_so() {
    assert_eq!(PublicKey::from_pem("text"), Err(KeyError::NoPem("a public key or a certificate")));
    assert!(matches!(SigningKey::from_pem(""), Err(KeyError::NoPem(_))));
    let broken = "-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----\n";
    assert!(matches!(PublicKey::from_pem(broken), Err(KeyError::Base64(_))));
    let empty = "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n";
    assert!(matches!(PublicKey::from_pem(empty), Err(KeyError::Der(_))));
}
