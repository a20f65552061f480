//! The bootloader's lock and the user's own key: `holdfast device unlock|lock|set-custom-key`.

use crate::exit::{Exit, Lacking, Misused};
use crate::state::State;
use crate::story::BoardStatus;
use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_link::{Client, Error as HttpError};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a person may think about what the trusted screen asks.
pub(crate) const THINKING: Duration = Duration::from_secs(10 * 60);
/// How long the device may take to restart.
const RESTART_WITHIN: Duration = Duration::from_secs(60);

/// Locks the bootloader, or unlocks it, and restarts the device.
pub(crate) async fn set_lock(state: &State, locked: bool, json: bool) -> Result<Exit> {
    let word = if locked { "lock" } else { "unlock" };
    eprintln!("agree on the trusted screen: {}", trusted_screen(state));
    let request = system(state)?.post(&format!("/v1/bootloader/{word}")).patience(THINKING);
    let erased: Value = match request.send_json().await {
        Ok(erased) => erased,
        Err(error) => return refused(error, json),
    };
    restart(state).await?;
    let status: Value = system(state)?.get("/v1/status").send_json().await?;
    let said = json!({
        "bootloader_locked": status["bootloader_locked"],
        "boot_state": status["boot_state"],
        "boot_key": status["boot_key"],
        "erasures": erased["erasures"],
    });
    if json {
        println!("{said}");
    } else {
        let colour = said["boot_state"].as_str().unwrap_or("unknown");
        println!("the bootloader is {word}ed, the device erased; it booted {colour}");
    }
    Ok(if status["bootloader_locked"] == locked { Exit::Held } else { Exit::Failed })
}

/// Trusts the key in `file` beside the maker's, or none.
pub(crate) async fn set_custom_key(state: &State, file: Option<&Path>) -> Result<Exit> {
    let read = |file: &Path| {
        let blob = std::fs::read(file);
        blob.map_err(|error| Misused(format!("{}: {error}", file.display())))
    };
    let key = file.map(read).transpose()?.map(|blob| BASE64.encode(blob));
    let request = system(state)?.put("/v1/bootloader/custom-key").json(&json!({ "key": key }));
    let set: Value = match request.send_json().await {
        Ok(set) => set,
        Err(error) => return refused(error, false),
    };
    match set["custom_key"].as_str() {
        Some(digest) => println!("trusted from the next boot on: {digest}"),
        None => println!("from the next boot on the maker's key alone is trusted"),
    }
    Ok(Exit::Held)
}

/// Where the trusted screen is, as the board tells.
pub(crate) fn trusted_screen(state: &State) -> String {
    let told = std::fs::read_to_string(state.path("device/run/trusted-screen.url"));
    told.unwrap_or_default().trim_end().to_owned()
}

/// The system's local API, where the device is on.
pub(crate) fn system(state: &State) -> Result<Client> {
    let socket = state.path("device/run/holdfast.sock");
    if std::os::unix::net::UnixStream::connect(&socket).is_err() {
        let off = "the device is off: `holdfast device boot` powers it on";
        return Err(Lacking(format!("{}: {off}", socket.display())).into());
    }
    Ok(Client::unix(&socket))
}

pub(crate) fn refused(error: HttpError, json: bool) -> Result<Exit> {
    let HttpError::Refused(refusal) = error else { return Err(error.into()) };
    if json {
        println!("{}", json!({ "error": refusal.error, "reason": refusal.reason }));
    }
    eprintln!("refused: {}", refusal.reason);
    Ok(Exit::Failed)
}

/// Off and on again; waits until the system is up.
async fn restart(state: &State) -> Result<()> {
    let board = Client::unix(&state.path("device/board.sock"));
    board.post("/v1/power").json(&json!({ "action": "reset" })).send().await?;
    let start = Instant::now();
    loop {
        let status: BoardStatus = board.get("/v1/status").send_json().await?;
        match status.refused {
            Some(refused) => bail!("the device did not come up: {}", refused.line()),
            None if status.ready => return Ok(()),
            None if start.elapsed() > RESTART_WITHIN => bail!("the device did not come up in time"),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
