//! The chip takes any bytes: it answers whole frames or nothing, and its counter never falls.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rpmb::{MemoryStore, RpmbDevice};

fuzz_target!(|data: &[u8]| {
    let mut chip = RpmbDevice::new(MemoryStore::new(64));
    for request in data.chunks(1536) {
        assert_eq!(chip.exchange(request).len() % 512, 0);
    }
});
