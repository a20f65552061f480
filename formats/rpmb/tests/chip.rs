//! The chip as a transport sees it: requests in, as many frames out as are asked for; the device
//! configuration; the order of the checks; anything hostile.

use proptest::prelude::*;
use rpmb::{
    COUNTER_EXPIRED, Configuration, FRAME_BYTES, Frame, MemoryStore, OperationResult, Refused,
    Register, Request, RpmbDevice, Store, host, join, split,
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

fn result(answer: &[u8]) -> u16 {
    split(answer).unwrap().last().expect("an answer").result
}

#[test]
fn s3_1_2_every_refusal_of_a_write_has_its_place_in_the_order_of_checks() {
    let wrong_key = [8; 32];
    let blocks = |count| vec![[1; 256]; count];
    let expired = || MemoryStore::with_counter(512, u32::MAX);
    let fresh = || MemoryStore::new(512);
    // Each request is wrong in every way that is checked later, too.
    for (what, store, has_key, request, due) in [
        (
            "no key",
            expired(),
            false,
            host::write(&KEY, 9, 999, &blocks(33)),
            OperationResult::NoKey,
        ),
        (
            "expired",
            expired(),
            true,
            host::write(&wrong_key, 9, 999, &blocks(33)),
            OperationResult::Write,
        ),
        (
            "address",
            fresh(),
            true,
            host::write(&wrong_key, 9, 999, &blocks(33)),
            OperationResult::Address,
        ),
        (
            "shape",
            fresh(),
            true,
            host::write(&wrong_key, 9, 0, &blocks(33)),
            OperationResult::General,
        ),
        (
            "MAC",
            fresh(),
            true,
            host::write(&wrong_key, 9, 0, &blocks(32)),
            OperationResult::Authentication,
        ),
        ("counter", fresh(), true, host::write(&KEY, 9, 0, &blocks(32)), OperationResult::Counter),
        ("nothing", fresh(), true, host::write(&KEY, 0, 0, &blocks(32)), OperationResult::Ok),
    ] {
        let counter = store.counter();
        let mut device = if has_key { programmed(store) } else { RpmbDevice::new(store) };
        let flag = if counter == u32::MAX { COUNTER_EXPIRED } else { 0 };
        assert_eq!(result(&device.exchange(&request)), due as u16 | flag, "{what}");
        let written = due == OperationResult::Ok;
        assert_eq!(device.store().counter(), counter.saturating_add(u32::from(written)), "{what}");
        assert_eq!(device.store().raw_blocks()[0] == [1; 256], written, "{what}");
    }
}

#[test]
fn frames_of_one_write_must_agree() {
    type Change = fn(&mut Frame);
    let changes: [Change; 4] = [
        |frame| frame.counter += 1,
        |frame| frame.address += 1,
        |frame| frame.count += 1,
        |frame| frame.kind = Request::Read.code(),
    ];
    for change in changes {
        let mut device = device();
        let mut frames = split(&host::write(&KEY, 0, 4, &[[1; 256], [2; 256]])).unwrap();
        change(&mut frames[1]);
        frames[1].mac = rpmb::frames_mac(&KEY, &frames[..2]);
        assert_eq!(result(&device.exchange(&join(&frames))), OperationResult::General as u16);
        assert_eq!(device.store().counter(), 0);
    }
}

#[test]
fn a_small_chip_takes_small_writes_only() {
    let mut device = device().with_max_write_frames(2);
    let request = host::write(&KEY, 0, 0, &[[1; 256]; 3]);
    assert_eq!(result(&device.exchange(&request)), OperationResult::General as u16);
    let request = host::write(&KEY, 0, 0, &[[1; 256]; 2]);
    host::check_write(&KEY, 1, 0, &device.exchange(&request)).unwrap();
}

#[test]
fn a_result_is_read_once() {
    let mut device = device();
    let request = host::write(&KEY, 0, 0, &[[1; 256]]);
    host::check_write(&KEY, 1, 0, &device.exchange(&request)).unwrap();
    let again = join(&[Frame { kind: Request::ReadResult.code(), ..Frame::default() }]);
    let answer = device.exchange(&again);
    assert!(host::check_write(&KEY, 1, 0, &answer).is_err());
}

#[test]
fn the_transport_says_how_many_blocks_are_read_where_the_request_does_not() {
    let mut device = device();
    let request = host::write(&KEY, 0, 4, &[[1; 256], [2; 256]]);
    host::check_write(&KEY, 1, 4, &device.exchange(&request)).unwrap();
    device.send(&host::read(&NONCE, 4, 0));
    let answer = device.receive(2);
    let blocks = host::check_read(&KEY, &NONCE, 4, 2, &answer).unwrap();
    assert_eq!(blocks, [[1; 256], [2; 256]]);
    // A request that names another number than the transport is refused in every frame.
    device.send(&host::read(&NONCE, 4, 1));
    let frames = split(&device.receive(3)).unwrap();
    assert_eq!(frames.len(), 3);
    assert!(frames.iter().all(|frame| frame.result == OperationResult::General as u16));
}

#[test]
fn reading_without_asking_gives_a_failure_and_not_old_frames() {
    let mut device = device();
    device.send(&host::read(&NONCE, 4, 1));
    assert_eq!(result(&device.receive(1)), OperationResult::Ok as u16);
    for asked in [&[][..], &[0; 511]] {
        device.send(asked);
        assert_eq!(device.receive(2).len(), 2 * FRAME_BYTES);
        assert_eq!(result(&device.receive(2)), OperationResult::General as u16);
    }
    assert!(device.exchange(&[0; 100]).is_empty());
}

#[test]
fn only_the_last_request_of_an_exchange_is_answered() {
    let mut device = device();
    let many = host::read(&NONCE, 0, 512).repeat(100);
    assert_eq!(device.exchange(&many).len(), 512 * FRAME_BYTES);
}

#[test]
fn configuration_is_written_with_key_and_counter_and_read_with_a_nonce() {
    let mut device = device();
    let read = |device: &mut RpmbDevice<MemoryStore>| {
        let answer = device.exchange(&host::read_configuration(&NONCE));
        host::check_configuration(&KEY, &NONCE, &answer)
    };
    assert_eq!(read(&mut device), Ok(Configuration::default()));
    let request = host::write_configuration(&KEY, 0, Register::SecureWpModeEnable, true);
    let answer = device.exchange(&request);
    host::check_configured(&KEY, 1, Register::SecureWpModeEnable, &answer).unwrap();
    let replayed =
        host::check_configured(&KEY, 1, Register::SecureWpModeEnable, &device.exchange(&request));
    assert_eq!(replayed, Err(Refused::Result(OperationResult::Counter)));
    let request = host::write_configuration(&KEY, 1, Register::SecureWpModeConfig, true);
    device.exchange(&request);
    let both = Configuration { secure_wp_mode_enable: true, secure_wp_mode_config: true };
    assert_eq!(read(&mut device), Ok(both));
    // Power off and on: the mask is gone.
    let mut device = RpmbDevice::new(device.store().clone());
    let kept = Configuration { secure_wp_mode_config: false, ..both };
    assert_eq!(read(&mut device), Ok(kept));
    assert_eq!(device.store().counter(), 2);
}

#[test]
fn configuration_refuses_other_registers_other_bits_and_other_keys() {
    let request = |change: fn(&mut Frame), key: [u8; 32]| {
        let right = host::write_configuration(&KEY, 0, Register::SecureWpModeEnable, true);
        let mut frames = split(&right).unwrap();
        change(&mut frames[0]);
        frames[0].mac = rpmb::frames_mac(&key, &frames[..1]);
        join(&frames)
    };
    type Change = fn(&mut Frame);
    let cases: [(Change, [u8; 32], OperationResult); 7] = [
        (|_| (), [8; 32], OperationResult::Authentication),
        (|frame| frame.address = 0, KEY, OperationResult::Address),
        (|frame| frame.address = 3, KEY, OperationResult::Address),
        (|frame| frame.count = 2, KEY, OperationResult::General),
        (|frame| frame.data[255] = 2, KEY, OperationResult::General),
        (|frame| frame.data[0] = 1, KEY, OperationResult::General),
        (|frame| frame.counter = 1, KEY, OperationResult::Counter),
    ];
    for (change, key, due) in cases {
        let mut device = device();
        assert_eq!(result(&device.exchange(&request(change, key))), due as u16);
        assert_eq!(device.configuration(), Configuration::default());
        assert_eq!(device.store().counter(), 0);
    }
    let mut device = RpmbDevice::new(MemoryStore::new(512));
    let answer = device.exchange(&host::read_configuration(&NONCE));
    let refused = host::check_configuration(&KEY, &NONCE, &answer);
    assert_eq!(refused, Err(Refused::Result(OperationResult::NoKey)));
}

#[test]
fn codes_survive_a_round_trip() {
    for code in 0..=u16::MAX {
        if let Some(request) = Request::from_code(code) {
            assert_eq!(request.code(), code);
            assert!((1..=7).contains(&code));
        }
        if let Some(result) = OperationResult::from_field(code) {
            assert_eq!(result as u16, code & !COUNTER_EXPIRED);
        }
    }
}

/// The project's data, where it is.
#[test]
fn agrees_with_recorded_transcripts() {
    let Some(data) = std::env::var_os("HOLDFAST_TEST_DATA") else {
        eprintln!("not run: HOLDFAST_TEST_DATA names no folder of real inputs");
        return;
    };
    let path = std::path::Path::new(&data).join("boot-ota/rpmb/rpmb_frames.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("not run: {} is not there", path.display());
        return;
    };
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut device = RpmbDevice::new(MemoryStore::new(512));
    let frames = |list: &serde_json::Value| -> Vec<u8> {
        let hex = list.as_array().unwrap().iter().map(|frame| frame.as_str().unwrap());
        hex.flat_map(unhex).collect()
    };
    for vector in file["vectors"].as_array().unwrap() {
        let mut got = device.exchange(&frames(&vector["request"]));
        let mut due = frames(&vector["response"]);
        if vector["name"] == "counter_before_key" {
            // The MAC is not defined without a key.
            got[196..228].fill(0);
            due[196..228].fill(0);
        }
        assert_eq!(got, due, "{}", vector["name"]);
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Frames that are nearly right: the fields that matter are small.
fn hostile_frame() -> impl Strategy<Value = Frame> {
    (0_u16..9, 0_u16..4, 0_u16..70, 0_u32..3, any::<u8>()).prop_map(
        |(kind, address, count, counter, byte)| Frame {
            kind,
            address: address * 171,
            count,
            counter,
            data: [byte; 256],
            mac: if byte < 128 { KEY } else { [byte; 32] },
            ..Frame::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_sequence_of_frames_gets_whole_frames_with_a_defined_result(
        messages in prop::collection::vec(prop::collection::vec(hostile_frame(), 0..5), 0..8),
        wanted in 0_u16..40,
        signed in any::<bool>(),
    ) {
        let mut device = RpmbDevice::new(MemoryStore::new(512));
        let mut counter = 0;
        for mut message in messages {
            let mac = rpmb::frames_mac(&KEY, &message);
            if let Some(last) = message.last_mut().filter(|_| signed) {
                last.mac = mac;
            }
            device.send(&join(&message));
            let answer = split(&device.receive(wanted)).unwrap();
            prop_assert_eq!(answer.len(), usize::from(wanted.max(1)));
            for frame in answer {
                prop_assert!(OperationResult::from_field(frame.result).is_some());
            }
            prop_assert!(device.store().counter() >= counter);
            counter = device.store().counter();
        }
    }
}
