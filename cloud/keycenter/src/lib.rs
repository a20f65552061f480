//! The Key Center: keys in hands apart from business and data (SPEC S5.1.3, S6.2).
//!
//! It speaks a subset of Vault's HTTP API, so that Vault's clients can use it: the transit
//! engine (`aes128-gcm96`, `aes256-gcm96`, `hmac`), AppRole and JWT logins, tokens, policies.
//! Keys never leave it; callers get ciphertexts, tags and data keys.
//!
//! - A request is refused unless a policy of its token allows it; a policy that denies decides
//!   ([`policy`]).
//! - What is stored is sealed under the master key, which the root key wraps ([`seal`],
//!   [`root_key`]).
//! - Every use is in a chained audit log before its answer is sent ([`audit`]).
//!
//! Not covered yet: administration over HTTP, shares of the unseal key, import and export,
//! signing keys, namespaces, leases other than tokens.

mod answer;
pub mod audit;
pub mod center;
mod login;
pub mod policy;
pub mod root_key;
mod route;
pub mod seal;
pub mod store;
mod token;
mod transit;
mod wiped;

pub use center::{Center, Error};
