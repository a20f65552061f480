//! Push (SPEC S5.4).
//!
//! | route | who | body → answer |
//! |---|---|---|
//! | `POST /v1/push/registrations` | device | [`Register`] → [`Registration`] |
//! | `POST /v1/push/messages` | a developer's credential (bearer) | [`Send`] → [`Sent`] |
//! | `GET /v1/push/messages/{id}` | the same developer | → [`Delivery`] |
//!
//! A message is sealed under the registration's content key (AES-128-GCM, AAD = registration id)
//! by the cloud and travels inside TLS: two layers.

use crate::{Base64, find};
use serde::{Deserialize, Serialize};

/// Registers an application of this device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Register {
    /// The application's package name.
    pub app: String,
    /// SHA-256 of device identifier, serial and Android id: hashed on the device, irreversible.
    pub hashed_ids: Vec<String>,
}

/// A registration.
#[derive(Clone, Serialize, Deserialize)]
pub struct Registration {
    /// Random; what a developer addresses.
    pub registration_id: String,
    /// AES-128 key.
    pub content_key: Base64,
}

/// A developer sends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Send {
    /// To whom.
    pub registration_id: String,
    /// What.
    pub message: Message,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Shown as the notification's title.
    pub title: String,
    /// Shown below it; at most 4 KiB.
    pub body: String,
}

/// Accepted and stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sent {
    /// Its id.
    pub message_id: u64,
}

/// How far a message is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// `pending`, `delivered` or `expired`.
    pub state: String,
    /// From acceptance to the device's acknowledgement.
    pub latency_ms: Option<u64>,
}

/// What comes down a device's link: the `data` of a server-sent event whose `id` is the event id
/// (for [`crate::device::Ack`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A message for an application.
    Push {
        /// Whose.
        registration_id: String,
        /// AES-128-GCM (nonce || ciphertext || tag) of the JSON of [`Message`].
        sealed: Base64,
    },
    /// A command of find-device.
    Command {
        /// For the report.
        command_id: u64,
        /// What to do.
        command: find::Command,
    },
}
