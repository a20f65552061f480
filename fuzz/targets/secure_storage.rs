//! Records and the anchor of secure storage, and what the keeper of files says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secure_storage::{AnchorState, Record};

fuzz_target!(|data: &[u8]| {
    if let Some(record) = Record::decode(data) {
        assert_eq!(record.encode(), data);
    }
    if let Some(anchor) = AnchorState::decode(data) {
        assert_eq!(anchor.encode(), data);
    }
    let _ = board::channel::decode::<tee_api::keeper::Outcome>(data);
});
