//! The crypto engine of the TEE (SPEC S2.1.3, S2.1.4): key objects, and operations with them.
//!
//! One implementation, in two places. The trusted OS has an [`Engine`] for each trusted
//! application, which asks it by handle ([`tee_api::engine`]); the keys' bytes stay there. And a
//! TA that made a key itself may use [`Key`] and [`Running`] in its own process, where nothing
//! crosses. All algorithms are those of the facade `crypto`.
//!
//! The rules that keep a key's bytes inside, in [`key`] and [`wrap`]:
//!
//! - Type and usage never change. They go into every derivation from the HUK and travel with a
//!   wrapped key, so no key comes back as something that reveals it.
//! - Extractable is what was declared so when it was made, and nothing that hangs on the HUK.
//! - A key that wraps others does nothing else; and only one whose bytes the TA can't know takes
//!   keys that are not extractable.

pub mod engine;
pub mod key;
mod material;
mod names;
pub mod operation;
pub mod public;
pub mod shared_secret;
pub mod wrap;

pub use engine::{Engine, Next, Roots, Task};
pub use key::Key;
pub use operation::Running;
pub use public::PublicKey;

use tee_api::TeeError;

/// In GlobalPlatform's terms.
pub(crate) fn failed(error: crypto::Error) -> TeeError {
    let text = error.to_string();
    match error {
        crypto::Error::Authentication => TeeError::Security(text),
        crypto::Error::MalformedKey | crypto::Error::Length => TeeError::BadParameters(text),
        _ => TeeError::Resources(text),
    }
}

pub(crate) fn parameters(text: &str) -> TeeError {
    TeeError::BadParameters(text.into())
}

pub(crate) fn denied(text: &str) -> TeeError {
    TeeError::Denied(text.into())
}
