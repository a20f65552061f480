//! Measures the trusted OS with a trusted application, for `cargo xtask bench`: one JSON line
//! with a value and the CPU seconds of every process that took part.
//!
//! `calls N` and `echo N`: microseconds of an empty call, and of one SEQPACKET echo between two
//! processes. `start N`: milliseconds from the order to start a TA until its first answer.
//! `memory`: KiB resident of the trusted OS and of an idle TA.

#[path = "../tests/trusted_os/device/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod device;
#[path = "../../tee-sdk/examples/ta-probe/protocol.rs"]
mod probe;

use device::{Device, signed};
use factory::Application;
use probe::{Command, Other, Probe, Reply};
use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.get(1).and_then(|count| count.parse().ok()).unwrap_or(10_000);
    match arguments.first().map(String::as_str) {
        Some("calls") => calls(count),
        Some("echo") => echo(count),
        Some("start") => start(count),
        Some("memory") => memory(),
        Some("batch") => batch(count),
        Some("shared") => shared(count),
        _ => panic!("tee-bench calls|echo|start N, or memory"),
    }
}

/// An empty call from a program of the system to a TA and back.
fn calls(count: u32) {
    let device = Device::new().expect("the TAs are built");
    let session = device.tee().session::<Probe>().unwrap();
    let call = || assert_eq!(session.call(Command::Nothing), Ok(Reply::Done));
    (0..count / 10).for_each(|_| call());
    let pids = [device.pid.as_raw_nonzero().get(), device.log.processes("ta-probe", 1)[0]];
    let cpu = || pids.map(cpu_s).iter().sum::<f64>() + own_cpu_s();
    let (before, began) = (cpu(), Instant::now());
    (0..count).for_each(|_| call());
    say(per_item(began, count) * 1e6, cpu() - before);
}

/// Signatures of P-256 with a key in the trusted OS, 32 a call; each is verified too.
fn batch(count: u32) {
    let device = Device::new().expect("the TAs are built");
    let session = device.tee().session::<Probe>().unwrap();
    let began = Instant::now();
    for _ in 0..count {
        assert_eq!(session.call(Command::SignAll(32)), Ok(Reply::Number(32)));
    }
    say(per_item(began, count * 32) * 1e6, own_cpu_s());
}

/// Encryptions of a megabyte in shared memory.
fn shared(count: u32) {
    let device = Device::new().expect("the TAs are built");
    let session = device.tee().session::<Probe>().unwrap();
    let mut memory = tee_client::SharedMemory::new(3 << 20).unwrap();
    let text = vec![7; 1 << 20];
    let mut out = vec![0; (1 << 20) + 16];
    let began = Instant::now();
    for _ in 0..count {
        memory.write(0, &text).unwrap();
        let encrypt =
            Command::OnMemory { encrypt: true, offset: 0, bytes: 1 << 20, output: 1 << 20 };
        session.call_with_memory(encrypt, &mut memory).unwrap();
        memory.read(1 << 20, &mut out).unwrap();
    }
    say(per_item(began, count) * 1e6, own_cpu_s());
}

/// One byte to another process and back.
fn echo(count: u32) {
    let (here, there) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    // SAFETY: the process has one thread; the child only receives, sends and exits.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(here);
        while matches!(recv(&there, &mut [0_u8; 64], RecvFlags::empty()), Ok((1.., _))) {
            send(&there, &[1], SendFlags::NOSIGNAL).unwrap();
        }
        std::process::exit(0);
    }
    drop(there);
    let exchange = |socket: &OwnedFd| {
        send(socket, &[1], SendFlags::NOSIGNAL).unwrap();
        recv(socket, &mut [0_u8; 64], RecvFlags::empty()).unwrap();
    };
    (0..count / 10).for_each(|_| exchange(&here));
    let cpu = || cpu_s(child) + own_cpu_s();
    let (before, began) = (cpu(), Instant::now());
    (0..count).for_each(|_| exchange(&here));
    say(per_item(began, count) * 1e6, cpu() - before);
}

/// A TA that does not run is called: it is started for that.
fn start(count: u32) {
    let device = Device::new().expect("the TAs are built");
    let application = Application::of::<Other>(1 << 20, 1);
    let image = signed(&application, "examples/ta-probe", &device.board.maker.key).unwrap();
    let tee = device.tee();
    let mut milliseconds = Vec::new();
    for _ in 0..count {
        let identity = tee.load(&image).unwrap().identity;
        let began = Instant::now();
        assert_eq!(tee.session::<Other>().unwrap().call(Command::Nothing), Ok(Reply::Done));
        milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
        tee.remove(identity).unwrap();
    }
    milliseconds.sort_by(f64::total_cmp);
    say(milliseconds[milliseconds.len() / 2], own_cpu_s());
}

fn memory() {
    let device = Device::new().expect("the TAs are built");
    let session = device.tee().session::<Probe>().unwrap();
    assert_eq!(session.call(Command::Nothing), Ok(Reply::Done));
    let pids = [device.pid.as_raw_nonzero().get(), device.log.processes("ta-probe", 1)[0]];
    let [os, ta] = pids.map(resident_kib);
    println!("{}", serde_json::json!({ "os_kib": os, "ta_kib": ta }));
}

fn per_item(began: Instant, count: u32) -> f64 {
    began.elapsed().as_secs_f64() / f64::from(count)
}

fn say(value: f64, cpu_s: f64) {
    println!("{}", serde_json::json!({ "value": value, "cpu_s": cpu_s }));
}

fn own_cpu_s() -> f64 {
    cpu_s(i32::try_from(std::process::id()).unwrap())
}

/// User and system time (proc(5), fields 14 and 15) in ticks of 10 ms.
fn cpu_s(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |at| after.split_whitespace().nth(at).and_then(|it| it.parse::<f64>().ok());
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}

fn resident_kib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
