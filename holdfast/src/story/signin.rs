//! Chapters four and five: the device proves what it is, and gets an owner and a lock.

use super::cloud::Cloud;
use super::device::Device;
use super::lost::{Owner, activate, end_lost_mode};
use super::owner::Person;
use super::step::{Stopped, Teller};
use crate::report::Evidence;
use crate::state::State;
use anyhow::{Context, Result, ensure};
use http_link::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use wire::account::{Session, SignIn, SignUp};
use wire::attest::{Challenge, Evidence as Chain, Statement};
use wire::find::Command;

/// Chapter four. Gives back the evidence that was accepted, for an attack to replay.
pub(crate) async fn attest(
    teller: &mut Teller,
    cloud: &Client,
    device: &Device,
) -> Result<Chain, Stopped> {
    teller
        .step("attest", async |_| {
            // An erasure that was ordered before the last run ended comes now.
            let chain = match evidence(cloud, device).await {
                Err(_) if device.revive().await? => evidence(cloud, device).await?,
                chain => chain?,
            };
            let statement: Statement = cloud.post("/v1/attest").json(&chain).send_json().await?;
            let line = format!(
                "{}: {}, {}, boot state {}",
                statement.serial,
                statement.security_level.replace('_', " "),
                if statement.locked { "locked" } else { "unlocked" },
                statement.boot_state
            );
            let mut object = serde_json::to_value(&statement)?;
            object["certificates"] = chain.chain.len().into();
            Ok((chain, Evidence::new(line, object)))
        })
        .await
}

/// A fresh challenge of the cloud, answered by the device's TEE.
pub(crate) async fn evidence(cloud: &Client, device: &Device) -> Result<Chain> {
    let challenge: Challenge = cloud.post("/v1/attest/challenge").send_json().await?;
    let asked = json!({ "challenge": challenge.challenge });
    Ok(device.api().post("/v1/attest").json(&asked).send_json().await?)
}

/// Signs in with the password.
pub(crate) async fn session(cloud: &Client, person: &Person) -> Result<Session> {
    let sign_in = SignIn { login: person.email.clone(), password: person.password.clone() };
    Ok(cloud.post("/v1/sessions").json(&sign_in).send_json().await?)
}

/// Makes an account.
pub(crate) async fn sign_up(cloud: &Client, person: &Person) -> Result<Session> {
    let sign_up = SignUp {
        password: person.password.clone(),
        phone: person.phone.clone(),
        email: person.email.clone(),
        country: "DE".to_owned(),
    };
    Ok(cloud.post("/v1/accounts").json(&sign_up).send_json().await?)
}

/// Chapter five.
pub(crate) async fn sign_in(
    teller: &mut Teller,
    state: &State,
    cloud: &Cloud,
    client: &Client,
    device: &Device,
) -> Result<(Person, Session), Stopped> {
    let (owner, session) = teller
        .step("account.sign_up", async |_| {
            let (mut owner, _) = Person::owner(state)?;
            let known = match session(client, &owner).await {
                Ok(session) => Some(session),
                Err(_) if owner.account_id.is_none() => None,
                Err(error) => return Err(error),
            };
            let existing = known.is_some();
            let session = match known {
                Some(session) => session,
                None => sign_up(client, &owner).await?,
            };
            owner.account_id = Some(session.account_id.clone());
            owner.save(state)?;
            let file = state.path(super::owner::FILE);
            let line = format!("account {}; credentials in {}", session.account_id, file.display());
            let object = json!({
                "account_id": session.account_id,
                "credentials": file,
                "cloud": cloud.at.url,
            });
            let mut evidence = Evidence::new(line, object);
            evidence.existing = existing;
            Ok(((owner, session), evidence))
        })
        .await?;
    teller
        .step("device.bind", async |_| {
            let recovered = recover(client, device, &owner, &session).await?;
            let mut bound = bind_device(device, &session).await?;
            if !recovered.is_empty() {
                bound.line = format!("{}; {}", bound.line, recovered.join(", "));
                bound.object["recovered"] = json!(recovered);
            }
            Ok(((), bound))
        })
        .await?;
    set_lock(teller, device, &owner).await?;
    Ok((owner, session))
}

/// Brings a device back into its owner's hands that an interrupted run left lost or erased: what
/// was ordered comes to its end first, then activation and lost mode are ended as the owner
/// would.
async fn recover(
    cloud: &Client,
    device: &Device,
    owner: &Person,
    session: &Session,
) -> Result<Vec<&'static str>> {
    let mut recovered = Vec::new();
    if device.revive().await? {
        recovered.push("an erasure had come to its end");
    }
    wait_for_orders(cloud, device, session).await?;
    if lock_of(device).await?.activation_due {
        activate(device, owner).await?;
        recovered.push("it was erased, and the owner's account opened it");
    } else if lock_of(device).await?.lost.is_some() {
        device.until("its link to the cloud is up", |it| it["cloud_connected"] == true).await?;
        end_lost_mode(device, owner).await?;
        recovered.push("it was lost, and the owner's password ended that");
    }
    Ok(recovered)
}

/// Commands reach a device in their order: once it has done a new one, no older one is to come.
async fn wait_for_orders(cloud: &Client, device: &Device, session: &Session) -> Result<()> {
    let status = device.system_status().await?;
    let Some(device_id) = status["device_id"].as_str().filter(|_| status["find_enabled"] == true)
    else {
        return Ok(());
    };
    let token = session.token.clone();
    let owner = Owner { cloud, token, device_id: device_id.to_owned() };
    let located = async {
        device.until("its link to the cloud is up", |it| it["cloud_connected"] == true).await?;
        owner.command(&Command::Locate).await
    };
    let erased = async {
        loop {
            match device.system_status().await {
                Ok(status) if status["erased"] != true => {}
                _ => return device.revive().await,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        located = located => located.map(drop),
        erased = erased => erased.map(drop),
    }
}

/// Binds, or finds that the device is bound.
pub(crate) async fn bind_device(device: &Device, session: &Session) -> Result<Evidence> {
    let status = device.system_status().await?;
    if let Some(id) = status["device_id"].as_str() {
        let object = json!({ "device_id": id, "account_id": session.account_id });
        return Ok(Evidence::existing(format!("device {id}"), object));
    }
    let bound: Value = device
        .api()
        .post("/v1/account/bind")
        .json(&json!({ "token": session.token }))
        .send_json()
        .await?;
    let id = bound["device_id"].as_str().context("the device said no id")?;
    let line = format!("device {id}; the account is {}", session.account_id);
    Ok(Evidence::new(line, bound.clone()))
}

/// Sets the screen lock with the scripted keys, where none is set.
pub(crate) async fn set_lock(
    teller: &mut Teller,
    device: &Device,
    owner: &Person,
) -> Result<(), Stopped> {
    teller.step("lock.set", async |_| enrol(device, owner).await.map(|it| ((), it))).await
}

/// What the story's person knows the trusted screen by: a picture and a word.
const SCREEN_MARK: &str = "anchor Kelpwood";

pub(crate) async fn enrol(device: &Device, owner: &Person) -> Result<Evidence> {
    let lock = lock_of(device).await?;
    let shown = |existing: bool| {
        let line = format!("a PIN of {} digits, typed on the trusted screen", owner.pin.len());
        let object = json!({ "kind": "pin", "digits": owner.pin.len() });
        if existing { Evidence::existing(line, object) } else { Evidence::new(line, object) }
    };
    if lock.enrolled {
        return Ok(shown(true));
    }
    device.type_keys(&format!("{SCREEN_MARK}\n{0}\n{0}\n", owner.pin)).await?;
    device.api().post("/v1/lock/enrol").send().await?;
    ensure!(lock_of(device).await?.enrolled, "the TEE does not know of a screen lock");
    Ok(shown(false))
}

/// What gatekeeper says of the lock.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Lock {
    pub(crate) enrolled: bool,
    pub(crate) erasures: u64,
    pub(crate) activation_due: bool,
    pub(crate) lost: Option<String>,
}

/// Asks the device how its locks are.
pub(crate) async fn lock_of(device: &Device) -> Result<Lock> {
    let status = device.system_status().await?;
    serde_json::from_value(status["lock"].clone()).context("the device's status has no lock")
}
