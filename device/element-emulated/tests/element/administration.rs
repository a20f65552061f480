//! What administrative tools ask beyond the standard.

use crate::support::{Card, Finger, MANAGEMENT_KEY, PIN, PUK, ecb, pair};
use crypto::cipher::{Direction, Key};
use crypto::ec::{Curve, PrivateKey};
use crypto::rsa;
use iso7816::Status;
use iso7816::tlv;
use std::sync::{Arc, Mutex};

const DENIED: Status = Status::SECURITY_NOT_SATISFIED;

#[test]
fn version_and_serial_number_are_told_to_anybody() {
    let mut card = Card::new();
    assert_eq!(card.ask(0xFD, 0, 0, &[]).unwrap(), [5, 7, 1]);
    let serial = card.ask(0xF8, 0, 0, &[]).unwrap();
    assert_eq!(serial, card.board.open().unwrap().state().serial.to_be_bytes());
}

#[test]
fn the_management_key_is_proved_by_an_answer_to_a_challenge_too() {
    let mut card = Card::new();
    let key = Key::legacy_triple_des(&MANAGEMENT_KEY);
    let asked = card.ask(0x87, 0x03, 0x9B, &[0x7C, 2, 0x81, 0]).unwrap();
    let challenge = tlv::only(tlv::only(&asked, 0x7C).unwrap(), 0x81).unwrap();
    let answer = tlv::object(0x7C, &tlv::object(0x82, &ecb(&key, Direction::Encrypt, challenge)));
    card.ask(0x87, 0x03, 0x9B, &answer).unwrap();
    card.put(&[0x5F, 0xC1, 0x05], b"x").unwrap();
    // The same answer again answers nothing.
    assert_eq!(card.ask(0x87, 0x03, 0x9B, &answer), Err(Status::CONDITIONS_NOT_SATISFIED));
}

#[test]
fn a_wrong_proof_of_the_management_key_opens_nothing() {
    let mut card = Card::new();
    let wrong = Key::legacy_triple_des(&[9; 24]);
    assert_eq!(card.manage_with(0x03, &wrong, 8), Err(DENIED));
    assert_eq!(card.put(&[0x5F, 0xC1, 0x05], b"x"), Err(DENIED));
    // Another command between question and answer makes the question void.
    card.ask(0x87, 0x03, 0x9B, &[0x7C, 2, 0x81, 0]).unwrap();
    card.ask(0xFD, 0, 0, &[]).unwrap();
    let answer = tlv::object(0x7C, &tlv::object(0x82, &[0; 8]));
    assert_eq!(card.ask(0x87, 0x03, 0x9B, &answer), Err(Status::CONDITIONS_NOT_SATISFIED));
    assert_eq!(card.ask(0x87, 0x08, 0x9B, &[0x7C, 2, 0x81, 0]), Err(Status::WRONG_PARAMETERS));
    // The host may not have the card encrypt what it likes.
    let encrypt = tlv::object(0x7C, &[&[0x82, 0][..], &tlv::object(0x81, &[1; 8])].concat());
    assert!(card.ask(0x87, 0x03, 0x9B, &encrypt).is_err());
}

#[test]
fn a_new_management_key_can_be_of_aes_and_ask_for_a_touch() {
    let touches = Arc::new(Mutex::new(0));
    let mut card = Card::touched_by(Finger(touches.clone()));
    let set = |algorithm, key: &[u8]| [&[algorithm, 0x9B, key.len() as u8], key].concat();
    assert_eq!(card.ask(0xFF, 0xFF, 0xFF, &set(0x0C, &[5; 32])), Err(DENIED));
    card.manage().unwrap();
    assert_eq!(card.metadata(0x9B, 5), Some(vec![1]));
    for (algorithm, bytes) in [(0x08, 16), (0x0A, 24), (0x0C, 32)] {
        let key = vec![algorithm; bytes];
        card.ask(0xFF, 0xFF, 0xFF, &set(algorithm, &key)).unwrap();
        card.manage_with(algorithm, &Key::aes(&key).unwrap(), 16).unwrap();
        assert_eq!(card.metadata(0x9B, 1), Some(vec![algorithm]));
    }
    assert_eq!(card.ask(0xFF, 0xFF, 0xFF, &set(0x0C, &[5; 31])), Err(Status::WRONG_DATA));
    card.ask(0xFF, 0xFF, 0xFE, &set(0x0C, &[5; 32])).unwrap();
    let key = Key::aes(&[5; 32]).unwrap();
    assert_eq!(card.manage_with(0x0C, &key, 16), Err(DENIED));
    *touches.lock().unwrap() = 1;
    card.manage_with(0x0C, &key, 16).unwrap();
}

#[test]
fn attempts_are_set_by_who_knows_both_keys() {
    let mut card = Card::new();
    card.manage().unwrap();
    assert_eq!(card.ask(0xFA, 5, 9, &[]), Err(DENIED));
    card.verify(PIN).unwrap();
    assert_eq!(card.ask(0xFA, 0, 9, &[]), Err(Status::WRONG_PARAMETERS));
    card.ask(0xFA, 5, 9, &[]).unwrap();
    assert_eq!(card.metadata(0x80, 6), Some(vec![5, 5]));
    assert_eq!(card.metadata(0x81, 6), Some(vec![9, 9]));
    assert_eq!(card.ask(0x20, 0, 0x80, &[]), Err(Status::attempts_left(5)));
}

#[test]
fn an_imported_key_signs_and_is_not_attested() {
    let mut card = Card::new();
    let mine = PrivateKey::generate(Curve::P256).unwrap();
    // RFC 5915: the private number is the octet string that follows the version.
    let pkcs8 = mine.to_pkcs8().unwrap();
    let at = pkcs8.windows(5).position(|it| it == [2, 1, 1, 4, 32]).unwrap() + 5;
    let data = tlv::object(0x06, &pkcs8[at..at + 32]);
    assert_eq!(card.ask(0xFE, 0x11, 0x9E, &data), Err(DENIED));
    card.manage().unwrap();
    card.ask(0xFE, 0x11, 0x9E, &data).unwrap();
    let signature = card.operate(0x9E, 0x11, 0x81, &[3; 32]).unwrap();
    assert_eq!(mine.public().verify(&[3; 32], &signature), Ok(()));
    assert_eq!(card.metadata(0x9E, 3), Some(vec![2]));
    assert_eq!(card.ask(0xF9, 0x9E, 0, &[]), Err(Status::CONDITIONS_NOT_SATISFIED));
    for wrong in [&tlv::object(0x06, &[0; 32])[..], &tlv::object(0x06, &[1; 33]), &[]] {
        assert_eq!(card.ask(0xFE, 0x11, 0x9E, wrong), Err(Status::WRONG_DATA));
    }
    // Numbers that make no RSA key.
    let parts: Vec<u8> = (1..=5).flat_map(|tag| tlv::object(tag, &[0xFF; 128])).collect();
    assert_eq!(card.ask(0xFE, 0x07, 0x9E, &parts), Err(Status::WRONG_DATA));
}

#[test]
fn an_rsa_key_is_imported_by_its_primes() {
    let mine = rsa::PrivateKey::generate(2048).unwrap();
    // RFC 8017, A.1.2, inside RFC 5958: version, n, e, d, p, q, and what follows from them.
    let pkcs8 = mine.to_pkcs8().unwrap();
    let mut outer = tlv::Reader::new(tlv::only(&pkcs8, 0x30).unwrap());
    outer.expect(0x02).unwrap();
    outer.expect(0x30).unwrap();
    let inner = tlv::only(outer.expect(0x04).unwrap(), 0x30).unwrap();
    let mut numbers = tlv::Reader::new(inner);
    let mut next = || numbers.expect(0x02).unwrap().to_vec();
    let all: Vec<Vec<u8>> = (0..9).map(|_| next()).collect();
    let part = |at: usize| all[at].strip_prefix(&[0]).unwrap_or(&all[at]).to_vec();
    let parts: Vec<u8> =
        (4..9).zip(1..).flat_map(|(at, tag)| tlv::object(tag, &part(at))).collect();
    let mut card = Card::new();
    card.manage().unwrap();
    card.ask(0xFE, 0x07, 0x9E, &parts).unwrap();
    let number = [&[0; 1][..], &[0x5A; 255]].concat();
    let signature = card.operate(0x9E, 0x07, 0x81, &number).unwrap();
    assert_eq!(signature, mine.sign(rsa::Signature::Bare, &number).unwrap());
    // Another size than was said.
    assert_eq!(card.ask(0xFE, 0x05, 0x9E, &parts), Err(Status::WRONG_DATA));
}

#[test]
fn s3_3_2_what_was_made_inside_is_attested_and_what_attests_signs_nothing_else() {
    let mut card = Card::new();
    card.manage().unwrap();
    assert_eq!(card.ask(0xF9, 0x9A, 0, &[]), Err(Status::REFERENCE_NOT_FOUND));
    let point = Card::point(&card.generate(0x9A, 0x11));
    let certificate = card.ask(0xF9, 0x9A, 0, &[]).unwrap();
    assert!(certificate.windows(point.len()).any(|part| part == point));
    let signed = tlv::Reader::new(tlv::only(&certificate, 0x30).unwrap()).expect(0x30).unwrap();
    let signed = tlv::object(0x30, signed);
    let mut rest = tlv::Reader::new(tlv::only(&certificate, 0x30).unwrap());
    rest.expect(0x30).unwrap();
    rest.expect(0x30).unwrap();
    let signature = &rest.expect(0x03).unwrap()[1..];
    let attester = Card::point(&card.metadata(0xF9, 4).unwrap());
    let attester = crypto::ec::PublicKey::from_point(Curve::P256, &attester).unwrap();
    let digest = crypto::digest::sha256(&signed);
    assert_eq!(attester.verify(&digest, signature), Ok(()));
    card.verify(PIN).unwrap();
    assert_eq!(card.operate(0xF9, 0x11, 0x81, &digest), Err(Status::CONDITIONS_NOT_SATISFIED));
}

#[test]
fn keys_move_and_are_deleted() {
    let mut card = Card::new();
    assert_eq!(card.ask(0xF6, 0x82, 0x9A, &[]), Err(DENIED));
    card.manage().unwrap();
    let public = card.generate(0x9A, 0x11);
    card.ask(0xF6, 0x82, 0x9A, &[]).unwrap();
    assert_eq!(card.metadata(0x82, 4), Some(public));
    assert_eq!(card.ask(0xF7, 0, 0x9A, &[]), Err(Status::REFERENCE_NOT_FOUND));
    card.ask(0xF6, 0xFF, 0x82, &[]).unwrap();
    assert_eq!(card.ask(0xF6, 0xFF, 0x82, &[]), Err(Status::REFERENCE_NOT_FOUND));
    card.verify(PIN).unwrap();
    assert_eq!(card.operate(0x82, 0x11, 0x81, &[1; 32]), Err(Status::REFERENCE_NOT_FOUND));
    for (to, from) in [(0xFF, 0xF9), (0xF9, 0x9A), (0x9B, 0x9A), (0x9A, 0x9B)] {
        assert_eq!(card.ask(0xF6, to, from, &[]), Err(Status::WRONG_PARAMETERS));
    }
}

#[test]
fn starting_over_needs_pin_and_puk_blocked_and_leaves_nothing() {
    let mut card = Card::new();
    card.manage().unwrap();
    card.generate(0x9A, 0x11);
    card.put(&[0x5F, 0xFF, 0x40], b"identity").unwrap();
    assert_eq!(card.ask(0xFB, 0, 0, &[]), Err(Status::CONDITIONS_NOT_SATISFIED));
    for _ in 0..3 {
        let _ = card.verify(b"000000\xFF\xFF");
        let _ = card.ask(0x2C, 0, 0x80, &pair(b"00000000", PIN));
    }
    assert_eq!(card.ask(0x2C, 0, 0x80, &pair(PUK, PIN)), Err(Status::BLOCKED));
    let attester = card.metadata(0xF9, 4);
    card.ask(0xFB, 0, 0, &[]).unwrap();
    assert_eq!(card.put(&[0x5F, 0xC1, 0x05], b"x"), Err(DENIED), "nobody is the manager");
    card.verify(PIN).unwrap();
    assert_eq!(card.get(&[0x5F, 0xFF, 0x40]), Err(Status::NOT_FOUND));
    assert_eq!(card.operate(0x9A, 0x11, 0x81, &[1; 32]), Err(Status::REFERENCE_NOT_FOUND));
    assert_eq!(card.metadata(0xF9, 4), attester, "what attests stays");
    card.manage().unwrap();
}

#[test]
fn there_is_room_for_so_much_and_no_more() {
    let mut card = Card::new();
    card.manage().unwrap();
    let mut written = 0;
    let full = (0..=0xFF_u8).find_map(|low| {
        written += 1;
        card.put(&[0x5F, 0xFF, low], &[1; 15_000]).err()
    });
    assert_eq!((written, full), (9, Some(Status::NO_SPACE)));
    // Replacing what is there, and what is smaller, still works.
    card.put(&[0x5F, 0xFF, 0], &[2; 15_000]).unwrap();
    assert_eq!(card.get(&[0x5F, 0xFF, 0]).unwrap(), [2; 15_000]);
}
