//! Trusted applications of a device: `holdfast device ta install|list|remove|call`.

use crate::args::{Ta, TaTarget};
use crate::exit::{Exit, Lacking, Misused};
use crate::state::State;
use anyhow::Result;
use http_link::{Client, Error as HttpError};
use serde_json::{Value, json};
use std::path::Path;

/// Runs the command.
pub(crate) async fn run(state: &State, asked: &Ta) -> Result<Exit> {
    let api = system(state)?;
    let (done, json) = match asked {
        Ta::Install { image, json, .. } => (install(&api, image).await?, *json),
        Ta::List { json, .. } => (api.get("/v1/ta").send_json().await, *json),
        Ta::Remove { target, json, .. } => (remove(&api, target).await, *json),
        Ta::Call { target, command, json, .. } => (call(&api, target, command).await?, *json),
    };
    match done {
        Ok(said) => {
            say(&said, json);
            Ok(Exit::Held)
        }
        Err(error) => refused(error, json),
    }
}

async fn install(api: &Client, image: &Path) -> Result<Result<Value, HttpError>> {
    let bytes = std::fs::read(image);
    let bytes = bytes.map_err(|error| Misused(format!("{}: {error}", image.display())))?;
    Ok(api.put("/v1/ta").bytes(bytes).send_json().await)
}

async fn remove(api: &Client, target: &TaTarget) -> Result<Value, HttpError> {
    api.delete(&path(target, "")).send().await?;
    Ok(json!({ "removed": target.uuid }))
}

async fn call(api: &Client, target: &TaTarget, command: &str) -> Result<Result<Value, HttpError>> {
    let command: Value = serde_json::from_str(command)
        .map_err(|error| Misused(format!("the command is no JSON: {error}")))?;
    let request = api.post(&path(target, "/call")).json(&json!({ "command": command }));
    Ok(request.send_json().await)
}

/// The route of an application. What is no UUID and no digest the device refuses.
fn path(target: &TaTarget, what: &str) -> String {
    let signer = target.signer.as_ref().map(|signer| format!("?signer={signer}"));
    format!("/v1/ta/{}{what}{}", target.uuid, signer.unwrap_or_default())
}

fn say(said: &Value, json: bool) {
    if json {
        println!("{said}");
        return;
    }
    if let Some(reply) = said.get("reply") {
        println!("{reply}");
    } else if let Some(applications) = said["applications"].as_array() {
        applications.iter().for_each(line);
    } else if said["uuid"].is_string() {
        line(said);
    }
}

/// One application, as a person reads it.
fn line(application: &Value) {
    let text = |key: &str| application[key].as_str().unwrap_or_default().to_owned();
    let kind = if application["built_in"] == true { "of the system" } else { "installed" };
    let (name, version) = (text("name"), &application["version"]);
    println!("{} {name} version {version}, signed by {}, {kind}", text("uuid"), text("signer"));
}

fn refused(error: HttpError, json: bool) -> Result<Exit> {
    let HttpError::Refused(refusal) = error else { return Err(error.into()) };
    if json {
        println!("{}", json!({ "error": refusal.error, "reason": refusal.reason }));
    }
    eprintln!("refused: {}", refusal.reason);
    Ok(Exit::Failed)
}

/// The system's local API, where the device is on.
fn system(state: &State) -> Result<Client> {
    let socket = state.path("device/run/holdfast.sock");
    if std::os::unix::net::UnixStream::connect(&socket).is_err() {
        let off = "the device is off: `holdfast device boot` powers it on";
        return Err(Lacking(format!("{}: {off}", socket.display())).into());
    }
    Ok(Client::unix(&socket))
}
