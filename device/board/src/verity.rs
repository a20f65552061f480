//! What the device does about a block of the system that is not the one that was signed.

use avb::HashtreeErrorMode;
use serde::{Deserialize, Serialize};

/// The signed property of vbmeta with which the maker chooses an [`ErrorMode`].
pub const ERROR_MODE_PROPERTY: &str = "holdfast.verity_error_mode";
/// The option on the signed kernel command line with the SHA-256 of the system's parity.
pub const PARITY_OPTION: &str = "holdfast.system_fec_sha256=";

/// What the maker wants to happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ErrorMode {
    /// The device restarts, and from then on gives I/O errors, until it has another system.
    #[default]
    Managed,
    /// The device restarts. Its next boot refuses what it finds.
    Restart,
    /// Whoever reads the block gets an I/O error.
    Eio,
    /// The device stops until a person presses the power button.
    Panic,
}

impl ErrorMode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Managed, Self::Restart, Self::Eio, Self::Panic];

    /// The property's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Restart => "restart",
            Self::Eio => "eio",
            Self::Panic => "panic",
        }
    }

    /// The mode that a property names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

impl From<ErrorMode> for HashtreeErrorMode {
    fn from(mode: ErrorMode) -> Self {
        match mode {
            ErrorMode::Managed => Self::ManagedRestartAndEio,
            ErrorMode::Restart => Self::Restart,
            ErrorMode::Eio => Self::Eio,
            ErrorMode::Panic => Self::Panic,
        }
    }
}

/// What holds in this boot: `androidboot.veritymode` on the kernel command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerityMode {
    /// The whole system was checked before it ran; the first bad block restarts the device.
    #[default]
    Enforcing,
    /// Each block is checked when it is read; a bad one is an I/O error.
    Eio,
    /// The whole system was checked before it ran; the first bad block stops the device.
    Panicking,
}

impl VerityMode {
    /// The mode with libavb's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "enforcing" => Some(Self::Enforcing),
            "eio" => Some(Self::Eio),
            "panicking" => Some(Self::Panicking),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_found_by_its_name_and_nothing_else_is_one() {
        for mode in ErrorMode::ALL {
            assert_eq!(ErrorMode::from_name(mode.name()), Some(mode));
        }
        assert_eq!(ErrorMode::from_name("logging"), None);
        assert_eq!(VerityMode::from_name("disabled"), None);
    }
}
