//! Compact tokens: nothing that is not signed is accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

fuzz_target!(|token: &str| {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let key = crypto::sign::EcdsaKey::generate(crypto::sign::Curve::P256).expect("a key");
        key.public_key_spki().expect("its public half")
    });
    assert!(jws::verify::<serde_json::Value>(token, key).is_err());
});
