//! Chapters eight and nine: the device is lost, erased, found by a stranger, and comes back.

use super::device::{Device, Wiring};
use super::everyday::{follow, transfer_line};
use super::owner::Person;
use super::signin::{bind_device, enrol, lock_of, session, sign_up};
use super::step::{Stopped, Teller};
use super::{clone, everyday};
use crate::report::{Evidence, Reporter};
use anyhow::{Context, Result, bail, ensure};
use http_link::{Client, Error as HttpError};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use wire::account::Session;
use wire::find::{Command, Issued, Outcome, Position};

/// What the owner's browser would do: a session and the device's id.
pub(crate) struct Owner<'a> {
    pub(crate) cloud: &'a Client,
    pub(crate) token: String,
    pub(crate) device_id: String,
}

impl Owner<'_> {
    /// Sends a command and waits until the device has done it.
    pub(crate) async fn command(&self, command: &Command) -> Result<Option<Position>> {
        let commands = format!("/v1/devices/{}/commands", self.device_id);
        let issued: Issued =
            self.cloud.post(&commands).bearer(&self.token).json(command).send_json().await?;
        // An erase overwrites and removes all that the owner had.
        let patience = Duration::from_secs(if *command == Command::Erase { 300 } else { 20 });
        let start = Instant::now();
        loop {
            let path = format!("{commands}/{}", issued.command_id);
            match self.cloud.get(&path).bearer(&self.token).send_json().await? {
                Outcome::Done { position } => return Ok(position),
                Outcome::Failed { reason } => bail!("the device could not: {reason}"),
                Outcome::Pending if start.elapsed() > patience => {
                    bail!("the device did not do it within {} s", patience.as_secs())
                }
                Outcome::Pending => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

/// Chapter eight.
pub(crate) async fn lost(
    teller: &mut Teller,
    cloud: &Client,
    device: &Device,
    session: &Session,
    (scratch, pin): (&Path, &str),
) -> Result<(), Stopped> {
    let owner = teller.step("find.locate", async |_| locate(cloud, device, session).await).await?;
    teller
        .step("find.sound", async |_| {
            owner.command(&Command::Sound).await?;
            let find: Value = device.api().get("/v1/find").send_json().await?;
            let left = find["alarm_ms"].as_u64().filter(|ms| *ms > 0);
            let left = left.context("the command was done, yet no alarm sounds")?;
            let line = format!("the alarm sounds, for {} s more", left / 1000);
            Ok(((), Evidence::new(line, json!({ "alarm_ms": left }))))
        })
        .await?;
    teller
        .step("find.lost", async |_| enter_lost_mode(&owner, device).await.map(|it| ((), it)))
        .await?;
    teller
        .step("find.erase", async |_| erase(&owner, device, scratch, pin).await.map(|it| ((), it)))
        .await
}

async fn locate<'a>(
    cloud: &'a Client,
    device: &Device,
    session: &Session,
) -> Result<(Owner<'a>, Evidence)> {
    let status = device.system_status().await?;
    let device_id = status["device_id"].as_str().context("the device is not bound")?.to_owned();
    device.api().post("/v1/find/enable").json(&json!({ "enabled": true })).send().await?;
    device.until("find-device is on", |status| status["find_enabled"] == true).await?;
    let owner = Owner { cloud, token: session.token.clone(), device_id };
    let position = owner.command(&Command::Locate).await?.context("no position came back")?;
    let line =
        format!("{:.4}, {:.4} within {:.0} m", position.lat, position.lon, position.accuracy_m);
    Ok((owner, Evidence::new(line, serde_json::to_value(position)?)))
}

async fn enter_lost_mode(owner: &Owner<'_>, device: &Device) -> Result<Evidence> {
    let message = "Please call my friend at the harbour.".to_owned();
    owner.command(&Command::Lost { message: message.clone() }).await?;
    let status = device
        .until("lost mode holds", |it| it["lock"]["lost"] == *message && it["ce_open"] == false)
        .await?;
    let files = device.api().get("/v1/files").send_any().await?.status();
    ensure!(files == 423, "files answered {files} in lost mode; 423 Locked was due");
    let page = device.screen("/").await?;
    ensure!(page.contains("my friend at the harbour"), "the lock screen does not show the message");
    let object = json!({ "message": message, "lock": status["lock"], "files": "423 Locked" });
    Ok(Evidence::new("locked; the message is on the lock screen", object))
}

/// Erases, and shows that what was copied off the flash before no longer opens.
async fn erase(owner: &Owner<'_>, device: &Device, scratch: &Path, pin: &str) -> Result<Evidence> {
    let before = scratch.join("before-erase");
    clone::flash(&device.dir, &before)?;
    clone::write_out(scratch)?;
    owner.command(&Command::Erase).await?;
    let refused = reopen(&device.dir, &before, scratch, pin).await?;
    clone::write_out(scratch)?;
    let line = format!("keys destroyed; with the old userdata put back: {refused}");
    let object = json!({ "old_userdata": { "opens": false, "reason": refused } });
    Ok(Evidence::new(line, object))
}

/// The proof: a copy of this very board (same fuses, same RPMB after the erase) with flash and
/// files as they were before. The right PIN must open nothing.
async fn reopen(now: &Path, before: &Path, scratch: &Path, pin: &str) -> Result<String> {
    let board = scratch.join("put-back");
    clone::device(now, &board)?;
    clone::put_flash_back(before, &board)?;
    let device = Device::power_on(&board, &Wiring::default(), scratch.join("put-back.log")).await?;
    let tried = match device.settled().await?.refused {
        Some(refused) => Ok(refused.line()),
        None => try_pin(&device, pin).await,
    };
    device.power_off().await?;
    tried
}

async fn try_pin(device: &Device, pin: &str) -> Result<String> {
    let status = device.system_status().await?;
    ensure!(status["device_id"].is_null(), "the old record was read: {status}");
    device.type_keys(&format!("{pin}\n")).await?;
    let reason = match device.api().post("/v1/lock/unlock").send().await {
        Ok(_) => bail!("the old PIN opened the old userdata"),
        Err(HttpError::Refused(refusal)) => refusal.reason,
        Err(error) => return Err(error.into()),
    };
    let files = device.api().get("/v1/files").send_any().await?.status();
    ensure!(!files.is_success(), "files are listed after the erase");
    Ok(reason)
}

/// What must come back.
#[derive(Debug)]
pub(crate) struct Due<'a> {
    /// The folder, and what of it the import left out.
    pub(crate) folder: (&'a Path, &'a [Vec<u8>]),
    /// How the device differed from it before.
    pub(crate) differences: Vec<String>,
}

/// Chapter nine.
pub(crate) async fn recovered(
    teller: &mut Teller,
    cloud: &Client,
    device: &Device,
    owner: &Person,
    due: &Due<'_>,
) -> Result<(), Stopped> {
    let status = teller.boot(device.reset()).await?;
    teller.stages(&status)?;
    teller
        .step("activation.refused", async |_| {
            refuse_stranger(cloud, device).await.map(|it| ((), it))
        })
        .await?;
    teller
        .step("activation.unlock", async |_| {
            accept_owner(cloud, device, owner).await.map(|it| ((), it))
        })
        .await?;
    teller
        .step("restore", async |show| restore(show, device, owner, due).await.map(|it| ((), it)))
        .await
}

/// Gives the account's password to the lock screen of a lost device.
pub(crate) async fn end_lost_mode(device: &Device, person: &Person) -> Result<(), HttpError> {
    let body = json!({ "password": person.password });
    device.api().post("/v1/lost-mode/end").json(&body).send().await.map(drop)
}

/// Somebody else's account, perfectly valid, does not open this device.
async fn refuse_stranger(cloud: &Client, device: &Device) -> Result<Evidence> {
    let lock = lock_of(device).await?;
    ensure!(lock.erasures > 0, "the TEE counts no erasure");
    ensure!(lock.activation_due, "the TEE does not ask for activation");
    let enrol = device.api().post("/v1/lock/enrol").send_any().await?.status();
    ensure!(!enrol.is_success(), "a screen lock could be set before activation");
    let stranger = Person::invent("stranger");
    sign_up(cloud, &stranger).await?;
    match activate(device, &stranger).await {
        Ok(()) => bail!("a stranger's account opened the device"),
        Err(HttpError::Refused(refusal)) => {
            ensure!(
                lock_of(device).await?.activation_due,
                "the stranger was refused, yet the device is open"
            );
            let object = json!({ "reason": refusal.reason, "error": refusal.error });
            Ok(Evidence::new(format!("a stranger's account: {}", refusal.reason), object))
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives an account's credentials to the activation screen.
pub(crate) async fn activate(device: &Device, person: &Person) -> Result<(), HttpError> {
    let body = json!({ "login": person.email, "password": person.password });
    device.api().post("/v1/activation").json(&body).send().await.map(drop)
}

async fn accept_owner(cloud: &Client, device: &Device, owner: &Person) -> Result<Evidence> {
    activate(device, owner).await?;
    ensure!(!lock_of(device).await?.activation_due, "the owner's account did not open the device");
    let session = session(cloud, owner).await?;
    let bound = bind_device(device, &session).await?;
    let object = json!({ "account_id": session.account_id, "device": bound.object });
    Ok(Evidence::new("the owner's account opened the device", object))
}

async fn restore(
    show: &mut Reporter,
    device: &Device,
    owner: &Person,
    due: &Due<'_>,
) -> Result<Evidence> {
    enrol(device, owner).await?;
    everyday::open(device, owner).await?;
    let done = follow(show, device, "/v1/sync/restore", "restoring").await?;
    let (folder, left_out) = due.folder;
    let differences = everyday::compare(device, folder, left_out).await?;
    if differences == due.differences {
        let line = format!("{}; identical", transfer_line(&done));
        let mut object = done;
        object["compared"] = json!("identical");
        return Ok(Evidence::new(line, object));
    }
    let came = differences.iter().filter(|it| !due.differences.contains(it));
    let gone = due.differences.iter().filter(|it| !differences.contains(it));
    let shown: Vec<String> =
        came.cloned().chain(gone.map(|it| format!("{it} before, and not now"))).collect();
    let first: Vec<&str> = shown.iter().take(20).map(String::as_str).collect();
    bail!("{} differences:\n    {}", shown.len(), first.join("\n    "))
}
