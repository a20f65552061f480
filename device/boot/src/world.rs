//! The normal world: the namespaces in which everything of the REE runs.
//!
//! Two layers. The outer one owns the process and mount namespaces: it builds a root folder of
//! the device's own and a `/proc` of its own, with the host-wide switches in it read-only. The
//! inner one, made behind it, owns user, mount, network, IPC, host name and cgroup namespaces; to
//! it the mounts of the outer layer are locked. So even root of the inner layer, with every
//! capability there, can't undo them, and there is nothing of the host left to see.
//!
//! Works without privileges. Root inside is the user outside who runs the board.

mod root;
mod visit;

pub use visit::{VisitError, enter};

use board::exec::Launch;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Host folders that the normal world sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Becomes `/data`.
    pub data: PathBuf,
    /// Becomes `/run`.
    pub run: PathBuf,
}

/// Why there is no world.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {cause}")]
pub struct WorldError {
    step: String,
    cause: String,
}

impl WorldError {
    fn new(step: impl Into<String>, cause: impl ToString) -> Self {
        Self { step: step.into(), cause: cause.to_string() }
    }

    /// What the host lacks and how to get it, for people.
    #[must_use]
    pub fn mend(&self) -> String {
        format!(
            "this host refused the normal world its namespaces ({self}); allow unprivileged \
             user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns=0) or run outside a container that \
             forbids them"
        )
    }
}

/// Adds to an error what was being done.
trait During<T> {
    fn during(self, step: &str) -> Result<T, WorldError>;
}

impl<T, E: ToString> During<T> for Result<T, E> {
    fn during(self, step: &str) -> Result<T, WorldError> {
        self.map_err(|error| WorldError::new(step, error))
    }
}

/// Starts `program` as process 1 of a new world and gives its pid as the caller sees it. The
/// caller has one thread only.
pub fn start(program: &Launch<'_>, folders: &Folders) -> Result<Pid, WorldError> {
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).during("making a pipe")?;
    // SAFETY: the process has one thread, so the child may do whatever the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(WorldError::new("forking", io::Error::last_os_error())),
        0 => {
            drop(read);
            let outcome = outer_layer(program, folders, &write);
            leave(outcome.map(|pid| Message::Pid(pid.as_raw_nonzero().get())), &write)
        }
        helper => {
            drop(write);
            let outcome = listen(read);
            let helper = Pid::from_raw(helper).expect("fork gives the parent a positive number");
            let _ = rustix::process::waitpid(Some(helper), rustix::process::WaitOptions::empty());
            outcome
        }
    }
}

/// In the child: own user, process and mount namespaces; then process 1.
fn outer_layer(
    program: &Launch<'_>,
    folders: &Folders,
    report: &OwnedFd,
) -> Result<Pid, WorldError> {
    // Left-over group memberships would count outside. Only root can drop them; others keep
    // what their user has.
    let _ = rustix::thread::set_thread_groups(&[]);
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    leave_namespaces(UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWPID)
        .during("making user, mount and process namespaces")?;
    map_root_to(ids)?;
    // SAFETY: as in `start`: one thread.
    match unsafe { libc::fork() } {
        -1 => Err(WorldError::new("forking process 1", io::Error::last_os_error())),
        0 => {
            let outcome = become_first_process(program, folders);
            leave(outcome.map(|never| match never {}), report)
        }
        first => Ok(Pid::from_raw(first).expect("fork gives the parent a positive number")),
    }
}

enum Never {}

/// In process 1: the root folder, the inner layer, the program.
fn become_first_process(program: &Launch<'_>, folders: &Folders) -> Result<Never, WorldError> {
    root::build(folders)?;
    leave_namespaces(
        UnshareFlags::NEWUSER
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWNET
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWCGROUP,
    )
    .during("making the inner namespaces")?;
    map_root_to((0, 0))?;
    rustix::system::sethostname(b"holdfast").during("setting the host name")?;
    loopback_up().during("setting up the loopback interface")?;
    rustix::thread::set_no_new_privs(true).during("giving up new privileges")?;
    Err(WorldError::new("executing the first program", program.exec()))
}

fn leave_namespaces(which: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: none of these flags unshares the table of descriptors.
    unsafe { unshare_unsafe(which) }
}

/// Root inside is `(uid, gid)` outside.
fn map_root_to((uid, gid): (u32, u32)) -> Result<(), WorldError> {
    let put = |file: &str, text: String| {
        let path = Path::new("/proc/self").join(file);
        fs::write(path, text).during(&format!("writing {file}"))
    };
    put("setgroups", "deny".into())?;
    put("uid_map", format!("0 {uid} 1"))?;
    put("gid_map", format!("0 {gid} 1"))
}

fn loopback_up() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: `ifreq` is plain data, for which all zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = (*from).cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket.as_fd());
    // SAFETY: the kernel reads one `ifreq`, which lives through the call.
    match unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What a child tells through the pipe.
enum Message {
    Pid(i32),
    Failed(WorldError),
}

/// Tells the outcome and ends the child.
fn leave(outcome: Result<Message, WorldError>, report: &OwnedFd) -> ! {
    let text = match outcome.unwrap_or_else(Message::Failed) {
        Message::Pid(pid) => format!("pid {pid}\n"),
        Message::Failed(error) => format!("step {}\ncause {}\n", error.step, error.cause),
    };
    let code = i32::from(!text.starts_with("pid"));
    let pipe = report.try_clone();
    let _ = pipe.and_then(|pipe| fs::File::from(pipe).write_all(text.as_bytes()));
    // SAFETY: ends the child without running the parent's exit handlers.
    unsafe { libc::_exit(code) }
}

/// Reads what the children tell, until the program runs or they have ended.
fn listen(report: OwnedFd) -> Result<Pid, WorldError> {
    let mut text = String::new();
    fs::File::from(report).read_to_string(&mut text).during("listening to process 1")?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    if let Some(cause) = field("cause ") {
        return Err(WorldError::new(field("step ").unwrap_or("starting"), cause));
    }
    field("pid ")
        .and_then(|pid| Pid::from_raw(pid.parse().ok()?))
        .ok_or_else(|| WorldError::new("starting", "process 1 ended before its program ran"))
}
