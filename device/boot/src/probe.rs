//! Attempts of the normal world's root to reach what it must not: for tests, and for the attack
//! steps of the story.
//!
//! Who starts the probe knows the secrets' places on the host ([`Targets::on_this_host`] looks
//! the rest up); the probe then searches for them under any name. It alters nothing outside, even
//! where it succeeds.

mod door;
mod files;
mod handle;
mod kernel;
mod noise;
mod processes;
mod secrets;

pub use door::{DoorAttack, DoorWay};
pub use handle::FileHandle;
pub use processes::ProcessWay;
pub use secrets::Hidden;

use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

/// What must be out of reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// Files and folders: fuses, RPMB chip, the board's folder.
    pub files: Vec<TargetFile>,
    /// Processes: the trusted OS, its applications, the board.
    pub processes: Vec<TargetProcess>,
    /// Ports on the host's loopback interface.
    pub ports: Vec<u16>,
    /// Names of abstract Unix sockets of the host.
    pub abstract_sockets: Vec<String>,
    /// Which of the ways to a process are tried; all of them where this says nothing.
    #[serde(default)]
    pub ways: Option<ProcessWay>,
    /// Whether what only root of the machine may is tried.
    #[serde(default)]
    pub kernel: bool,
    /// An attack on the TEE's own door.
    #[serde(default)]
    pub door: Option<DoorAttack>,
    /// What was typed or chosen at the trusted screen.
    #[serde(default)]
    pub secrets: Vec<Hidden>,
}

/// A file that must be out of reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFile {
    /// Where it lies on the host.
    pub path: PathBuf,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Its handle, where its file system has such.
    pub handle: Option<FileHandle>,
}

/// A process that must be out of reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetProcess {
    /// Its number on the host.
    pub pid: i32,
    /// Its name.
    pub name: String,
    /// When it started, in clock ticks since the host's boot: the same in every namespace.
    pub start: u64,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was tried.
    pub attempt: String,
    /// On what.
    pub target: String,
    /// Whether it reached what it must not.
    pub succeeded: bool,
    /// What happened.
    pub detail: String,
}

impl Targets {
    /// Looks the identities of `files` and `processes` up on this host.
    pub fn on_this_host(files: &[PathBuf], processes: &[i32], ports: &[u16]) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let file = |path: &PathBuf| {
            let found = fs::metadata(path)?;
            let (device, inode) = (found.dev(), found.ino());
            let handle = FileHandle::of(path).ok();
            Ok(TargetFile { path: path.clone(), device, inode, handle })
        };
        let process = |pid: &i32| {
            let gone = || io::Error::new(io::ErrorKind::NotFound, format!("process {pid} is gone"));
            let (name, start) = processes::identity(*pid).ok_or_else(gone)?;
            Ok(TargetProcess { pid: *pid, name, start })
        };
        Ok(Self {
            files: files.iter().map(file).collect::<io::Result<_>>()?,
            processes: processes.iter().map(process).collect::<io::Result<_>>()?,
            ports: ports.to_vec(),
            abstract_sockets: abstract_sockets(),
            ..Self::default()
        })
    }
}

/// Tries everything.
#[must_use]
pub fn run(targets: &Targets) -> Vec<Attempt> {
    let mut attempts = files::attempts(&targets.files);
    attempts.extend(processes::attempts(&targets.processes, targets.ways));
    attempts.extend(targets.ports.iter().map(|port| connect(*port)));
    attempts.extend(targets.abstract_sockets.iter().map(|name| connect_abstract(name)));
    attempts.extend(secrets::attempts(&targets.secrets));
    if targets.door.is_none() {
        attempts.push(host_switches());
    }
    if targets.kernel {
        attempts.extend(kernel::attempts());
    }
    attempts.extend(targets.door.as_ref().map(DoorAttack::run));
    attempts
}

impl Attempt {
    fn new<T>(attempt: &str, target: impl ToString, outcome: io::Result<T>, reached: &str) -> Self {
        let (succeeded, detail) = match outcome {
            Ok(_) => (true, reached.to_owned()),
            Err(error) => (false, error.to_string()),
        };
        Self { attempt: attempt.to_owned(), target: target.to_string(), succeeded, detail }
    }
}

fn connect(port: u16) -> Attempt {
    let patience = Duration::from_secs(1);
    let addresses =
        [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()];
    let outcome = addresses
        .iter()
        .map(|address| TcpStream::connect_timeout(address, patience))
        .reduce(io::Result::or)
        .unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
    Attempt::new("connect to the host's loopback", port, outcome, "somebody answers")
}

fn connect_abstract(name: &str) -> Attempt {
    let outcome = UnixAddress::from_abstract_name(name)
        .and_then(|address| UnixStream::connect_addr(&address));
    Attempt::new("connect to the host's abstract socket", name, outcome, "somebody answers")
}

/// Names of the abstract stream sockets that listen here.
fn abstract_sockets() -> Vec<String> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let names = table.lines().filter_map(|line| line.split_once(" @").map(|(_, name)| name));
    names.take(32).map(str::to_owned).collect()
}

/// A switch of the host's kernel that root of a namespace with the host root's number could
/// throw: writing back what it holds alters nothing.
fn host_switches() -> Attempt {
    let path = "/proc/sys/kernel/core_pattern";
    let outcome = fs::read(path).and_then(|held| fs::write(path, held));
    Attempt::new("write a switch of the host's kernel", path, outcome, "it took the value")
}
