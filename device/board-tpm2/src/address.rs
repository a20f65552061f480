//! Where a TPM is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a TPM is: `device:/dev/tpmrm0`, `swtpm:unix:/path/of/socket`, `swtpm:HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A character device of the kernel, with its resource manager.
    Device(PathBuf),
    /// The Unix socket of `swtpm socket --server type=unixio`.
    Unix(PathBuf),
    /// The TCP port of `swtpm socket --server type=tcp`.
    Tcp(String),
}

/// An address that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no TPM; give device:/dev/tpmrm0, swtpm:unix:/path/of/socket or swtpm:HOST:PORT"
)]
pub struct BadAddress(String);

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        if text.contains(['\n', '\0']) {
            return Err(bad());
        }
        let absolute = |path: &str| path.starts_with('/').then(|| PathBuf::from(path));
        if let Some(path) = text.strip_prefix("device:") {
            return absolute(path).map(Self::Device).ok_or_else(bad);
        }
        let rest = text.strip_prefix("swtpm:").ok_or_else(bad)?;
        if let Some(path) = rest.strip_prefix("unix:") {
            return absolute(path).map(Self::Unix).ok_or_else(bad);
        }
        match rest.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Tcp(rest.to_owned()))
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => write!(f, "device:{}", path.display()),
            Self::Unix(path) => write!(f, "swtpm:unix:{}", path.display()),
            Self::Tcp(at) => write!(f, "swtpm:{at}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_is_written_and_others_are_refused() {
        for text in ["device:/dev/tpmrm0", "swtpm:unix:/run/a b/sock", "swtpm:localhost:2321"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "device:",
            "device:tpm0",
            "swtpm:",
            "swtpm:unix:",
            "swtpm:unix:here",
            "swtpm:2321",
            "swtpm::2321",
            "swtpm:localhost:70000",
            "tpm:/dev/tpm0",
            "device:/dev/tpm\n0",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
