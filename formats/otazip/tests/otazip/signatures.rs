//! Whole-file signatures: ours, real ones, and what must not pass.

use crate::support::{certificate, has, real_inputs, signed, signer, unsigned};
use crypto::digest::sha256;
use otazip::otacerts;
use otazip::package::Package;
use otazip::signature::{SignatureError, WholeFile, sign};
use otazip::zip::ZipError;
use payload::key::{Certificate, KeyError, SigningKey};
use std::fs;
use std::process::Command;

/// Who of `certificates` signed the file.
fn who(file: &[u8], certificates: &[Certificate]) -> Result<Option<usize>, SignatureError> {
    let file = file.to_vec();
    let whole = WholeFile::open(&file, file.len() as u64)?;
    let end = usize::try_from(whole.signed_bytes()).unwrap();
    Ok(whole.signer(&sha256(&file[..end]), certificates)?)
}

#[test]
fn s2_6_our_signature_verifies_and_any_flipped_byte_does_not() {
    let (key, trusted) = signer();
    let file = signed(&unsigned(&key, &trusted), &key, &trusted);
    let trusted = [signer().1, trusted];
    assert_eq!(who(&file, &trusted).unwrap(), Some(1));
    assert_eq!(who(&file, &trusted[..1]).unwrap(), None);
    let whole = WholeFile::open(&file, file.len() as u64).unwrap();
    let end = usize::try_from(whole.signed_bytes()).unwrap();
    for at in 0..file.len() {
        let mut altered = file.clone();
        altered[at] ^= 1;
        // Behind the signed bytes there is freedom: label, certificate, attributes of PKCS#7.
        if at < end || at >= file.len() - 6 {
            assert!(!matches!(who(&altered, &trusted), Ok(Some(_))), "byte {at} of {}", file.len());
        } else {
            let _ = who(&altered, &trusted);
        }
    }
    for length in 0..file.len() {
        assert!(!matches!(who(&file[..length], &trusted), Ok(Some(_))), "{length} bytes");
    }
}

#[test]
fn a_footer_that_does_not_fit_is_refused() {
    let (key, trusted) = signer();
    let file = signed(&unsigned(&key, &trusted), &key, &trusted);
    let at = file.len() - 6;
    let footer = |start: u16, size: u16| {
        let mut file = file.clone();
        file[at..at + 2].copy_from_slice(&start.to_le_bytes());
        file[at + 4..].copy_from_slice(&size.to_le_bytes());
        who(&file, std::slice::from_ref(&trusted))
    };
    let size = u16::from_le_bytes(file[at + 4..].try_into().unwrap());
    for start in [0, 6, size + 1, u16::MAX] {
        assert!(matches!(footer(start, size), Err(SignatureError::Footer)), "{start}");
    }
    for other in [size - 1, size + 1, u16::MAX] {
        assert!(footer(100, other).is_err(), "{other}");
    }
    assert!(matches!(who(b"PK", &[]), Err(SignatureError::Unsigned)));
    let unsigned = unsigned(&key, &trusted);
    assert!(matches!(who(&unsigned, &[]), Err(SignatureError::Unsigned)));
}

#[test]
fn a_second_end_inside_the_comment_is_refused() {
    let (key, trusted) = signer();
    let mut file = signed(&unsigned(&key, &trusted), &key, &trusted);
    let whole = WholeFile::open(&file, file.len() as u64).unwrap();
    let comment = usize::try_from(whole.signed_bytes()).unwrap() + 2;
    file[comment..comment + 4].copy_from_slice(b"PK\x05\x06");
    let answer = who(&file, &[trusted]);
    assert!(matches!(answer, Err(SignatureError::Zip(ZipError::SecondEnd))), "{answer:?}");
}

#[test]
fn certificates_that_recovery_would_not_take_are_refused() {
    let (key, trusted) = signer();
    let file = signed(&unsigned(&key, &trusted), &key, &trusted);
    // ecdsa-with-SHA1, ecdsa-with-SHA384.
    for algorithm in
        [&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1][..], &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]]
    {
        let other = certificate(&key, algorithm);
        let answer = who(&file, &[trusted.clone(), other]);
        assert!(matches!(answer, Err(SignatureError::Key(KeyError::CertificateHash))));
    }
    let rsa = SigningKey::Rsa(crypto::sign::RsaKey::generate(3072).unwrap());
    let sha256_rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b];
    let odd = certificate(&rsa, &sha256_rsa);
    assert!(matches!(sign(&rsa, &odd, &[0; 32]), Err(SignatureError::Key(KeyError::RecoveryKind))));
    assert!(matches!(sign(&rsa, &trusted, &[0; 32]), Err(SignatureError::OtherKey)));
}

#[test]
fn s2_6_real_files_verify() {
    let Some(signatures) = real_inputs("ota-zip-signature") else { return };
    let Some(zips) = real_inputs("ota-zip") else { return };
    let pem = |path: std::path::PathBuf| {
        Certificate::from_pem(&fs::read_to_string(path).unwrap()).unwrap().remove(0)
    };
    let certificates = [
        pem(signatures.join("testkey_v3.x509.pem")),
        pem(signatures.join("testkey_v5.x509.pem")),
        pem(zips.join("keys/ota.crt")),
    ];
    for (file, signer) in [
        (signatures.join("otasigned_v3.zip"), 0),
        (signatures.join("otasigned_v5.zip"), 1),
        (zips.join("pixel_v2_streaming.zip"), 2),
        (zips.join("pixel_v4_gki_streaming.zip"), 2),
    ] {
        let bytes = fs::read(&file).unwrap();
        assert_eq!(who(&bytes, &certificates).unwrap(), Some(signer), "{}", file.display());
        if signer == 2 {
            let package = Package::open(&bytes, bytes.len() as u64).unwrap();
            assert_eq!(package.metadata.precondition.device, ["avbroot_fake_device"]);
        }
    }
    let random = fs::read(signatures.join("random.zip")).unwrap();
    assert!(who(&random, &certificates).is_err());
}

#[test]
fn real_otacerts_open() {
    let Some(folder) = real_inputs("ota-payload") else { return };
    let file = fs::read(folder.join("otacerts.zip")).unwrap();
    assert_eq!(otacerts::decode(&file, file.len() as u64).unwrap().len(), 1);
}

#[test]
fn otacerts_come_back_and_one_broken_spoils_all() {
    let (key, one) = signer();
    let two = signer().1;
    let file = otacerts::encode(&[("one", &one), ("two", &two)]).unwrap();
    assert_eq!(otacerts::decode(&file, file.len() as u64).unwrap(), [one.clone(), two]);
    let odd = certificate(&key, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]);
    let file = otacerts::encode(&[("one", &one), ("odd", &odd)]).unwrap();
    assert!(otacerts::decode(&file, file.len() as u64).is_err());
    let empty = otacerts::encode(&[]).unwrap();
    assert!(otacerts::decode(&empty, empty.len() as u64).is_err());
}

#[test]
fn openssl_accepts_our_signature() {
    if !has("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for kind in [&["rsa:2048"][..], &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]] {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-sha256", "-subj", "/CN=ota", "-newkey"])
            .args(kind)
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let key = SigningKey::from_pem(&fs::read_to_string(path("key.pem")).unwrap()).unwrap();
        let pem = fs::read_to_string(path("cert.pem")).unwrap();
        let certificate = Certificate::from_pem(&pem).unwrap().remove(0);
        let file = signed(&unsigned(&key, &certificate), &key, &certificate);
        let whole = WholeFile::open(&file, file.len() as u64).unwrap();
        let end = usize::try_from(whole.signed_bytes()).unwrap();
        fs::write(path("message.der"), whole.message()).unwrap();
        fs::write(path("content"), &file[..end]).unwrap();
        let verify = |content: &str| {
            Command::new("openssl")
                .args(["cms", "-verify", "-binary", "-inform", "DER", "-in", "message.der"])
                .args(["-content", content, "-CAfile", "cert.pem", "-purpose", "any"])
                .args(["-out", "out"])
                .current_dir(folder.path())
                .output()
                .unwrap()
        };
        let right = verify("content");
        assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stderr));
        assert!(!verify("key.pem").status.success());
    }
}
