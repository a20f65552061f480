//! Chapter two: a board is made, gets its certificate, and the cloud gets to know it.

use super::cloud::Cloud;
use super::device::{Device, Wiring};
use super::release::{INDEX, MODEL, Order, remember_cloud, stages};
use super::step::{Stopped, Teller};
use super::world::Memory;
use crate::exit::{Exit, Lacking};
use crate::report::{Evidence, Reporter};
use crate::state::State;
use anyhow::{Context, Result, bail, ensure};
use effects::{Clock, SystemClock, SystemEntropy, random_array};
use factory::{
    AvbKey, Backend, BoardOrder, CloudConfig, FlashPlan, Identifiers, Imei, KeySize, Maker,
    VerityErrorMode, discard, make_board,
};
use http_link::{Client, Connector};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use wire::attest::{Enrolled, Enrolment};

/// What was made, as evidence; where it is, there is a device.
pub(crate) const MADE: &str = "device/made.json";
/// The rollback index of an older image that attackers have.
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
                ensure!(
                    memory.cloud_url.is_some(),
                    "the device in {} was made without a cloud, and the story needs one. Name \
                     another folder with --state, or start over with --fresh.",
                    state.root().display()
                );
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
            let evidence = make(state, Some(&enroller), &Making::default(), memory).await?;
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

/// How a device is made.
#[derive(Debug)]
pub(crate) struct Making {
    /// What a corrupt block of the system leads to.
    pub(crate) errors: VerityErrorMode,
    /// What the board stands on.
    pub(crate) backend: Backend,
    /// Of its modem.
    pub(crate) imei: Option<Imei>,
}

impl Default for Making {
    fn default() -> Self {
        Self { errors: VerityErrorMode::Managed, backend: Backend::Emulated, imei: None }
    }
}

/// Where `holdfast device make` enrols the device, and with what.
#[derive(Debug)]
pub(crate) struct Enrolling<'a> {
    /// The cloud's address.
    pub(crate) url: &'a str,
    /// The CA that its certificate chains to.
    pub(crate) ca: PathBuf,
    /// The credential of the maker.
    pub(crate) credential: PathBuf,
}

/// `holdfast device make`.
pub(crate) async fn make_alone(
    state: &State,
    enrol: Option<Enrolling<'_>>,
    making: &Making,
) -> Result<Exit> {
    let mut memory = Memory::load(state)?;
    if memory.manufactured {
        bail!(
            "there is a device in {} already; name another folder with --state",
            state.path("device").display()
        );
    }
    let enroller = enrol.as_ref().map(enroller).transpose()?;
    let evidence = make(state, enroller.as_ref(), making, &mut memory).await?;
    let mut reporter = Reporter::new(false);
    reporter.note(&serde_json::to_string_pretty(&evidence)?);
    Ok(Exit::Held)
}

/// A device that no cloud knows, in `state`, for whoever throws it away.
pub(crate) async fn make_for_trial(state: &State) -> Result<()> {
    let mut memory = Memory::load(state)?;
    make(state, None, &Making::default(), &mut memory).await.map(drop)
}

fn enroller(at: &Enrolling<'_>) -> Result<Enroller> {
    let read = |path: &Path, option: &str| {
        std::fs::read_to_string(path).map_err(|error| {
            Lacking(format!(
                "{}: {error}. The cloud makes this file when it starts; where it runs in another \
                 state folder, name the file with {option}.",
                path.display()
            ))
        })
    };
    let ca_pem = read(&at.ca, "--cloud-ca")?;
    let maker: Value = serde_json::from_str(&read(&at.credential, "--maker-credential")?)
        .with_context(|| format!("{} is damaged", at.credential.display()))?;
    let token = maker["credential"]
        .as_str()
        .with_context(|| format!("{} has no credential", at.credential.display()))?;
    Ok(Enroller {
        client: Client::new(at.url, ca_pem.as_bytes(), Connector::Tcp)?,
        maker_token: token.to_owned(),
        config: CloudConfig { url: at.url.to_owned(), ca_pem },
    })
}

/// Makes keys, board and flash image, boots once in the factory, and installs the certificate.
/// What an interrupted run left is thrown away: that board has no certificate. From the moment
/// that `memory` is saved the device counts.
async fn make(
    state: &State,
    enroller: Option<&Enroller>,
    making: &Making,
    memory: &mut Memory,
) -> Result<Value> {
    let dir = state.path("device");
    if dir.exists() {
        discard(&dir.join("board")).with_context(|| {
            format!("an interrupted run left a board there; remove {} by hand", dir.display())
        })?;
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
        second_root_key_hash: Some(maker.second_avb_key().digest()),
        bl1_rollback_index: INDEX,
        tee_rollback_index: INDEX,
        backend: making.backend.clone(),
    };
    make_board(&dir.join("board"), &order, &SystemEntropy)?;
    let config = enroller.map(|it| it.config.clone());
    remember_cloud(state, config.as_ref())?;
    let image = dir.join("flash.img");
    let stages = stages()?;
    let plan = Order::first().plan(&stages, config, Some(&maker))?;
    let plan = FlashPlan { verity_error_mode: making.errors, ..plan };
    plan.build(maker.avb_key(), &image, &SystemEntropy)?;
    let log = state.folder("log")?.join("factory.log");
    let device = Device::boot(&dir, &Wiring::default(), log).await?;
    let ids = identifiers(making.imei.clone());
    let certified = certify(&device, (&maker, &serial, &ids), &clock, enroller).await;
    device.power_off().await?;
    let (certificates, enrolled) = certified?;
    let mut evidence = json!({
        "serial": serial,
        "board": making.backend.to_string(),
        "root_key_hash": hex(&maker.avb_key().digest()),
        "flash": image,
        "partitions": partitions(&image)?,
        "certificates": certificates,
        "enrolled": enroller.map(|it| &it.config.url),
    });
    state.write_private(MADE, &serde_json::to_vec(&evidence)?)?;
    memory.cloud_url = enroller.map(|it| it.config.url.clone());
    memory.keycenter_url = enrolled.map(|it| it.keycenter_url);
    memory.manufactured = true;
    memory.save(state)?;
    evidence["flash_bytes"] = std::fs::metadata(&image)?.len().into();
    Ok(evidence)
}

/// In the factory: the key that the TEE made gets its certificate; the cloud its public key.
/// How many certificates there are, and what the cloud answered.
async fn certify(
    device: &Device,
    (maker, serial, ids): (&Maker, &str, &Identifiers),
    clock: &SystemClock,
    enroller: Option<&Enroller>,
) -> Result<(usize, Option<Enrolled>)> {
    let request: Value = device.api().post("/v1/factory/csr").send_json().await?;
    let key: wire::Base64 = serde_json::from_value(request["public_key"].clone())?;
    let chain = maker.certify_device(serial, &key.0, clock.now(), &SystemEntropy)?;
    let chain: Vec<wire::Base64> = chain.into_iter().map(wire::Base64).collect();
    let enrolled: Option<Enrolled> = match enroller {
        Some(enroller) => {
            let enrolment = Enrolment { chain: chain.clone() };
            let request = enroller.client.post("/v1/makers/devices").bearer(&enroller.maker_token);
            Some(request.json(&enrolment).send_json().await?)
        }
        None => None,
    };
    let ticket_key = enrolled.as_ref().map(|it| &it.ticket_key);
    let install = json!({ "chain": chain, "ticket_key": ticket_key, "ids": ids });
    device.api().post("/v1/factory/install").json(&install).send().await?;
    Ok((chain.len(), enrolled))
}

/// What all devices of this maker are, and what only this one is.
fn identifiers(imei: Option<Imei>) -> Identifiers {
    Identifiers {
        brand: "holdfast".to_owned(),
        device: MODEL.to_owned(),
        product: MODEL.to_owned(),
        manufacturer: "Holdfast".to_owned(),
        model: MODEL.to_owned(),
        imei,
    }
}

/// The maker of this state folder's devices.
pub(super) fn maker(state: &State, clock: &SystemClock) -> Result<Maker> {
    let folder = state.folder("maker")?;
    Ok(Maker::open_or_create(&folder, KeySize::Rsa4096, clock.now(), &SystemEntropy)?)
}

/// Builds and signs a flash image for an attack: it knows no cloud and takes no updates.
fn build(key: &AvbKey, index: u64, to: &Path) -> Result<()> {
    let stages = stages()?;
    let plan = Order::first().with_index(index).plan(&stages, None, None)?;
    Ok(plan.build(key, to, &SystemEntropy)?)
}

/// An image that this maker signed before: valid in all but its age.
pub(crate) fn older_image(state: &State, to: &Path) -> Result<()> {
    let maker = maker(state, &SystemClock::default())?;
    build(maker.avb_key(), OLDER_INDEX, to)
}

/// A newer image of somebody else.
pub(crate) fn foreign_image(to: &Path) -> Result<()> {
    let stranger = AvbKey::generate(KeySize::Rsa2048)?;
    build(&stranger, INDEX + 1, to)
}

/// Another board of the same maker, its own HUK and all.
pub(crate) fn other_board(state: &State, folder: &Path) -> Result<()> {
    let maker = maker(state, &SystemClock::default())?;
    let order = BoardOrder {
        serial: serial(),
        root_key_hash: maker.avb_key().digest(),
        second_root_key_hash: Some(maker.second_avb_key().digest()),
        bl1_rollback_index: 0,
        tee_rollback_index: 0,
        backend: Backend::Emulated,
    };
    Ok(make_board(folder, &order, &SystemEntropy)?)
}

fn made(state: &State) -> Result<Value> {
    let json = std::fs::read(state.path(MADE)).with_context(|| state.damaged(MADE))?;
    serde_json::from_slice(&json).with_context(|| state.damaged(MADE))
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
