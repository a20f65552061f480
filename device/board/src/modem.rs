//! Between the board and the modem's firmware, which runs outside the stages.
//!
//! | fd | what |
//! |---|---|
//! | 3 | [`LISTENER`]: listening stream socket, `/run/radio.sock` of the system |
//! | 4 | [`RECEIVER`]: SEQPACKET to the satellite receiver: [`Ask`] there, [`Position`] back |
//! | 5 | [`crate::fds::LOG`] |
//! | 8 | [`crate::fds::POWER`] |

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Where the system's connections come in.
pub const LISTENER: i32 = 3;
/// The satellite receiver.
pub const RECEIVER: i32 = 4;

/// What the board tells the firmware: hexadecimal CBOR in its first argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModemArgs {
    /// Whom the device may reach: `name:port` as it says, and the address behind it.
    pub routes: BTreeMap<String, SocketAddr>,
}

/// What the firmware asks the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Where the device is.
    Position,
}

/// A position, WGS 84.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Radius of 68 % confidence, metres.
    pub accuracy_m: f64,
}

impl Position {
    /// Whether all three lie where a position can.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        (-90.0..=90.0).contains(&self.lat)
            && (-180.0..=180.0).contains(&self.lon)
            && self.accuracy_m.is_finite()
            && self.accuracy_m >= 0.0
    }
}
