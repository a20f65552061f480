//! KeyMint's vocabulary (Android's `android.hardware.security.keymint`, versions 1 to 4): what a
//! key may be used for, and how a refusal is called.
//!
//! - [`Tag`]: every authorization tag, in one table: number, type, who may set it, where it goes;
//! - [`Authorizations`]: a set of them, typed: a tag that occurs once is a field that holds one
//!   value, so contradictions that a list could carry do not exist;
//! - the enumerations ([`Algorithm`], [`KeyPurpose`] and so on) and [`ErrorCode`], numbered as the
//!   AIDL numbers them;
//! - [`HardwareAuthToken`]: 69 bytes; [`SharedSecretParameters`]: how its key is agreed on.
//!
//! Two forms, both through serde. A person's (JSON): KeyMint's names in snake case, numbers as
//! numbers, bytes as base64 (RFC 4648, 4). A machine's (CBOR): everything by number. Both refuse
//! names and numbers that do not exist, and a tag that comes twice.
//!
//! Not covered: `HARDWARE_TYPE`, which no parameter may carry, and the AIDL's parcel encoding.
//!
//! Pure: no clock, no files, no randomness, no keys.
//!
//! ```
//! use keymint::{Algorithm, Authorizations, Digest, EcCurve, KeyPurpose};
//!
//! let text = r#"{"purpose":["sign"],"algorithm":"ec","digest":["sha_2_256"],"ec_curve":"p_256","no_auth_required":true}"#;
//! let authorizations: Authorizations = serde_json::from_str(text)?;
//! assert_eq!(authorizations.algorithm, Some(Algorithm::Ec));
//! assert!(authorizations.purpose.contains(&KeyPurpose::Sign));
//! assert_eq!(serde_json::to_string(&authorizations)?, text);
//! # Ok::<(), serde_json::Error>(())
//! ```

mod authorizations;
mod bytes;
mod enums;
mod error;
mod form;
mod shared_secret;
mod tag;
mod token;

pub use authorizations::Authorizations;
pub use bytes::Bytes;
pub use enums::{
    Algorithm, BlockMode, Digest, EcCurve, KeyFormat, KeyOrigin, KeyPurpose, MlDsaVariant,
    PaddingMode, SecurityLevel,
};
pub use error::ErrorCode;
pub use shared_secret::SharedSecretParameters;
pub use tag::{Kept, SetBy, Tag, TagType};
pub use token::{AuthenticatorType, HardwareAuthToken, TokenError};

/// The longest attestation challenge, in bytes.
pub const MAX_CHALLENGE_BYTES: usize = 128;
/// The most bytes of entropy in one call.
pub const MAX_ENTROPY_BYTES: usize = 2048;
/// The longest message of an Ed25519 signature, in bytes.
pub const MAX_ED25519_MESSAGE_BYTES: usize = 16 * 1024;
/// The longest attestation application id, in bytes of DER.
pub const MAX_APPLICATION_ID_BYTES: usize = 1024;
