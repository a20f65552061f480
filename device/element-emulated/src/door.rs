//! A Unix socket to the element for programs that are named: who connects is looked up by the
//! kernel's word, and whoever is not on the list is turned away without an answer.
//!
//! A program is named by the path of its executable. The file itself counts, not a copy of it, so
//! whoever may write that file or take over the program's memory is that program: named programs
//! belong in places that only the administrator writes. One program at a time has the element; it
//! has it until it hangs up or says nothing for [`SILENCE`], and nothing that it proved remains for
//! the next one.

use crate::card::Element;
use crate::link;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, pidfd_open};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a program may say nothing.
pub const SILENCE: Duration = Duration::from_secs(60);

/// The programs that may connect.
#[derive(Debug, Clone)]
pub struct Named(Vec<PathBuf>);

/// Why a program was turned away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stranger {
    /// It is not on the list.
    #[error("{0} is not among the programs that may use the element")]
    NotNamed(PathBuf),
    /// Which program it is could not be seen.
    #[error("the program that connected can't be seen: {0}")]
    Unseen(#[from] io::Error),
}

impl Named {
    /// These programs.
    #[must_use]
    pub const fn new(programs: Vec<PathBuf>) -> Self {
        Self(programs)
    }

    /// Lets the program at the other end in, or says why not.
    pub fn admit(&self, connection: &UnixStream) -> Result<(), Stranger> {
        let pid = socket_peercred(connection).map_err(io::Error::from)?.pid;
        // Held while we look: the number can't become another process's in the meantime.
        let _held = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from)?;
        let link = PathBuf::from(format!("/proc/{}/exe", pid.as_raw_nonzero()));
        let its = fs::metadata(&link)?;
        let same = |path: &PathBuf| {
            fs::metadata(path)
                .is_ok_and(|named| (named.dev(), named.ino()) == (its.dev(), its.ino()))
        };
        if self.0.iter().any(same) {
            return Ok(());
        }
        Err(Stranger::NotNamed(fs::read_link(&link).unwrap_or_default()))
    }
}

/// Listens at `path`, in place of a socket that a dead element left there.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_dead(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

fn is_dead(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        && fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket())
}

/// Serves one program after the other until accepting fails; `turned_away` hears of strangers.
pub fn serve(
    listener: &UnixListener,
    named: &Named,
    element: &mut Element,
    mut turned_away: impl FnMut(&Stranger),
) -> io::Result<()> {
    loop {
        let mut connection = match listener.accept() {
            Ok((connection, _)) => connection,
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        };
        if let Err(stranger) = named.admit(&connection) {
            turned_away(&stranger);
            continue;
        }
        connection.set_read_timeout(Some(SILENCE))?;
        connection.set_write_timeout(Some(SILENCE))?;
        // A program that goes away, or speaks something else, ends its own connection only.
        let _ = link::serve(&mut connection, element);
    }
}

/// The program left before it was let in, or a signal came.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted)
}
