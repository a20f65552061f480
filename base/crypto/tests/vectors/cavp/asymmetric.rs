//! ECDSA, ECDH, Ed25519, X25519.

use super::hashes::named;
use crate::data::Vectors;
use crate::report::Report;
use crate::rsp::{Record, records, unhex};
use crypto::curve25519::{Ed25519, X25519, ed25519_from_spki, ed25519_verify, x25519_from_spki};
use crypto::ec::{Curve, PrivateKey, PublicKey, from_fixed};
use crypto::hash::Hash;

fn curve(name: &str) -> Option<Curve> {
    Some(match name {
        "P-224" => Curve::P224,
        "P-256" => Curve::P256,
        "P-384" => Curve::P384,
        "P-521" => Curve::P521,
        // As the file of secp256k1 calls it; NIST's K curves have other numbers.
        "K-256" => Curve::Secp256k1,
        _ => return None,
    })
}

/// The bytes of a number at the curve's length; none where it is longer.
fn sized(curve: Curve, number: &[u8]) -> Option<Vec<u8>> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[zeros..];
    let missing = curve.bytes().checked_sub(number.len())?;
    Some([&vec![0; missing][..], number].concat())
}

fn point(curve: Curve, x: &[u8], y: &[u8]) -> Option<PublicKey> {
    let point = [&[4][..], &sized(curve, x)?, &sized(curve, y)?].concat();
    PublicKey::from_point(curve, &point).ok()
}

/// Curve and hash function of the section: `[P-256,SHA-1]`, `[P-256]` (SHA-1 in FIPS 186-2).
fn section(record: &Record) -> (String, Hash) {
    let section = record.sections.iter().find(|section| section.starts_with(['P', 'K', 'B']));
    let section = section.unwrap();
    let (curve, hash) = section.split_once(',').unwrap_or((section, "SHA-1"));
    (curve.to_owned(), named(hash).unwrap())
}

pub(crate) fn ecdsa(file: &Vectors, report: &mut Report) {
    if file.file_name().starts_with("evppkey") {
        return rfc6979(file, report);
    }
    for record in records(&file.text) {
        if !record.has("Qx") {
            continue;
        }
        let (name, hash) = section(&record);
        let Some(curve) = curve(&name) else {
            report.left_out(file.set(), "the curve is not offered (P-192, B and K curves)", 1);
            continue;
        };
        let public = point(curve, &record.bytes("Qx"), &record.bytes("Qy"));
        let good = !record.has("Result") || record.text("Result").starts_with('P');
        if record.has("R") {
            let halves = ["R", "S"].map(|half| sized(curve, &record.bytes(half)));
            let verdict = match (&public, halves) {
                (Some(public), [Some(r), Some(s)]) => {
                    let signature = from_fixed(curve, &[r, s].concat()).unwrap();
                    public.verify(&hash.digest(&record.bytes("Msg")), &signature).is_ok()
                }
                _ => false,
            };
            assert_eq!(verdict, good, "{} {record:?}", file.name);
        } else {
            assert_eq!(public.is_some(), good, "{} {record:?}", file.name);
        }
        if record.has("d") {
            let key = PrivateKey::from_number(curve, &record.bytes("d")).unwrap();
            assert_eq!(key.public().to_point(), public.unwrap().to_point(), "{record:?}");
            let digest = hash.digest(b"another message");
            assert!(key.public().verify(&digest, &key.sign(&digest).unwrap()).is_ok());
        }
        report.ran(file.set());
    }
}

/// OpenSSL's form: keys as PEM with names, then operations.
fn rfc6979(file: &Vectors, report: &mut Report) {
    let mut keys = std::collections::BTreeMap::new();
    for block in file.text.split("\n\n") {
        let field = |name: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim_start().strip_prefix('=')).map(str::trim)
        };
        if let Some(name) = field("PublicKey") {
            let pem: String = block.lines().filter(|l| !l.contains(['=', '-'])).collect();
            let last: String = block.lines().filter(|l| l.ends_with('=')).collect();
            keys.insert(name.to_owned(), PublicKey::from_spki(&base64(&(pem + &last))));
        } else if let (Some(hash), Some(key)) = (field("DigestVerify"), field("Key")) {
            let (hash, key) = (named(hash), &keys[key]);
            let (Some(hash), Ok(key)) = (hash, key) else {
                let why = "the curve is not offered (P-192, B and K curves)";
                report.left_out(file.set(), why, 1);
                continue;
            };
            let input = field("Input").unwrap().trim_matches('"');
            let signature = unhex(field("Output").unwrap());
            let verdict = key.verify(&hash.digest(input.as_bytes()), &signature);
            assert_eq!(verdict.is_err(), field("Result").is_some(), "{block}");
            report.ran(file.set());
        } else if field("DigestSign").is_some() {
            let why = "our nonces are random, not derived: what is signed is verified below it";
            report.left_out(file.set(), why, 1);
        }
    }
}

fn base64(text: &str) -> Vec<u8> {
    const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for sign in text.bytes().filter(|sign| *sign != b'=') {
        bits = bits << 6 | SIGNS.iter().position(|known| *known == sign).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    out
}

pub(crate) fn ecdh(file: &Vectors, report: &mut Report) {
    let records = records(&file.text);
    if file.file_name() == "brainpool.txt" {
        return report.left_out(file.set(), "the Brainpool curves are not offered", records.len());
    }
    for record in records {
        let set = record.sections.iter().find_map(|section| section.split_once(" - "));
        let Some((set, _)) = set else { continue };
        let curve = match set {
            "EA" => {
                report.left_out(file.set(), "the curve is not offered (P-192, B and K curves)", 1);
                continue;
            }
            "EB" => Curve::P224,
            "EC" => Curve::P256,
            "ED" => Curve::P384,
            _ => Curve::P521,
        };
        // A fault in what follows (a changed secret, a changed tag) is not the curve's business:
        // of those only the agreement is looked at.
        let peer = point(curve, &record.bytes("QsCAVSx"), &record.bytes("QsCAVSy"));
        let own = PrivateKey::from_number(curve, &record.bytes("dsIUT"));
        let result = record.text("Result");
        let agreed = peer.zip(own.ok()).and_then(|(peer, own)| own.agree(&peer).ok());
        if result.starts_with('P') {
            assert_eq!(*agreed.unwrap(), sized(curve, &record.bytes("Z")).unwrap(), "{record:?}");
        } else if result.contains("PKV") && result.contains("CAVS's Static") {
            assert!(agreed.is_none(), "{record:?}");
        }
        report.ran(file.set());
    }
}

pub(crate) fn ed25519(file: &Vectors, report: &mut Report) {
    let set = file.set();
    if !file.file_name().ends_with(".input") {
        return report.left_out(set, "no vector: a key in one of its forms", 1);
    }
    for line in file.text.lines() {
        let fields: Vec<Vec<u8>> = line.split(':').map(unhex).collect();
        let [seed, public, message, signed] = &fields[..4] else { panic!("{line}") };
        let key = Ed25519::from_seed(seed[..32].try_into().unwrap()).unwrap();
        assert_eq!(key.public().unwrap()[..], public[..]);
        assert_eq!(key.sign(message).unwrap()[..], signed[..64]);
        assert_eq!(ed25519_verify(public, message, &signed[..64]), Ok(()));
        assert_eq!(ed25519_from_spki(&key.to_spki().unwrap()).unwrap()[..], public[..]);
        report.ran(set);
    }
}

pub(crate) fn x25519(file: &Vectors, report: &mut Report) {
    let set = file.set();
    if file.file_name() != "rfc7748.txt" {
        return report.left_out(set, "no vector: a key in one of its forms", 1);
    }
    for record in records(&file.text) {
        let seed = record.bytes("INPUT_SCALAR");
        let key = X25519::from_seed(seed[..].try_into().unwrap()).unwrap();
        let agreed = key.agree(&record.bytes("INPUT_U")).unwrap();
        assert_eq!(*agreed, record.bytes("OUTPUT_U"), "{record:?}");
        assert_eq!(x25519_from_spki(&key.to_spki().unwrap()).unwrap(), key.public().unwrap());
        report.ran(set);
    }
}
