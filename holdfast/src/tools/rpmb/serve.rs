//! `holdfast rpmb serve`: the chip's process.

use super::Serve;
use crate::exit::{Exit, Lacking};
use anyhow::{Context, Result};
use rpmb::{RpmbDevice, Store};
use rpmb_chip::server::SharedChip;
use rpmb_chip::{FileStore, server};
use serde_json::{Value, json};
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};

/// Serves until a signal comes.
pub(crate) fn run(options: &Serve) -> Result<Exit> {
    let path = file_of(&options.state);
    let (store, created) = open(&path, options.size_kib)?;
    let device =
        RpmbDevice::new(store).with_max_write_frames(usize::from(options.max_write_blocks));
    let ready = json!({
        "socket": options.socket,
        "state": path,
        "created": created,
        "blocks": device.store().blocks(),
        "has_key": device.store().key().is_some(),
        "counter": device.store().counter(),
    });
    let listener = server::listen(&options.socket)
        .map_err(|error| Lacking(format!("{}: {error}", options.socket.display())))?;
    let chip = Arc::new(Mutex::new(device));
    crate::block_on(until_signal(listener, chip.clone(), &ready))?;
    // What is being written is finished first.
    let _finished = chip.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = std::fs::remove_file(&options.socket);
    Ok(Exit::Held)
}

async fn until_signal(
    listener: UnixListener,
    chip: SharedChip<FileStore>,
    ready: &Value,
) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("{ready}");
    std::io::stdout().flush()?;
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = ended.send(server::serve(&listener, &chip));
    });
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        failed = end => Ok(failed.context("the chip's thread ended")??),
    }
}

fn file_of(state: &Path) -> PathBuf {
    if state.is_dir() { state.join("rpmb.bin") } else { state.to_owned() }
}

/// Opens the chip, or makes a factory-fresh one.
fn open(path: &Path, size_kib: u32) -> Result<(FileStore, bool)> {
    let lacking = |error: std::io::Error| Lacking(format!("{}: {error}", path.display()));
    match FileStore::open(path) {
        Ok(store) => Ok((store, false)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ok((FileStore::create(path, size_kib * 4).map_err(lacking)?, true))
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(error.into()),
        Err(error) => Err(lacking(error).into()),
    }
}
