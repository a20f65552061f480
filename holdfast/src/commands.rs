//! The commands besides `up`: each part alone, in the foreground.

use crate::args::{Cloud, Device, Keycenter, StateDir};
use crate::exit::Exit;
use crate::programs::become_program;
use crate::state::State;
use crate::{doctor as examination, story};
use anyhow::{Context, Result};
use http_link::Client;
use serde_json::Value;
use std::ffi::OsString;

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

/// `holdfast cloud serve`: becomes `holdfast-cloud`.
pub(crate) fn cloud(command: Cloud) -> Result<Exit> {
    let Cloud::Serve { state, listen, keycenter, keycenter_ca, keycenter_credential } = command;
    let state = State::open(state.dir.as_deref())?;
    let ca = keycenter_ca.unwrap_or_else(|| state.path("keycenter/ca.pem"));
    let credential =
        keycenter_credential.unwrap_or_else(|| state.path("keycenter/bootstrap/cloud.json"));
    let args = arguments([
        ("--state", state.folder("cloud")?.into()),
        ("--listen", listen.to_string().into()),
        ("--keycenter", keycenter.into()),
        ("--keycenter-ca", ca.into()),
        ("--keycenter-credential", credential.into()),
    ]);
    become_program("holdfast-cloud", &args)?;
    Ok(Exit::Held)
}

fn arguments<const N: usize>(pairs: [(&str, OsString); N]) -> Vec<OsString> {
    let flat = pairs.into_iter().flat_map(|(name, value)| [name.into(), value]);
    std::iter::once("serve".into()).chain(flat).collect()
}

/// `holdfast device make|boot|status`.
pub(crate) async fn device(command: Device) -> Result<Exit> {
    match command {
        Device::Make { state, enrol } => {
            let state = State::open(state.dir.as_deref())?;
            let _lock = state.lock()?;
            story::make_alone(&state, enrol.as_deref()).await
        }
        Device::Boot { state } => {
            let state = State::open(state.dir.as_deref())?;
            let args = ["--state".into(), state.path("device").into()];
            become_program("holdfast-board", &args)?;
            Ok(Exit::Held)
        }
        Device::Status { state, json } => {
            let state = State::open(state.dir.as_deref())?;
            status(&state, json).await
        }
    }
}

async fn status(state: &State, json: bool) -> Result<Exit> {
    let board = Client::unix(&state.path("device/board.sock"));
    let board: Value = board
        .get("/v1/status")
        .send_json()
        .await
        .context("the device is off, or there is none: `holdfast device boot` powers it on")?;
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
    for name in ["serial", "boot_state", "account", "device_id", "ce_open", "cloud_connected"] {
        println!("{name:<16} {}", system[name]);
    }
    Ok(if up { Exit::Held } else { Exit::Failed })
}

/// `holdfast doctor`.
pub(crate) fn doctor(json: bool, state: &StateDir) -> Result<Exit> {
    let report = examination::examine(state.dir.as_deref());
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(Exit::Held)
}
