//! Accounts (SPEC S5.1).
//!
//! | route | who | body → answer |
//! |---|---|---|
//! | `POST /v1/accounts` | anyone | [`SignUp`] → [`Session`] |
//! | `POST /v1/sessions` | anyone | [`SignIn`] → [`Session`] |
//! | `DELETE /v1/sessions/current` | user | → 204 |
//! | `GET /v1/account` | user or device | → [`Profile`] |
//! | `POST /v1/password/forgot` | anyone | [`Forgot`] → 202; a code goes to the recovery e-mail |
//! | `POST /v1/password/reset` | anyone | [`Reset`] → 204 |
//! | `POST /v1/password` | user | [`Change`] → 204 |
//! | `POST /v1/account/close` | user | [`Close`] → 204; everything of the account is deleted |
//! | `POST /v1/owner-assertion` | user or device | → [`OwnerAssertion`] |

use serde::{Deserialize, Serialize};

/// A new account.
#[derive(Clone, Serialize, Deserialize)]
pub struct SignUp {
    /// 8 to 16 characters with digits, letters and special characters (S5.1.1).
    pub password: String,
    /// Recovery phone, E.164 (`+49…`).
    pub phone: String,
    /// Recovery e-mail.
    pub email: String,
    /// ISO 3166-1 alpha-2; decides where data is stored.
    pub country: String,
}

/// Signs in.
#[derive(Clone, Serialize, Deserialize)]
pub struct SignIn {
    /// Phone, e-mail or account id.
    pub login: String,
    /// The password.
    pub password: String,
}

/// A session.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// The account.
    pub account_id: String,
    /// Bearer token.
    pub token: String,
    /// When it ends.
    pub expires_at_ms: u64,
}

/// What an account shows of itself; personal data masked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Profile {
    /// The account.
    pub account_id: String,
    /// As `+49*******12`.
    pub phone: String,
    /// As `a***@example.org`.
    pub email: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// When it was made.
    pub created_at_ms: u64,
}

/// Asks for a reset code.
#[derive(Clone, Serialize, Deserialize)]
pub struct Forgot {
    /// Phone, e-mail or account id.
    pub login: String,
}

/// Sets a new password with the code from the recovery e-mail.
#[derive(Clone, Serialize, Deserialize)]
pub struct Reset {
    /// Phone, e-mail or account id.
    pub login: String,
    /// Six digits, good for ten minutes and five tries.
    pub code: String,
    /// The new password.
    pub new_password: String,
}

/// Changes the password, knowing the old one.
#[derive(Clone, Serialize, Deserialize)]
pub struct Change {
    /// The old password.
    pub old_password: String,
    /// The new one.
    pub new_password: String,
}

/// Closes the account and deletes everything of it, its key at the Key Center included.
#[derive(Clone, Serialize, Deserialize)]
pub struct Close {
    /// The password.
    pub password: String,
}

/// What its owner shows to the Key Center to use the account's keys.
#[derive(Clone, Serialize, Deserialize)]
pub struct OwnerAssertion {
    /// Compact JWS, ES256, at most five minutes old; claims in [`OwnerClaims`].
    pub jwt: String,
    /// Where the Key Center listens.
    pub keycenter_url: String,
    /// The CA that its certificate chains to (PEM).
    pub keycenter_ca: String,
}

/// The claims of an owner assertion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerClaims {
    /// `holdfast-account`.
    pub iss: String,
    /// `keycenter`.
    pub aud: String,
    /// The account.
    pub sub: String,
    /// `owner`.
    pub purpose: String,
    /// Issued at (seconds).
    pub iat: u64,
    /// Expires (seconds).
    pub exp: u64,
    /// Single use.
    pub jti: String,
}
