//! The chip takes any bytes: what is asked for comes as whole frames with a defined result, its
//! counter never falls. The frames' MACs are put right for
//! half of the inputs, so that what lies behind the MAC is reached too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rpmb::{Frame, MemoryStore, OperationResult, RpmbDevice, Store, frames_mac, host, join, split};

const KEY: [u8; 32] = [7; 32];

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let (signed, frames) = (choice & 1 == 1, u16::from(choice >> 1));
    let mut chip = RpmbDevice::new(MemoryStore::new(64)).with_max_write_frames(frames.into());
    if choice & 2 == 2 {
        chip.exchange(&host::program_key(&KEY));
    }
    for request in data.chunks(1536) {
        let counter = chip.store().counter();
        let request = if signed { sign(request) } else { request.to_vec() };
        assert_eq!(chip.exchange(&request).len() % 512, 0);
        chip.send(&request);
        let answer = split(&chip.receive(frames)).expect("whole frames");
        assert_eq!(answer.len(), usize::from(frames.max(1)));
        assert!(answer.iter().all(|frame| OperationResult::from_field(frame.result).is_some()));
        assert!(chip.store().counter() >= counter);
    }
});

fn sign(request: &[u8]) -> Vec<u8> {
    let Ok(mut frames) = split(request) else { return request.to_vec() };
    let length = frames.first().map_or(0, |first: &Frame| usize::from(first.count).max(1));
    let length = length.min(frames.len());
    let mac = frames_mac(&KEY, &frames[..length]);
    if let Some(last) = frames[..length].last_mut() {
        last.mac = mac;
    }
    join(&frames)
}
