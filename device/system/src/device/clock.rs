//! The TEE's secure clock: fetching its time, and showing what it says.

use super::{Device, blocking};
use crate::error::Error;
use device_link::clock;
use serde::Serialize;
use std::sync::Arc;
use tee_api::clock::SecureTime;

/// What the secure clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Time {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub unix_ms: u64,
    /// A signed time came in since power-on. Otherwise it is no more than a number that rises.
    pub trusted: bool,
    /// The cloud's time differs by no more than this; `null` where it is not trusted.
    pub error_ms: Option<u64>,
    /// How long ago the signed time came in; `null` where none did.
    pub set_ms_ago: Option<u64>,
}

impl From<SecureTime> for Time {
    fn from(time: SecureTime) -> Self {
        Self {
            unix_ms: time.unix_ms,
            trusted: time.trust.is_some(),
            error_ms: time.trust.map(|trust| trust.error_ms),
            set_ms_ago: time.trust.map(|trust| trust.age_ms),
        }
    }
}

impl Device {
    /// Asks the cloud for the time and lets the TEE judge the answer.
    pub async fn set_secure_clock(self: &Arc<Self>) -> Result<Time, Error> {
        let cloud = self.cloud()?.clone();
        let chain = self.fresh_chain().await?;
        // The nonce comes last: the way from here to the token bounds the clock's error.
        let nonce = blocking(self, |device| Ok(device.tee.time_nonce()?)).await?;
        let token = clock::token(&cloud, chain, nonce).await?;
        let time = blocking(self, |device| Ok(device.tee.set_time(token)?)).await?;
        self.touch();
        Ok(time.into())
    }
}
