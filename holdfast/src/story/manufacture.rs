//! Chapter two: a board is made, gets its certificate, and the cloud gets to know it.

use super::cloud::Cloud;
use super::device::{Device, Wiring};
use super::step::{Stopped, Teller};
use super::world::Memory;
use crate::exit::{Exit, Lacking};
use crate::report::{Evidence, Reporter};
use crate::state::State;
use anyhow::{Context, Result, bail};
use effects::{Clock, SystemClock, SystemEntropy, random_array};
use factory::{
    AvbKey, BoardOrder, CloudConfig, FlashPlan, KeySize, Maker, Release, RollbackIndexes, Stages,
    make_board,
};
use http_link::{Client, Connector};
use serde_json::{Value, json};
use std::path::Path;
use wire::attest::{Enrolled, Enrolment};

/// The rollback index of what is built today, and of an older image that attackers have.
const INDEX: u64 = 2;
const OLDER_INDEX: u64 = 1;

/// Where a device is enrolled.
struct Enroller {
    client: Client,
    maker_token: String,
    config: CloudConfig,
}

/// Makes the device, where there is none.
pub(crate) async fn manufacture(
    teller: &mut Teller,
    state: &State,
    cloud: &Cloud,
    client: &Client,
    memory: &mut Memory,
) -> Result<(), Stopped> {
    teller
        .step("device.manufacture", async |_| {
            if memory.manufactured {
                let evidence = made(state)?;
                let line = format!("board {}", evidence["serial"].as_str().unwrap_or("?"));
                return Ok(((), Evidence::existing(line, evidence)));
            }
            let enroller = Enroller {
                client: client.clone(),
                maker_token: cloud.credential("maker")?,
                config: CloudConfig {
                    url: cloud.at.url.clone(),
                    ca_pem: std::fs::read_to_string(&cloud.at.ca)?,
                },
            };
            let evidence = make(state, Some(&enroller)).await?;
            memory.manufactured = true;
            memory.save(state)?;
            let line = format!(
                "board {}; {} partitions signed under {}…",
                evidence["serial"].as_str().unwrap_or("?"),
                evidence["partitions"].as_array().map_or(0, Vec::len),
                evidence["root_key_hash"].as_str().and_then(|it| it.get(..16)).unwrap_or("?")
            );
            Ok(((), Evidence::new(line, evidence)))
        })
        .await
}

/// `holdfast device make`.
pub(crate) async fn make_alone(state: &State, enrol: Option<&str>) -> Result<Exit> {
    let mut memory = Memory::load(state)?;
    if memory.manufactured {
        bail!(
            "there is a device in {} already; name another folder with --state",
            state.path("device").display()
        );
    }
    let enroller = enrol.map(|url| enroller(state, url)).transpose()?;
    let evidence = make(state, enroller.as_ref()).await?;
    memory.manufactured = true;
    memory.cloud_url = enrol.map(str::to_owned);
    memory.save(state)?;
    let mut reporter = Reporter::new(false);
    reporter.note(&format!("{}", serde_json::to_string_pretty(&evidence)?));
    Ok(Exit::Held)
}

/// The cloud at `url`, whose CA and maker credential lie in the state folder.
fn enroller(state: &State, url: &str) -> Result<Enroller> {
    let read = |relative: &str| {
        std::fs::read_to_string(state.path(relative)).map_err(|error| {
            Lacking(format!(
                "{}: {error}. Enrolling takes the cloud's CA and its maker credential: put them \
                 there.",
                state.path(relative).display()
            ))
        })
    };
    let ca_pem = read("cloud/ca.pem")?;
    let maker: Value = serde_json::from_str(&read("cloud/maker.json")?)?;
    let token = maker["credential"].as_str().context("cloud/maker.json has no credential")?;
    Ok(Enroller {
        client: Client::new(url, ca_pem.as_bytes(), Connector::Tcp)?,
        maker_token: token.to_owned(),
        config: CloudConfig { url: url.to_owned(), ca_pem },
    })
}

/// Makes keys, board and flash image, boots once in the factory, and installs the certificate.
/// What an interrupted run left is thrown away: that board has no certificate.
async fn make(state: &State, enroller: Option<&Enroller>) -> Result<Value> {
    let dir = state.path("device");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
    }
    state.folder("device")?;
    state.folder("device/data")?;
    state.folder("device/run")?;
    let clock = SystemClock::default();
    let maker = maker(state, &clock)?;
    let serial = serial();
    let order = BoardOrder {
        serial: serial.clone(),
        root_key_hash: maker.avb_key().digest(),
        bl1_rollback_index: INDEX,
        tee_rollback_index: INDEX,
    };
    make_board(&dir.join("board"), &order, &SystemEntropy)?;
    let config = enroller.map(|it| it.config.clone());
    let image = dir.join("flash.img");
    build(maker.avb_key(), INDEX, config, &image)?;
    let log = state.folder("log")?.join("factory.log");
    let device = Device::boot(&dir, &Wiring::default(), log).await?;
    let certified = certify(&device, &maker, &serial, &clock, enroller).await;
    device.power_off().await?;
    let certificates = certified?;
    let mut evidence = json!({
        "serial": serial,
        "root_key_hash": hex(&maker.avb_key().digest()),
        "flash": image,
        "partitions": partitions(&image)?,
        "certificates": certificates,
        "enrolled": enroller.map(|it| &it.config.url),
    });
    state.write_private("device/made.json", &serde_json::to_vec(&evidence)?)?;
    evidence["flash_bytes"] = std::fs::metadata(&image)?.len().into();
    Ok(evidence)
}

/// In the factory: the key that the TEE made gets its certificate; the cloud its public key.
async fn certify(
    device: &Device,
    maker: &Maker,
    serial: &str,
    clock: &SystemClock,
    enroller: Option<&Enroller>,
) -> Result<usize> {
    let request: Value = device.api().post("/v1/factory/csr").send_json().await?;
    let key: wire::Base64 = serde_json::from_value(request["public_key"].clone())?;
    let chain = maker.certify_device(serial, &key.0, clock.now(), &SystemEntropy)?;
    let chain: Vec<wire::Base64> = chain.into_iter().map(wire::Base64).collect();
    let ticket_key = match enroller {
        Some(enroller) => {
            let enrolment = Enrolment { chain: chain.clone() };
            let request = enroller.client.post("/v1/makers/devices").bearer(&enroller.maker_token);
            let enrolled: Enrolled = request.json(&enrolment).send_json().await?;
            Some(enrolled.ticket_key)
        }
        None => None,
    };
    let install = json!({ "chain": chain, "ticket_key": ticket_key });
    device.api().post("/v1/factory/install").json(&install).send().await?;
    Ok(chain.len())
}

fn maker(state: &State, clock: &SystemClock) -> Result<Maker> {
    let folder = state.folder("maker")?;
    Ok(Maker::open_or_create(&folder, KeySize::Rsa4096, clock.now(), &SystemEntropy)?)
}

/// Builds and signs a flash image.
fn build(key: &AvbKey, index: u64, cloud: Option<CloudConfig>, to: &Path) -> Result<()> {
    let stages = Stages::load(&Stages::folder()?).map_err(|error| Lacking(error.to_string()))?;
    let plan = FlashPlan {
        stages: &stages,
        release: Release {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            os_version: "16".to_owned(),
            security_patch: "2026-11-05".to_owned(),
        },
        rollback: RollbackIndexes::all(index),
        cloud,
        files: Vec::new(),
    };
    Ok(plan.build(key, to, &SystemEntropy)?)
}

/// An image that this maker signed before: valid in all but its age.
pub(crate) fn older_image(state: &State, to: &Path) -> Result<()> {
    let maker = maker(state, &SystemClock::default())?;
    build(maker.avb_key(), OLDER_INDEX, None, to)
}

/// A newer image of somebody else.
pub(crate) fn foreign_image(to: &Path) -> Result<()> {
    let stranger = AvbKey::generate(KeySize::Rsa2048)?;
    build(&stranger, INDEX + 1, None, to)
}

/// Another board of the same maker, its own HUK and all.
pub(crate) fn other_board(state: &State, folder: &Path) -> Result<()> {
    let maker = maker(state, &SystemClock::default())?;
    let order = BoardOrder {
        serial: serial(),
        root_key_hash: maker.avb_key().digest(),
        bl1_rollback_index: 0,
        tee_rollback_index: 0,
    };
    Ok(make_board(folder, &order, &SystemEntropy)?)
}

fn made(state: &State) -> Result<Value> {
    let path = state.path("device/made.json");
    let json = std::fs::read(&path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&json)?)
}

fn partitions(image: &Path) -> Result<Vec<String>> {
    let gpt = super::flash::read(&std::fs::File::open(image)?)?;
    Ok(gpt.partitions().iter().map(|it| it.name.clone()).collect())
}

/// `HF-` and sixteen hexadecimal digits, which nobody has.
fn serial() -> String {
    let random: [u8; 8] = random_array(&SystemEntropy);
    format!("HF-{}", hex(&random).to_uppercase())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
