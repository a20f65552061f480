//! The commands besides `up`: each part alone, in the foreground.

use crate::args::{Cloud, Device, Keycenter, StateDir};
use crate::exit::{Exit, Lacking};
use crate::programs::become_program;
use crate::state::State;
use crate::story::{Enrolling, Making, Memory};
use crate::{
    applications, bootloader, confirm, doctor as examination, radio, screen_lock, story, update,
};
use anyhow::{Context, Result};
use http_link::Client;
use serde_json::Value;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

/// `holdfast keycenter serve`: becomes `holdfast-keycenter`.
pub(crate) fn keycenter(command: Keycenter) -> Result<Exit> {
    let Keycenter::Serve { state, listen } = command;
    let state = State::open(state.dir.as_deref())?;
    let args = arguments([
        ("--state", state.folder("keycenter")?.into()),
        ("--listen", listen.to_string().into()),
    ]);
    become_program("holdfast-keycenter", &args)?;
    Ok(Exit::Held)
}

/// `holdfast element`: becomes `holdfast-element`.
pub(crate) fn element(arguments: &[std::ffi::OsString]) -> Result<Exit> {
    become_program("holdfast-element", arguments)?;
    Ok(Exit::Held)
}

/// `holdfast cloud serve`: becomes `holdfast-cloud`.
pub(crate) fn cloud(command: Cloud) -> Result<Exit> {
    let Cloud::Serve(serve) = command;
    let state = State::open(serve.state.dir.as_deref())?;
    let ca = serve.keycenter_ca.unwrap_or_else(|| state.path("keycenter/ca.pem"));
    let credential =
        serve.keycenter_credential.unwrap_or_else(|| state.path("keycenter/bootstrap/cloud.json"));
    for (file, option) in [(&ca, "--keycenter-ca"), (&credential, "--keycenter-credential")] {
        readable(file, option)?;
    }
    let mut args = arguments([
        ("--state", state.folder("cloud")?.into()),
        ("--listen", serve.listen.to_string().into()),
        ("--keycenter", serve.keycenter.into()),
        ("--keycenter-ca", ca.into()),
        ("--keycenter-credential", credential.into()),
    ]);
    let hours = serve.google_status_max_age.map(|hours| OsString::from(hours.to_string()));
    let attestation = [
        ("--google-status", serve.google_status),
        ("--google-status-ca", serve.google_status_ca.map(PathBuf::into_os_string)),
        ("--google-status-max-age", hours),
    ];
    let roots =
        serve.attestation_roots.into_iter().map(|file| ("--attestation-roots", file.into()));
    let given = attestation.into_iter().filter_map(|(name, value)| Some((name, value?)));
    args.extend(given.chain(roots).flat_map(|(name, value)| [OsString::from(name), value]));
    become_program("holdfast-cloud", &args)?;
    Ok(Exit::Held)
}

/// The Key Center makes these files when it first starts.
fn readable(file: &Path, option: &str) -> Result<()> {
    std::fs::File::open(file).map(drop).map_err(|error| {
        let how = format!(
            "start `holdfast keycenter serve` with this state folder first, or name the file with \
             {option}"
        );
        Lacking(format!("{}: {error}: {how}", file.display())).into()
    })
}

fn arguments<const N: usize>(pairs: [(&str, OsString); N]) -> Vec<OsString> {
    let flat = pairs.into_iter().flat_map(|(name, value)| [name.into(), value]);
    std::iter::once("serve".into()).chain(flat).collect()
}

/// `holdfast device …`.
pub(crate) async fn device(command: Device) -> Result<Exit> {
    match command {
        Device::Make {
            state,
            enrol,
            cloud_ca,
            maker_credential,
            verity_error_mode,
            board,
            imei,
        } => {
            let state = State::open(state.dir.as_deref())?;
            let _lock = state.lock()?;
            let enrolling = enrol.as_deref().map(|url| Enrolling {
                url,
                ca: cloud_ca.unwrap_or_else(|| state.path("cloud/ca.pem")),
                credential: maker_credential.unwrap_or_else(|| state.path("cloud/maker.json")),
            });
            let making = Making { errors: verity_error_mode, backend: board, imei };
            story::make_alone(&state, enrolling, &making).await
        }
        Device::Release(asked) => {
            let state = State::open_existing(asked.state.dir.as_deref())?;
            story::release(&state, &asked)
        }
        Device::Boot { state, phone_listen, trusted_listen, reach } => {
            let state = made(&state)?;
            let mut args: Vec<OsString> = vec!["--state".into(), state.path("device").into()];
            args.extend(["--phone-screen".into(), phone_listen.to_string().into()]);
            args.extend(["--trusted-screen".into(), trusted_listen.to_string().into()]);
            for route in radio::routes(&Memory::load(&state)?, &reach)? {
                args.extend(["--radio".into(), route.into()]);
            }
            become_program("holdfast-board", &args)?;
            Ok(Exit::Held)
        }
        Device::Run { state, program } => run(&made(&state)?, &program),
        Device::Unlock(asked) => {
            bootloader::set_lock(&made(&asked.state)?, false, asked.json).await
        }
        Device::Lock(asked) => bootloader::set_lock(&made(&asked.state)?, true, asked.json).await,
        Device::SetCustomKey { state, key, .. } => {
            bootloader::set_custom_key(&made(&state)?, key.as_deref()).await
        }
        Device::RevokeKey { state, slot } => {
            let state = made(&state)?;
            let mut args: Vec<OsString> = vec!["--state".into(), state.path("device").into()];
            args.extend(["--revoke-key".into(), slot.to_string().into()]);
            become_program("holdfast-board", &args)?;
            Ok(Exit::Held)
        }
        Device::Ta(asked) => applications::run(&made(asked.state())?, &asked).await,
        Device::ScreenLock(what) => screen_lock::run(&made(what.state())?, &what).await,
        Device::Confirm(asked) => confirm::run(&made(&asked.state)?, &asked).await,
        Device::Update(asked) => update::run(&made(&asked.state)?, &asked).await,
        Device::Status { state, json } => status(&made(&state)?, json).await,
    }
}

/// A state folder with a device in it.
fn made(given: &StateDir) -> Result<State> {
    let state = State::open_existing(given.dir.as_deref())?;
    if !state.path(story::MADE).is_file() {
        let folder = state.root().display();
        let how = "`holdfast device make` makes one";
        return Err(Lacking(format!("there is no device in {folder}; {how}")).into());
    }
    Ok(state)
}

/// Becomes `program`, which finds the device's local socket in its environment.
fn run(state: &State, program: &[OsString]) -> Result<Exit> {
    let socket = state.path("device/run/holdfast.sock");
    if std::os::unix::net::UnixStream::connect(&socket).is_err() {
        let off = "the device is off: `holdfast device boot` powers it on";
        return Err(Lacking(format!("{}: {off}", socket.display())).into());
    }
    let (name, arguments) = program.split_first().context("a program is due")?;
    let mut command = std::process::Command::new(name);
    let error = command.args(arguments).env("HOLDFAST_SOCKET", socket).exec();
    Err(Lacking(format!("{} did not start: {error}", name.display())).into())
}

async fn status(state: &State, json: bool) -> Result<Exit> {
    let board = Client::unix(&state.path("device/board.sock"));
    let Ok(board) = board.get("/v1/status").send_json::<Value>().await else {
        if json {
            println!("{}", serde_json::json!({ "board": null, "system": null }));
        } else {
            println!("the device is off: `holdfast device boot` powers it on");
        }
        return Ok(Exit::Failed);
    };
    let system = Client::unix(&state.path("device/run/holdfast.sock"));
    let system: Value = system.get("/v1/status").send_json().await.unwrap_or(Value::Null);
    let up = board["ready"] == true;
    if json {
        println!("{}", serde_json::json!({ "board": board, "system": system }));
        return Ok(if up { Exit::Held } else { Exit::Failed });
    }
    let status: story::BoardStatus = serde_json::from_value(board)?;
    for stage in &status.stages {
        println!("{}", story::stage_line(stage));
    }
    match &status.refused {
        Some(refused) => println!("refused: {}", refused.line()),
        None => {
            println!("boot {} of this board; the system is up: {up}", status.boot_no.unwrap_or(0))
        }
    }
    if let Some(board) = &status.board {
        println!("board: {board}");
    }
    if let Some(recovery) = &status.recovery {
        println!("recovery runs: {}, {} %", recovery.step, recovery.percent);
    }
    print_verity(&status);
    if status.restarts > 0 {
        println!(
            "restarted by itself: {} times since the power button was pressed",
            status.restarts
        );
    }
    for refused in &status.tried {
        println!("tried before: {}", refused.line());
    }
    for refusal in &status.refusals {
        println!(
            "refused by the TEE: {}, {} times, last to user {}",
            serde_json::to_string(&refusal.kind)?.trim_matches('"'),
            refusal.count,
            refusal.uid
        );
    }
    let names = ["serial", "boot_state", "boot_key", "bootloader_locked", "account", "device_id"];
    for name in names.into_iter().chain(["ce_open", "cloud_connected"]) {
        println!("{name:<18} {}", system[name]);
    }
    println!("{:<18} {}", "secure clock", clock_line(&system["time"]));
    Ok(if up { Exit::Held } else { Exit::Failed })
}

/// What the TEE's clock says, for a person.
fn clock_line(time: &Value) -> String {
    let Some(unix_ms) = time["unix_ms"].as_u64() else { return "gives no time".into() };
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_millis(unix_ms);
    let moment = httpdate::fmt_http_date(moment);
    match (time["error_ms"].as_u64(), time["set_ms_ago"].as_u64()) {
        (Some(error), Some(age)) => {
            format!("{moment}, right within {error} ms, set {} s ago", age / 1000)
        }
        _ => format!("{moment}, not trusted: no signed time came in since power-on"),
    }
}

/// How the system is read, and what came of it.
fn print_verity(status: &story::BoardStatus) {
    if let Some(verity) = status.verity {
        let read = match verity.each_read {
            true => "each read is checked against the flash",
            false => "its files are a copy in memory, checked once",
        };
        println!("the system: {read}");
        if verity.corrupt {
            println!(
                "corrupt: the system on the flash is damaged; flash a good image or update it"
            );
        }
    }
    let lists = [("repaired by parity", &status.repaired), ("lost", &status.corrupt)];
    for (what, list) in lists {
        for bad in list {
            println!("{what}: block {} of {}, read {} times", bad.block, bad.partition, bad.count);
        }
    }
}

/// `holdfast doctor`: a machine that lacks what is required is an environment that lacks something.
pub(crate) fn doctor(json: bool, state: &StateDir) -> Result<Exit> {
    let report = examination::examine(state.dir.as_deref());
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.sufficient { Exit::Held } else { Exit::Environment })
}
