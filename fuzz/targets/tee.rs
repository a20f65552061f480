//! The messages that cross into the TEE.
#![no_main]

use board::channel::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = decode::<tee_api::ree::Request>(data);
    let _ = decode::<tee_api::boot::Request>(data);
    let _ = decode::<tee_api::ta::FromTa>(data);
    let _ = decode::<tee_api::gatekeeper::Command>(data);
    let _ = decode::<tee_api::keymint::Command>(data);
    let _ = decode::<board::secure::Request>(data);
    let _ = decode::<board::secure::Reply>(data);
    let _ = decode::<board::ui::ToScreen>(data);
});
