//! The modem's slot on the board: it runs the firmware that the bootloader verified.

use board::exec::{Launch, is_sealed};
use board::modem::{Ask, LISTENER, ModemArgs, Position, RECEIVER};
use board::{argument, channel};
use board::{fds, modem};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Name under which the bootloader hands the firmware over.
const FIRMWARE: &str = "baseband";

/// A fixed place for a device that nobody carries: the centre of Berlin.
pub const FACTORY_POSITION: Position = Position { lat: 52.5200, lon: 13.4050, accuracy_m: 12.0 };

/// The satellite receiver: it knows where the device is.
pub struct Receiver(Mutex<Position>);

impl Default for Receiver {
    fn default() -> Self {
        Self(Mutex::new(FACTORY_POSITION))
    }
}

impl Receiver {
    /// Carries the device elsewhere.
    pub fn set(&self, position: Position) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }

    /// Where it is.
    #[must_use]
    pub fn position(&self) -> Position {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, socket: &OwnedFd) {
        while let Ok(Ask::Position) = channel::receive(socket) {
            if channel::send(socket, &self.position()).is_err() {
                return;
            }
        }
    }
}

/// What the firmware is run with.
pub struct Radio {
    /// Whom the device may reach.
    pub routes: ModemArgs,
    /// The satellite receiver.
    pub receiver: Arc<Receiver>,
}

/// The descriptors that the firmware gets of this power-on.
pub struct Wiring {
    /// Listening at `/run/radio.sock`.
    pub listener: OwnedFd,
    /// The boot log.
    pub log: OwnedFd,
    /// Power.
    pub power: OwnedFd,
    /// The console.
    pub console: OwnedFd,
    /// `/dev/null`.
    pub nothing: OwnedFd,
}

impl Radio {
    /// Waits at `loader` for the verified firmware.
    pub fn receive_firmware(loader: &OwnedFd) -> io::Result<OwnedFd> {
        let (name, fds): (String, _) =
            channel::receive_with_fds(loader).map_err(io::Error::other)?;
        match (name.as_str(), <[OwnedFd; 1]>::try_from(fds)) {
            (FIRMWARE, Ok([image])) if is_sealed(&image) => Ok(image),
            _ => Err(io::Error::other("the bootloader handed over something else")),
        }
    }

    /// Runs the firmware. The child dies with the calling thread.
    pub fn start(&self, image: &OwnedFd, wiring: &Wiring) -> io::Result<Pid> {
        let (own, firmware) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let routes = argument::encode(&self.routes).map_err(io::Error::other)?;
        let pid = Launch::new(image.as_fd(), FIRMWARE)
            .argument(&routes)
            .give(wiring.nothing.as_fd(), 0)
            .give(wiring.nothing.as_fd(), 1)
            .give(wiring.console.as_fd(), 2)
            .give(wiring.listener.as_fd(), LISTENER)
            .give(firmware.as_fd(), RECEIVER)
            .give(wiring.log.as_fd(), fds::LOG)
            .give(wiring.power.as_fd(), fds::POWER)
            .in_new_session()
            .dying_with_parent()
            .spawn()?;
        let receiver = self.receiver.clone();
        std::thread::Builder::new()
            .name("gnss".into())
            .stack_size(64 * 1024)
            .spawn(move || receiver.serve(&own))?;
        Ok(pid)
    }
}

/// Reads a route of the command line: `NAME:PORT=ADDRESS:PORT`.
pub fn parse_route(text: &str) -> Result<(String, std::net::SocketAddr), String> {
    let problem =
        || format!("{text}: a route is NAME:PORT=ADDRESS:PORT, as cloud:443=127.0.0.1:8443");
    let (name, address) = text.split_once('=').ok_or_else(problem)?;
    let (host, port) = name.rsplit_once(':').ok_or_else(problem)?;
    let port_ok = port.parse::<u16>().is_ok_and(|port| port != 0);
    if host.is_empty() || !port_ok {
        return Err(problem());
    }
    Ok((name.to_ascii_lowercase(), address.parse().map_err(|_| problem())?))
}

/// Reads a position of the control socket.
pub fn check_position(position: modem::Position) -> Result<modem::Position, &'static str> {
    if position.is_valid() {
        Ok(position)
    } else {
        Err("lat is -90 to 90, lon -180 to 180, accuracy_m 0 or more")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_name_a_host_and_an_address() {
        let route = parse_route("Cloud.Holdfast:443=127.0.0.1:8443").unwrap();
        assert_eq!(route, ("cloud.holdfast:443".into(), "127.0.0.1:8443".parse().unwrap()));
        assert!(parse_route("[::1]:443=[::1]:1").is_ok());
        for bad in ["", "cloud=127.0.0.1:1", "cloud:0=127.0.0.1:1", ":1=127.0.0.1:1", "a:1=b:2"] {
            assert!(parse_route(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn takes_sealed_firmware_only() {
        let (boot, board) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        let sealed = board::exec::sealed("x", b"firmware").unwrap();
        let (pipe, _) = rustix::pipe::pipe().unwrap();
        for (name, fd, ok) in
            [(FIRMWARE, &sealed, true), ("other", &sealed, false), (FIRMWARE, &pipe, false)]
        {
            channel::send_with_fds(&boot, &name, &[fd.as_fd()]).unwrap();
            assert_eq!(Radio::receive_firmware(&board).is_ok(), ok, "{name}");
        }
    }
}
