//! Authorizations in both forms, and auth tokens: what is read is written the same.
#![no_main]

use keymint::{Authorizations, HardwareAuthToken};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(token) = HardwareAuthToken::from_bytes(data) {
        assert_eq!(token.to_bytes(), data);
    }
    if let Ok(set) = board::channel::decode::<Authorizations>(data) {
        let bytes = board::channel::encode(&set).expect("what was read can be written");
        assert_eq!(board::channel::decode::<Authorizations>(&bytes).expect("and read"), set);
    }
    if let Ok(set) = serde_json::from_slice::<Authorizations>(data) {
        let text = serde_json::to_string(&set).expect("what was read can be written");
        assert_eq!(serde_json::from_str::<Authorizations>(&text).expect("and read"), set);
    }
});
