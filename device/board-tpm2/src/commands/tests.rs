//! A TPM that answers whatever it likes.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::io;

/// Gives these answers, one after the other, and then none.
struct Scripted(VecDeque<Vec<u8>>);

impl Link for Scripted {
    fn transmit(&mut self, _: &[u8]) -> io::Result<Vec<u8>> {
        self.0.pop_front().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

fn tpm(answers: impl IntoIterator<Item = Vec<u8>>) -> Tpm {
    let address = "swtpm:localhost:1".parse().unwrap();
    Tpm::over(Box::new(Scripted(answers.into_iter().collect())), address)
}

/// A response that adds up, with these parameters.
fn answer(body: &[u8]) -> Vec<u8> {
    Writer::new().u16(0x8001).u32(10 + body.len() as u32).u32(0).raw(body).bytes().to_vec()
}

fn failed(code: u32) -> Vec<u8> {
    Writer::new().u16(0x8001).u32(10).u32(code).bytes().to_vec()
}

fn anchor() -> Anchor {
    let key = crypto::ec::PrivateKey::generate(crypto::ec::Curve::P256).unwrap();
    let point = key.public().to_point().unwrap();
    let object = Object { handle: 1, name: vec![7; 34] };
    Anchor { object, x: point[1..33].try_into().unwrap(), y: point[33..].try_into().unwrap() }
}

#[test]
fn codes_become_what_a_person_can_act_on() {
    let said = |code| tpm([failed(code)]).random(8).unwrap_err().to_string();
    assert!(said(0x99d).contains("boot chain"));
    assert!(said(0x9a2).contains("password"));
    assert!(said(0x921).contains("locked"));
    assert!(said(0x14b).contains("room"));
    assert!(said(0x101).contains("TPM2_GetRandom with code 0x101"));
    // A TPM that is busy is asked again, and not for ever.
    assert_eq!(*tpm([failed(0x922), answer(&[0, 1, 7])]).random(1).unwrap(), [7]);
    let busy = std::iter::repeat_n(failed(0x922), TURNS as usize + 1);
    assert!(matches!(tpm(busy).random(1), Err(TpmError::NoRoom(_))));
}

#[test]
fn more_or_fewer_bytes_than_asked_for_are_refused() {
    for random in [&[0, 0][..], &[0, 3, 1, 2, 3], &[0, 1, 1, 9], &[0]] {
        assert!(tpm([answer(random)]).random(2).is_err(), "{random:?}");
    }
    let huge = Writer::new().u8(0).u32(1).u32(u32::MAX);
    assert!(tpm([answer(huge.bytes())]).handles(0).is_err());
}

#[test]
fn a_point_that_is_not_on_the_curve_gets_no_salt() {
    let off = Anchor { x: [1; 32], y: [1; 32], ..anchor() };
    let result = tpm([]).in_session(&off, |_, _| Ok(()));
    assert!(matches!(result, Err(TpmError::Key(_))));
}

#[test]
fn a_name_that_is_not_that_of_the_key_is_refused() {
    let public = Writer::new().sized(&[1; 100]).sized(&[2; 34]).sized(&[3; 34]);
    assert!(tpm([answer(public.bytes())]).anchor(1).is_err());
    let index = Writer::new().sized(&[1; 14]).sized(&[2; 34]);
    assert!(matches!(tpm([answer(index.bytes())]).nv_name(1), Err(TpmError::Forged)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_answer_makes_it_panic_or_believe(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4),
        framed: bool,
    ) {
        let session = answer(Writer::new().u32(0x0300_0000).sized(&[9; 32]).bytes());
        let bodies = bodies.into_iter().map(|body| if framed { answer(&body) } else { body });
        let script: Vec<_> = [session, answer(&[])].into_iter().chain(bodies).collect();
        let key = Object { handle: 2, name: vec![8; 34] };
        let hmac = tpm(script.clone()).in_session(&anchor(), |tpm, session| {
            tpm.hmac(session, &key, b"data")
        });
        prop_assert!(hmac.is_err());
        let read = tpm(script.clone())
            .in_session(&anchor(), |tpm, session| tpm.read_nv(session, &key));
        prop_assert!(read.is_err());
        let _ = tpm(script.clone()).make_anchor();
        let _ = tpm(script.clone()).make_hmac_key(1, &[0; 32]);
        let _ = tpm(script).define(NvKind::Counter, &[0; 32]);
    }
}
