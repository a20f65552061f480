//! A vault as a whole: its folder, its lock, its mount.
//!
//! ```text
//! vault.json  how it opens          tree/  the encrypted tree
//! lock        who has it mounted    new/   what is being made
//! ```

use crate::error::VaultError;
use crate::format::config::{CONFIG, Config};
use crate::format::keys::MasterKey;
use crate::mount;
use crate::serve::{self, FileSystem};
use crate::tree::Tree;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LOCK: &str = "lock";
/// How long a program that has the vault mounted may take to end.
const END_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Who has a vault mounted, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mounted {
    /// The process that serves it.
    pub pid: u32,
    /// The mount point.
    pub mount: PathBuf,
}

/// Somebody who uses a mounted vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// The process.
    pub pid: u32,
    /// Its program's name.
    pub program: String,
    /// What it uses, inside the mount.
    pub path: PathBuf,
}

/// How locking came out.
#[derive(Debug, PartialEq, Eq)]
pub enum Locking {
    /// It is locked: the keys are gone.
    Locked,
    /// It was locked before.
    WasLocked,
    /// It is in use, by these as far as this user may see, and stays unlocked.
    Busy(Vec<User>),
}

/// Makes an empty vault in `folder`, which is empty or does not exist. Without `config` on the
/// disk, the last thing that is written, there is no vault.
pub fn create(folder: &Path, config: &Config, master: &MasterKey) -> Result<(), VaultError> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_dir(folder).map_err(VaultError::at(folder))?.next().is_some() {
                return Err(VaultError::NotEmpty(folder.to_owned()));
            }
        }
        made => made.map_err(VaultError::at(folder))?,
    }
    Tree::create(folder, master)?;
    config.write()
}

/// Mounts the vault in `folder` at `mount_point` and serves it until it is unmounted. `ready` is
/// called when it can be used.
pub fn serve(
    folder: &Path,
    master: &MasterKey,
    mount_point: &Path,
    ready: impl FnOnce(),
) -> Result<(), VaultError> {
    let mount_point = mount_point.canonicalize().map_err(VaultError::at(mount_point))?;
    if mount_point.starts_with(folder.canonicalize().map_err(VaultError::at(folder))?) {
        let why = "it lies in the vault's own folder".into();
        return Err(VaultError::Mount { mount: mount_point, why });
    }
    let _lock = take(folder, &mount_point)?;
    let tree = Tree::open(folder, master)?;
    let at_folder = |error: Errno| VaultError::at(folder)(error.into());
    tree.clear_new().map_err(at_folder)?;
    allow_many_files();
    let file_system = FileSystem::new(tree).map_err(at_folder)?;
    // What programs ask for was masked by the kernel; nothing here masks it again.
    rustix::process::umask(rustix::fs::Mode::empty());
    let device = mount::mount(&mount_point)?;
    let ready = || {
        mount::read_farther_ahead(&mount_point);
        ready();
    };
    serve::run(&file_system, device, ready).map_err(|error| {
        let _ = mount::unmount(&mount_point, true);
        VaultError::at(&mount_point)(error)
    })
}

/// Who has the vault in `folder` mounted.
pub fn mounted(folder: &Path) -> Result<Option<Mounted>, VaultError> {
    let path = folder.join(LOCK);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(VaultError::at(&path))?,
    };
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return Ok(None);
    }
    let text = fs::read(&path).map_err(VaultError::at(&path))?;
    // Between the lock and its text is a moment.
    Ok(serde_json::from_slice(&text).ok())
}

/// Unmounts the vault in `folder` and waits until its keys are gone. With `force` that happens
/// even while it is in use: whoever uses it gets errors, and what was not yet written is lost.
pub fn lock(folder: &Path, force: bool) -> Result<Locking, VaultError> {
    if !folder.join(CONFIG).exists() {
        return Err(VaultError::NoVault(folder.to_owned()));
    }
    let Some(Mounted { mount: at, .. }) = mounted(folder)? else {
        return Ok(Locking::WasLocked);
    };
    let number = mount::device_number(&at);
    match mount::unmount(&at, force) {
        Ok(()) => {}
        // Somebody else unmounted it just now.
        Err(Errno::INVAL | Errno::NOENT) => {}
        Err(Errno::BUSY) => return Ok(Locking::Busy(users(&at))),
        Err(error) => return Err(VaultError::at(at)(error.into())),
    }
    if force && number.is_none_or(|number| mount::abort(&number).is_err()) {
        end_service(folder)?;
    }
    wait_for_end(folder)?;
    Ok(Locking::Locked)
}

/// Unmounts the vault in `folder`, from the process that serves it: the service ends by itself.
/// `false` where it is not mounted any more: somebody detached it while it was in use, and the
/// process may end.
pub fn unmount(folder: &Path) -> Result<bool, VaultError> {
    let Some(it) = mounted(folder)? else { return Ok(false) };
    match mount::unmount(&it.mount, false) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOENT) => Ok(false),
        Err(error) => Err(VaultError::at(it.mount)(error.into())),
    }
}

/// Tells the process that serves the vault in `folder` to end, where the kernel can't be told to
/// end the connection.
fn end_service(folder: &Path) -> Result<(), VaultError> {
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    let process = |it: &Mounted| Pid::from_raw(i32::try_from(it.pid).ok()?);
    let Some(pid) = mounted(folder)?.as_ref().and_then(process) else { return Ok(()) };
    let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    // Still the same process: the lock is held, and by the one that wrote its number.
    if mounted(folder)?.as_ref().and_then(process) == Some(pid) {
        let sent = pidfd_send_signal(&descriptor, Signal::TERM);
        sent.map_err(|error| VaultError::at(folder)(error.into()))?;
    }
    Ok(())
}

/// Holds the vault's lock, so that nobody mounts it meanwhile.
pub(crate) fn hold(folder: &Path) -> Result<File, VaultError> {
    let path = folder.join(LOCK);
    let options = File::options().read(true).write(true).create(true).mode(0o600).to_owned();
    let file = options.open(&path).map_err(VaultError::at(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            let who = mounted(folder)?.map_or_else(
                || "another program has it".to_owned(),
                |it| format!("process {} has it mounted at {}", it.pid, it.mount.display()),
            );
            Err(VaultError::InUse(who))
        }
        Err(error) => Err(VaultError::at(path)(error.into())),
    }
}

fn take(folder: &Path, mount: &Path) -> Result<File, VaultError> {
    if !folder.join(CONFIG).exists() {
        return Err(VaultError::NoVault(folder.to_owned()));
    }
    let mut file = hold(folder)?;
    let mounted = Mounted { pid: std::process::id(), mount: mount.to_owned() };
    let text = serde_json::to_vec(&mounted).map_err(|_| VaultError::Mount {
        mount: mount.to_owned(),
        why: "the path is no UTF-8".into(),
    })?;
    let path = folder.join(LOCK);
    file.set_len(0).and_then(|()| file.write_all(&text)).map_err(VaultError::at(path))?;
    Ok(file)
}

fn wait_for_end(folder: &Path) -> Result<(), VaultError> {
    let start = Instant::now();
    while let Some(mounted) = mounted(folder)? {
        if start.elapsed() > END_WITHIN {
            let who = format!("process {} did not end", mounted.pid);
            return Err(VaultError::InUse(who));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// As many open files as this user may have.
fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused, fewer files stay open.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Who uses something below `mount`: open files, working directories, mappings.
fn users(mount: &Path) -> Vec<User> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| user(pid, mount)).collect()
}

fn user(pid: u32, mount: &Path) -> Option<User> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let links = ["cwd", "root", "exe"].map(|name| process.join(name));
    let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let mapped = fs::read_dir(process.join("map_files")).into_iter().flatten().flatten();
    let all = links.into_iter().chain(open.chain(mapped).map(|entry| entry.path()));
    let path = all.filter_map(|link| fs::read_link(link).ok()).find(|it| it.starts_with(mount))?;
    let program = fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned();
    Some(User { pid, program, path })
}
