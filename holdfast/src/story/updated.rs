//! Chapter eleven: the maker's next build, from its release to the slot that runs. Played on a copy
//! of the device and the cloud: nobody's device is changed by a story.
//!
//! The commands are those that a maker and an owner type; only publishing is the maker's HTTP call.

use super::step::{Stopped, Teller};
use super::world::World;
use crate::report::Evidence;
use crate::state::State;
use anyhow::{Context, Result, bail, ensure};
use board::report::Stage;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// How much younger the next build is: a day. The clock here has no say in it.
const YOUNGER: u64 = 86_400;
/// How long the cloud may take to hear what became of the update.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

/// A build that the maker has published.
struct Published {
    release_id: String,
    fingerprint: Value,
}

/// Chapter eleven. `maker` is the state folder with the maker's keys.
pub(crate) async fn updated(
    teller: &mut Teller,
    world: &World,
    maker: &State,
) -> Result<(), Stopped> {
    let published = teller.step("update.publish", async |_| publish(world, maker).await).await?;
    teller.step("update.download", async |_| download(world).await.map(|it| ((), it))).await?;
    teller.step("update.apply", async |_| apply(world).await.map(|it| ((), it))).await?;
    teller
        .step("update.restart", async |_| restart(world, &published).await.map(|it| ((), it)))
        .await
}

/// Builds the release, makes its OTA zip, announces it, uploads it, rolls it out to everybody.
async fn publish(world: &World, maker: &State) -> Result<(Published, Evidence)> {
    let (zip, build) = package(world, maker).await?;
    let bytes = tokio::fs::read(&zip).await?;
    let (size, sha256) = (bytes.len(), crypto::digest::sha256(&bytes));
    let announcement = json!({
        "model": build["model"], "channel": "stable", "build": build["fingerprint"],
        "timestamp": build["timestamp"], "security_patch": build["security_patch"],
        "percentage": 100, "size": size, "sha256": board::argument::hex(&sha256),
    });
    let credential = world.cloud.credential("maker")?;
    let announced = world.client.post("/v1/makers/releases").bearer(&credential);
    let announced = announced.json(&announcement);
    let release: Value = announced.send_json().await?;
    let id = |value: &Value| value.as_str().map(str::to_owned).context("the cloud gave no id");
    let package = id(&release["packages"][0]["package_id"])?;
    let upload = world.client.put(&format!("/v1/makers/packages/{package}"));
    upload.bearer(&credential).bytes(bytes).send().await?;
    let published = Published {
        release_id: id(&release["release_id"])?,
        fingerprint: build["fingerprint"].clone(),
    };
    let size = super::everyday::size(size as u64);
    let line = format!("the next build, signed: {size}, offered to every device of its model");
    let evidence = json!({ "build": build, "release_id": published.release_id });
    Ok((published, Evidence::new(line, evidence)))
}

/// When the next build is made, and its security patch level: after what the device runs, and after
/// what its maker has published.
async fn next(world: &World) -> Result<(String, String)> {
    let view: Value = world.device.api().get("/v1/update").send_json().await?;
    let maker = world.cloud.credential("maker")?;
    let releases = world.client.get("/v1/makers/releases").bearer(&maker);
    let releases: Vec<Value> = releases.send_json().await?;
    let builds = || releases.iter().chain([&view["running"]]);
    let timestamp = builds().filter_map(|build| build["timestamp"].as_u64()).max();
    let patch = builds().filter_map(|build| build["security_patch"].as_str()).max();
    let known = timestamp.zip(patch).context("the device does not say what it runs")?;
    Ok(((known.0 + YOUNGER).to_string(), known.1.to_owned()))
}

/// The release's zip, and what the build says of itself.
async fn package(world: &World, maker: &State) -> Result<(PathBuf, Value)> {
    let path = |of: &State, name: &str| of.path(name).display().to_string();
    let (images, zip) = (path(&world.state, "next-build"), world.state.path("next-build.zip"));
    let (timestamp, patch) = next(world).await?;
    let when = ["--timestamp", &timestamp, "--security-patch", &patch, "--incremental", &timestamp];
    let release = ["device", "release", "--json", "--output", &images];
    let build = said(maker, &[&release[..], &when].concat()).await?["build"].take();
    let text = |name: &str| build[name].as_str().context("a build says what it is");
    let (key, certificate) = (path(maker, "maker/ota.key"), path(maker, "maker/ota.pem"));
    let output = zip.display().to_string();
    let make = ["ota", "make", &images, "--json", "--output", &output];
    let signed = ["--key", &key, "--cert", &certificate];
    let packed = ["--compression", "zstd", "--level", "3", "--stretch", "4"];
    let what = ["--device", text("model")?, "--fingerprint", text("fingerprint")?];
    said(maker, &[&make[..], &signed, &packed, &what, &when].concat()).await?;
    Ok((zip, build))
}

async fn download(world: &World) -> Result<Evidence> {
    let connected = |status: &Value| status["cloud_connected"] == true;
    world.device.until("its link to the cloud is up", connected).await?;
    said(&world.state, &["device", "update", "--check", "--json"]).await?;
    let view = said(&world.state, &["device", "update", "--download", "--json"]).await?;
    ensure!(view["state"] == "downloaded", "the device says {view}");
    let bytes = view["bytes"].as_u64().unwrap_or_default();
    let line = format!("{}; size and SHA-256 are right", super::everyday::size(bytes));
    Ok(Evidence::new(line, json!({ "bytes": bytes, "update": view["update"] })))
}

async fn apply(world: &World) -> Result<Evidence> {
    let before = slot(world).await?;
    let view = said(&world.state, &["device", "update", "--apply", "--json"]).await?;
    ensure!(view["state"] == "ready_to_restart", "the device says {view}");
    ensure!(slot(world).await? == before, "the system did not go on meanwhile");
    let line = format!("written to the other slot while slot {before} runs");
    Ok(Evidence::new(line, json!({ "running_slot": before, "state": view["state"] })))
}

/// Recovery verifies and installs; the other slot boots, and proves itself.
async fn restart(world: &World, published: &Published) -> Result<Evidence> {
    let before = slot(world).await?;
    let view = said(&world.state, &["device", "update", "--restart", "--json"]).await?;
    ensure!(view["state"] == "installed", "the device says {view}");
    let running = &view["running"]["build"];
    ensure!(*running == published.fingerprint, "it runs {running}");
    let after = slot(world).await?;
    ensure!(after != before, "slot {after} runs as before");
    let stages: Vec<Value> = world.device.status().await?.stages.iter().map(stage).collect();
    let counts = told(world, &published.release_id).await?;
    let line = format!("recovery checked it again; slot {after} runs the next build");
    let object = json!({
        "slot": after, "before": before, "build": running, "counts": counts, "stages": stages,
    });
    Ok(Evidence::new(line, object))
}

/// A stage of the new slot's boot. It is no `boot.…` step of its own: those are of the device that
/// the story leaves behind.
fn stage(stage: &Stage) -> Value {
    json!({ "stage": stage.stage, "partition": stage.partition, "digest": stage.digest })
}

/// Waits until the cloud has heard that the device runs the release.
async fn told(world: &World, release_id: &str) -> Result<Value> {
    let maker = world.cloud.credential("maker")?;
    let start = Instant::now();
    loop {
        let release = world.client.get(&format!("/v1/makers/releases/{release_id}"));
        let release: Value = release.bearer(&maker).send_json().await?;
        if release["counts"]["booted"] == 1 {
            return Ok(release["counts"].clone());
        }
        ensure!(start.elapsed() < TOLD_WITHIN, "the cloud was not told: {}", release["counts"]);
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// The slot that runs, as the board says it.
async fn slot(world: &World) -> Result<String> {
    let status: Value = world.device.control().get("/v1/status").send_json().await?;
    status["slot"].as_str().map(str::to_owned).context("no slot runs")
}

/// Runs this very program on a state folder; what it prints.
async fn said(state: &State, arguments: &[&str]) -> Result<Value> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).env("HOLDFAST_STATE", state.root());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.trim().lines().last().unwrap_or("no reason given").to_owned();
        bail!("`holdfast {}`: {last}", arguments[..2].join(" "));
    }
    let line = output.stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
    serde_json::from_slice(line.unwrap_or_default())
        .with_context(|| format!("what `holdfast {}` printed", arguments[..2].join(" ")))
}
