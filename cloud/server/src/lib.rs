//! The cloud: services put together, and the web console.
//!
//! No logic of its own: [`api`] and [`console`] turn HTTP into calls of the services, [`connect`]
//! fills the traits through which services need each other.

mod api;
mod app;
mod caller;
mod connect;
mod console;
mod credentials;
mod fault;
mod housekeeping;
mod restore;
mod serve;

pub use serve::serve;

use std::net::SocketAddr;
use std::path::PathBuf;

/// How the cloud is run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it keeps its state.
    pub state: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The Key Center.
    pub key_center: KeyCenterAt,
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
