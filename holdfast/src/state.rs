//! The state folder: where everything lives, its version, and who uses it now.

use crate::exit::Lacking;
use anyhow::{Context, Result, bail};
use std::fs::{DirBuilder, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The layout of the state folder; another one is refused.
const VERSION: &str = "1";

/// An open state folder.
#[derive(Debug, Clone)]
pub(crate) struct State {
    root: PathBuf,
}

/// Held while `up` uses a state folder; gone with the process.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "held for its lock")] File);

impl State {
    /// Opens or makes the state folder (mode 0700).
    pub(crate) fn open(given: Option<&Path>) -> Result<Self> {
        let root = root_of(given)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(|error| {
            Lacking(format!(
                "the state folder {} can't be made: {error}. Name another with --state.",
                root.display()
            ))
        })?;
        let state = Self { root };
        state.check_version()?;
        Ok(state)
    }

    /// Opens the state folder, which must be there.
    pub(crate) fn open_existing(given: Option<&Path>) -> Result<Self> {
        let root = root_of(given)?;
        if !root.join("version").is_file() {
            let how = "Name yours with --state or HOLDFAST_STATE.";
            return Err(Lacking(format!("{} is no state folder. {how}", root.display())).into());
        }
        let state = Self { root };
        state.check_version()?;
        Ok(state)
    }

    fn check_version(&self) -> Result<()> {
        let path = self.root.join("version");
        match std::fs::read_to_string(&path) {
            Ok(version) if version.trim() == VERSION => Ok(()),
            Ok(version) => bail!(
                "{} was made by another version of Holdfast (layout {:?}, this one is {VERSION}). \
                 Use that version, or start over with --fresh.",
                self.root.display(),
                version.trim().chars().take(20).collect::<String>()
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // A first run that was killed may have left the version half written; and a maker
                // may have written down before whom it admits.
                let known = ["version.new", "maker"];
                let other = |entry: &std::fs::DirEntry| {
                    known.iter().all(|known| entry.file_name() != *known)
                };
                if std::fs::read_dir(&self.root)?.flatten().any(|entry| other(&entry)) {
                    bail!(
                        "{} is not empty and not a state folder of Holdfast. Name another with \
                         --state.",
                        self.root.display()
                    );
                }
                self.write_private("version", format!("{VERSION}\n").as_bytes()).map_err(|error| {
                    Lacking(format!("{error:#}. Name a state folder of your own with --state."))
                        .into()
                })
            }
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Deletes what stands there, if it is a state folder, and opens it anew.
    pub(crate) fn start_over(given: Option<&Path>) -> Result<Self> {
        let root = root_of(given)?;
        if root.join("version").is_file() {
            let _lock = Self { root: root.clone() }.lock()?;
            for entry in std::fs::read_dir(&root)? {
                let path = entry?.path();
                let gone = if path.is_dir() && !path.is_symlink() {
                    std::fs::remove_dir_all(&path)
                } else {
                    std::fs::remove_file(&path)
                };
                gone.with_context(|| format!("{} can't be deleted", path.display()))?;
            }
        }
        Self::open(Some(&root))
    }

    /// Takes the folder for this process.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let path = self.root.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| {
                Lacking(format!(
                    "{} can't be written: {error}. Name a state folder of your own with --state.",
                    path.display()
                ))
            })?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(Lacking(format!(
                "another `holdfast up` uses {}. End it, or name another folder with --state.",
                self.root.display()
            ))
            .into()),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| path.display().to_string())
            }
        }
    }

    /// What to say of a file inside that is not what was written there.
    pub(crate) fn damaged(&self, relative: &str) -> String {
        format!(
            "{} is damaged. Put it back as it was, or start over with --fresh, which deletes what \
             is there",
            self.path(relative).display()
        )
    }

    /// A path inside.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A folder inside, made where it is missing (mode 0700).
    pub(crate) fn folder(&self, relative: &str) -> Result<PathBuf> {
        let path = self.path(relative);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("{} can't be made", path.display()))?;
        Ok(path)
    }

    /// Writes a file that only its owner can read: whole or not at all, and durably.
    pub(crate) fn write_private(&self, relative: &str, content: &[u8]) -> Result<()> {
        let path = self.path(relative);
        let temporary = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = File::options()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            File::open(path.parent().unwrap_or(&self.root))?.sync_all()
        };
        write().with_context(|| format!("{} can't be written", path.display()))
    }
}

/// The absolute path of the state folder. Programs tell each other paths in JSON, which is UTF-8.
fn root_of(given: Option<&Path>) -> Result<PathBuf> {
    let root = match given {
        Some(dir) => std::path::absolute(dir)?,
        None => default_root()?,
    };
    if root.to_str().is_none() {
        return Err(Lacking(format!(
            "the path of the state folder {} is not UTF-8. Name another with --state.",
            root.display()
        ))
        .into());
    }
    Ok(root)
}

/// `$XDG_DATA_HOME/holdfast`, else `~/.local/share/holdfast`.
pub(crate) fn default_root() -> Result<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    match data.filter(|path| path.is_absolute()) {
        Some(data) => Ok(data.join("holdfast")),
        None => {
            Err(Lacking("no home folder: name one with --state or HOLDFAST_STATE".into()).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_folder_of_another_version() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("version"), "7\n").unwrap();
        let refused = State::open(Some(folder.path())).unwrap_err().to_string();
        assert!(refused.contains("another version") && refused.contains("--fresh"), "{refused}");
    }

    #[test]
    fn refuses_a_folder_that_holds_something_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
        assert!(State::open(Some(folder.path())).is_err());
        assert!(State::start_over(Some(folder.path())).is_err());
        assert_eq!(std::fs::read(folder.path().join("thesis.txt")).unwrap(), b"mine");
    }

    #[test]
    fn starting_over_keeps_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(Some(folder.path())).unwrap();
        state.write_private("owner.json", b"{}").unwrap();
        let state = State::start_over(Some(folder.path())).unwrap();
        assert!(!state.path("owner.json").exists());
    }

    #[test]
    fn two_runs_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(Some(folder.path())).unwrap();
        let _lock = state.lock().unwrap();
        assert!(state.lock().unwrap_err().is::<Lacking>());
    }
}
