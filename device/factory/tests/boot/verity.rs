//! The system is read through verity while it runs (SPEC S2.2): a block that changes on the flash
//! is noticed by whoever reads it next.

use crate::device::{Board, Device, Workshop, workshop};
use crate::{INDEX, transplant};
use board::argument::hex;
use effects::SystemEntropy;
use factory::{FlashPlan, SystemFile, VerityErrorMode};
use serde_json::{Value, json};
use std::process::Command;

const BLOCK: usize = 4096;
/// A file that has three blocks in one column of codewords, and one without any damage.
const LARGE: &str = "etc/large";
const SMALL: &str = "etc/small";

/// A device whose system has both files.
fn device(workshop: &Workshop, mode: VerityErrorMode) -> Device {
    let device = workshop.device(INDEX);
    let file = |path: &str, content| SystemFile { path: path.into(), mode: 0o644, content };
    let plan = FlashPlan {
        files: vec![file(LARGE, noise(900_000)), file(SMALL, b"small".to_vec())],
        verity_error_mode: mode,
        ..workshop.plan(&workshop.stages, INDEX)
    };
    plan.build(workshop.maker.avb_key(), &device.path("flash.img"), &SystemEntropy).unwrap();
    device
}

fn noise(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

/// The first whole block of the large file, and the distance between blocks of a column.
fn place(device: &Device) -> (u64, u64) {
    let image = device.open_flash().read("system_a").unwrap();
    let needle = &noise(900_000)[..64];
    let at = image.windows(needle.len()).position(|window| window == needle).unwrap();
    let (data, tree) = (64 << 20, 129 * BLOCK as u64);
    let layout = verity::FecLayout::new(4096, (data + tree) / 4096, 2).unwrap();
    (at.div_ceil(BLOCK) as u64, layout.rounds())
}

/// Makes noise of so many blocks of a column: parity repairs two.
fn wreck(device: &Device, blocks: u64) -> u64 {
    let (first, rounds) = place(device);
    for row in 0..blocks {
        let at = (first + row * rounds) * BLOCK as u64;
        device.open_flash().write_at("system_a", at, &[0x5a; BLOCK]).unwrap();
    }
    first
}

/// Process 1 of the normal world.
fn ree_pid(board: &Board) -> i32 {
    let status = board.status();
    let pid = status["ree_pid"].as_i64().unwrap_or_else(|| panic!("{status:#}\n{}", board.log()));
    pid.try_into().unwrap()
}

/// Reads files as a program of the normal world does.
fn read(board: &Board, workshop: &Workshop, files: &[&str]) -> Vec<String> {
    let ree_pid = ree_pid(board);
    let paths: Vec<_> = files.iter().map(|file| format!("/system/{file}")).collect();
    let arguments: Vec<_> = ["read"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let probe = workshop.programs.join("holdfast-probe");
    let said = boot::world::enter(ree_pid, &probe, &arguments).unwrap();
    said.lines().map(str::to_owned).collect()
}

/// Reads the large file in a world that may end with that, before or while it answers.
fn read_and_end(board: &Board, workshop: &Workshop) {
    let ree_pid = ree_pid(board);
    let probe = workshop.programs.join("holdfast-probe");
    let said = boot::world::enter(ree_pid, &probe, &["read", "/system/etc/large"]);
    // The kernel asks twice; nobody is there any more where the first answer ended the world: the
    // request is broken off (ECONNABORTED), or none can be made (ENOTCONN).
    let errors = ["error 5\n", "error 103\n", "error 107\n"];
    assert!(said.as_deref().map_or(true, |said| errors.contains(&said)), "{said:?}");
}

fn sha256(bytes: &[u8]) -> String {
    hex(&crypto::digest::sha256(bytes))
}

/// Whether this machine lets the system be read from the flash; says so where it does not.
fn each_read(status: &Value) -> bool {
    assert_eq!(status["ready"], true, "{status:#}");
    let each_read = status["verity"]["each_read"] == true;
    assert!(each_read || std::env::var_os("CI").is_none(), "{status:#}");
    if !each_read {
        eprintln!("not run: this host has no FUSE for the system: {}", status["weaknesses"]);
    }
    each_read
}

#[test]
fn s2_2_a_byte_that_changes_while_the_device_runs_is_repaired_and_told() {
    let Some(workshop) = workshop() else { return };
    let device = device(workshop, VerityErrorMode::Managed);
    let board = device.run(workshop);
    if !each_read(&board.outcome()) {
        return;
    }
    let good = [sha256(&noise(900_000)), sha256(b"small")];
    assert_eq!(read(&board, workshop, &[LARGE, SMALL]), good);
    assert_eq!(board.status()["repaired"], json!([]));
    let (block, _) = place(&device);
    device.flip("system_a", block * BLOCK as u64 * 8 + 77);
    assert_eq!(read(&board, workshop, &[LARGE, SMALL]), good);
    let status = board.wait_for(|status| status["repaired"] != json!([]));
    assert_eq!(status["repaired"][0]["partition"], "system_a");
    assert_eq!(status["repaired"][0]["block"], block);
    assert_eq!((&status["restarts"], &status["corrupt"]), (&json!(0), &json!([])));
    // With the device off nobody saw what happened to that byte: then it does not count as wear.
    let (_, _) = board.ask("POST", "/v1/power", &json!({"action": "reset"}));
    assert_eq!(board.refusal(), ("system".into(), "ERROR_VERIFICATION".into()));
}

#[test]
fn s2_2_a_lost_block_restarts_the_device_which_then_gives_io_errors_until_it_has_another_system() {
    let Some(workshop) = workshop() else { return };
    let device = device(workshop, VerityErrorMode::Managed);
    let board = device.run(workshop);
    if !each_read(&board.outcome()) {
        return;
    }
    let block = wreck(&device, 3);
    read_and_end(&board, workshop);
    let status = board.wait_for(|status| status["reset"] == "verity" && status["ready"] == true);
    assert_eq!(status["verity"], json!({"mode": "eio", "each_read": true, "corrupt": true}));
    assert_eq!(status["corrupt"][0]["block"], block, "{status:#}");
    assert_eq!(status["restarts"], 1);
    assert_eq!(read(&board, workshop, &[LARGE, SMALL]), ["error 5".into(), sha256(b"small")]);
    let status = board.status();
    assert_eq!((&status["restarts"], &status["refused"]), (&json!(1), &Value::Null));
    // The TEE remembers.
    board.ask("POST", "/v1/power", &json!({"action": "reset"}));
    let status = board.outcome();
    assert_eq!((&status["verity"]["mode"], &status["restarts"]), (&json!("eio"), &json!(0)));
    assert_eq!((&status["reset"], &status["corrupt"]), (&json!("power_button"), &json!([])));
    assert_eq!(read(&board, workshop, &[LARGE]), ["error 5"]);
    drop(board);
    // Another vbmeta: another digest.
    let update = self::device(workshop, VerityErrorMode::Restart);
    transplant(&update, &device, &["vbmeta_a", "boot_a", "baseband_a", "system_a"]);
    let board = device.run(workshop);
    let status = board.outcome();
    let enforcing = json!({"mode": "enforcing", "each_read": true, "corrupt": false});
    assert_eq!(status["verity"], enforcing, "{status:#}");
    assert_eq!(read(&board, workshop, &[LARGE]), [sha256(&noise(900_000))]);
}

#[test]
fn s2_2_the_maker_can_have_the_device_stop_restart_or_go_on() {
    let Some(workshop) = workshop() else { return };
    for mode in [VerityErrorMode::Panic, VerityErrorMode::Restart, VerityErrorMode::Eio] {
        let device = device(workshop, mode);
        let board = device.run(workshop);
        if !each_read(&board.outcome()) {
            return;
        }
        wreck(&device, 3);
        read_and_end(&board, workshop);
        if mode == VerityErrorMode::Eio {
            let status = board.wait_for(|status| status["corrupt"] != json!([]));
            assert_eq!((&status["ready"], &status["restarts"]), (&json!(true), &json!(0)));
            continue;
        }
        let restarts = u32::from(mode == VerityErrorMode::Restart);
        let status = board.wait_for(|status| !status["refused"].is_null());
        assert_eq!(status["restarts"], restarts, "{mode:?}: {status:#}");
        assert_eq!(board.refusal(), ("system".into(), "ERROR_VERIFICATION".into()), "{mode:?}");
        board.wait_for(|status| status["powered"] == false);
        // Only a person can try again, and what is there now is refused.
        board.ask("POST", "/v1/power", &json!({"action": "reset"}));
        assert_eq!(board.refusal(), ("system".into(), "ERROR_VERIFICATION".into()), "{mode:?}");
    }
}

#[test]
fn without_fuse_the_system_is_a_verified_copy_and_the_device_says_so() {
    let Some(workshop) = workshop() else { return };
    let device = device(workshop, VerityErrorMode::Managed);
    let mut command = Command::new("unshare");
    let script = "mount --bind /dev/null /dev/fuse && exec \"$0\" \"$@\"";
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    command.arg(workshop.programs.join("holdfast-board"));
    let board = device.run_with(command);
    let status = board.outcome();
    assert_eq!(status["ready"], true, "{status:#}\n{}", board.log());
    assert_eq!(status["verity"]["each_read"], false);
    let weak = status["weaknesses"].to_string();
    assert!(weak.contains("a copy in memory") && weak.contains("/dev/fuse"), "{weak}");
    assert_eq!(read(&board, workshop, &[SMALL]), [sha256(b"small")]);
}
