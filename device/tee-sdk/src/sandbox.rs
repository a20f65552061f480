//! How a process of the TEE locks itself in.
//!
//! Three layers, each enough against a different mistake: no new privileges, no dumps and no
//! tracing; Landlock with no rule at all (no file, no port, no signal to others); a list of
//! the few system calls that are left. Opening files answers `EACCES`, because libraries probe
//! for some; every other call that is not on the list ends the process.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
    Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

/// Why a process could not be locked in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A system call that every kernel has.
    #[error("sandbox: {0}")]
    Os(#[from] rustix::io::Errno),
    /// The kernel has no seccomp, or refused the filter.
    #[error("sandbox: seccomp: {0}; the kernel needs CONFIG_SECCOMP_FILTER")]
    Seccomp(String),
}

/// How much of Landlock this kernel enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landlock {
    /// All that is asked.
    Full,
    /// Less: an older kernel.
    Partial,
    /// Nothing.
    Missing,
}

/// What all processes of the TEE may call: memory, time, their own descriptors, their end.
const BASE: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Calls that libraries probe with; they answer `EACCES`.
const PROBES: &[i64] = &[
    libc::SYS_access,
    libc::SYS_newfstatat,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_statx,
];

/// Locks a TA in: nothing is left but its channel, memory and its end.
pub fn enter_as_ta() -> Result<(), SandboxError> {
    // What this kernel lacks, the trusted OS reports for all processes of the TEE.
    let _ = crate::isolation::isolate();
    close_to_observers()?;
    crypto::random(&mut [0; 32]);
    let _ = deny_files_and_network();
    allow_only(&[])
}

/// No new privileges, no core dump, and no `ptrace` or `/proc/PID/mem` for processes of the
/// same user.
pub fn close_to_observers() -> Result<(), SandboxError> {
    rustix::thread::set_no_new_privs(true)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Landlock without a single rule: no file, no port, no abstract socket, no signal outwards.
#[must_use]
pub fn deny_files_and_network() -> Landlock {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V5)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    match ruleset.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => Landlock::Full,
        Ok(RulesetStatus::PartiallyEnforced) => Landlock::Partial,
        Ok(RulesetStatus::NotEnforced) | Err(_) => Landlock::Missing,
    }
}

/// From here on this process may make the calls of every TEE process and those in `more`; no
/// memory becomes executable.
pub fn allow_only(more: &[i64]) -> Result<(), SandboxError> {
    let refused = |error: seccompiler::Error| SandboxError::Seccomp(error.to_string());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        BASE.iter().chain(PROBES).chain(more).map(|&call| (call, Vec::new())).collect();
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![not_executable()?]);
    }
    // Only to end itself: `abort` and `raise`.
    rules.insert(libc::SYS_tgkill, vec![signals_itself()?]);
    let list = compile(rules, SeccompAction::KillProcess, SeccompAction::Allow)?;
    let probes = PROBES.iter().filter(|call| !more.contains(call));
    let probes = probes.map(|&call| (call, Vec::new())).collect();
    let deny = SeccompAction::Errno(libc::EACCES as u32);
    let probes = compile(probes, SeccompAction::Allow, deny)?;
    // The list comes last: installing a filter is itself not on it.
    seccompiler::apply_filter(&probes).map_err(refused)?;
    seccompiler::apply_filter(&list).map_err(refused)
}

fn not_executable() -> Result<SeccompRule, SandboxError> {
    let exec = libc::PROT_EXEC as u64;
    rule(2, SeccompCmpOp::MaskedEq(exec), 0)
}

fn signals_itself() -> Result<SeccompRule, SandboxError> {
    let own = u64::from(std::process::id());
    rule(0, SeccompCmpOp::Eq, own)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, SandboxError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|error| SandboxError::Seccomp(error.to_string()))
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, SandboxError> {
    let failed = |error: seccompiler::BackendError| SandboxError::Seccomp(error.to_string());
    let architecture = std::env::consts::ARCH.try_into().map_err(failed)?;
    SeccompFilter::new(rules, otherwise, listed, architecture)
        .and_then(BpfProgram::try_from)
        .map_err(failed)
}
