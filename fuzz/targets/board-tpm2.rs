//! What a TPM answers, and the board's record: outside input.
#![no_main]

use board_tpm2::commands::{NvKind, Object, Tpm};
use board_tpm2::link::Link;
use board_tpm2::record::Record;
use board_tpm2::wire::Response;
use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;
use std::io;

/// Gives the input as answers, one after the other.
struct Scripted(VecDeque<Vec<u8>>);

impl Link for Scripted {
    fn transmit(&mut self, _: &[u8]) -> io::Result<Vec<u8>> {
        self.0.pop_front().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Answers of a length that stands before each; half of the inputs get a header that adds up.
fn tpm(framed: bool, mut data: &[u8]) -> Tpm {
    let mut answers = VecDeque::new();
    while let [length, rest @ ..] = data {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        let header = [&[0x80, 1][..], &(10 + body.len() as u32).to_be_bytes(), &[0; 4]].concat();
        answers.push_back(if framed { [&header, body].concat() } else { body.to_vec() });
        data = rest;
    }
    let address = "swtpm:localhost:1".parse().expect("an address");
    Tpm::over(Box::new(Scripted(answers)), address)
}

fuzz_target!(|data: &[u8]| {
    let _ = Record::decode(data);
    for (handle, session) in [(false, false), (true, false), (false, true), (true, true)] {
        let _ = Response::parse(data, handle, session);
    }
    let framed = data.len() % 2 == 1;
    let _ = tpm(framed, data).random(32);
    let _ = tpm(framed, data).handles(0);
    let _ = tpm(framed, data).make_anchor();
    let _ = tpm(framed, data).make_hmac_key(1, &[0; 32]);
    let _ = tpm(framed, data).define(NvKind::Counter, &[0; 32]);
    let _ = tpm(framed, data).nv_name(1);
    let mut one = tpm(framed, data);
    if let Ok(anchor) = one.anchor(1) {
        let key = Object { handle: 2, name: vec![0; 34] };
        let mac = one.in_session(&anchor, |tpm, session| tpm.hmac(session, &key, b"data"));
        assert!(mac.is_err(), "nobody knows the session's key");
    }
});
