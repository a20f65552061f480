//! Hash functions, MACs, and key derivation in counter mode.

use crate::data::Vectors;
use crate::report::Report;
use crate::rsp::{Record, records};
use crypto::cipher::Key;
use crypto::hash::{Hash, Hasher};
use crypto::kdf::{Prf, counter};
use crypto::mac::{Cmac, Hmac};

/// By the name that files give it, as `SHA512_224`, `sha1`, `SHA-256`.
pub(crate) fn named(name: &str) -> Option<Hash> {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    Some(match name.to_lowercase().as_str() {
        "md5" => Hash::LegacyMd5,
        "sha1" => Hash::LegacySha1,
        "sha224" => Hash::Sha224,
        "sha256" => Hash::Sha256,
        "sha384" => Hash::Sha384,
        "sha512" => Hash::Sha512,
        "sha512224" => Hash::Sha512_224,
        "sha512256" => Hash::Sha512_256,
        _ => return None,
    })
}

pub(crate) fn hash(file: &Vectors, report: &mut Report) {
    let stem = file.file_name();
    let name = ["LongMsg", "ShortMsg", "Monte", ".txt"].iter().find_map(|end| {
        let (name, _) = stem.split_once(end)?;
        named(name).or_else(|| file.set().ends_with("MD5").then_some(Hash::LegacyMd5))
    });
    let hash = name.unwrap_or_else(|| panic!("no hash function for {stem}"));
    let records = records(&file.text);
    if stem.contains("Monte") {
        return monte(hash, file, &records, report);
    }
    for record in records {
        let mut message = record.bytes("Msg");
        message.truncate(record.number("Len") / 8);
        let mut hasher = Hasher::new(hash);
        message.chunks(13).for_each(|piece| hasher.update(piece));
        assert_eq!(*hasher.finish(), record.bytes("MD"), "{record:?}");
        report.ran(file.set());
    }
}

/// The Monte Carlo test of the SHA validation system, 6.4: 1,000 digests of three digests make
/// the next.
fn monte(hash: Hash, file: &Vectors, records: &[Record], report: &mut Report) {
    let answered = |record: &&Record| record.has("MD") && record.text("MD") != "?";
    if !records.iter().any(|record| answered(&record)) {
        let why = "a request file: its answers are the .rsp of the same name";
        return report.left_out(file.set(), why, records.len());
    }
    let mut seed = records[0].bytes("Seed");
    for record in records.iter().filter(answered) {
        let mut last = [seed.clone(), seed.clone(), seed.clone()];
        for _ in 0..1000 {
            let next = hash.digest(&last.concat()).to_vec();
            last.rotate_left(1);
            last[2] = next;
        }
        seed = last[2].clone();
        assert_eq!(seed, record.bytes("MD"), "{} {record:?}", file.name);
        report.ran(file.set());
    }
}

pub(crate) fn hmac(file: &Vectors, report: &mut Report) {
    let name = file.file_name().trim_end_matches(".txt").rsplit('-').next().unwrap();
    let Some(hash) = named(name) else {
        let count = records(&file.text).len();
        return report.left_out(file.set(), &format!("{name} is not offered"), count);
    };
    for record in records(&file.text) {
        let mut mac = Hmac::new(hash, &record.bytes("Key")).unwrap();
        record.bytes("Msg").chunks(9).for_each(|piece| mac.update(piece));
        let expected = record.bytes("MD");
        assert_eq!(mac.finish()[..expected.len()], expected, "{record:?}");
        report.ran(file.set());
    }
}

pub(crate) fn cmac(file: &Vectors, report: &mut Report) {
    for record in records(&file.text) {
        let key = if record.has("KEY1") {
            let parts = ["KEY1", "KEY2", "KEY3"].map(|part| record.bytes(part));
            Key::legacy_triple_des(&parts.concat().try_into().unwrap())
        } else {
            Key::aes(&record.bytes("KEY")).unwrap()
        };
        let mut mac = Cmac::new(&key).unwrap();
        record.bytes("MESSAGE").chunks(9).for_each(|piece| mac.update(piece));
        assert_eq!(*mac.finish(), record.bytes("OUTPUT"), "{record:?}");
        report.ran(file.set());
    }
}

pub(crate) fn kdf_counter(file: &Vectors, report: &mut Report) {
    for record in records(&file.text) {
        let prf = record.section("PRF");
        let secret = record.bytes("KI");
        let fixed = |name| if record.has(name) { record.bytes(name) } else { Vec::new() };
        let (before, after) = match record.section("CTRLOCATION") {
            "BEFORE_FIXED" => (Vec::new(), fixed("FixedInputData")),
            "AFTER_FIXED" => (fixed("FixedInputData"), Vec::new()),
            _ => (fixed("DataBeforeCtrData"), fixed("DataAfterCtrData")),
        };
        let bits: usize = record.section("RLEN").trim_end_matches("_BITS").parse().unwrap();
        let length = record.number("L") / 8;
        let derive = |prf| counter(prf, bits / 8, &before, &after, length).unwrap();
        let out = match prf.split_once('_').unwrap() {
            ("HMAC", hash) => derive(Prf::Hmac(named(hash).unwrap(), &secret)),
            (_, cipher) => derive(Prf::Cmac(&cmac_key(cipher, &secret))),
        };
        assert_eq!(*out, record.bytes("KO"), "{record:?}");
        report.ran("KDFCTR_gen.txt");
    }
}

fn cmac_key(cipher: &str, secret: &[u8]) -> Key {
    match cipher {
        // Two keys: the third is the first.
        "TDES2" => Key::legacy_triple_des(&[secret, &secret[..8]].concat().try_into().unwrap()),
        "TDES3" => Key::legacy_triple_des(secret.try_into().unwrap()),
        _ => Key::aes(secret).unwrap(),
    }
}
