//! Why a request did not bring its answer.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What went wrong with a request. [`Error::Refused`] is an answer; all else is the lack of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The base URL is not `https://host[:port][/path]` (or `http://` on a Unix
    /// socket or the loopback).
    #[error("{0:?} is not a server's address: give https://host:port")]
    Url(String),
    /// The path or a header holds characters that HTTP does not allow.
    #[error("the request cannot be written: {0}")]
    Request(String),
    /// The CA file holds no certificate that can be used.
    #[error("the CA certificate cannot be used: {0}")]
    Authority(String),
    /// No connection: nothing listens, the relay refused, or TLS did not come about.
    #[error("cannot reach {server}: {reason}")]
    Connect {
        /// `host:port` or the socket's path.
        server: String,
        /// What the system or the peer said.
        reason: String,
    },
    /// The server was silent for longer than the request's patience.
    #[error("{server} did not answer within {patience:?}")]
    Timeout {
        /// `host:port` or the socket's path.
        server: String,
        /// The longest silence allowed.
        patience: Duration,
    },
    /// The connection broke, or the peer does not speak HTTP.
    #[error("the exchange with {server} broke off: {reason}")]
    Broken {
        /// `host:port` or the socket's path.
        server: String,
        /// What was seen.
        reason: String,
    },
    /// The server answered with a status other than 2xx.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer's body is longer than the caller takes.
    #[error("the answer is longer than {limit_bytes} bytes")]
    TooLong {
        /// The most that the caller takes.
        limit_bytes: usize,
    },
    /// The answer's body is not the JSON that is due.
    #[error("the answer is not understood: {0}")]
    Answer(String),
}

impl Error {
    /// The answer's status, where there was an answer.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }
}

/// An answer other than 2xx, with the `{"error", "reason"}` of its JSON body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({status} {error})")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// A short word for programs, such as `locked`.
    pub error: String,
    /// A sentence for people.
    pub reason: String,
    /// `Retry-After` in seconds, where the server sent one.
    pub retry_after_s: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct ErrorBody {
    error: String,
    #[serde(default)]
    reason: String,
}

impl Refusal {
    /// From an answer's status and body; a body of another form becomes the status's own words.
    pub(crate) fn new(status: http::StatusCode, retry_after_s: Option<u64>, body: &[u8]) -> Self {
        let words = status.canonical_reason().unwrap_or("refused");
        let body = serde_json::from_slice(body).unwrap_or_else(|_| ErrorBody {
            error: words.to_lowercase().replace(' ', "_"),
            reason: words.to_owned(),
        });
        let reason = if body.reason.is_empty() { words.to_owned() } else { body.reason };
        Self { status: status.as_u16(), error: body.error, reason, retry_after_s }
    }
}
