//! AES, 3DES and key wrap.

use crate::data::Vectors;
use crate::report::Report;
use crate::rsp::{Record, records};
use crypto::cipher::{Direction, Gcm, Key, Mode, Padding, Stream};
use crypto::keywrap::WrappingKey;

fn run(key: &Key, direction: Direction, mode: Mode<'_>, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut stream = Stream::new(key, direction, mode).unwrap();
    // In pieces that fit no block.
    text.chunks(11).for_each(|piece| stream.update(piece, &mut out).unwrap());
    stream.finish(&mut out).unwrap();
    out
}

/// Both directions, whatever the section says.
fn both_ways(key: &Key, mode: Mode<'_>, record: &Record) {
    let (plain, sealed) = (record.bytes("PLAINTEXT"), record.bytes("CIPHERTEXT"));
    assert_eq!(run(key, Direction::Encrypt, mode, &plain), sealed, "{record:?}");
    assert_eq!(run(key, Direction::Decrypt, mode, &sealed), plain, "{record:?}");
}

pub(crate) fn aes(file: &Vectors, report: &mut Report) {
    for record in records(&file.text) {
        let key = Key::aes(&record.bytes("KEY")).unwrap();
        let initial = if record.has("IV") { record.bytes("IV") } else { Vec::new() };
        let mode = match file.set() {
            "ciphers/AES/ECB" => Mode::Ecb(Padding::None),
            "ciphers/AES/CBC" => Mode::Cbc(&initial, Padding::None),
            _ => Mode::Ctr(&initial),
        };
        both_ways(&key, mode, &record);
        report.ran(file.set());
    }
}

pub(crate) fn triple_des(file: &Vectors, report: &mut Report) {
    let records = records(&file.text);
    let chained = match (file.set(), file.file_name()) {
        ("ciphers/3DES/ECB", _) => false,
        ("ciphers/3DES/CBC", name) if !name.starts_with("TCBCI") => true,
        ("ciphers/3DES/CBC", _) => {
            return report.left_out(file.set(), "interleaved CBC is not offered", records.len());
        }
        (set, _) => return report.left_out(set, "the mode is not offered", records.len()),
    };
    for record in &records {
        let parts = ["KEY1", "KEY2", "KEY3"];
        let parts = parts.map(|part| record.bytes(if record.has("KEYs") { "KEYs" } else { part }));
        let key = Key::legacy_triple_des(&parts.concat().try_into().unwrap());
        let initial = if chained { record.bytes("IV") } else { Vec::new() };
        let mode =
            if chained { Mode::Cbc(&initial, Padding::None) } else { Mode::Ecb(Padding::None) };
        both_ways(&key, mode, record);
        report.ran(file.set());
    }
}

pub(crate) fn gcm(file: &Vectors, report: &mut Report) {
    for record in records(&file.text) {
        let key = Key::aes(&record.bytes("Key")).unwrap();
        let (nonce, aad, tag) = (record.bytes("IV"), record.bytes("AAD"), record.bytes("Tag"));
        let start = |direction| {
            let mut gcm = Gcm::new(&key, direction, &nonce).unwrap();
            aad.chunks(5).for_each(|piece| gcm.associate(piece).unwrap());
            gcm
        };
        let sealed = record.bytes("CT");
        let (mut gcm, mut out) = (start(Direction::Decrypt), Vec::new());
        sealed.chunks(7).for_each(|piece| gcm.update(piece, &mut out).unwrap());
        let verdict = gcm.verify(&tag);
        assert_eq!(verdict.is_err(), record.has("FAIL"), "{record:?}");
        if verdict.is_ok() {
            assert_eq!(out, record.bytes("PT"), "{record:?}");
            let (mut gcm, mut again) = (start(Direction::Encrypt), Vec::new());
            out.chunks(7).for_each(|piece| gcm.update(piece, &mut again).unwrap());
            assert_eq!((&again, &gcm.tag().unwrap()[..tag.len()]), (&sealed, &tag[..]));
        }
        report.ran(file.set());
    }
}

pub(crate) fn keywrap(file: &Vectors, report: &mut Report) {
    let (set, records) = (file.set(), records(&file.text));
    let name = file.file_name();
    if name.starts_with("TKW") {
        return report.left_out(set, "3DES key wrap is not offered", records.len());
    }
    if name.contains("_inv") {
        let why = "key wrap with the inverse cipher is not offered";
        return report.left_out(set, why, records.len());
    }
    for record in records {
        let [key, plain, sealed] =
            if record.has("K") { ["K", "P", "C"] } else { ["Key", "Input", "Output"] };
        let key = WrappingKey::new(&record.bytes(key)).unwrap();
        let padded = !name.starts_with("KW_");
        let open = |text: &[u8]| if padded { key.unwrap_padded(text) } else { key.unwrap(text) };
        let sealed = record.bytes(sealed);
        let opened = open(&sealed);
        if record.has("FAIL") {
            assert!(opened.is_err(), "{record:?}");
        } else {
            let plain = record.bytes(plain);
            assert_eq!(*opened.unwrap(), plain, "{record:?}");
            let again = if padded { key.wrap_padded(&plain) } else { key.wrap(&plain) };
            assert_eq!(again.unwrap(), sealed, "{record:?}");
        }
        report.ran(set);
    }
}
