//! What the stages before hand over: arguments, folders, and the cloud's address in the system.

use board::report::BootArgs;
use serde::Deserialize;
use std::env;
use std::path::{Path, PathBuf};

/// Why the daemon does not know where it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not started by `init`.
    #[error("init starts this program; it takes the boot arguments as its first argument: {0}")]
    Arguments(String),
    /// `etc/cloud.json` is there but malformed.
    #[error("{path}: {reason}")]
    Cloud {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Where the daemon is.
#[derive(Debug)]
pub struct Config {
    /// What the boot ROM decided.
    pub boot: BootArgs,
    /// The user's data.
    pub data: PathBuf,
    /// Sockets.
    pub run: PathBuf,
    /// The system's read-only files.
    pub system: PathBuf,
    /// SHA-256 of the key that signed vbmeta, hexadecimal; `None` where nobody did.
    pub boot_key: Option<String>,
    /// The system on the flash is known to be corrupt.
    pub corrupt: bool,
}

/// `etc/cloud.json`: which cloud this system was built for.
#[derive(Debug, Deserialize)]
pub struct CloudAddress {
    /// `https://host:port`.
    pub url: String,
    /// The authority that its certificate chains to.
    pub ca_pem: String,
    /// Which of the maker's channels this system's updates come from.
    #[serde(default = "stable")]
    pub channel: String,
}

fn stable() -> String {
    "stable".to_owned()
}

impl Config {
    /// From the first argument, and from `HOLDFAST_DATA`, `HOLDFAST_RUN` and `HOLDFAST_SYSTEM`
    /// (default: `/data`, `/run`, `/system`), `HOLDFAST_BOOT_KEY` and
    /// `HOLDFAST_CORRUPT`.
    pub fn from_process() -> Result<Self, ConfigError> {
        let argument = env::args().nth(1);
        let argument = argument.ok_or_else(|| ConfigError::Arguments("there is none".into()))?;
        let boot = board::argument::decode(&argument)
            .map_err(|error| ConfigError::Arguments(error.to_string()))?;
        let folder = |variable: &str, default: &str| {
            env::var_os(variable).map_or_else(|| PathBuf::from(default), PathBuf::from)
        };
        Ok(Self {
            boot,
            data: folder("HOLDFAST_DATA", "/data"),
            run: folder("HOLDFAST_RUN", "/run"),
            system: folder("HOLDFAST_SYSTEM", "/system"),
            boot_key: env::var("HOLDFAST_BOOT_KEY").ok().filter(|key| !key.is_empty()),
            corrupt: env::var_os("HOLDFAST_CORRUPT").is_some_and(|value| value == "1"),
        })
    }

    /// The cloud that the system knows; `None` where it was built without one.
    pub fn cloud(&self) -> Result<Option<CloudAddress>, ConfigError> {
        read_cloud(&self.system.join("etc/cloud.json"))
    }
}

fn read_cloud(path: &Path) -> Result<Option<CloudAddress>, ConfigError> {
    let failed = |reason: String| ConfigError::Cloud { path: path.to_owned(), reason };
    match std::fs::read(path) {
        Ok(json) => serde_json::from_slice(&json).map(Some).map_err(|e| failed(e.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_cloud_is_none_and_a_malformed_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cloud.json");
        assert!(read_cloud(&path).unwrap().is_none());
        std::fs::write(&path, r#"{"url": "https://cloud:8443", "ca_pem": "x"}"#).unwrap();
        let cloud = read_cloud(&path).unwrap().unwrap();
        assert_eq!((&*cloud.url, &*cloud.channel), ("https://cloud:8443", "stable"));
        std::fs::write(&path, "{}").unwrap();
        assert!(read_cloud(&path).is_err());
    }
}
