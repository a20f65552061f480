//! Commands of any bytes: the card answers each, stays whole, and gives nothing away.

use crate::support::{Card, PIN};
use iso7816::{Command, Ne, Response, Status};
use proptest::prelude::*;

/// What may not appear in any answer: the private key of slot 9E.
fn secret(card: &Card) -> Vec<u8> {
    let pkcs8 = &card.element.piv().state().keys[&0x9E].pkcs8.0;
    let at = pkcs8.windows(5).position(|it| it == [2, 1, 1, 4, 32]).unwrap() + 5;
    pkcs8[at..at + 32].to_vec()
}

fn instruction() -> impl Strategy<Value = u8> {
    prop_oneof![
        prop::sample::select(vec![
            0x20, 0x24, 0x2C, 0x87, 0xA4, 0xC0, 0xCB, 0xDB, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB,
            0xFD, 0xFE, 0xFF_u8,
        ]),
        any::<u8>(),
    ]
}

fn parameter() -> impl Strategy<Value = u8> {
    prop_oneof![
        prop::sample::select(vec![
            0x00, 0x03, 0x11, 0x3F, 0x80, 0x81, 0x82, 0x9A, 0x9B, 0x9C, 0x9E, 0xF9, 0xFF_u8,
        ]),
        any::<u8>(),
    ]
}

/// Data that looks like something.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let template = prop::collection::vec(
        (
            prop::sample::select(vec![0x80_u32, 0x81, 0x82, 0x85, 0x5C, 0x53, 0xAA]),
            prop::collection::vec(any::<u8>(), 0..40),
        ),
        0..4,
    )
    .prop_map(|objects| -> Vec<u8> {
        objects.iter().flat_map(|(tag, value)| iso7816::tlv::object(*tag, value)).collect()
    });
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        template.clone().prop_map(|objects| iso7816::tlv::object(0x7C, &objects)),
        template.clone().prop_map(|objects| iso7816::tlv::object(0xAC, &objects)),
        template,
        Just(PIN.to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn s3_3_2_no_command_gives_a_private_key_away(
        commands in prop::collection::vec((prop::sample::select(vec![0_u8, 0x10, 0x0C, 0x80]), instruction(), parameter(), parameter(), data()), 1..60),
        manages in any::<bool>(),
        verifies in any::<bool>(),
    ) {
        let mut card = Card::new();
        card.manage().unwrap();
        card.generate(0x9E, 0x11);
        let secret = secret(&card);
        if !manages {
            card.element.reset();
            card.select();
        }
        if verifies {
            card.verify(PIN).unwrap();
        }
        for (cla, ins, p1, p2, data) in &commands {
            let command = Command::new(*cla, *ins, *p1, *p2).with_data(data).with_ne(Ne::EXTENDED);
            let answer = card.send(&command);
            prop_assert!(!answer.data.windows(32).any(|part| part == secret));
            prop_assert!(answer.status == Status::OK || answer.status.sw1() == 0x61 || answer.data.is_empty());
        }
        // Whatever it was, the memory is whole.
        prop_assert!(card.board.open().is_ok());
    }

    #[test]
    fn any_bytes_get_an_answer(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..50)) {
        let mut card = Card::new();
        for frame in frames {
            prop_assert!(Response::decode(&card.element.transmit(&frame)).is_ok());
        }
    }
}

#[test]
fn endless_chains_are_cut_off() {
    let mut card = Card::new();
    let piece = Command::new(0x10, 0xDB, 0x3F, 0xFF).with_data(&[0; 255]);
    let ended = (0..1000).find(|_| card.send(&piece).status != Status::OK);
    assert_eq!(ended, Some(16 * 1024 / 255));
}
