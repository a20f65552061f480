//! Whoever tries to look into the TEE: processes of the same user, and root of the system's
//! own user namespace.
//!
//! The attacker is this test program once more, started with `ATTACKED` set to the victims'
//! process numbers. It first shows on a child of its own that its methods work.

use crate::device::Device;
use rustix::process::Pid;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

const ATTACKED: &str = "HOLDFAST_TEST_ATTACKED";

/// All processes of a device's TEE.
fn victims(device: &Device) -> String {
    let os = device.pid.as_raw_nonzero().get();
    // Whoever controls the spawner controls the TAs that it starts.
    let others = ["tee-spawner", "ta-gatekeeper", "ta-probe"];
    let others = others.map(|name| device.log.processes(name, 1)[0].to_string());
    // A TA that answered has locked itself in.
    let tee = device.tee();
    tee.session::<tee_api::gatekeeper::Gatekeeper>().unwrap();
    tee.session::<crate::probe::Probe>().unwrap();
    format!("{os} {}", others.join(" "))
}

fn attack(device: &Device, prepare: fn() -> std::io::Result<()>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "memory::attacker", "--nocapture"]);
    command.env(ATTACKED, victims(device));
    // SAFETY: `prepare` makes system calls only.
    let output = unsafe { command.pre_exec(prepare) }.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("refused everywhere"), "the attacker ran: {said}{errors}");
}

#[test]
fn s2_1_1_a_process_of_the_same_user_reads_nothing_of_the_tee() {
    let Some(device) = Device::new() else { return };
    attack(&device, become_ordinary);
}

#[test]
fn s2_1_1_root_of_the_systems_namespace_reads_nothing_of_the_tee() {
    let Some(device) = Device::new() else { return };
    if device.log.weaknesses().iter().any(|what| what == "TEE: namespaces") {
        eprintln!("not run: this kernel allows no user namespaces");
        return;
    }
    attack(&device, become_root_of_a_namespace);
}

/// No capability, not even where the user is root.
fn become_ordinary() -> std::io::Result<()> {
    tee_sdk::isolation::drop_capabilities()?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// As the system's root is: all capabilities, in a user namespace of its own.
fn become_root_of_a_namespace() -> std::io::Result<()> {
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    // SAFETY: only the user namespace changes.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// What the kernel says about a process, in KiB.
fn status_kib(pid: i32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn s2_1_1_the_tee_is_locked_into_memory_where_it_may_be_or_says_so() {
    let Some(device) = Device::new() else { return };
    device.tee().session::<crate::Probe>().unwrap().call(crate::probe::Command::Nothing).unwrap();
    let pid = device.pid.as_raw_nonzero().get();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limit = limits.lines().find(|line| line.starts_with("Max locked memory")).unwrap();
    let said = device.log.weaknesses().iter().any(|what| what == "TEE: swap");
    let may_lock = limit.contains("unlimited");
    if may_lock {
        for pid in [pid, device.log.processes("ta-probe", 1)[0]] {
            assert!(status_kib(pid, "VmLck") >= status_kib(pid, "RssAnon"));
        }
    } else {
        eprintln!("not run: this user may not lock memory");
    }
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    assert_eq!(said, !may_lock && swaps.lines().count() > 1);
}

/// Tries something on a process; whether it worked.
type Method = fn(i32) -> bool;

/// Not a test by itself: what `attack` starts.
#[test]
fn attacker() {
    let Ok(victims) = std::env::var(ATTACKED) else { return };
    let mut child = Command::new("/proc/self/exe")
        .args(["--exact", "memory::idle"])
        .env(ATTACKED, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let methods: [(&str, Method); 5] = [
        ("/proc/PID/mem", opens_memory),
        ("process_vm_readv", reads_memory),
        ("ptrace", traces),
        ("/proc/PID/fd", sees_descriptors),
        ("pidfd_getfd", takes_descriptor),
    ];
    let own = i32::try_from(child.id()).unwrap();
    for (name, works) in methods {
        assert!(works(own), "{name} works on a process that is not locked in");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for victim in victims.split(' ') {
        let victim = victim.parse().unwrap();
        assert!(rustix::process::getpgid(Pid::from_raw(victim)).is_ok(), "{victim} runs");
        for (name, works) in methods {
            assert!(!works(victim), "{name} works on {victim}");
        }
    }
    println!("refused everywhere");
}

/// Not a test by itself: what the attacker tries its methods on.
#[test]
fn idle() {
    if std::env::var_os(ATTACKED).is_some() {
        let _ = std::io::stdin().read_line(&mut String::new());
    }
}

fn opens_memory(pid: i32) -> bool {
    std::fs::File::open(format!("/proc/{pid}/mem")).is_ok()
}

fn reads_memory(pid: i32) -> bool {
    let mut byte = [0_u8];
    let local = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // No page is there, so a permitted read fails with EFAULT and a refused one with EPERM.
    let remote = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 1 };
    // SAFETY: both vectors are valid for the call; it writes at most one byte into `byte`.
    let read = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
    read >= 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

fn traces(pid: i32) -> bool {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: attaching and detaching touches no memory of this process.
    unsafe {
        if libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) != 0 {
            return false;
        }
        libc::ptrace(libc::PTRACE_INTERRUPT, pid, none, none);
        libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL);
        libc::ptrace(libc::PTRACE_DETACH, pid, none, none) == 0
    }
}

fn sees_descriptors(pid: i32) -> bool {
    (0..12).any(|fd| std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).is_ok())
}

fn takes_descriptor(pid: i32) -> bool {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
    let Some(pid) = Pid::from_raw(pid) else { return false };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    (0..12).any(|fd| pidfd_getfd(&pidfd, fd, PidfdGetfdFlags::empty()).is_ok())
}
