//! Files that appear whole or not at all.

use super::python;
use crate::exit::Misused;
use anyhow::{Context, Result};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where a result goes. That it can be written is checked before the work.
#[derive(Debug)]
pub(super) struct Output(Option<PathBuf>);

impl Output {
    /// The file that `option` names; standard output where it names none, or `-`.
    pub(super) fn new(option: &str, path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.filter(|path| !python::is_standard_stream(path)) else {
            return Ok(Self(None));
        };
        // What is there must take our bytes; what is not there must be possible.
        let checked = match fs::metadata(path) {
            Ok(_) => OpenOptions::new().write(true).open(path).map(drop),
            Err(_) => tempfile::Builder::new().tempfile_in(folder(path)).map(drop),
        };
        checked.map_err(|error| {
            let shown = path.display();
            let error = python::os_error(&error, path);
            Misused(format!("error: argument {option}: can't open '{shown}': {error}"))
        })?;
        Ok(Self(Some(path.to_owned())))
    }

    /// Writes `bytes`: a new or a regular file gets them in one step.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<()> {
        self.write_with(|out| out.write_all(bytes))
    }

    /// The same for what is made piece by piece.
    pub(super) fn write_with(
        &self,
        make: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        let Some(path) = &self.0 else {
            let mut out = io::stdout().lock();
            make(&mut out)?;
            return Ok(out.flush()?);
        };
        replace(path, make).with_context(|| path.display().to_string())
    }
}

fn replace(path: &Path, make: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let old = fs::metadata(path).ok();
    // What stands in /dev and /proc for an open file, as /dev/stdout, is that file.
    let stands_for_another = path.starts_with("/dev") || path.starts_with("/proc");
    if stands_for_another || old.as_ref().is_some_and(|old| !old.is_file()) {
        return Ok(make(&mut OpenOptions::new().write(true).open(path)?)?);
    }
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let new = fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(new).tempfile_in(folder(&path))?;
    make(&mut file)?;
    if let Some(old) = old {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.persist(&path)?;
    Ok(())
}

/// The folder of `path`.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

/// `bytes` and zeros up to the next multiple of `padding`; 0 asks for none.
pub(super) fn padded(mut bytes: Vec<u8>, padding: u64) -> Result<Vec<u8>> {
    if padding > 0 {
        let size = (bytes.len() as u64)
            .checked_next_multiple_of(padding)
            .filter(|&size| size <= 1 << 30)
            .context("--padding_size is too large")?;
        bytes.resize(usize::try_from(size)?, 0);
    }
    Ok(bytes)
}
