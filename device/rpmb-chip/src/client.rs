//! The other end of the socket: a whole exchange with the chip.

use crate::wire::{self, Command};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A connection to a chip.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
}

impl Client {
    /// Connects to the chip behind `socket`.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        Ok(Self { socket: UnixStream::connect(socket)? })
    }

    /// Sends the frames of a request (as the crate `rpmb`'s `host` makes them) and reads `frames`
    /// frames: 1, or as many as blocks are read.
    pub fn exchange(&mut self, request: &[u8], frames: u16) -> io::Result<Vec<u8>> {
        let batch = [Command::Write(request.to_vec()), Command::Read(frames)];
        wire::send(&mut self.socket, &batch)?;
        let answers = wire::receive_answer(&mut self.socket, &batch)?;
        Ok(answers.concat())
    }
}
