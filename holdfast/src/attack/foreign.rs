//! Trusted applications that are almost right, brought to the running device as root of its system
//! brings them: real ones under a foreign key, under each other's signatures, and changed.

use super::files::{TEE_PARTITION, archive_of, is_application};
use super::visit::Standing;
use crate::report::Reporter;
use crate::story::{Device, Teller, flash};
use anyhow::{Context, Result, ensure};
use avb::{FOOTER_BYTES, Footer};
use factory::{Application, AvbKey, KeySize};
use http_link::Error as HttpError;
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::FileExt;
use tee_api::gatekeeper::Gatekeeper;
use tee_api::keymint::KeyMint;
use tee_api::{Protocol, TaId};

const MEMORY_BYTES: u64 = 16 << 20;
/// Newer than what the device has: age alone must not refuse it.
const VERSION: u64 = u32::MAX as u64;

/// All of them.
pub(super) async fn attacks(teller: &mut Teller, device: &Device) {
    teller.attack("tee.foreign_applications", async |_: &mut Reporter| foreign(device).await).await;
}

/// Offers each image; none may be taken, and the applications stay those that there were.
async fn foreign(device: &Device) -> Result<(String, Value)> {
    let before = Standing::of(device).await?;
    let installed = listed(device).await?;
    let images = images(device)?;
    let mut codes = Vec::new();
    for (what, image) in images {
        let answer = device.api().put("/v1/ta").bytes(image).send_json::<Value>().await;
        match answer {
            Err(HttpError::Refused(refusal)) => codes.push(json!([what, refusal.reason])),
            Err(error) => return Err(error).with_context(|| format!("{what}: no answer")),
            Ok(_) => anyhow::bail!("went through: the device took {what}"),
        }
    }
    ensure!(listed(device).await? == installed, "the installed applications changed");
    let aftermath = before.still_stands_and_says_so(device).await?;
    let evidence = json!({
        "refused": codes,
        "logged": aftermath.refusals,
        "answered_after_ms": aftermath.answered_after_ms,
    });
    Ok((format!("{} images, none taken", codes.len()), evidence))
}

async fn listed(device: &Device) -> Result<Value> {
    let mut all: Value = device.api().get("/v1/ta").send_json().await?;
    for application in all["applications"].as_array_mut().context("a list")? {
        // Sessions come and go.
        application.as_object_mut().context("an object")?.remove("sessions");
    }
    Ok(all)
}

/// What is offered.
fn images(device: &Device) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let [keymint, gatekeeper] = [KeyMint::NAME, Gatekeeper::NAME].map(|name| shipped(device, name));
    let (keymint, gatekeeper) = (keymint?, gatekeeper?);
    let program = program_of(&keymint)?;
    let key = AvbKey::generate(KeySize::Rsa2048)?;
    let under_foreign_key = |name, uuid| {
        let application = Application {
            name,
            uuid,
            memory_bytes: MEMORY_BYTES,
            more: Vec::new(),
            version: VERSION,
        };
        application.sign(program, &key, &[0; 32])
    };
    let mut swapped = gatekeeper.clone();
    let shorter = program.len().min(program_of(&gatekeeper)?.len());
    swapped[..shorter].copy_from_slice(&program[..shorter]);
    let mut changed = keymint.clone();
    changed[program.len() / 2] ^= 1;
    Ok(vec![
        ("KeyMint under a foreign key", under_foreign_key(KeyMint::NAME, KeyMint::TA)?),
        ("a new application under a foreign key", under_foreign_key("ta-new", TaId([0x5A; 16]))?),
        ("KeyMint's program under gatekeeper's signature", swapped),
        ("KeyMint with one bit changed", changed),
    ])
}

/// The signed image `name` in the device's `tee` partition.
fn shipped(device: &Device, name: &str) -> Result<Vec<u8>> {
    let image = File::open(device.dir.join("flash.img"))?;
    let (_, start, length) = flash::partition(&image, TEE_PARTITION)?;
    let mut bytes = vec![0; usize::try_from(length)?];
    image.read_exact_at(&mut bytes, start)?;
    let archive = archive_of(&bytes)?;
    let found = archive
        .entries()
        .iter()
        .find(|entry| is_application(entry.path) && entry.path.trim_end_matches(".img") == name);
    let path = found.with_context(|| format!("{name} in the tee partition"))?.path;
    Ok(archive.file(path).context("its content")?.to_vec())
}

/// The executable in a signed image.
fn program_of(image: &[u8]) -> Result<&[u8]> {
    let footer = image.last_chunk::<FOOTER_BYTES>().context("an image with a footer")?;
    let size = usize::try_from(Footer::decode(footer)?.original_image_size)?;
    image.get(..size).context("the program is shorter than its footer says")
}
