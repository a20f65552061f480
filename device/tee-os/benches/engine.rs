//! How fast the crypto engine is for a real TA on the real trusted OS: `engine WORK PLACE SECONDS`
//! prints work done a second of CPU time, counted over the TA and the trusted OS (as `openssl speed`
//! counts its own process). `cargo xtask bench engine` asks for it.

#[expect(dead_code, reason = "this program uses less of the device than the tests do")]
#[path = "../tests/trusted_os/device/mod.rs"]
mod device;
#[allow(dead_code, reason = "this program asks less of the probe than the tests do")]
#[path = "../../tee-sdk/examples/ta-probe/protocol.rs"]
mod probe;

use device::Device;
use probe::{Command, Place, Probe, Work};
use std::process::ExitCode;
use tee_client::Session;

/// Ticks of /proc/PID/stat a second (proc(5): `USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let Some((work, place, seconds)) = parse(&arguments) else {
        eprintln!(
            "usage: engine sha256|hmac-sha256|aes-256-gcm|ecdsa-p256|rsa-2048 here|by-handle \
             SECONDS"
        );
        return ExitCode::FAILURE;
    };
    let Some(device) = Device::new() else { return ExitCode::FAILURE };
    let ta = device.tee().session::<Probe>().expect("the probe takes a session");
    let pids = [device.pid.as_raw_nonzero().get(), device.log.processes("ta-probe", 1)[0]];
    let (times, ticks) = measure(&ta, &pids, work, place, seconds);
    println!("{:.1}", times / ticks * TICKS_PER_SECOND);
    ExitCode::SUCCESS
}

fn parse(arguments: &[String]) -> Option<(Work, Place, f64)> {
    let [work, place, seconds] = arguments else { return None };
    let work = match work.as_str() {
        "sha256" => Work::Sha256,
        "hmac-sha256" => Work::HmacSha256,
        "aes-256-gcm" => Work::Aes256Gcm,
        "ecdsa-p256" => Work::EcdsaP256,
        "rsa-2048" => Work::Rsa2048,
        _ => return None,
    };
    let place = match place.as_str() {
        "here" => Place::Here,
        "by-handle" => Place::ByHandle,
        _ => return None,
    };
    Some((work, place, seconds.parse().ok()?))
}

/// Works until so much CPU time was used; gives how often, and the time in ticks.
fn measure(
    ta: &Session<Probe>,
    pids: &[i32],
    work: Work,
    place: Place,
    seconds: f64,
) -> (f64, f64) {
    let at_once = if work == Work::Rsa2048 { 100 } else { 2000 };
    let run = |times| ta.call(Command::Work(work, place, times)).expect("the probe works");
    // Keys are made and caches filled first.
    run(at_once);
    let (start, mut times) = (ticks(pids), 0.0);
    loop {
        run(at_once);
        times += f64::from(at_once);
        let used = ticks(pids) - start;
        if used >= seconds * TICKS_PER_SECOND {
            return (times, used);
        }
    }
}

/// User and system time of these processes so far.
fn ticks(pids: &[i32]) -> f64 {
    let ticks = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let after = stat.rsplit(')').next().unwrap_or_default().to_owned();
        let field = |at: usize| after.split_whitespace().nth(at)?.parse::<f64>().ok();
        field(11).expect("utime") + field(12).expect("stime")
    };
    pids.iter().map(ticks).sum()
}
