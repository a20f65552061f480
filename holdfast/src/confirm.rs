//! `holdfast device confirm`: a text that the person confirms on the trusted screen.

use crate::args::Confirm;
use crate::bootloader::{THINKING, refused, system, trusted_screen};
use crate::exit::{Exit, Misused};
use crate::state::State;
use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::path::Path;

/// Asks, and prints or keeps what came of it.
pub(crate) async fn run(state: &State, asked: &Confirm) -> Result<Exit> {
    let read = |file: &Path| {
        std::fs::read(file).map_err(|error| Misused(format!("{}: {error}", file.display())))
    };
    let extra = asked.extra_file.as_deref().map(read).transpose()?.unwrap_or_default();
    let body = json!({ "text": asked.text, "extra": BASE64.encode(extra) });
    eprintln!("read and answer on the trusted screen: {}", trusted_screen(state));
    let request = system(state)?.post("/v1/confirm").patience(THINKING).json(&body);
    let confirmed: Value = match request.send_json().await {
        Ok(confirmed) => confirmed,
        Err(error) => return refused(error, asked.json),
    };
    if let Some(folder) = &asked.output {
        keep(&confirmed, folder).with_context(|| folder.display().to_string())?;
    }
    if asked.json {
        println!("{confirmed}");
    } else {
        println!("confirmed: {}", asked.text);
    }
    Ok(Exit::Held)
}

/// The files that other tools take.
fn keep(confirmed: &Value, folder: &Path) -> Result<()> {
    let bytes = |value: &Value| BASE64.decode(value.as_str().unwrap_or_default());
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("message.cbor"), bytes(&confirmed["message"])?)?;
    std::fs::write(folder.join("signature.der"), bytes(&confirmed["signature"])?)?;
    let chain = confirmed["chain"].as_array().context("the device sent no certificates")?;
    let pem: String = chain.iter().filter_map(Value::as_str).map(pem).collect();
    Ok(std::fs::write(folder.join("chain.pem"), pem)?)
}

fn pem(base64: &str) -> String {
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
