//! Commands and data objects: what is read is written the same; chains and answers stay bounded.
#![no_main]

use iso7816::{Chain, Command, Response, Step, split, tlv};
use libfuzzer_sys::fuzz_target;

/// The most data of a chain.
const LIMIT: usize = 1024;

fuzz_target!(|data: &[u8]| {
    if let Ok(command) = Command::decode(data) {
        let bytes = command.encode().expect("what was read can be written");
        assert_eq!(Command::decode(&bytes), Ok(command));
        let mut chain = Chain::default();
        let joined = split(&command).try_fold(Step::More, |_, piece| chain.push(&piece, LIMIT));
        match joined {
            Ok(Step::Whole(whole)) => assert_eq!(whole, command.data),
            Ok(Step::More) => assert!(command.is_chained()),
            Err(_) => assert!(command.data.len() > LIMIT || command.is_chained()),
        }
    }
    if let Ok(response) = Response::decode(data) {
        assert_eq!(response.encode(), data);
    }
    let mut reader = tlv::Reader::new(data);
    while let Ok(Some((tag, value))) = reader.next_object() {
        let object = tlv::object(tag, value);
        assert_eq!(tlv::only(&object, tag), Ok(value));
    }
});
