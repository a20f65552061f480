//! Programs that run from sealed memory, with exactly the descriptors that they are given.
//!
//! What was verified is what runs: the bytes go into a memfd whose seals forbid every change,
//! and the program is executed from that descriptor. All stages start each other this way.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::Pid;
use std::ffi::{CString, c_char, c_int};
use std::io;

/// The most descriptors that one program is given.
const MAX_GIVEN: usize = 16;
/// Descriptors are moved up here while they change places.
const PARKING: RawFd = 256;
/// Nothing can grow, shrink or change the content, and nothing can lift that.
const SEALED: SealFlags =
    SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

/// Copies `bytes` into a memfd that nobody can change any more.
pub fn sealed(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = writable_memfd(name)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&fd, rest))?;
        rest = &rest[written..];
    }
    fcntl_add_seals(&fd, SEALED)?;
    Ok(fd)
}

/// Whether `fd` is a memfd with all the seals that [`sealed`] sets.
#[must_use]
pub fn is_sealed(fd: impl AsFd) -> bool {
    fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SEALED))
}

fn writable_memfd(name: &str) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(name, flags | MemfdFlags::EXEC) {
        // Kernels before 6.3 do not know the flag; there a memfd may always be executed.
        Err(Errno::INVAL) => Ok(memfd_create(name, flags)?),
        other => Ok(other?),
    }
}

/// Takes over the descriptor that this process inherited at `number`.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the number is only borrowed here to ask whether it is open at all.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_setfd(fd, FdFlags::CLOEXEC).map_err(|error| {
        io::Error::new(
            io::Error::from(error).kind(),
            format!("descriptor {number} was not inherited: {error}"),
        )
    })?;
    // SAFETY: it is open, and whoever started this process put it there for this one taker.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A program about to run: image, arguments, descriptors. Its environment is empty.
///
/// Everything is laid out beforehand, so that the child of a fork does system calls only.
#[derive(Debug)]
pub struct Launch<'a> {
    image: BorrowedFd<'a>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    given: Vec<(BorrowedFd<'a>, RawFd)>,
    new_session: bool,
    dies_with_parent: bool,
}

impl<'a> Launch<'a> {
    /// Runs `image` under `name` (its `argv[0]`).
    ///
    /// # Panics
    /// Where the name has a NUL in it.
    #[must_use]
    pub fn new(image: BorrowedFd<'a>, name: &str) -> Self {
        Self {
            image,
            arguments: vec![text(name)],
            environment: Vec::new(),
            given: Vec::new(),
            new_session: false,
            dies_with_parent: false,
        }
    }

    /// Appends an argument.
    ///
    /// # Panics
    /// Where it has a NUL in it.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(text(argument));
        self
    }

    /// Sets an environment variable.
    ///
    /// # Panics
    /// Where one of the two has a NUL in it.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push(text(&format!("{name}={value}")));
        self
    }

    /// Gives the program `fd` as number `number`. Numbers 0 to 2 are kept as they are unless
    /// they are given anew; all others are closed.
    ///
    /// # Panics
    /// With more than 16 descriptors, or a number above 255.
    #[must_use]
    pub fn give(mut self, fd: BorrowedFd<'a>, number: RawFd) -> Self {
        assert!(self.given.len() < MAX_GIVEN && number < PARKING, "descriptors fit the table");
        self.given.push((fd, number));
        self
    }

    /// As [`Self::give`], where there is a descriptor to give.
    ///
    /// # Panics
    /// As it does.
    #[must_use]
    pub fn give_if(self, fd: Option<BorrowedFd<'a>>, number: RawFd) -> Self {
        match fd {
            Some(fd) => self.give(fd, number),
            None => self,
        }
    }

    /// The program leads a session of its own: keys typed on the starter's terminal do not
    /// reach it.
    #[must_use]
    pub const fn in_new_session(mut self) -> Self {
        self.new_session = true;
        self
    }

    /// The kernel kills the program when the thread that started it ends.
    #[must_use]
    pub const fn dying_with_parent(mut self) -> Self {
        self.dies_with_parent = true;
        self
    }

    /// Becomes the program. Comes back only where that failed.
    pub fn exec(&self) -> io::Error {
        let argv = pointers(&self.arguments);
        let envp = pointers(&self.environment);
        self.become_program(&argv, &envp).into()
    }

    /// Starts the program as a child.
    pub fn spawn(&self) -> io::Result<Pid> {
        self.spawn_after(|| Ok(()))
    }

    /// Starts the program as a child that runs `prepare` first. In a process with threads,
    /// `prepare` may only do system calls: no allocation, no lock.
    pub fn spawn_after(&self, prepare: impl FnOnce() -> Result<(), Errno>) -> io::Result<Pid> {
        let argv = pointers(&self.arguments);
        let envp = pointers(&self.environment);
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let parent = rustix::process::getpid();
        // SAFETY: until it becomes the program or exits, the child does system calls only on
        // what was laid out above: `argv`, `envp`, the table of descriptors.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let error = prepare()
                    .and_then(|()| self.join_session(parent))
                    .err()
                    .unwrap_or_else(|| self.become_program_reporting(&argv, &envp, &write));
                let _ = rustix::io::write(&write, &error.raw_os_error().to_ne_bytes());
                // SAFETY: ends the child without running the parent's exit handlers.
                unsafe { libc::_exit(127) }
            }
            pid => {
                drop(write);
                let pid = Pid::from_raw(pid).expect("fork gives the parent a positive number");
                started(&read, pid)
            }
        }
    }

    fn join_session(&self, parent: Pid) -> Result<(), Errno> {
        if self.new_session {
            rustix::process::setsid()?;
        }
        if self.dies_with_parent {
            use rustix::process::{Signal, set_parent_process_death_signal};
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // It may have died before the line above; in a new process namespace it is unseen.
            if rustix::process::getppid().is_some_and(|now| now != parent) {
                return Err(Errno::SRCH);
            }
        }
        Ok(())
    }

    /// As [`Self::become_program`], with the error pipe parked where it survives the shuffle.
    fn become_program_reporting(
        &self,
        argv: &[*const c_char],
        envp: &[*const c_char],
        report: &OwnedFd,
    ) -> Errno {
        match rustix::io::fcntl_dupfd_cloexec(report, PARKING) {
            Ok(parked) => {
                let error = self.become_program(argv, envp);
                let _ = rustix::io::write(&parked, &error.raw_os_error().to_ne_bytes());
                error
            }
            Err(error) => error,
        }
    }

    fn become_program(&self, argv: &[*const c_char], envp: &[*const c_char]) -> Errno {
        let mut parked = [0; MAX_GIVEN];
        let image = match self.park(&mut parked) {
            Ok(image) => image,
            Err(error) => return error,
        };
        for (&from, &(_, to)) in parked.iter().zip(&self.given) {
            // SAFETY: plain system call; nothing of this process uses the number it overwrites
            // any more, for the process becomes another program.
            if unsafe { libc::dup2(from, to) } < 0 {
                return last_errno();
            }
        }
        // SAFETY: both tables end with a null pointer and outlive the call.
        unsafe { libc::fexecve(image, argv.as_ptr(), envp.as_ptr()) };
        last_errno()
    }

    /// Moves every descriptor out of the way and marks all that is open as close-on-exec.
    fn park(&self, parked: &mut [RawFd; MAX_GIVEN]) -> Result<RawFd, Errno> {
        for (slot, (fd, _)) in parked.iter_mut().zip(&self.given) {
            *slot = dup_above(*fd)?;
        }
        let image = dup_above(self.image)?;
        let flags: libc::c_uint = 1 << 2; // CLOSE_RANGE_CLOEXEC
        // SAFETY: plain system call on numbers; it closes nothing before the program starts.
        let done = unsafe { libc::syscall(libc::SYS_close_range, 3, c_int::MAX, flags) };
        if done < 0 { Err(last_errno()) } else { Ok(image) }
    }
}

fn dup_above(fd: BorrowedFd<'_>) -> Result<RawFd, Errno> {
    // SAFETY: plain system call on an open descriptor.
    match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, PARKING) } {
        -1 => Err(last_errno()),
        number => Ok(number),
    }
}

fn started(report: &OwnedFd, pid: Pid) -> io::Result<Pid> {
    let mut code = [0; 4];
    match rustix::io::retry_on_intr(|| rustix::io::read(report, &mut code))? {
        0 => Ok(pid),
        _ => {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            Err(io::Error::from_raw_os_error(i32::from_ne_bytes(code)))
        }
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn text(text: &str) -> CString {
    CString::new(text).expect("arguments have no NUL in them")
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{WaitOptions, waitpid};

    #[test]
    fn s2_2_a_sealed_image_can_not_be_changed() {
        let fd = sealed("test", b"verified").unwrap();
        assert!(is_sealed(&fd));
        assert_eq!(rustix::io::pwrite(&fd, b"x", 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&fd, 0), Err(Errno::PERM));
        assert!(fcntl_add_seals(&fd, SealFlags::empty()).is_err());
        assert!(!is_sealed(writable_memfd("test").unwrap()));
    }

    #[test]
    fn a_program_gets_the_descriptors_that_it_is_given_and_no_other() {
        let Ok(shell) = std::fs::File::open("/bin/sh") else {
            eprintln!("not run: no /bin/sh here");
            return;
        };
        let (read, write) = rustix::pipe::pipe().unwrap();
        let _leaky = rustix::io::fcntl_dupfd_cloexec(&write, 90).unwrap();
        fcntl_setfd(&_leaky, FdFlags::empty()).unwrap();
        let pid = Launch::new(shell.as_fd(), "sh")
            .argument("-c")
            .argument("for f in 3 4 5 6 7 8 9; do (: >&$f) 2>/dev/null && echo $f >&7; done")
            .give(write.as_fd(), 7)
            .give(write.as_fd(), 4)
            .spawn()
            .unwrap();
        drop((write, _leaky));
        let mut said = String::new();
        io::Read::read_to_string(&mut std::fs::File::from(read), &mut said).unwrap();
        waitpid(Some(pid), WaitOptions::empty()).unwrap();
        assert_eq!(said, "4\n7\n");
    }

    #[test]
    fn says_why_a_program_did_not_start() {
        let image = sealed("test", b"not a program").unwrap();
        let error = Launch::new(image.as_fd(), "test").spawn().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOEXEC));
    }
}
