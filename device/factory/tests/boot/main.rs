//! SPEC S2.2 with the real programs: the whole chain, and every way in which it must stop.

mod device;
mod kaslr;
mod root_keys;
mod slots;
mod trusted_screen;
mod verity;

use device::{Board, Device, Workshop, new_maker, workshop};
use factory::RollbackIndexes;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const INDEX: RollbackIndexes = RollbackIndexes::all(5);

#[test]
fn s2_2_the_chain_runs_from_the_rom_to_the_system() {
    let Some(workshop) = workshop() else { return };
    let device = workshop.device(INDEX);
    let board = device.run(workshop);
    let status = board.outcome();
    assert_eq!(status["refused"], Value::Null, "{status:#}\n{}", board.log());
    let stages = status["stages"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["bl1", "tee", "bl2", "baseband", "kernel", "system"]);
    for stage in stages {
        assert_eq!(stage["verdict"], "verified", "{stage}");
        assert_eq!(stage["digest"].as_str().unwrap().len(), 64, "{stage}");
        assert_eq!(stage["version"], "1.2.3", "{stage}");
        println!("{:10} {:>8} µs", stage["stage"], stage["micros"]);
    }
    println!("ready after {} ms; weaknesses: {:#}", status["boot_ms"], status["weaknesses"]);
    assert_eq!(status["boot_no"], 0);
    for name in ["tee-os", "ta-keymint", "ta-gatekeeper", "init", "system", "baseband"] {
        assert!(!Board::pids(&status, name).is_empty(), "{name} is missing: {status:#}");
    }
    let (code, status) = board.ask("POST", "/v1/power", &json!({"action": "reset"}));
    assert_eq!((code, &status["boot_no"]), (200, &json!(1)));
    assert_eq!(board.outcome()["ready"], true);
    let (_, status) = board.ask("POST", "/v1/power", &json!({"action": "off"}));
    assert_eq!((&status["powered"], &status["processes"]), (&json!(false), &json!([])));
}

#[test]
fn s2_2_one_flipped_bit_anywhere_stops_the_boot() {
    let Some(workshop) = workshop() else { return };
    for (partition, stage) in [
        ("misc", "bl1"),
        ("bl1_a", "bl1"),
        ("tee_a", "tee"),
        ("bl2_a", "bl2"),
        ("vbmeta_a", "kernel"),
        ("baseband_a", "baseband"),
        ("boot_a", "kernel"),
        ("system_a", "system"),
    ] {
        let device = workshop.device(INDEX);
        let bytes = device.open_flash().partition(partition).unwrap().size_bytes();
        let random = u64::from_le_bytes(effects::random_array(&effects::SystemEntropy));
        let bit = random % (bytes * 8);
        println!("{partition}: bit {bit}");
        device.flip(partition, bit);
        let board = device.run(workshop);
        let (refused, code) = board.refusal();
        assert_eq!(refused, stage, "{partition}, bit {bit}");
        assert!(code.starts_with("ERROR_"), "{partition}, bit {bit}: {code}");
    }
}

/// Replaces slot a's partition `names` with those of another image.
fn transplant(from: &Device, to: &Device, names: &[&str]) {
    for name in names {
        let bytes = from.open_flash().read(name).unwrap();
        to.open_flash().write_at(name, 0, &bytes).unwrap();
    }
}

#[test]
fn s2_2_refuses_rollback_below_fuse_counter_and_stored_index() {
    let Some(workshop) = workshop() else { return };
    let device = workshop.device(RollbackIndexes::all(4));
    workshop.flash(&workshop.maker, INDEX, &device.path("flash.img"));
    // The first boot proves the slot; the stored indexes rise with it.
    let board = device.run(workshop);
    assert_eq!(board.outcome()["ready"], true, "{}", board.log());
    wait_for_success(&device, bootimg::misc::Slot::A, 5);
    drop(board);
    let older = workshop.device(RollbackIndexes::all(4));
    for (names, stage) in [
        (&["bl1_a"][..], "bl1"),
        (&["tee_a"], "tee"),
        (&["bl2_a"], "bl2"),
        (&["vbmeta_a", "boot_a", "baseband_a", "system_a"], "kernel"),
    ] {
        let kept = names.iter().map(|name| device.open_flash().read(name).unwrap());
        let kept: Vec<_> = kept.collect();
        transplant(&older, &device, names);
        let refusal = device.run(workshop).refusal();
        assert_eq!(refusal, (stage.into(), "ERROR_ROLLBACK_INDEX".into()), "{names:?}");
        for (name, bytes) in names.iter().zip(kept) {
            device.open_flash().write_at(name, 0, &bytes).unwrap();
        }
    }
}

/// Waits until the slot was marked successful and, last of all, the fuses rose to `index`.
fn wait_for_success(device: &Device, slot: bootimg::misc::Slot, index: u64) {
    let start = Instant::now();
    let fuse = || {
        let fuses = board_emulated::fuses::Fuses::open(&device.path("board")).unwrap();
        fuses.counter(board::secure::TEE_COUNTER).unwrap()
    };
    while !device.open_flash().slots().unwrap().get(slot).is_successful() || fuse() < index {
        assert!(start.elapsed() < Duration::from_secs(30), "the slot never proved itself");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn s2_2_refuses_another_makers_images() {
    let Some(workshop) = workshop() else { return };
    let folder = tempfile::tempdir().unwrap();
    let stranger = new_maker(folder.path());
    let device = workshop.device(INDEX);
    let foreign = workshop.device(INDEX);
    workshop.flash(&stranger, INDEX, &foreign.path("flash.img"));
    transplant(&foreign, &device, &["vbmeta_a", "boot_a", "baseband_a", "system_a"]);
    let refusal = device.run(workshop).refusal();
    assert_eq!(refusal, ("kernel".into(), "ERROR_PUBLIC_KEY_REJECTED".into()));
    let refusal = foreign.run(workshop).refusal();
    assert_eq!(refusal, ("bl1".into(), "ERROR_PUBLIC_KEY_REJECTED".into()));
}

#[test]
fn killing_the_board_leaves_no_process() {
    let Some(workshop) = workshop() else { return };
    let device = workshop.device(INDEX);
    let mut board = device.run(workshop);
    let status = board.outcome();
    let pids: Vec<_> = status["processes"].as_array().unwrap().iter().map(|p| &p["pid"]).collect();
    assert!(pids.len() >= 6, "{status:#}");
    board.child.kill().unwrap();
    board.child.wait().unwrap();
    let start = Instant::now();
    let runs = |pid: &&Value| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // One that ended counts as gone, whether its new parent noticed or not.
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while pids.iter().any(&runs) {
        assert!(start.elapsed() < Duration::from_secs(10), "still there: {status:#}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_system_that_dies_starts_anew_and_without_its_tee_the_device_stops() {
    let Some(workshop) = workshop() else { return };
    let device = workshop.device(INDEX);
    let board = device.run(workshop);
    let status = board.outcome();
    let system = Board::pids(&status, "system");
    kill(system[0]);
    let status = board.wait_for(|status| {
        let now = Board::pids(status, "system");
        status["ended"][0]["name"] == "system" && !now.is_empty() && now != system
    });
    assert_eq!(status["ended"][0]["how"], "was ended by signal 9");
    assert_eq!(status["powered"], true);
    kill(Board::pids(&status, "tee-os")[0]);
    let status = board.wait_for(|status| status["powered"] == false);
    assert_eq!(status["refused"]["stage"], "tee-os");
    board.wait_for(|status| status["processes"] == json!([]));
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Lets root of the normal world try everything, and says what it reached.
fn attack(board: &Board, device: &Device, workshop: &Workshop) -> Vec<Value> {
    attack_on(board, device, workshop, Vec::new())
}

/// The same, with a search for what was typed or chosen at the trusted screen.
fn attack_on(
    board: &Board,
    device: &Device,
    workshop: &Workshop,
    typed: Vec<boot::probe::Hidden>,
) -> Vec<Value> {
    let status = board.outcome();
    assert_eq!(status["ready"], true, "{status:#}\n{}", board.log());
    let files = ["board", "board/fuses.cbor", "board/rpmb.bin"].map(|name| device.path(name));
    let secrets: Vec<_> = ["tee-os", "ta-keymint", "ta-gatekeeper"]
        .iter()
        .flat_map(|name| Board::pids(&status, name))
        .chain([board.child.id().cast_signed()])
        .collect();
    let port = board.screens["trusted_screen"].as_str().unwrap().rsplit(':').next().unwrap();
    let mut targets =
        boot::probe::Targets::on_this_host(&files, &secrets, &[port.parse().unwrap()]).unwrap();
    targets.secrets = typed;
    let ree_pid = status["ree_pid"].as_i64().unwrap().try_into().unwrap();
    let probe = workshop.programs.join("holdfast-probe");
    let argument = serde_json::to_string(&targets).unwrap();
    let said = boot::world::enter(ree_pid, &probe, &[&argument]).unwrap();
    let attempts: Vec<Value> = serde_json::from_str(&said).unwrap();
    assert!(attempts.len() > 15, "{said}");
    for attempt in &attempts {
        println!("{attempt}");
    }
    attempts.into_iter().filter(|attempt| attempt["succeeded"] == true).collect()
}

#[test]
fn s2_1_1_root_of_the_normal_world_reaches_nothing_of_the_trusted_side() {
    let Some(workshop) = workshop() else { return };
    let device = workshop.device(INDEX);
    let board = device.run(workshop);
    assert_eq!(attack(&board, &device, workshop), Vec::<Value>::new());
}

#[test]
fn works_without_privileges() {
    let Some(workshop) = workshop() else { return };
    if !rustix::process::geteuid().is_root() {
        return eprintln!("not run: these tests run without privileges anyway");
    }
    let device = workshop.device(INDEX);
    let owner =
        Command::new("chown").args(["-R", "65534:65534"]).arg(device.folder.path()).status();
    assert!(owner.unwrap().success());
    let programs = copy_for_everybody(workshop);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
    command.arg(programs.path().join("holdfast-board"));
    let board = device.run_with(command);
    assert_eq!(board.outcome()["ready"], true, "{}", board.log());
    let status = board.status();
    assert!(status["ree_pid"].is_i64());
    let weak = status["weaknesses"].to_string();
    assert!(!weak.contains("the system is not isolated"), "{weak}");
}

#[test]
fn boots_without_namespaces_and_says_so() {
    let Some(workshop) = workshop() else { return };
    let device = workshop.device(INDEX);
    // A user namespace in which no further one can be made stands in for a host without them.
    let mut command = Command::new("unshare");
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
    command.args(["--user", "--map-root-user", "sh", "-c", script]);
    command.arg(workshop.programs.join("holdfast-board"));
    let board = device.run_with(command);
    let status = board.outcome();
    assert_eq!(status["ready"], true, "{status:#}\n{}", board.log());
    let weak = status["weaknesses"].to_string();
    assert!(weak.contains("the system is not isolated"), "{weak}");
    assert!(weak.contains("user.max_user_namespaces"), "{weak}");
}

/// The programs may lie where only root can go.
fn copy_for_everybody(workshop: &Workshop) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open.clone()).unwrap();
    let to: PathBuf = folder.path().join("holdfast-board");
    std::fs::copy(workshop.programs.join("holdfast-board"), &to).unwrap();
    std::fs::set_permissions(&to, open).unwrap();
    folder
}
