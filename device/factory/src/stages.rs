//! Where the stage programs come from.

use crate::elf::{NotAnExecutable, loadable_part};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The programs in a flash image, and the packages that they are built from.
const PROGRAMS: [(&str, &str); 9] = [
    ("bl1", "boot"),
    ("bl2", "boot"),
    ("init", "boot"),
    ("tee-os", "tee-os"),
    ("ta-keymint", "ta-keymint"),
    ("ta-gatekeeper", "ta-gatekeeper"),
    ("baseband", "baseband"),
    ("recovery", "device-update"),
    ("system", "system"),
];
/// Says where they are.
const VARIABLE: &str = "HOLDFAST_STAGES";

/// Why the programs were not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// Some are missing.
    #[error(
        "{folder}: no stage program {missing}; build what is missing ({build}) or set \
         HOLDFAST_STAGES to the folder that has all of them"
    )]
    Missing {
        /// Where they were looked for.
        folder: PathBuf,
        /// Their names.
        missing: String,
        /// How to build them.
        build: String,
    },
    /// One can't be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// One is not a program.
    #[error("{0}: {1}")]
    NotAProgram(PathBuf, NotAnExecutable),
}

/// The stage programs, without symbols and debug information.
#[derive(Debug, Clone)]
pub struct Stages(BTreeMap<&'static str, Vec<u8>>);

impl Stages {
    /// Where the programs are looked for: `HOLDFAST_STAGES`, else beside the running program.
    /// A test program lies one folder below the others.
    pub fn folder() -> io::Result<PathBuf> {
        Ok(folder_from(env::var_os(VARIABLE), &env::current_exe()?))
    }

    /// Reads all of them from `folder`.
    pub fn load(folder: &Path) -> Result<Self, StageError> {
        let missing: Vec<_> =
            PROGRAMS.iter().filter(|(name, _)| !folder.join(name).is_file()).collect();
        if !missing.is_empty() {
            let mut packages: Vec<_> =
                missing.iter().map(|(_, package)| format!("-p {package}")).collect();
            packages.dedup();
            return Err(StageError::Missing {
                folder: folder.to_owned(),
                missing: missing.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
                build: format!("cargo build {}", packages.join(" ")),
            });
        }
        let read = |(name, _): &(&'static str, &str)| {
            let path = folder.join(name);
            let bytes =
                fs::read(&path).map_err(|error| StageError::Unreadable(path.clone(), error))?;
            let kept =
                loadable_part(&bytes).map_err(|error| StageError::NotAProgram(path, error))?;
            Ok((*name, kept))
        };
        PROGRAMS.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The program `name`.
    ///
    /// # Panics
    /// Where no stage has this name.
    #[must_use]
    pub fn program(&self, name: &str) -> &[u8] {
        &self.0[name]
    }
}

fn folder_from(variable: Option<OsString>, program: &Path) -> PathBuf {
    if let Some(folder) = variable.filter(|folder| !folder.is_empty()) {
        return folder.into();
    }
    match program.parent() {
        Some(beside) if beside.ends_with("deps") => beside.join(".."),
        Some(beside) => beside.to_owned(),
        None => PathBuf::from("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_where_the_variable_says_else_beside_the_program() {
        let folder = |variable: Option<&str>, program: &str| {
            folder_from(variable.map(OsString::from), Path::new(program))
        };
        assert_eq!(folder(Some("/stages"), "/bin/holdfast"), Path::new("/stages"));
        assert_eq!(folder(Some(""), "/bin/holdfast"), Path::new("/bin"));
        assert_eq!(folder(None, "/target/deps/boot-1"), Path::new("/target/deps/.."));
    }

    #[test]
    fn says_which_stage_is_missing_and_how_to_build_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bl2", "init", "tee-os", "ta-keymint", "ta-gatekeeper", "recovery", "system"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let text = Stages::load(folder.path()).unwrap_err().to_string();
        assert!(text.contains("no stage program bl1, baseband;"), "{text}");
        assert!(text.contains("cargo build -p boot -p baseband"), "{text}");
    }
}
