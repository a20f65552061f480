//! The cloud: services put together, and the web console.
//!
//! No logic of its own: [`api`] and [`console`] turn HTTP into calls of the services, [`connect`]
//! fills the traits through which services need each other.

mod api;
mod app;
mod attestation;
mod caller;
mod connect;
mod console;
mod credentials;
mod fault;
mod google_list;
mod housekeeping;
mod restore;
mod serve;

pub use serve::serve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How the cloud is run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it keeps its state.
    pub state: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The Key Center.
    pub key_center: KeyCenterAt,
    /// Whom the attestation service believes.
    pub attestation: Attestation,
}

/// Whom the attestation service believes besides the makers that register and our own provisioning.
#[derive(Debug, Clone)]
pub struct Attestation {
    /// Files with further roots (PEM certificates). Google's are known.
    pub roots: Vec<PathBuf>,
    /// Google's revocation list: a file, or an `https` address. Without it no phone under Google's
    /// roots counts.
    pub google_list: Option<String>,
    /// The CAs that the address's certificate chains to (PEM).
    pub google_list_ca: Option<PathBuf>,
    /// How old the list may be.
    pub list_max_age: Duration,
}

/// Where the Key Center is and how to sign in to it.
#[derive(Debug, Clone)]
pub struct KeyCenterAt {
    /// Its address.
    pub url: String,
    /// The CA that its certificate chains to (PEM file).
    pub ca: PathBuf,
    /// The credential (JSON file).
    pub credential: PathBuf,
}
