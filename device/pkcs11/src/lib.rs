//! `libholdfast_pkcs11.so`: the keys of a Holdfast device for every program that speaks PKCS #11
//! (OASIS PKCS #11 3.0; programs of 2.40 work too).
//!
//! A program's calls are read at the [border](mod@border) and become operations of a session on
//! objects. What lies in the token is behind the [`token::Token`] trait: private and secret keys
//! in the TEE, which is asked to work with them; records of certificates, data and attributes. What
//! needs no secret (digests, verifying, encrypting to public keys) is done here, and so is what
//! session objects need, which live no longer than the session.
//!
//! No lock is held over a call of the TEE but that of the session whose call it is.
//!
//! Not covered: messages in parts under a key that stays chosen (`C_EncryptMessageBegin` and so on),
//! saved operation state, notifications. docs/pkcs11.md has the mechanisms, and what is refused.

mod attributes;
mod border;
mod cmac;
mod device;
pub mod error;
mod hkdf;
mod interface;
pub mod key;
mod key_wrap;
mod keyforms;
mod making;
mod mechanism;
mod messages;
mod module;
mod object;
mod operation;
mod pairs;
mod record;
mod rsa_padding;
mod schemes;
mod session;
pub mod soft;
pub mod token;
mod wrapping;

pub use interface::{C_GetFunctionList, C_GetInterface, C_GetInterfaceList};
pub use module::serve;
