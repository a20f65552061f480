//! How a process of the TEE locks itself in.
//!
//! Layers, each enough against a different mistake: no new privileges, no dumps and no
//! tracing; Landlock with no rule at all (no file, no port, no signal to others); a list of
//! the few system calls that are left. Opening files answers `EACCES`, because libraries probe
//! for some; every other call that is not on the list ends the process.

use crate::swap;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
    Scope,
};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;
use std::io;

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

/// What all processes of the TEE may call: memory, their own descriptors, their end.
const BASE: &[i64] = &[
    libc::SYS_brk,
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

/// What the first instructions of a static program call besides, and becoming it.
const START: &[i64] = &[
    libc::SYS_arch_prctl,
    libc::SYS_close_range,
    libc::SYS_dup2,
    libc::SYS_getppid,
    libc::SYS_mlockall,
    libc::SYS_prlimit64,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_seccomp,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setrlimit,
];

/// Takes away from a TA what only the start of a program needs. All else the trusted OS took
/// before the program's first instruction ([`lock_in_program`]).
pub fn enter_as_ta() -> Result<(), SandboxError> {
    close_to_observers()?;
    // Where that is not allowed the trusted OS has said so.
    let _ = swap::lock_all_memory();
    // The generator of the crypto library looks around once; after this it has what it needs.
    crypto::random(&mut [0; 32]);
    allow_only(&[])
}

/// Locks this process in, and the program that it then becomes: that one need not be trusted to
/// do so. From here on no file, no port, no signal to others, no clock, and only the calls of a
/// program's start.
pub fn lock_in_program() -> Result<(), SandboxError> {
    rustix::thread::set_no_new_privs(true)?;
    setrlimit(Resource::Core, NOTHING)?;
    let _ = deny_files_and_network();
    deny_clock()?;
    let no_way_back = vec![
        rule(0, SeccompCmpOp::Eq, libc::PR_SET_NO_NEW_PRIVS as u64)?,
        rules(&[(0, libc::PR_SET_DUMPABLE as u64), (1, 0)])?,
        rules(&[(0, libc::PR_SET_PDEATHSIG as u64), (1, libc::SIGKILL as u64)])?,
    ];
    let by_descriptor = vec![rule(4, SeccompCmpOp::Eq, libc::AT_EMPTY_PATH as u64)?];
    let special = [(libc::SYS_prctl, no_way_back), (libc::SYS_execveat, by_descriptor)];
    Filters::new(START, special)?.apply()
}

const NOTHING: Rlimit = Rlimit { current: Some(0), maximum: Some(0) };

/// Reading the processor's counter ends the process from here on, and with it every clock that
/// the C library could read without a system call.
#[cfg(target_arch = "x86_64")]
pub fn deny_clock() -> Result<(), SandboxError> {
    // SAFETY: takes two numbers; what it changes is how this thread's `rdtsc` ends.
    match unsafe { libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO).into()),
    }
}

/// Other processors have no such switch: their counter stays readable.
#[cfg(not(target_arch = "x86_64"))]
pub const fn deny_clock() -> Result<(), SandboxError> {
    Ok(())
}

/// No new privileges, no core dump, and no `ptrace` or `/proc/PID/mem` for processes of the
/// same user.
pub fn close_to_observers() -> Result<(), SandboxError> {
    rustix::thread::set_no_new_privs(true)?;
    setrlimit(Resource::Core, NOTHING)?;
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
    Filters::new(more, [])?.apply()
}

/// Compiled lists of calls.
#[derive(Debug)]
struct Filters {
    probes: BpfProgram,
    list: BpfProgram,
}

impl Filters {
    /// The calls of every TEE process, those in `more`, and `special` ones under conditions of
    /// which one must hold.
    fn new(
        more: &[i64],
        special: impl IntoIterator<Item = (i64, Vec<SeccompRule>)>,
    ) -> Result<Self, SandboxError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            BASE.iter().chain(PROBES).chain(more).map(|&call| (call, Vec::new())).collect();
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            rules.insert(call, vec![not_executable()?]);
        }
        // Only to end itself: `abort` and `raise`.
        rules.insert(libc::SYS_tgkill, vec![signals_itself()?]);
        rules.extend(special);
        let list = compile(rules, SeccompAction::KillProcess, SeccompAction::Allow)?;
        let probes = PROBES.iter().filter(|call| !more.contains(call));
        let probes = probes.map(|&call| (call, Vec::new())).collect();
        let deny = SeccompAction::Errno(libc::EACCES as u32);
        Ok(Self { probes: compile(probes, SeccompAction::Allow, deny)?, list })
    }

    fn apply(&self) -> Result<(), SandboxError> {
        let refused = |error: seccompiler::Error| SandboxError::Seccomp(error.to_string());
        // The list comes last: installing a filter need not be on it.
        seccompiler::apply_filter(&self.probes).map_err(refused)?;
        seccompiler::apply_filter(&self.list).map_err(refused)
    }
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

/// All of these arguments have these values.
fn rules(arguments: &[(u8, u64)]) -> Result<SeccompRule, SandboxError> {
    let equal = |&(argument, value)| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
    };
    let conditions = arguments.iter().map(equal).collect::<Result<_, _>>();
    conditions.and_then(SeccompRule::new).map_err(|error| SandboxError::Seccomp(error.to_string()))
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
