//! What NIST SP 800-73-5 asks of a card.

use crate::support::{Card, Finger, PIN, PUK, pair};
use crypto::ec::{Curve, PrivateKey, PublicKey};
use crypto::hash::Hash;
use crypto::rsa::{self, Encryption, Floor, Signature};
use iso7816::tlv::{self, Reader};
use iso7816::{Command, Ne, Response, Status, split};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn s3_3_2_selecting_names_the_application() {
    let mut card = Card::new();
    for aid in [&[0xA0, 0, 0, 3, 8][..], &[0xA0, 0, 0, 3, 8, 0, 0, 0x10, 0, 1, 0]] {
        let answer = card.ask(0xA4, 4, 0, aid).unwrap();
        let mut template = Reader::new(tlv::only(&answer, 0x61).unwrap());
        assert_eq!(template.expect(0x4F).unwrap(), [0, 0, 0x10, 0, 1, 0]);
    }
    for other in [&[0xA0, 0, 0, 3][..], &[0xA0, 0, 0, 3, 9], &[]] {
        assert_eq!(card.ask(0xA4, 4, 0, other), Err(Status::NOT_FOUND));
    }
    card.element.reset();
    assert_eq!(card.ask(0xCB, 0x3F, 0xFF, &[0x5C, 1, 0x7E]), Err(Status::UNKNOWN_INSTRUCTION));
}

#[test]
fn a_new_card_says_who_it_is() {
    let mut card = Card::new();
    let discovery = card.ask(0xCB, 0x3F, 0xFF, &[0x5C, 1, 0x7E]).unwrap();
    let mut discovery = Reader::new(tlv::only(&discovery, 0x7E).unwrap());
    assert_eq!(discovery.expect(0x4F).unwrap().len(), 11);
    assert_eq!(discovery.expect(0x5F2F).unwrap(), [0x40, 0]);
    let chuid = card.get(&[0x5F, 0xC1, 0x02]).unwrap();
    let mut chuid = Reader::new(&chuid);
    assert_eq!(chuid.expect(0x30).unwrap().len(), 25);
    assert_eq!(chuid.expect(0x34).unwrap().len(), 16);
    assert!(card.get(&[0x5F, 0xC1, 0x07]).is_ok());
    assert_eq!(card.get(&[0x5F, 0xC1, 0x05]), Err(Status::NOT_FOUND));
    let other = Card::new().get(&[0x5F, 0xC1, 0x02]).unwrap();
    assert_ne!(other, card.get(&[0x5F, 0xC1, 0x02]).unwrap(), "each card has its own identifier");
}

#[test]
fn objects_are_written_by_the_manager_only() {
    let mut card = Card::new();
    let tag = [0x5F, 0xC1, 0x05];
    assert_eq!(card.put(&tag, b"x"), Err(Status::SECURITY_NOT_SATISFIED));
    card.verify(PIN).unwrap();
    assert_eq!(card.put(&tag, b"x"), Err(Status::SECURITY_NOT_SATISFIED));
    card.manage().unwrap();
    card.put(&tag, b"x").unwrap();
    assert_eq!(card.get(&tag).unwrap(), b"x");
    card.put(&tag, b"").unwrap();
    assert_eq!(card.get(&tag), Err(Status::NOT_FOUND));
    assert_eq!(card.put(&[0x7E], b"x"), Err(Status::NOT_FOUND));
    assert_eq!(card.put(&[0x5F, 0xC2, 0x05], b"x"), Err(Status::NOT_FOUND));
}

#[test]
fn s3_3_2_identity_and_printed_information_are_read_after_the_pin_only() {
    let mut card = Card::new();
    card.manage().unwrap();
    for tag in [[0x5F, 0xC1, 0x09], [0x5F, 0xC1, 0x03], [0x5F, 0xFF, 0x40], [0x5F, 0xFF, 0x4F]] {
        card.put(&tag, b"private").unwrap();
        assert_eq!(card.get(&tag), Err(Status::SECURITY_NOT_SATISFIED));
    }
    card.verify(PIN).unwrap();
    assert_eq!(card.get(&[0x5F, 0xFF, 0x40]).unwrap(), b"private");
    card.element.reset();
    card.select();
    assert_eq!(card.get(&[0x5F, 0xFF, 0x40]), Err(Status::SECURITY_NOT_SATISFIED));
}

#[test]
fn wrong_pins_use_attempts_up_and_block() {
    let mut card = Card::new();
    assert_eq!(card.ask(0x20, 0, 0x80, &[]), Err(Status::attempts_left(3)));
    // What no PIN can be uses none up.
    for malformed in [b"12345\xFF\xFF\xFF", b"12a456\xFF\xFF", b"123456\xFF1"] {
        assert_eq!(card.verify(malformed), Err(Status::WRONG_DATA));
    }
    assert_eq!(card.ask(0x20, 0, 0x80, b"123456"), Err(Status::WRONG_DATA));
    for left in [2, 1, 0] {
        assert_eq!(card.verify(b"000000\xFF\xFF"), Err(Status::attempts_left(left)));
    }
    assert_eq!(card.verify(PIN), Err(Status::BLOCKED));
    assert_eq!(card.ask(0x20, 0, 0x80, &[]), Err(Status::BLOCKED));
    assert_eq!(card.ask(0x24, 0, 0x80, &pair(PIN, PIN)), Err(Status::BLOCKED));
    // The PUK gives it back.
    assert_eq!(
        card.ask(0x2C, 0, 0x80, &pair(b"00000000", b"654321\xFF\xFF")),
        Err(Status::attempts_left(2))
    );
    card.ask(0x2C, 0, 0x80, &pair(PUK, b"654321\xFF\xFF")).unwrap();
    card.verify(b"654321\xFF\xFF").unwrap();
    assert_eq!(card.ask(0x20, 0, 0x80, &[]), Ok(vec![]));
    card.ask(0x20, 0xFF, 0x80, &[]).unwrap();
    assert_eq!(card.ask(0x20, 0, 0x80, &[]), Err(Status::attempts_left(3)));
}

#[test]
fn a_wrong_pin_takes_the_proof_of_the_right_one_back() {
    let mut card = Card::new();
    card.verify(PIN).unwrap();
    assert_eq!(card.verify(b"999999\xFF\xFF"), Err(Status::attempts_left(2)));
    assert_eq!(card.ask(0x20, 0, 0x80, &[]), Err(Status::attempts_left(2)));
    card.verify(PIN).unwrap();
    assert_eq!(card.metadata(0x80, 6), Some(vec![3, 3]), "a right one gives all attempts back");
}

#[test]
fn pin_and_puk_are_changed_by_who_knows_them() {
    let mut card = Card::new();
    card.ask(0x24, 0, 0x80, &pair(PIN, b"777777\xFF\xFF")).unwrap();
    assert_eq!(card.verify(PIN), Err(Status::attempts_left(2)));
    card.verify(b"777777\xFF\xFF").unwrap();
    card.ask(0x24, 0, 0x81, &pair(PUK, b"newpuk\xFF\xFF")).unwrap();
    assert_eq!(
        card.ask(0x24, 0, 0x81, &pair(PUK, PUK)),
        Err(Status::attempts_left(2)),
        "the old PUK is none any more"
    );
    assert_eq!(
        card.ask(0x24, 0, 0x80, &pair(b"777777\xFF\xFF", b"12\xFF\xFF\xFF\xFF\xFF\xFF")),
        Err(Status::WRONG_DATA)
    );
    assert_eq!(card.ask(0x24, 0, 0x00, &[0; 16]), Err(Status::REFERENCE_NOT_FOUND));
    assert_eq!(card.metadata(0x80, 5), Some(vec![0]));
}

#[test]
fn s3_3_2_keys_on_curves_are_made_inside_sign_and_agree() {
    let mut card = Card::new();
    card.manage().unwrap();
    for (algorithm, curve, hash) in
        [(0x11, Curve::P256, Hash::Sha256), (0x14, Curve::P384, Hash::Sha384)]
    {
        let point = Card::point(&card.generate(0x9A, algorithm));
        let public = PublicKey::from_point(curve, &point).unwrap();
        let digest = hash.digest(b"message");
        assert_eq!(
            card.operate(0x9A, algorithm, 0x81, &digest),
            Err(Status::SECURITY_NOT_SATISFIED)
        );
        card.verify(PIN).unwrap();
        let signature = card.operate(0x9A, algorithm, 0x81, &digest).unwrap();
        assert_eq!(public.verify(&digest, &signature), Ok(()));
        let mine = PrivateKey::generate(curve).unwrap();
        let theirs = mine.public().to_point().unwrap();
        let agreed = card.operate(0x9A, algorithm, 0x85, &theirs).unwrap();
        assert_eq!(agreed, *mine.agree(&public).unwrap());
        // Points that are none, and digests that are too long.
        let mut off = theirs.clone();
        *off.last_mut().unwrap() ^= 1;
        for (tag, wrong) in [(0x85, &off[..]), (0x85, &theirs[1..]), (0x81, &[1; 49]), (0x81, &[])]
        {
            assert_eq!(card.operate(0x9A, algorithm, tag, wrong), Err(Status::WRONG_DATA));
        }
        // Another algorithm than the key's.
        assert_eq!(card.operate(0x9A, 0x07, 0x81, &digest), Err(Status::WRONG_PARAMETERS));
        card.ask(0x20, 0xFF, 0x80, &[]).unwrap();
    }
}

#[test]
fn s3_3_2_rsa_keys_are_made_inside_sign_and_decrypt() {
    let mut card = Card::new();
    card.manage().unwrap();
    for (algorithm, bytes) in [(0x07, 256), (0x05, 384)] {
        let public = card.generate(0x9E, algorithm);
        let mut reader = Reader::new(&public);
        let (n, e) = (reader.expect(0x81).unwrap(), reader.expect(0x82).unwrap());
        assert_eq!(n.len(), bytes);
        let public = rsa::PublicKey::from_numbers(n, e, Floor::Bits2048).unwrap();
        let text = public.encrypt(Encryption::LegacyPkcs1, b"for the card").unwrap();
        let plain = card.operate(0x9E, algorithm, 0x81, &text).unwrap();
        assert!(plain.starts_with(&[0, 2]) && plain.ends_with(b"\0for the card"));
        let digest = Hash::Sha256.digest(b"message");
        let padded = padded(&digest, bytes);
        let signature = card.operate(0x9E, algorithm, 0x81, &padded).unwrap();
        assert_eq!(public.verify(Signature::Pkcs1(Hash::Sha256), &digest, &signature), Ok(()));
        for wrong in [&padded[1..], &vec![0xFF; bytes], &[]] {
            assert_eq!(card.operate(0x9E, algorithm, 0x81, wrong), Err(Status::WRONG_DATA));
        }
        assert_eq!(card.operate(0x9E, algorithm, 0x85, &padded), Err(Status::WRONG_DATA));
    }
}

/// EMSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 9.2).
fn padded(digest: &[u8], bytes: usize) -> Vec<u8> {
    const INFO: &[u8] =
        b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
    let filling = vec![0xFF; bytes - 3 - INFO.len() - digest.len()];
    [&[0, 1][..], &filling, &[0], INFO, digest].concat()
}

#[test]
fn the_signature_key_asks_for_the_pin_each_time() {
    let mut card = Card::new();
    card.manage().unwrap();
    card.generate(0x9C, 0x11);
    assert_eq!(card.metadata(0x9C, 2), Some(vec![3, 1]));
    for _ in 0..2 {
        card.verify(PIN).unwrap();
        assert!(card.operate(0x9C, 0x11, 0x81, &[1; 32]).is_ok());
        assert_eq!(card.operate(0x9C, 0x11, 0x81, &[1; 32]), Err(Status::SECURITY_NOT_SATISFIED));
    }
    card.generate(0x9E, 0x11);
    card.element.reset();
    card.select();
    assert!(card.operate(0x9E, 0x11, 0x81, &[1; 32]).is_ok(), "card authentication needs no PIN");
}

#[test]
fn a_key_can_ask_for_a_touch() {
    let touches = Arc::new(Mutex::new(0));
    let mut card = Card::touched_by(Finger(touches.clone()));
    card.manage().unwrap();
    card.generate_with(0x9E, &[0x80, 1, 0x11, 0xAB, 1, 2]);
    card.generate_with(0x82, &[0x80, 1, 0x11, 0xAA, 1, 1, 0xAB, 1, 3]);
    let denied = Err(Status::SECURITY_NOT_SATISFIED);
    assert_eq!(card.operate(0x9E, 0x11, 0x81, &[1; 32]), denied);
    *touches.lock().unwrap() = 1;
    assert!(card.operate(0x9E, 0x11, 0x81, &[1; 32]).is_ok());
    assert_eq!(card.operate(0x9E, 0x11, 0x81, &[1; 32]), denied, "a touch counts once");
    // Where it is cached, the one from before counts for a while.
    assert!(card.operate(0x82, 0x11, 0x81, &[1; 32]).is_ok());
    card.clock.advance(Duration::from_secs(15));
    assert_eq!(card.operate(0x82, 0x11, 0x81, &[1; 32]), denied);
}

#[test]
fn long_commands_come_in_chains_or_extended_and_long_answers_go_out_in_pieces() {
    let content: Vec<u8> = (0..3000_u32).map(|it| it as u8).collect();
    let mut card = Card::new();
    card.manage().unwrap();
    let data = [tlv::object(0x5C, &[0x5F, 0xC1, 0x05]), tlv::object(0x53, &content)].concat();
    let put = Command::new(0, 0xDB, 0x3F, 0xFF).with_data(&data);
    for piece in split(&put) {
        assert_eq!(card.send(&piece), Status::OK.into());
    }
    assert_eq!(card.get(&[0x5F, 0xC1, 0x05]).unwrap(), content, "extended");
    let get = Command::new(0, 0xCB, 0x3F, 0xFF).with_data(&[0x5C, 3, 0x5F, 0xC1, 0x05]);
    let mut response = card.send(&get.with_ne(Ne::SHORT));
    let mut object = response.data;
    while response.status.sw1() == 0x61 {
        response = card.send(&Command::new(0, 0xC0, 0, 0).with_ne(Ne::SHORT));
        assert!(response.data.len() <= 256);
        object.extend(response.data);
    }
    assert_eq!(response.status, Status::OK);
    assert_eq!(tlv::only(&object, 0x53).unwrap(), content);
    // Another command throws the rest of an answer away.
    card.send(&get.with_ne(Ne::SHORT));
    card.get(&[0x5F, 0xC1, 0x02]).unwrap();
    let rest = card.send(&Command::new(0, 0xC0, 0, 0).with_ne(Ne::SHORT));
    assert_eq!(rest, Status::CONDITIONS_NOT_SATISFIED.into());
}

#[test]
fn a_reset_in_the_middle_of_a_chain_forgets_it() {
    let mut card = Card::new();
    card.manage().unwrap();
    let data = [tlv::object(0x5C, &[0x5F, 0xC1, 0x05]), tlv::object(0x53, &[9; 300])].concat();
    let put = Command::new(0, 0xDB, 0x3F, 0xFF).with_data(&data);
    let pieces: Vec<_> = split(&put).collect();
    assert_eq!(card.send(&pieces[0]), Status::OK.into());
    card.element.reset();
    card.select();
    card.manage().unwrap();
    assert_eq!(card.send(&pieces[1]), Status::WRONG_DATA.into());
    assert_eq!(card.get(&[0x5F, 0xC1, 0x05]), Err(Status::NOT_FOUND));
    // So does another command.
    card.send(&pieces[0]);
    let other = Command::new(0, 0xFD, 0, 0).with_ne(Ne::SHORT);
    assert_eq!(card.send(&other), Response::from(Status::LAST_OF_CHAIN_EXPECTED));
    assert_eq!(card.send(&other).status, Status::OK);
}

#[test]
fn other_classes_channels_and_instructions_are_refused() {
    let mut card = Card::new();
    for (cla, status) in [
        (0x0C, Status::NO_SECURE_MESSAGING),
        (0x01, Status::NO_LOGICAL_CHANNEL),
        (0x80, Status::UNKNOWN_CLASS),
        (0xFF, Status::UNKNOWN_CLASS),
    ] {
        assert_eq!(card.send(&Command::new(cla, 0xFD, 0, 0)), status.into());
    }
    assert_eq!(card.ask(0x84, 0, 0, &[]), Err(Status::UNKNOWN_INSTRUCTION));
    assert_eq!(card.element.transmit(&[0, 0xFD]), [0x67, 0x00]);
}
