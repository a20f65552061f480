//! The spawner's life, and a TA's process before it becomes the TA.

use super::{HELLO, NAME, Order};
use board::channel::{self, ChannelError};
use board::exec::Launch;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit, kill_process, setrlimit, waitpid,
};
use std::collections::HashSet;
use tee_api::ta::CHANNEL_FD;
use tee_sdk::isolation;
use tee_sdk::sandbox::{self, SandboxError};

/// System calls beyond those of every TEE process: what starting a static program takes, and
/// what that program needs to lock itself in.
const STARTS_PROGRAMS: &[i64] = &[
    libc::SYS_arch_prctl,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_chdir,
    libc::SYS_clone,
    libc::SYS_close_range,
    libc::SYS_dup2,
    libc::SYS_execveat,
    libc::SYS_getgid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_kill,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_mount,
    libc::SYS_openat,
    libc::SYS_pipe2,
    libc::SYS_pivot_root,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_seccomp,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setrlimit,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_wait4,
];

/// A TA's stack.
const STACK_BYTES: u64 = 1 << 20;
/// What a program's own data, and what the C library keeps beside it, may take.
const DATA_BYTES: u64 = 1 << 20;
/// Address space beside memory that was asked for: the program, the stack and its guard.
const ADDRESS_BYTES: u64 = 32 << 20;

/// Serves one order after the other, until the trusted OS is gone.
pub(super) fn serve(control: &OwnedFd) -> Result<(), Box<dyn std::error::Error>> {
    rustix::thread::set_name(NAME)?;
    isolation::drop_capabilities()?;
    sandbox::close_to_observers()?;
    sandbox::allow_only(STARTS_PROGRAMS)?;
    let mut children = HashSet::new();
    loop {
        let (order, fds): (Order, Vec<OwnedFd>) = match channel::receive_with_fds(control) {
            Err(ChannelError::Closed) => return Ok(()),
            other => other?,
        };
        reap(&mut children);
        match (order, &fds[..]) {
            (Order::Start { name, memory_bytes }, [channel, program]) => {
                // A program that does not start closes its channel, which tells enough.
                match start(&name, memory_bytes, channel.as_fd(), program.as_fd()) {
                    Ok(pid) => drop(children.insert(pid)),
                    Err(error) => eprintln!("tee-os: {name} did not start: {error}"),
                }
            }
            (Order::Kill { pid }, []) => {
                if let Some(child) =
                    children.iter().find(|child| child.as_raw_nonzero().get() == pid)
                {
                    kill_process(*child, Signal::KILL)?;
                }
            }
            _ => return Err("an order with other descriptors than it has".into()),
        }
    }
}

/// Until a child is waited for its number stays its own.
fn reap(children: &mut HashSet<Pid>) {
    while let Ok(Some((ended, _))) = waitpid(None, WaitOptions::NOHANG) {
        children.remove(&ended);
    }
}

fn start(
    name: &str,
    memory_bytes: u64,
    channel: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> std::io::Result<Pid> {
    Launch::new(program, name).give(channel, CHANNEL_FD).dying_with_parent().spawn_after(|| {
        rustix::io::write(channel, &HELLO)?;
        // What this kernel lacks, the trusted OS reports for all processes of the TEE.
        let _ = isolation::isolate_program();
        limit(memory_bytes)?;
        sandbox::lock_in_program().map_err(|error| match error {
            SandboxError::Os(error) => error,
            _ => Errno::NOTSUP,
        })
    })
}

/// What the kernel grants to the program from its start on.
fn limit(memory_bytes: u64) -> Result<(), Errno> {
    let limits = [
        (Resource::Data, memory_bytes + DATA_BYTES),
        (Resource::As, memory_bytes + ADDRESS_BYTES),
        (Resource::Stack, STACK_BYTES),
    ];
    for (resource, most) in limits {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    // Without end it may lock all that it may have; below that, nothing.
    if getrlimit(Resource::Memlock).maximum.is_some() {
        setrlimit(Resource::Memlock, Rlimit { current: Some(0), maximum: Some(0) })?;
    }
    Ok(())
}
