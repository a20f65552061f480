//! A trusted application's calls of the crypto engine: any bytes, any order.
#![no_main]

use crypto::secret::Secret;
use libfuzzer_sys::fuzz_target;
use tee_api::TeeError;
use tee_api::engine::{Answer, Call, Handle, KeyType, Usage};
use tee_engine::{Engine, Roots};

struct Fixed;

impl Roots for Fixed {
    fn derive(&self, info: &[&[u8]]) -> Result<Secret<32>, TeeError> {
        Ok(crypto::kdf::hkdf_sha256(&[7; 32], b"owner", info))
    }

    fn auth_token_key(&self) -> Result<(Secret<32>, Usage), TeeError> {
        Ok((Secret::new([9; 32]), Usage::VERIFY))
    }
}

/// Fresh RSA and ML-DSA keys take too long for a target that runs thousands of times a second.
fn is_slow(call: &Call) -> bool {
    use KeyType::{LegacyRsa1024, MlDsa65, MlDsa87, Rsa2048, Rsa3072, Rsa4096};
    let slow = [LegacyRsa1024, Rsa2048, Rsa3072, Rsa4096, MlDsa65, MlDsa87];
    matches!(call, Call::Generate { attributes } if slow.contains(&attributes.key_type))
}

/// Handles that are small numbers mean the latest ones that were given out.
fn aim(call: &mut Call, handles: &[Handle]) {
    let aim = |handle: &mut Handle| {
        if let Some(known) = handles.iter().rev().nth(handle.0 as usize) {
            *handle = *known;
        }
    };
    match call {
        Call::Derive { from: handle, .. }
        | Call::Info { key: handle }
        | Call::PublicKey { key: handle }
        | Call::Export { key: handle }
        | Call::Seal { key: handle, .. }
        | Call::Unwrap { under: handle, .. }
        | Call::Associate { operation: handle, .. }
        | Call::Update { operation: handle, .. }
        | Call::Finish { operation: handle, .. } => aim(handle),
        Call::Wrap { under, key, .. } => [under, key].into_iter().for_each(aim),
        Call::Begin { key, .. } | Call::Run { key, .. } => key.iter_mut().for_each(aim),
        Call::Close { handles } => handles.iter_mut().for_each(aim),
        _ => {}
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(calls) = board::channel::decode::<Vec<Call>>(data) else { return };
    let (mut engine, mut handles) = (Engine::new(), Vec::new());
    for mut call in calls.into_iter().take(64) {
        if is_slow(&call) {
            continue;
        }
        aim(&mut call, &handles);
        if let Ok(Answer::Handle(handle)) = engine.call(call, &Fixed) {
            handles.push(handle);
        }
    }
});
