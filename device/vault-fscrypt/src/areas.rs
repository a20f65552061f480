//! Areas: for each user CE and DE, in each a directory for each application.
//!
//! ```text
//! ROOT/de/USER/APPLICATION    open once the device booted
//! ROOT/ce/USER/APPLICATION    open from the user's first unlock to the lock
//! ```

use crate::kernel::{self, Presence, Removal};
use crypto::secret::Secret;
use fscrypt::{Flags, Mode, Policy};
use rustix::fs::{self, AtFlags, CWD, Gid, OFlags, Uid};
use rustix::io::Errno;
use std::fmt;
use std::path::{Path, PathBuf};

/// A user's key of one class.
pub type ClassKey = Secret<64>;

/// When an area is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Credential encrypted: from the user's first unlock on. The default.
    Credential,
    /// Device encrypted: once the device booted. Alarms, ring tones, Wi-Fi, Bluetooth.
    Device,
}

impl Class {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Credential, Self::Device];

    const fn folder(self) -> &'static str {
        match self {
            Self::Credential => "ce",
            Self::Device => "de",
        }
    }
}

/// What can be done with an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was never made.
    None,
    /// It is there; its names are ciphertext and its files don't open.
    Locked,
    /// It is open.
    Open,
    /// It was locked while files were open: those go on, no other opens.
    Busy,
}

/// Why an area was not made, opened or closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AreaError {
    /// The file system does not encrypt.
    #[error("{}: the file system does not encrypt; `tune2fs -O encrypt` turns it on for ext4", .0.display())]
    NotSupported(PathBuf),
    /// The key is another area's.
    #[error("{}: the key is another area's", .0.display())]
    OtherKey(PathBuf),
    /// The area is not open.
    #[error("{}: the area is locked", .0.display())]
    Locked(PathBuf),
    /// An application's name that is no file name.
    #[error("{0:?} is no name of an application")]
    Name(String),
    /// The system refused.
    #[error("{}: {error}", path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// What it said.
        error: Errno,
    },
}

/// The areas of a device, below one folder of an ext4 or F2FS file system.
pub struct Areas {
    root: PathBuf,
    names: Mode,
}

impl fmt::Debug for Areas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Areas").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Areas {
    /// The areas below `root`, which are made there as needed. Names are AES-256-HCTR2 where the
    /// kernel has it for new areas, else AES-256-CTS.
    pub fn at(root: &Path) -> Result<Self, AreaError> {
        let areas = Self { root: root.to_owned(), names: Mode::AES_256_HCTR2 };
        for class in Class::ALL {
            make(&root.join(class.folder()), 0o711)?;
        }
        let names = if areas.kernel_has_hctr2()? { Mode::AES_256_HCTR2 } else { Mode::AES_256_CTS };
        Ok(Self { names, ..areas })
    }

    /// Opens a user's area with its key, and makes it at the first time. The key is the kernel's
    /// from then on.
    pub fn open(&self, class: Class, user: u32, key: &ClassKey) -> Result<(), AreaError> {
        let path = self.area(class, user);
        let named = kernel::add_key(folder(&self.root)?, key.expose())
            .map_err(|error| self.refused(&self.root, error))?;
        let opened =
            if path.exists() { self.is_of(&path, &named) } else { self.make_area(&path, &named) };
        // A key that opens nothing here does not stay in the kernel.
        opened.inspect_err(|_| {
            let _ = folder(&self.root).map(|root| kernel::remove_key(root, &named));
        })
    }

    /// Takes a user's key from the kernel. What is still open goes on, and is said.
    pub fn close(&self, class: Class, user: u32) -> Result<Removal, AreaError> {
        let path = self.area(class, user);
        let named = self.named(&path)?;
        // Dirty pages are written with the key that is about to go.
        let root = folder(&self.root)?;
        fs::syncfs(&root).map_err(system(&self.root))?;
        match kernel::remove_key(&root, &named) {
            Err(Errno::NOKEY) => Ok(Removal { files_busy: false, other_users: false }),
            removed => removed.map_err(system(&path)),
        }
    }

    /// How a user's area stands.
    pub fn state(&self, class: Class, user: u32) -> Result<State, AreaError> {
        let path = self.area(class, user);
        if !path.exists() {
            return Ok(State::None);
        }
        let status = kernel::key_status(folder(&self.root)?, &self.named(&path)?);
        Ok(match status.map_err(system(&path))? {
            Presence::Absent => State::Locked,
            Presence::Present => State::Open,
            Presence::IncompletelyRemoved => State::Busy,
        })
    }

    /// The directory of an application, made at the first time: `uid`'s alone.
    pub fn directory(
        &self,
        class: Class,
        user: u32,
        application: &str,
        uid: u32,
    ) -> Result<PathBuf, AreaError> {
        if application.is_empty()
            || application.starts_with('.')
            || application.contains(['/', '\0'])
        {
            return Err(AreaError::Name(application.to_owned()));
        }
        let area = self.area(class, user);
        if self.state(class, user)? != State::Open {
            return Err(AreaError::Locked(area));
        }
        let path = area.join(application);
        if path.exists() {
            return Ok(path);
        }
        // Nobody sees it before it is its owner's.
        let new = area.join(format!(".{application}.new"));
        make(&new, 0o700)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
        fs::chownat(CWD, &new, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(system(&new))?;
        fs::rename(&new, &path).map_err(system(&path))?;
        Ok(path)
    }

    fn area(&self, class: Class, user: u32) -> PathBuf {
        self.root.join(class.folder()).join(user.to_string())
    }

    /// Makes an area: a kill leaves a folder `.USER.new` without a name, or the area whole.
    fn make_area(&self, path: &Path, named: &[u8; 16]) -> Result<(), AreaError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = path.with_file_name(format!(".{name}.new"));
        match fs::rmdir(&new) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(system(&new)(error)),
        }
        make(&new, 0o711)?;
        let policy = self.policy(self.names, named);
        kernel::set_policy(folder(&new)?, &policy).map_err(|error| self.refused(&new, error))?;
        fs::rename(&new, path).map_err(system(path))?;
        let above = path.parent().unwrap_or(&self.root);
        fs::fsync(folder(above)?).map_err(system(above))
    }

    fn policy(&self, names: Mode, named: &[u8; 16]) -> Policy {
        Policy::V2 {
            contents: Mode::AES_256_XTS,
            names,
            flags: Flags::PAD_32,
            log2_data_unit: 0,
            identifier: *named,
        }
    }

    /// Setting a policy tries its ciphers.
    fn kernel_has_hctr2(&self) -> Result<bool, AreaError> {
        let root = folder(&self.root)?;
        let key = ClassKey::random();
        let named = kernel::add_key(&root, key.expose())
            .map_err(|error| self.refused(&self.root, error))?;
        let trial = self.root.join(".hctr2");
        let _ = fs::rmdir(&trial);
        make(&trial, 0o700)?;
        let set = kernel::set_policy(folder(&trial)?, &self.policy(self.names, &named));
        // A file needs the cipher; the policy alone may be taken without.
        let works = set.is_ok() && std::fs::create_dir(trial.join("name")).is_ok();
        let _ = std::fs::remove_dir_all(&trial);
        let _ = kernel::remove_key(&root, &named);
        Ok(works)
    }

    fn is_of(&self, path: &Path, named: &[u8; 16]) -> Result<(), AreaError> {
        match self.named(path)? == *named {
            true => Ok(()),
            false => Err(AreaError::OtherKey(path.to_owned())),
        }
    }

    /// The name of an area's key.
    fn named(&self, path: &Path) -> Result<[u8; 16], AreaError> {
        match kernel::policy(folder(path)?).map_err(system(path))? {
            Policy::V2 { identifier, .. } => Ok(identifier),
            Policy::V1 { .. } => Err(system(path)(Errno::OPNOTSUPP)),
        }
    }

    fn refused(&self, path: &Path, error: Errno) -> AreaError {
        match error {
            Errno::OPNOTSUPP | Errno::NOTTY => AreaError::NotSupported(self.root.clone()),
            error => system(path)(error),
        }
    }
}

fn folder(path: &Path) -> Result<rustix::fd::OwnedFd, AreaError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::open(path, flags, fs::Mode::empty()).map_err(system(path))
}

fn make(path: &Path, mode: u32) -> Result<(), AreaError> {
    match fs::mkdir(path, fs::Mode::from_raw_mode(mode)) {
        Err(Errno::EXIST) => Ok(()),
        made => {
            made.map_err(system(path))?;
            // Whatever the umask is.
            fs::chmod(path, fs::Mode::from_raw_mode(mode)).map_err(system(path))
        }
    }
}

fn system(path: &Path) -> impl FnOnce(Errno) -> AreaError {
    let path = path.to_owned();
    |error| AreaError::System { path, error }
}
