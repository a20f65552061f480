//! Ctrl-C in the middle of the first story: everything stops, and the next `up` goes on from
//! there.

use crate::run::{Up, processes_of, state, tell};
use std::time::{Duration, Instant};

#[test]
fn after_the_cloud_started() {
    goes_on_after("cloud.start");
}

#[test]
fn with_an_account_and_no_lock() {
    goes_on_after("device.bind");
}

#[test]
fn while_the_device_is_lost() {
    goes_on_after("find.lost");
}

#[test]
fn while_the_device_is_erased() {
    goes_on_after("find.erase");
}

fn goes_on_after(step: &str) {
    let state = state();
    let mut up = Up::start(state.path(), &[]);
    loop {
        let line = up.next().unwrap_or_else(|| panic!("the story ended before {step}"));
        assert_ne!(line["ok"], false, "{line}");
        if line["step"] == *step {
            break;
        }
    }
    let asked = Instant::now();
    assert_eq!(up.end(libc::SIGINT), Some(0), "every step so far held");
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    assert!(processes_of(state.path()).is_empty(), "something still runs");

    let again = tell(state.path(), &[]);
    assert_eq!(again.code, Some(0), "{again}");
    assert_eq!(again.held("restore")["evidence"]["compared"], "identical");
}
