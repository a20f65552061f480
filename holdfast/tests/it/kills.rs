//! Any process, killed at any moment: nothing that was acknowledged is lost, and the next `up`
//! goes on.

use crate::run::{Told, processes_of, state, tell, up};
use std::collections::HashSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How often something is killed. The issue asks for fifty; HOLDFAST_KILLS changes it.
fn kills() -> u64 {
    std::env::var("HOLDFAST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

#[test]
fn killing_any_process_at_a_random_moment_loses_nothing_acknowledged() {
    let state = state();
    let first = tell(state.path(), &[]);
    assert_eq!(first.code, Some(0), "{first}");
    let account = first.held("account.sign_up")["evidence"]["account_id"].clone();
    let span = Duration::from_millis(1500);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut hit = HashSet::new();
    for round in 0..kills() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let after = span.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64);
        let mut child = up(state.path(), &["--once"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while start.elapsed() < after && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let victims = processes_of(state.path());
        if let Some(victim) = victims.get(random as usize % victims.len().max(1)) {
            hit.insert(name(*victim));
            // SAFETY: a signal to a process of this test's own state folder.
            unsafe { libc::kill(*victim, libc::SIGKILL) };
        }
        // The story ends by itself, with a failed step; what is left over is ended.
        let deadline = Instant::now() + Duration::from_secs(60);
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "round {round}: `up` hangs after a kill");
            std::thread::sleep(Duration::from_millis(20));
        }
        if round % 10 == 9 {
            let again = tell(state.path(), &[]);
            unharmed(&again, &account);
        }
    }
    assert!(hit.len() >= 3, "only {hit:?} were hit");
    unharmed(&tell(state.path(), &[]), &account);
}

/// Device, account and files are what they were.
fn unharmed(told: &Told, account: &serde_json::Value) {
    assert_eq!(told.code, Some(0), "{told}");
    assert_eq!(told.held("account.sign_up")["evidence"]["account_id"], *account, "{told}");
    for step in ["device.manufacture", "account.sign_up", "device.bind", "lock.set", "vault.import"]
    {
        assert_eq!(told.held(step)["existing"], true, "{step}\n{told}");
    }
    assert_eq!(told.held("restore")["evidence"]["compared"], "identical");
}

fn name(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}
