//! KASLR: the kernel lies elsewhere after each power-on, and nothing tells where.

use crate::INDEX;
use crate::device::{Board, workshop};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// Where process `pid` has the kernel's image, beside what the host itself mapped.
fn kernel_at(pid: i32) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let starts = maps.lines().filter(|line| line.contains("/memfd:init"));
    let starts: Vec<u64> = starts
        .map(|line| u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap())
        .filter(|at| (0x1000_0000_0000..0x5000_0000_0000).contains(at))
        .collect();
    assert_eq!(starts.len(), 1, "{maps}");
    starts[0]
}

#[test]
fn s2_3_the_kernels_address_differs_at_every_boot_and_is_told_nowhere() {
    let Some(workshop) = workshop() else { return };
    let device = workshop.device(INDEX);
    let mut addresses = BTreeSet::new();
    for _ in 0..3 {
        let board = device.run(workshop);
        let status = board.outcome();
        assert_eq!(status["ready"], true, "{status:#}\n{}", board.log());
        let address = kernel_at(Board::pids(&status, "init")[0]);
        assert!(addresses.insert(address), "{address:#x} twice");
        let page = (address - 0x1000_0000_0000) / 4096;
        let told = [address, page].map(|number| [format!("{number:x}"), number.to_string()]);
        let mut said = vec![board.log(), status.to_string()];
        for process in status["processes"].as_array().unwrap() {
            let pid = &process["pid"];
            for file in ["cmdline", "environ"] {
                let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                said.push(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        for number in told.as_flattened() {
            assert!(!said.iter().any(|text| text.contains(number)), "{number} is told");
        }
        // The system can't ask for it either: the pipe ended with the kernel's start.
        assert_eq!(open_pipe_of_the_seed(&status), None);
    }
}

/// The pipe's descriptor, where init or the system still holds it.
fn open_pipe_of_the_seed(status: &Value) -> Option<i32> {
    let pids = ["init", "system"].map(|name| Board::pids(status, name));
    pids.concat().into_iter().find(|pid| {
        let held = fs::read_link(format!("/proc/{pid}/fd/12"));
        held.is_ok_and(|target| target.to_string_lossy().starts_with("pipe:"))
    })
}
