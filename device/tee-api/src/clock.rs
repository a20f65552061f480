//! The secure clock (SPEC S2.1.1): what the trusted OS answers, and the token that sets it.
//!
//! The cloud signs [`TimeClaims`] with the key that the factory put into gatekeeper; gatekeeper
//! checks the signature and hands what it says to the trusted OS, which keeps the clock.

use serde::{Deserialize, Serialize};

/// The clock, asked by a TA.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// What time it is. → [`Answer::Time`]
    Now,
    /// A nonce for the next time token; replaces the one before. For gatekeeper only.
    /// → [`Answer::Nonce`]
    Nonce,
    /// A token whose signature is right says what time it was when it was signed. For
    /// gatekeeper only. → [`Answer::Time`], or refused `Security`
    Set {
        /// The nonce in the token.
        nonce: [u8; 32],
        /// The time in the token: milliseconds since 1970-01-01T00:00:00Z.
        unix_ms: u64,
    },
}

/// What the clock answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The time.
    Time(SecureTime),
    /// A nonce.
    Nonce([u8; 32]),
}

/// A reading of the secure clock. Of two readings, the later one is the larger, also where the
/// device lost power or got a token in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecureTime {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub unix_ms: u64,
    /// How many readings said the same milliseconds before this one.
    pub tick: u64,
    /// How far to trust it. `None`: no token came in since power-on, so nobody knows how long
    /// the device was off; it is no more than a number that rises.
    pub trust: Option<TimeTrust>,
}

/// How far a reading can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeTrust {
    /// The server's time differs from `unix_ms` by no more than this, either way: half the
    /// token's round trip, the drift of the board's counter since, and what the clock runs ahead
    /// because it never goes back.
    pub error_ms: u64,
    /// Milliseconds since the token came in.
    pub age_ms: u64,
}

/// The claims of a time token: a compact JWS, ES256, of the key that tickets are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeClaims {
    /// That it is one: no ticket passes for a time token, nor the other way round.
    pub purpose: TimePurpose,
    /// Whose device: its serial number.
    pub serial: String,
    /// [`Answer::Nonce`], base64url without padding.
    pub nonce: String,
    /// When it was signed: milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: u64,
}

/// What a time token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimePurpose {
    /// Sets the secure clock.
    SetTime,
}
