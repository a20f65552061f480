//! Where the things of a device are kept.

use effects::durable;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a device is kept: `--state`.
#[derive(Debug, Clone)]
pub struct Places {
    state: PathBuf,
}

impl Places {
    /// In the folder `state`.
    #[must_use]
    pub const fn new(state: PathBuf) -> Self {
        Self { state }
    }

    /// Fuses and RPMB chip: the board's alone.
    #[must_use]
    pub fn board(&self) -> PathBuf {
        self.state.join("board")
    }

    /// The flash image.
    #[must_use]
    pub fn flash(&self) -> PathBuf {
        self.state.join("flash.img")
    }

    /// Becomes `/data` of the system.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.state.join("data")
    }

    /// Becomes `/run` of the system.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.state.join("run")
    }

    /// The folder itself.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn boots(&self) -> PathBuf {
        self.board().join("boots")
    }
}

/// Counts a power-on, durably: the first is 0.
pub(crate) fn next_boot_no(path: &Path) -> io::Result<u64> {
    let next = match fs::read_to_string(path) {
        Ok(text) => text.trim().parse::<u64>().map_err(|_| {
            let problem = format!("{}: not a count of power-ons", path.display());
            io::Error::new(io::ErrorKind::InvalidData, problem)
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    durable::replace(path, format!("{}\n", next + 1).as_bytes(), 0o600)?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_power_ons_from_zero() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boots");
        assert_eq!([0; 3].map(|_: u64| next_boot_no(&path).unwrap()), [0, 1, 2]);
        fs::write(&path, "many").unwrap();
        assert!(next_boot_no(&path).is_err());
    }
}
