//! The chip and its host against each other, against an attacker, and against transcripts.

use proptest::prelude::*;
use rpmb::{
    COUNTER_EXPIRED, FRAME_BYTES, Frame, MemoryStore, OperationResult, Refused, RpmbDevice, Store,
    host,
};

const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 16] = [9; 16];

fn device() -> RpmbDevice<MemoryStore> {
    programmed(MemoryStore::new(512))
}

fn programmed(store: MemoryStore) -> RpmbDevice<MemoryStore> {
    let mut device = RpmbDevice::new(store);
    host::check_key(&device.exchange(&host::program_key(&KEY))).unwrap();
    device
}

fn counter(device: &mut RpmbDevice<MemoryStore>) -> u32 {
    host::check_counter(&KEY, &NONCE, &device.exchange(&host::read_counter(&NONCE))).unwrap()
}

#[test]
fn counts_once_per_write_however_many_frames() {
    let mut device = device();
    for (at, blocks) in [1, 2, 32].into_iter().enumerate() {
        let before = counter(&mut device);
        let request = host::write(&KEY, before, 8, &vec![[at as u8; 256]; blocks]);
        host::check_write(&KEY, before + 1, 8, &device.exchange(&request)).unwrap();
        assert_eq!(counter(&mut device), before + 1);
    }
}

#[test]
fn refuses_a_replayed_write_and_changes_nothing() {
    let mut device = device();
    let old = host::write(&KEY, 0, 8, &[[1; 256]]);
    host::check_write(&KEY, 1, 8, &device.exchange(&old)).unwrap();
    let new = host::write(&KEY, 1, 8, &[[2; 256]]);
    host::check_write(&KEY, 2, 8, &device.exchange(&new)).unwrap();
    let refused = host::check_write(&KEY, 3, 8, &device.exchange(&old));
    assert_eq!(refused, Err(Refused::Result(OperationResult::Counter)));
    assert_eq!(counter(&mut device), 2);
    assert_eq!(device.store().read(8, 1), Ok(vec![[2; 256]]));
}

#[test]
fn refuses_a_write_with_any_bit_altered() {
    let mut device = device();
    let request = host::write(&KEY, 0, 8, &[[1; 256], [2; 256]]);
    for byte in 0..2 * FRAME_BYTES {
        // Stuff bytes are ignored, and only the last frame's MAC counts.
        if byte % FRAME_BYTES < 196 || byte < 228 {
            continue;
        }
        let mut altered = request.clone();
        altered[byte] ^= 1;
        let answer = device.exchange(&altered);
        assert!(host::check_write(&KEY, 1, 8, &answer).is_err(), "byte {byte}");
        assert_eq!(device.store().counter(), 0, "byte {byte}");
    }
}

#[test]
fn host_refuses_an_answer_with_any_bit_altered_or_of_an_earlier_read() {
    let mut device = device();
    let answer = device.exchange(&host::read(&NONCE, 4, 2));
    host::check_read(&KEY, &NONCE, 4, 2, &answer).unwrap();
    for byte in (FRAME_BYTES + 196)..2 * FRAME_BYTES {
        let mut altered = answer.clone();
        altered[byte] ^= 1;
        assert!(host::check_read(&KEY, &NONCE, 4, 2, &altered).is_err(), "byte {byte}");
    }
    let replayed = host::check_read(&KEY, &[8; 16], 4, 2, &answer);
    assert_eq!(replayed, Err(Refused::Mismatch("nonce")));
    assert_eq!(host::check_read(&[6; 32], &NONCE, 4, 2, &answer), Err(Refused::Authentication));
}

#[test]
fn programs_the_key_once() {
    let mut device = device();
    let again = host::check_key(&device.exchange(&host::program_key(&[8; 32])));
    assert_eq!(again, Err(Refused::Result(OperationResult::General)));
    assert_eq!(counter(&mut device), 0);
}

#[test]
fn a_chip_without_a_key_says_so() {
    let mut device = RpmbDevice::new(MemoryStore::new(512));
    let no_key = Refused::Result(OperationResult::NoKey);
    let answer = device.exchange(&host::read_counter(&NONCE));
    assert_eq!(host::check_counter(&KEY, &NONCE, &answer), Err(no_key));
    let answer = device.exchange(&host::write(&KEY, 0, 0, &[[0; 256]]));
    assert_eq!(Frame::decode(answer[..].try_into().unwrap()).result, OperationResult::NoKey as u16);
}

#[test]
fn an_expired_counter_ends_writing_and_not_reading() {
    let mut device = programmed(MemoryStore::with_counter(512, u32::MAX - 1));
    let last = host::write(&KEY, u32::MAX - 1, 0, &[[5; 256]]);
    host::check_write(&KEY, u32::MAX, 0, &device.exchange(&last)).unwrap();
    let answer = device.exchange(&host::write(&KEY, u32::MAX, 0, &[[6; 256]]));
    assert_eq!(
        Frame::decode(answer[..].try_into().unwrap()).result,
        OperationResult::Write as u16 | COUNTER_EXPIRED
    );
    let answer = device.exchange(&host::read(&NONCE, 0, 1));
    assert_eq!(host::check_read(&KEY, &NONCE, 0, 1, &answer), Ok(vec![[5; 256]]));
}

#[test]
fn refuses_addresses_past_the_end_and_empty_or_overlong_writes() {
    let mut device = device();
    let result = |answer: &[u8]| Frame::decode(answer.try_into().unwrap()).result;
    for (address, blocks) in [(511_u16, 2), (512, 1), (u16::MAX, 1)] {
        let answer = device.exchange(&host::write(&KEY, 0, address, &vec![[1; 256]; blocks]));
        assert_eq!(result(&answer), OperationResult::Address as u16, "{address}");
    }
    let answer = device.exchange(&host::write(&KEY, 0, 0, &vec![[1; 256]; 33]));
    assert_eq!(result(&answer), OperationResult::General as u16);
    let answer = device.exchange(&host::read(&NONCE, 0, 0));
    assert_eq!(result(&answer), OperationResult::Address as u16);
}

#[test]
fn agrees_with_the_transcripts() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("data/transcripts.json")).unwrap();
    let mut device = RpmbDevice::new(MemoryStore::new(512));
    for vector in file["vectors"].as_array().unwrap() {
        let joined = |field: &str| -> Vec<u8> {
            let frames = vector[field].as_array().unwrap();
            frames.iter().flat_map(|frame| unhex(frame.as_str().unwrap())).collect()
        };
        let name = vector["name"].as_str().unwrap();
        let mut got = device.exchange(&joined("request"));
        let mut due = joined("response");
        if name == "counter_before_key" {
            // The MAC is not defined without a key.
            got[196..228].fill(0);
            due[196..228].fill(0);
        }
        assert_eq!(got, due, "{name}");
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

proptest! {
    #[test]
    fn frames_survive_a_round_trip(bytes in proptest::collection::vec(any::<u8>(), FRAME_BYTES)) {
        let mut bytes: [u8; FRAME_BYTES] = bytes.try_into().unwrap();
        let frame = Frame::decode(&bytes);
        bytes[..196].fill(0);
        prop_assert_eq!(frame.encode(), bytes);
    }

    #[test]
    fn an_attacker_without_the_key_changes_nothing(
        request in proptest::collection::vec(any::<u8>(), 0..4 * FRAME_BYTES),
        kind in 0_u8..8,
        frames in 1_usize..4,
    ) {
        let mut request = request;
        request.resize(frames * FRAME_BYTES, 0);
        request[510] = 0;
        request[511] = kind;
        let mut device = device();
        let _ = device.exchange(&request);
        prop_assert_eq!(device.store().counter(), 0);
        prop_assert!(device.store().raw_blocks().iter().all(|block| *block == [0; 256]));
        prop_assert_eq!(device.store().key(), Some(KEY));
    }
}
