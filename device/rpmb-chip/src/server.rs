//! A chip behind a Unix socket.
//!
//! Each connection has a thread of its own, and the chip does one batch at a time: what a batch
//! writes and what it reads belong together, as they do under the kernel's lock. A client that
//! says nothing holds a thread and nothing else; there are at most [`MAX_CONNECTIONS`].

use crate::store::FileStore;
use crate::wire::{self, Command};
use rpmb::{RpmbDevice, Store};
use std::io::{self, ErrorKind};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The most connections at a time; further ones are closed at once.
pub const MAX_CONNECTIONS: usize = 64;

/// A chip that several connections share.
pub type SharedChip<S> = Arc<Mutex<RpmbDevice<S>>>;

/// Listens at `socket` and takes the place of a socket that a dead server left there. One that
/// still answers, and a file of another kind, are `AddrInUse`.
pub fn listen(socket: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(socket) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_dead(socket) => {
            std::fs::remove_file(socket)?;
            UnixListener::bind(socket)
        }
        bound => bound,
    }
}

fn is_dead(socket: &Path) -> bool {
    UnixStream::connect(socket).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        && std::fs::symlink_metadata(socket).is_ok_and(|it| {
            use std::os::unix::fs::FileTypeExt;
            it.file_type().is_socket()
        })
}

/// Serves the chip until accepting fails.
pub fn serve(listener: &UnixListener, chip: &SharedChip<FileStore>) -> io::Result<()> {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let (connection, _) = match listener.accept() {
            Ok(accepted) => accepted,
            // The client left, or a signal came, or descriptors are short for now.
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        };
        if open.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (chip, open) = (chip.clone(), open.clone());
        std::thread::spawn(move || {
            // A client that goes away, or speaks something else, ends its own connection only.
            let _ = converse(connection, &chip);
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}

/// Does the batches of one connection until it ends.
pub fn converse<S: Store>(
    mut connection: UnixStream,
    chip: &Mutex<RpmbDevice<S>>,
) -> io::Result<()> {
    loop {
        match wire::receive(&mut connection) {
            Ok(Some(batch)) => wire::answer(&mut connection, &run(&batch, chip))?,
            Ok(None) => return Ok(()),
            Err(error) => {
                wire::refuse(&mut connection)?;
                return Err(error);
            }
        }
    }
}

fn run<S: Store>(batch: &[Command], chip: &Mutex<RpmbDevice<S>>) -> Vec<Vec<u8>> {
    let mut chip = chip.lock().unwrap_or_else(PoisonError::into_inner);
    let mut reads = Vec::new();
    for command in batch {
        match command {
            Command::Write(frames) => chip.send(frames),
            Command::Read(frames) => reads.push(chip.receive(*frames)),
        }
    }
    reads
}
