//! RSA: signatures, OAEP, PKCS#1 v1.5 encryption.

use super::hashes::named;
use crate::data::Vectors;
use crate::report::Report;
use crate::rsp::{labelled, records};
use crypto::hash::Hash;
use crypto::rsa::{Encryption, Floor, Numbers, PrivateKey, PublicKey, Signature};

pub(crate) fn run(file: &Vectors, report: &mut Report) {
    let (set, name) = (file.set(), file.file_name());
    match name {
        "oaep-label.txt" => oaep_label(file, report),
        "oaep-int.txt" | "pss-int.txt" => {
            report.left_out(set, "a worked example: its values are in the -vect file", 1);
        }
        "oaep-vect.txt" => with_keys(file, report, Kind::Oaep(Hash::LegacySha1, Hash::LegacySha1)),
        "pss-vect.txt" => with_keys(file, report, Kind::Pss),
        "pkcs1v15sign-vectors.txt" => with_keys(file, report, Kind::Sign),
        "pkcs1v15crypt-vectors.txt" => with_keys(file, report, Kind::Pkcs1),
        "KeyGenRSA.rsp" => {
            let why = "X9.31 key generation from given numbers is not offered";
            report.left_out(set, why, records(&file.text).len());
        }
        _ if name.contains("RSA") => {
            let why = "X9.31 signatures are not offered";
            report.left_out(set, why, records(&file.text).len());
        }
        _ if name.starts_with("oaep-") => {
            let mut names = name.trim_end_matches(".txt").split('-').skip(1).map(named);
            let (mask, hash) = (names.next().flatten(), names.next().flatten());
            with_keys(file, report, Kind::Oaep(hash.unwrap(), mask.unwrap()));
        }
        _ => signatures(file, report),
    }
}

/// `SigGen*` and `SigVer*`: n stands alone, then messages.
fn signatures(file: &Vectors, report: &mut Report) {
    let (mut n, mut e) = (Vec::new(), Vec::new());
    for record in records(&file.text) {
        n = if record.has("n") { record.bytes("n") } else { n };
        e = if record.has("e") { record.bytes("e") } else { e };
        if !record.has("S") {
            continue;
        }
        let hash = named(record.text("SHAAlg")).unwrap();
        // Files without the salt name its length in their head.
        let salt = match file.text.split_once("# Salt len: ").filter(|_| !record.has("SaltVal")) {
            Some((_, rest)) => rest.lines().next().unwrap().trim().parse().unwrap(),
            None if record.has("SaltVal") && record.text("SaltVal") != "00" => {
                record.bytes("SaltVal").len()
            }
            None => 0,
        };
        let how = if file.file_name().contains("PSS") {
            Signature::Pss { hash, mask: hash, salt }
        } else {
            Signature::Pkcs1(hash)
        };
        let good = !record.has("Result") || record.text("Result").starts_with('P');
        let digest = hash.digest(&record.bytes("Msg"));
        let verdict = PublicKey::from_numbers(&n, &e, Floor::Legacy1024)
            .and_then(|key| key.verify(how, &digest, &record.bytes("S")));
        assert_eq!(verdict.is_ok(), good, "{} {record:?} {verdict:?}", file.name);
        report.ran(file.set());
    }
}

#[derive(Clone, Copy)]
enum Kind {
    /// Hash function of the label, and of the mask.
    Oaep(Hash, Hash),
    Pss,
    Sign,
    Pkcs1,
}

/// Files with whole keys and examples below them.
fn with_keys(file: &Vectors, report: &mut Report, kind: Kind) {
    let pairs = labelled(&file.text);
    let mut latest = std::collections::BTreeMap::new();
    for (label, value) in pairs {
        // "exponent" is the public one until a private key's numbers began.
        let last = matches!(label.as_str(), "signature" | "encryption");
        latest.insert(label, value);
        if !last {
            continue;
        }
        let get = |name: &str| latest.get(name).map(Vec::as_slice);
        let number = |name: &str| get(name).unwrap_or_else(|| panic!("no {name}: {:?}", file.name));
        let exponent = get("public exponent").unwrap_or_else(|| number("exponent"));
        let numbers = Numbers {
            n: number("modulus"),
            e: exponent,
            d: get("private exponent").unwrap_or_else(|| number("exponent")),
            p: number("prime 1"),
            q: number("prime 2"),
            dp: number("prime exponent 1"),
            dq: number("prime exponent 2"),
            qi: number("coefficient"),
        };
        let key = PrivateKey::from_numbers(&numbers, Floor::Legacy1024)
            .unwrap_or_else(|error| panic!("{}: {error}", file.name));
        let message = ["message", "message to be signed", "message to be encrypted"];
        let message = message.iter().find_map(|name| get(name)).unwrap();
        example(&key, kind, message, get("signature").or_else(|| get("encryption")).unwrap());
        report.ran(file.set());
        for name in ["signature", "encryption"] {
            latest.remove(name);
        }
    }
}

fn example(key: &PrivateKey, kind: Kind, message: &[u8], made: &[u8]) {
    let digest = Hash::LegacySha1.digest(message);
    match kind {
        Kind::Sign => {
            let how = Signature::Pkcs1(Hash::LegacySha1);
            assert_eq!(key.sign(how, &digest).unwrap(), made);
            assert_eq!(key.public().verify(how, &digest, made), Ok(()));
        }
        Kind::Pss => {
            let (hash, mask) = (Hash::LegacySha1, Hash::LegacySha1);
            let how = Signature::Pss { hash, mask, salt: 20 };
            assert_eq!(key.public().verify(how, &digest, made), Ok(()));
            assert_eq!(key.public().verify(how, &digest, &key.sign(how, &digest).unwrap()), Ok(()));
        }
        Kind::Oaep(hash, mask) => {
            decrypts(key, Encryption::Oaep { hash, mask, label: b"" }, message, made)
        }
        Kind::Pkcs1 => decrypts(key, Encryption::LegacyPkcs1, message, made),
    }
}

fn decrypts(key: &PrivateKey, how: Encryption<'_>, message: &[u8], made: &[u8]) {
    assert_eq!(*key.decrypt(how, made).unwrap(), message);
    let again = key.public().encrypt(how, message).unwrap();
    assert_eq!(*key.decrypt(how, &again).unwrap(), message);
}

fn oaep_label(file: &Vectors, report: &mut Report) {
    for record in records(&file.text) {
        let key = PrivateKey::from_pkcs8(&record.bytes("KEY"), Floor::Bits2048).unwrap();
        let hash = named(record.text("OAEPDigest")).unwrap();
        let label = record.bytes("OAEPLabel");
        // The vector names no mask function: OpenSSL's default is the label's.
        let how = Encryption::Oaep { hash, mask: hash, label: &label };
        let plain = key.decrypt(how, &record.bytes("Input")).unwrap();
        assert_eq!(*plain, record.text("Output").trim_matches('"').as_bytes());
        report.ran(file.set());
    }
}
