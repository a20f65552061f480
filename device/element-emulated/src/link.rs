//! The wire to a reader, as vsmartcard's `vpcd` frames it: two bytes of length, big-endian, then
//! one byte of control, or an APDU. Only the question for the ATR, and APDUs, are answered.
//!
//! The reader writes length and content apart, so a kernel that delays its acknowledgements makes
//! each exchange wait 40 ms. On TCP they are sent at once, which has to be asked for again and again.

use crate::card::{ATR, Element};
use rustix::net::sockopt::set_tcp_quickack;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

/// A frame of one byte.
const POWER_OFF: u8 = 0;
const POWER_ON: u8 = 1;
const RESET: u8 = 2;
const GET_ATR: u8 = 4;

/// A wire.
pub trait Wire: Read + Write {
    /// Called before each read.
    fn before_reading(&self) {}
}

impl Wire for UnixStream {}

impl Wire for TcpStream {
    fn before_reading(&self) {
        // Without it everything works, slowly.
        let _ = set_tcp_quickack(self, true);
    }
}

/// Answers a reader until it goes away. The element loses its power then.
pub fn serve(wire: &mut impl Wire, element: &mut Element) -> io::Result<()> {
    element.reset();
    let outcome = converse(wire, element);
    element.reset();
    outcome
}

fn converse(wire: &mut impl Wire, element: &mut Element) -> io::Result<()> {
    let mut frame = Vec::new();
    while receive(wire, &mut frame)? {
        match frame[..] {
            [POWER_OFF | POWER_ON | RESET] => element.reset(),
            [GET_ATR] => send(wire, &ATR)?,
            _ => send(wire, &element.transmit(&frame))?,
        }
    }
    Ok(())
}

/// Reads a frame; false where the other side went away between two.
fn receive(wire: &mut impl Wire, frame: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 2];
    wire.before_reading();
    match wire.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    frame.resize(u16::from_be_bytes(length).into(), 0);
    wire.before_reading();
    wire.read_exact(frame)?;
    Ok(true)
}

/// Writes a frame at once. An answer that no frame holds becomes an error of the card's.
fn send(wire: &mut impl Wire, content: &[u8]) -> io::Result<()> {
    let content = if content.len() > usize::from(u16::MAX) { &[0x6F, 0x00] } else { content };
    let length = (content.len() as u16).to_be_bytes();
    wire.write_all(&[&length, content].concat())
}
