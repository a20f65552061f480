//! Chapters six and seven: files go in and up, a message comes down.

use super::device::Device;
use super::owner::Person;
use super::step::{Stopped, Teller};
use crate::report::{Evidence, Reporter};
use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use http_link::Client;
use serde_json::{Value, json};
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use treetar::PackError;
use wire::push::{Delivery, Message, Send as Push, Sent};

/// Opens the CE area with the screen lock.
pub(crate) async fn unlock(
    teller: &mut Teller,
    device: &Device,
    owner: &Person,
) -> Result<(), Stopped> {
    teller.step("vault.unlock", async |_| open(device, owner).await.map(|it| ((), it))).await
}

pub(crate) async fn open(device: &Device, owner: &Person) -> Result<Evidence> {
    let before = device.system_status().await?;
    if before["ce_open"] == true {
        return Ok(Evidence::existing("the CE area is open", json!({ "ce_open": true })));
    }
    let refused = device.api().get("/v1/files").send_any().await?;
    ensure!(
        refused.status() == 423,
        "the CE area answered {} before the unlock; 423 Locked was due",
        refused.status()
    );
    device.type_keys(&format!("{}\n", owner.pin)).await?;
    device.api().post("/v1/lock/unlock").patience(Duration::from_secs(60)).send().await?;
    let after = device.system_status().await?;
    ensure!(after["ce_open"] == true, "the PIN was accepted, but the CE area is not open");
    let object = json!({ "ce_open": true, "before": "423 Locked" });
    Ok(Evidence::new("locked before, open after the PIN", object))
}

/// Whose files are on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// The story's: the area becomes what the folder is.
    Storys,
    /// Somebody's who uses the device: nothing is touched.
    Persons,
    /// The same, and that person named a folder to be added.
    PersonsAndMore,
}

/// Copies `folder` into the CE area.
pub(crate) async fn import(
    teller: &mut Teller,
    device: &Device,
    folder: &Path,
    files: Files,
) -> Result<Vec<Vec<u8>>, Stopped> {
    teller
        .step("vault.import", async |show| {
            if files != Files::Storys {
                catch_up(show, device).await?;
            }
            if let Some(stands) = stands(device, folder).await? {
                return Ok(stands);
            }
            match files {
                Files::Storys => copy_in(show, device, folder, "?replace=true").await,
                Files::PersonsAndMore => copy_in(show, device, folder, "").await,
                Files::Persons => {
                    let line = "somebody's files; --folder adds to them";
                    let object = json!({ "compared": "not the folder's" });
                    Ok((Vec::new(), Evidence::existing(line, object)))
                }
            }
        })
        .await
}

/// A device that was erased and came back to its owner has none of the files that the cloud
/// has: they come first.
async fn catch_up(show: &mut Reporter, device: &Device) -> Result<()> {
    match follow(show, device, "/v1/sync/upload", "uploading").await {
        Err(error) if error.downcast_ref::<JobRefused>().is_some_and(|it| it.error == UNSEEN) => {
            follow(show, device, "/v1/sync/restore", "restoring").await.map(drop)
        }
        uploaded => uploaded.map(drop),
    }
}

/// The cloud holds a snapshot that this device has not seen.
const UNSEEN: &str = "unseen_snapshot";

/// Whether the device has just what the folder has, but for what an import leaves out.
async fn stands(device: &Device, folder: &Path) -> Result<Option<(Vec<Vec<u8>>, Evidence)>> {
    let listing: Value = device.api().get("/v1/files").send_json().await?;
    let entries = listing.get("entries").unwrap_or(&listing).as_array().map_or(0, Vec::len);
    if entries == 0 {
        return Ok(None);
    }
    let differences = differences(device, folder).await?;
    if differences.iter().any(|it| !it.unkept) {
        return Ok(None);
    }
    let said: Vec<String> = differences.iter().map(ToString::to_string).collect();
    let mut line = "what the folder has".to_owned();
    said.iter().for_each(|what| line.push_str(&format!("\n    left out: {what}")));
    let object = json!({ "compared": "identical", "left_out": said });
    let left_out = differences.into_iter().map(|it| it.path).collect();
    Ok(Some((left_out, Evidence::existing(line, object))))
}

/// What differs between the device's files and the folder: names, bytes, modes, times, links.
/// What the import left out, and said so, does not count.
pub(crate) async fn compare(
    device: &Device,
    folder: &Path,
    left_out: &[Vec<u8>],
) -> Result<Vec<String>> {
    Ok(differences(device, folder)
        .await?
        .iter()
        .filter(|it| !left_out.contains(&it.path))
        .map(ToString::to_string)
        .collect())
}

async fn differences(device: &Device, folder: &Path) -> Result<Vec<treetar::Difference>> {
    let request = device.api().get("/v1/files/tar").patience(Duration::from_secs(120));
    let reader = http_link::pipe::reader(request.send().await?.stream());
    let folder = folder.to_owned();
    let compared = move || treetar::compare_tar_with_folder(reader, &folder);
    Ok(tokio::task::spawn_blocking(compared).await??)
}

async fn copy_in(
    show: &mut Reporter,
    device: &Device,
    folder: &Path,
    query: &str,
) -> Result<(Vec<Vec<u8>>, Evidence)> {
    let start = Instant::now();
    let total = bytes_in(folder);
    let (mut pipe, body) = http_link::pipe::writer();
    let moved = pipe.moved();
    let owned = folder.to_owned();
    let packing = tokio::task::spawn_blocking(move || {
        let summary = treetar::pack_folder(&owned, &mut pipe)?;
        pipe.finish()?;
        anyhow::Ok(summary)
    });
    let request = device
        .api()
        .put(&format!("/v1/files{query}"))
        .header("content-type", "application/x-tar")
        .patience(Duration::from_secs(120))
        .stream(None, body);
    let answer = watch(show, "importing", total, &moved, request.send_json::<Value>()).await;
    let packed = packing.await?.with_context(|| format!("reading {}", folder.display()));
    let (packed, imported) = match (packed, answer) {
        (Ok(packed), Ok(imported)) => (packed, imported),
        // The folder is gone, say: the device only saw that the stream broke off.
        (Err(error), _) if matches!(error.downcast_ref(), Some(PackError::Folder { .. })) => {
            return Err(error);
        }
        // The device's refusal cuts the stream: its reason comes first.
        (_, Err(error)) => return Err(error.into()),
        (Err(error), _) => return Err(error),
    };
    let said: Vec<String> = packed
        .skipped
        .iter()
        .map(|it| format!("{}: {}", String::from_utf8_lossy(&it.path), it.why))
        .collect();
    let left_out = packed.skipped.into_iter().map(|it| it.path).collect();
    let refused = imported["skipped"].as_array().map_or(0, Vec::len);
    ensure!(refused == 0, "the device left out {refused} entries: {}", imported["skipped"]);
    Ok((left_out, imported_evidence(imported, said, start.elapsed())))
}

/// Bytes of the files below, as a measure for the progress bar; what can't be read counts
/// nothing here and is reported by the import.
fn bytes_in(folder: &Path) -> u64 {
    let mut open = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(it) if it.is_dir() => open.push(entry.path()),
                Ok(it) if it.is_file() => bytes += it.len(),
                _ => {}
            }
        }
    }
    bytes
}

fn imported_evidence(imported: Value, left_out: Vec<String>, took: Duration) -> Evidence {
    let bytes = imported["bytes"].as_u64().unwrap_or(0);
    let rate = bytes as f64 / took.as_secs_f64() / f64::from(1 << 20);
    let mut line = format!(
        "{} files, {} folders, {} links, {} at {rate:.0} MiB/s",
        imported["files"],
        imported["dirs"],
        imported["links"],
        size(bytes)
    );
    for what in &left_out {
        line.push_str(&format!("\n    left out: {what}"));
    }
    let mut object = imported;
    object["mib_per_s"] = json!((rate * 10.0).round() / 10.0);
    object["left_out"] = json!(left_out);
    Evidence::new(line, object)
}

/// Waits for `job`; meanwhile the bar shows how much was moved.
pub(crate) async fn watch<T>(
    show: &mut Reporter,
    what: &str,
    total: u64,
    moved: &AtomicU64,
    job: impl Future<Output = T>,
) -> T {
    let mut job = std::pin::pin!(job);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            done = &mut job => {
                show.clear();
                return done;
            }
            _ = tick.tick() => show.progress(what, moved.load(Ordering::Relaxed), total),
        }
    }
}

/// Uploads what is new, cut into encrypted blocks.
pub(crate) async fn upload(
    teller: &mut Teller,
    device: &Device,
    files: Files,
) -> Result<(), Stopped> {
    // What a story that was broken off left in the cloud is the same folder's.
    let path = match files {
        Files::Storys => "/v1/sync/upload?replace=true",
        Files::Persons | Files::PersonsAndMore => "/v1/sync/upload",
    };
    teller
        .step("sync.upload", async |show| {
            let done = follow(show, device, path, "uploading").await?;
            let line = transfer_line(&done);
            Ok(((), Evidence::new(line, done)))
        })
        .await
}

/// The device did not do a long job.
#[derive(Debug)]
struct JobRefused {
    /// For programs.
    error: String,
    /// For people.
    reason: String,
}

impl std::fmt::Display for JobRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for JobRefused {}

/// Starts a long job of the device and follows its progress to the end.
pub(crate) async fn follow(
    show: &mut Reporter,
    device: &Device,
    path: &str,
    what: &str,
) -> Result<Value> {
    let response = device.api().post(path).patience(Duration::from_secs(300)).send().await?;
    let mut pieces = response.stream();
    let mut pending = Vec::new();
    let mut last = Value::Null;
    while let Some(piece) = pieces.next().await {
        pending.extend_from_slice(&piece?);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            last = serde_json::from_slice(&line)?;
            let figure = |name: &str| last[name].as_u64().unwrap_or(0);
            show.progress(what, figure("bytes"), figure("total_bytes"));
        }
    }
    show.clear();
    if let Some(reason) = last["reason"].as_str() {
        let error = last["error"].as_str().unwrap_or_default();
        return Err(JobRefused { error: error.to_owned(), reason: reason.to_owned() }.into());
    }
    ensure!(last["done"] == true, "the device ended the job in the middle; it said {last}");
    Ok(last)
}

/// `12 files, 3.1 MiB in 9 blocks at 140 MiB/s`.
pub(crate) fn transfer_line(done: &Value) -> String {
    let bytes = done["bytes"].as_u64().unwrap_or(0);
    let ms = done["ms"].as_f64().unwrap_or(0.0).max(0.001);
    let rate = bytes as f64 / ms * 1000.0 / f64::from(1 << 20);
    format!(
        "{} files, {} in {} blocks at {rate:.0} MiB/s",
        done["files"],
        size(bytes),
        done["blocks"]
    )
}

/// Chapter seven: a developer's call becomes a notification.
pub(crate) async fn push(
    teller: &mut Teller,
    cloud: &Client,
    developer: &str,
    device: &Device,
) -> Result<(), Stopped> {
    teller
        .step("push.deliver", async |_| deliver(cloud, developer, device).await.map(|it| ((), it)))
        .await
}

async fn deliver(cloud: &Client, developer: &str, device: &Device) -> Result<Evidence> {
    let connected = |status: &Value| status["cloud_connected"] == true;
    device.until("its link to the cloud is up", connected).await?;
    let app = json!({ "app": "org.holdfast.story" });
    let registered: Value =
        device.api().post("/v1/push/registrations").json(&app).send_json().await?;
    let registration =
        registered["registration_id"].as_str().context("no registration id")?.to_owned();
    let mark: u64 = u64::from_be_bytes(crypto::random_array());
    let message = Message {
        title: "High water".to_owned(),
        body: format!("The tide turns at number {mark:016x}."),
    };
    let start = Instant::now();
    let send = Push { registration_id: registration, message: message.clone() };
    let sent: Sent =
        cloud.post("/v1/push/messages").bearer(developer).json(&send).send_json().await?;
    while !shows(device, &message).await? {
        ensure!(start.elapsed() < Duration::from_secs(10), "no notification within 10 s");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let latency = start.elapsed().as_secs_f64() * 1000.0;
    let path = format!("/v1/push/messages/{}", sent.message_id);
    let delivery = loop {
        let delivery: Delivery = cloud.get(&path).bearer(developer).send_json().await?;
        if delivery.state != "pending" {
            break delivery;
        }
        ensure!(start.elapsed() < Duration::from_secs(10), "shown, but never acknowledged");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let line = format!("on the screen {latency:.1} ms after the developer's call");
    let object = json!({
        "latency_ms": latency,
        "acknowledged_ms": delivery.latency_ms,
        "state": delivery.state,
        "title": message.title,
    });
    Ok(Evidence::new(line, object))
}

async fn shows(device: &Device, message: &Message) -> Result<bool> {
    let shown: Value = device.api().get("/v1/notifications").send_json().await?;
    let list = shown.get("notifications").unwrap_or(&shown);
    Ok(list.as_array().is_some_and(|list| {
        list.iter().any(|it| it["title"] == *message.title && it["body"] == *message.body)
    }))
}

/// `3.1 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}
