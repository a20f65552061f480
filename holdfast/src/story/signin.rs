//! Chapters four and five: the device proves what it is, and gets an owner and a lock.

use super::cloud::Cloud;
use super::device::Device;
use super::lost;
use super::owner::Person;
use super::step::{Stopped, Teller};
use crate::report::Evidence;
use crate::state::State;
use anyhow::{Context, Result, ensure};
use http_link::{Client, Error as HttpError};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::account::{Session, SignIn, SignUp};
use wire::attest::{Challenge, Evidence as Chain, Statement};

/// Chapter four. Gives back the evidence that was accepted, for an attack to replay.
pub(crate) async fn attest(
    teller: &mut Teller,
    cloud: &Client,
    device: &Device,
) -> Result<Chain, Stopped> {
    teller
        .step("attest", async |_| {
            let chain = evidence(cloud, device).await?;
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
            let bound = match take_back(device, &owner, &session).await {
                // The erasure that was still on its way came now: the system ends after it.
                Err(error) if !is_refusal(&error) => {
                    device.reset().await?;
                    take_back(device, &owner, &session).await
                }
                bound => bound,
            };
            bound.map(|it| ((), it))
        })
        .await?;
    set_lock(teller, device, &owner).await?;
    Ok((owner, session))
}

/// A run that was broken off in Lost or Recovered left the device lost or erased: its owner
/// takes it back.
async fn take_back(device: &Device, owner: &Person, session: &Session) -> Result<Evidence> {
    let lock = lock_of(device).await?;
    if lock.activation_due {
        lost::activate(device, owner).await?;
    } else if lock.lost.is_some() {
        // What the cloud still wants comes with the link; it comes before the owner's word.
        device.until("its link to the cloud is up", |it| it["cloud_connected"] == true).await?;
        lost::end_lost_mode(device, owner).await?;
    }
    bind_device(device, session).await
}

/// Whether the device or the cloud said no, and not that the device was erased meanwhile.
fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(HttpError::Refused(it)) if it.error != "erased")
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
    device.type_keys(&format!("{0}\n{0}\n", owner.pin)).await?;
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
