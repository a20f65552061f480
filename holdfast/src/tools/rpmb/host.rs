//! The client's commands: what the holder of the key asks the chip.

use super::Chip;
use crate::exit::{Exit, Lacking, Misused};
use anyhow::{Context, Result};
use rpmb::{BLOCK_BYTES, Block, MAX_WRITE_FRAMES, Refused, host};
use rpmb_chip::client::Client;
use rpmb_chip::wire::MAX_FRAMES;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::Path;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// As much as a read of blocks takes; longer inputs are wrong anyway.
const MAX_INPUT_BYTES: u64 = 1 << 20;

/// `read-counter`.
pub(crate) fn read_counter(chip: &Chip, key: Option<&Path>) -> Result<Exit> {
    let key = key.map(read_key).transpose()?;
    let mut client = connect(chip)?;
    let nonce = crypto::random_array();
    let response = exchange(&mut client, &host::read_counter(&nonce), 1)?;
    let counter = match &key {
        Some(key) => host::check_counter(key, &nonce, &response),
        None => host::unchecked_counter(&response),
    };
    chip.tell(counter, |counter| {
        (
            json!({"counter": counter, "checked": key.is_some()}),
            format!("Counter value: {counter:#010x}\n"),
        )
    })
}

/// `read-block`.
pub(crate) fn read_block(
    chip: &Chip,
    address: u16,
    count: u16,
    output: &Path,
    key: Option<&Path>,
) -> Result<Exit> {
    if !(1..=MAX_FRAMES).contains(&count) {
        return Err(Misused(format!("1 to {MAX_FRAMES} blocks can be read at once")).into());
    }
    if chip.json && output == Path::new("-") {
        return Err(Misused("--json and the blocks can't share standard output".into()).into());
    }
    let key = key.map(read_key).transpose()?;
    let mut client = connect(chip)?;
    let nonce = crypto::random_array();
    let response = exchange(&mut client, &host::read(&nonce, address, count), count)?;
    let blocks = match &key {
        Some(key) => host::check_read(key, &nonce, address, count, &response),
        None => host::unchecked_read(address, count, &response),
    };
    if let Ok(blocks) = &blocks {
        write_output(output, blocks.as_flattened())?;
    }
    chip.tell(blocks, |blocks| {
        let bytes = blocks.len() * BLOCK_BYTES;
        (json!({"address": address, "bytes": bytes, "checked": key.is_some()}), String::new())
    })
}

/// `write-block`.
pub(crate) fn write_block(chip: &Chip, address: u16, data: &Path, key: &Path) -> Result<Exit> {
    // On standard input one block comes before the key.
    let limit = if key == Path::new("-") { BLOCK_BYTES as u64 } else { MAX_INPUT_BYTES };
    let blocks = read_blocks(data, limit)?;
    let key = read_key(key)?;
    let mut client = connect(chip)?;
    let nonce = crypto::random_array();
    let response = exchange(&mut client, &host::read_counter(&nonce), 1)?;
    let counter = match host::check_counter(&key, &nonce, &response) {
        Ok(counter) => counter,
        Err(refused) => return chip.tell(Err::<(), _>(refused), |()| (Value::Null, String::new())),
    };
    let next = counter.saturating_add(1);
    let request = host::write(&key, counter, address, &blocks);
    let response = exchange(&mut client, &request, 1)?;
    chip.tell(host::check_write(&key, next, address, &response), |()| {
        let told = json!({"address": address, "blocks": blocks.len(), "counter": next});
        (told, format!("{} blocks written, the counter stands at {next}\n", blocks.len()))
    })
}

/// `write-key`.
pub(crate) fn write_key(chip: &Chip, key: &Path) -> Result<Exit> {
    let key = read_key(key)?;
    let mut client = connect(chip)?;
    let response = exchange(&mut client, &host::program_key(&key), 1)?;
    chip.tell(host::check_key(&response), |()| (json!({}), "the key is programmed\n".into()))
}

impl Chip {
    /// Tells what came out: JSON or text, and on standard error why not.
    fn tell<T>(
        &self,
        outcome: Result<T, Refused>,
        say: impl FnOnce(T) -> (Value, String),
    ) -> Result<Exit> {
        let (told, exit) = match outcome {
            Ok(done) => {
                let (mut told, text) = say(done);
                told["ok"] = true.into();
                if !self.json {
                    print!("{text}");
                }
                (told, Exit::Held)
            }
            Err(refused) => {
                let code = match refused {
                    Refused::Result(result) => Some(result as u16),
                    _ => None,
                };
                eprintln!("holdfast: {refused}");
                let told = json!({"ok": false, "reason": refused.to_string(), "result": code});
                (told, Exit::Failed)
            }
        };
        if self.json {
            println!("{told}");
        }
        Ok(exit)
    }
}

fn connect(chip: &Chip) -> Result<Client> {
    let socket = &chip.socket;
    Client::connect(socket).map_err(|error| {
        let how = "start `holdfast rpmb serve --socket` with this path first";
        Lacking(format!("{}: {error}: {how}", socket.display())).into()
    })
}

fn exchange(client: &mut Client, request: &[u8], frames: u16) -> Result<Vec<u8>> {
    client.exchange(request, frames).map_err(|error| {
        Lacking(format!("the chip did not answer: {error}; nothing is known of the request")).into()
    })
}

fn read_key(path: &Path) -> Result<[u8; KEY_BYTES]> {
    let bytes = read_input(path, KEY_BYTES as u64)?;
    let key = bytes.as_slice().try_into();
    key.map_err(|_| {
        let length = bytes.len();
        Misused(format!("{}: a key has {KEY_BYTES} bytes, not {length}", path.display())).into()
    })
}

fn read_blocks(path: &Path, limit: u64) -> Result<Vec<Block>> {
    let bytes = read_input(path, limit)?;
    let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    if !rest.is_empty() || !(1..=MAX_WRITE_FRAMES).contains(&blocks.len()) {
        let length = bytes.len();
        let due = format!("1 to {MAX_WRITE_FRAMES} blocks of {BLOCK_BYTES} bytes");
        return Err(Misused(format!("{}: {due} are due, not {length}", path.display())).into());
    }
    Ok(blocks.to_vec())
}

/// A file whole, or `stdin_limit` bytes of standard input.
fn read_input(path: &Path, stdin_limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        // What follows is for the next one who reads.
        std::io::stdin().lock().take(stdin_limit).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    let lacking = |error| Lacking(format!("{}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(lacking)?;
    file.take(MAX_INPUT_BYTES).read_to_end(&mut bytes).map_err(lacking)?;
    Ok(bytes)
}

fn write_output(path: &Path, bytes: &[u8]) -> Result<()> {
    if path == Path::new("-") {
        return Ok(std::io::stdout().write_all(bytes)?);
    }
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}
