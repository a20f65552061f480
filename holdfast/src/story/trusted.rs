//! What the trusted side does besides keys and locks: a clock that the system can't set, and a
//! text that is signed as the person read it.

use super::device::Device;
use super::step::{Stopped, Teller};
use crate::report::Evidence;
use anyhow::{Context, Result, ensure};
use crypto::digest::sha256;
use crypto::sign::{Curve, Hash, ecdsa_verify};
use effects::{Clock, SystemClock};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use wire::Base64;

/// What the person is asked.
const TEXT: &str = "Pay 12.50 € to the corner shop?";
/// What goes along unseen: the shop's number of the order.
const EXTRA: &[u8] = b"order 4711";
/// How far two looks at a clock may be apart, one after the other.
const APART_MS: u64 = 2000;

/// The secure clock: set by the cloud's signed token, and right within what it says.
pub(crate) async fn clock(teller: &mut Teller, device: &Device) -> Result<(), Stopped> {
    teller.step("clock.set", async |_| set(device).await.map(|it| ((), it))).await
}

async fn set(device: &Device) -> Result<Evidence> {
    let status = device.until("its clock is set", |it| it["time"]["trusted"] == true).await?;
    let number = |name: &str| {
        let said = status["time"][name].as_u64();
        said.with_context(|| format!("the clock does not say its {name}"))
    };
    let (time, error) = (number("unix_ms")?, number("error_ms")?);
    let here = SystemClock::default().now().0;
    let off = time.abs_diff(here);
    ensure!(
        off <= error + APART_MS,
        "the clock says {time} ms, right within {error} ms, and is {off} ms off"
    );
    let line = format!("by the cloud's signed token, right within {error} ms");
    Ok(Evidence::new(line, json!({ "unix_ms": time, "error_ms": error, "trusted": true })))
}

/// What a program gets to show to somebody else.
#[derive(Deserialize)]
struct Confirmed {
    message: Base64,
    signature: Base64,
    chain: Vec<Base64>,
}

/// A text, confirmed on the trusted screen; then looked at as the shop would.
pub(crate) async fn confirm(teller: &mut Teller, device: &Device) -> Result<(), Stopped> {
    teller
        .step("confirm", async |_| {
            device.type_keys("\n").await?;
            let asked = json!({ "text": TEXT, "extra": Base64(EXTRA.to_vec()) });
            let patience = Duration::from_secs(60);
            let api = device.api();
            let request = api.post("/v1/confirm").patience(patience).json(&asked);
            let confirmed = request.send_json().await?;
            verify(&confirmed).map(|evidence| ((), evidence))
        })
        .await
}

fn verify(confirmed: &Confirmed) -> Result<Evidence> {
    let chain: Vec<Vec<u8>> = confirmed.chain.iter().map(|it| it.0.clone()).collect();
    let issued = chain.get(1..).context("no certificates")?;
    let root = keyattest::verify_issued(issued)?.root;
    let now = SystemClock::default().now().0 / 1000;
    let statement = keyattest::verify_chain(&chain, &[root], &|_| None, now)?;
    let said = &statement.description;
    ensure!(said.hardware_enforced.trusted_confirmation_required, "the key signs unconfirmed text");
    ensure!(said.attestation_challenge == sha256(EXTRA), "the key was made for something else");
    let message = &confirmed.message.0;
    let shown = message.windows(TEXT.len()).any(|bytes| bytes == TEXT.as_bytes());
    ensure!(shown, "what was signed is not what was asked");
    let key = statement.public_key.as_der();
    ecdsa_verify(Curve::P256, Hash::Sha256, key, message, &confirmed.signature.0)?;
    let line = format!("\"{TEXT}\", confirmed on the trusted screen, signed by a key of the TEE");
    let object = json!({
        "text": TEXT,
        "certificates": chain.len(),
        "trusted_confirmation_required": true,
    });
    Ok(Evidence::new(line, object))
}
