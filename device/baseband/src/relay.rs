//! Connections: from the system to the hosts that it may reach.

use crate::request::{self, BadRequest, MAX_HEAD_BYTES, Request};
use board::channel;
use board::modem::{Ask, ModemArgs, Position};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The most connections at once; each has two threads and two pipes.
const MAX_CONNECTIONS: usize = 256;
/// How long a host may take to answer, and a client to send its request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that one system call moves.
const PIPE_BYTES: usize = 256 * 1024;
const STACK_BYTES: usize = 64 * 1024;

/// What the connections share.
struct Modem {
    routes: ModemArgs,
    receiver: Mutex<OwnedFd>,
    connections: AtomicUsize,
}

/// Serves connections of `listener` for ever. `receiver` is the channel to the satellite
/// receiver.
pub fn serve(listener: &UnixListener, routes: ModemArgs, receiver: OwnedFd) -> io::Result<()> {
    let receiver = Mutex::new(receiver);
    let modem = Arc::new(Modem { routes, receiver, connections: AtomicUsize::new(0) });
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if is_passing(&error) => {
                thread::sleep(Duration::from_millis(100));
                continue;
            }
            Err(error) => return Err(error),
        };
        let place = Place::take(&modem);
        let full = place.is_none();
        let work = move || match place {
            Some(place) => place.0.attend(client),
            None => answer(&client, "503 Service Unavailable", "too many connections\n"),
        };
        if full {
            work();
        } else {
            // Without a thread the connection closes, and with it goes its place.
            let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(work);
        }
    }
}

/// Out of descriptors or memory: some come back as connections end.
fn is_passing(error: &io::Error) -> bool {
    let code = Errno::from_io_error(error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::INTR))
        || error.kind() == io::ErrorKind::ConnectionAborted
}

/// One of the [`MAX_CONNECTIONS`].
struct Place(Arc<Modem>);

impl Place {
    fn take(modem: &Arc<Modem>) -> Option<Self> {
        if modem.connections.fetch_add(1, Ordering::Relaxed) < MAX_CONNECTIONS {
            return Some(Self(modem.clone()));
        }
        modem.connections.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Modem {
    fn attend(&self, mut client: UnixStream) {
        match read_request(&mut client) {
            Ok((Request::Connect(host), early)) => self.connect(client, &host, &early),
            Ok((Request::Position, _)) => match self.position() {
                Some(body) => answer_with(&client, "200 OK", "application/json", &body),
                None => answer(&client, "503 Service Unavailable", "no position\n"),
            },
            Err(Some(bad)) => answer(&client, bad.status(), &format!("{bad}\n")),
            Err(None) => {}
        }
    }

    fn position(&self) -> Option<String> {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        channel::send(&*receiver, &Ask::Position).ok()?;
        let Position { lat, lon, accuracy_m } = channel::receive(&*receiver).ok()?;
        Some(format!(r#"{{"lat":{lat},"lon":{lon},"accuracy_m":{accuracy_m}}}"#))
    }

    fn connect(&self, mut client: UnixStream, host: &str, early: &[u8]) {
        let Some(address) = self.routes.routes.get(host) else {
            let reason = "the device may not reach this host\n";
            return answer(&client, "403 Forbidden", reason);
        };
        let mut server = match dial(address) {
            Ok(server) => server,
            Err(error) => {
                let reason = format!("the host does not answer: {error}\n");
                return answer(&client, "502 Bad Gateway", &reason);
            }
        };
        let opened = client
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .and_then(|()| server.write_all(early));
        if opened.is_ok() {
            carry_both_ways(&client, &server);
        }
    }
}

fn dial(address: &SocketAddr) -> io::Result<TcpStream> {
    let server = TcpStream::connect_timeout(address, PATIENCE)?;
    server.set_nodelay(true)?;
    Ok(server)
}

/// Reads a request; beside it comes what was sent behind it already.
fn read_request(client: &mut UnixStream) -> Result<(Request, Vec<u8>), Option<BadRequest>> {
    client.set_read_timeout(Some(PATIENCE)).map_err(|_| None)?;
    let mut bytes = Vec::with_capacity(1024);
    let mut chunk = [0; 1024];
    loop {
        if let Some((request, end)) = request::parse(&bytes).map_err(Some)? {
            client.set_read_timeout(None).map_err(|_| None)?;
            return Ok((request, bytes.split_off(end)));
        }
        debug_assert!(bytes.len() < MAX_HEAD_BYTES, "a head this long is refused");
        match client.read(&mut chunk) {
            Ok(0) | Err(_) => return Err(None),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

fn answer(client: &UnixStream, status: &str, text: &str) {
    answer_with(client, status, "text/plain; charset=utf-8", text);
}

fn answer_with(mut client: &UnixStream, status: &str, kind: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // A client that is gone needs no answer.
    let _ = client.write_all(format!("{head}{body}").as_bytes());
}

/// Copies both directions until both have ended.
fn carry_both_ways(client: &UnixStream, server: &TcpStream) {
    thread::scope(|scope| {
        let up = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || {
            let done = carry(client, server);
            let _ = server.shutdown(Shutdown::Write);
            if done.is_err() {
                close_both(client, server);
            }
        });
        if up.is_err() || carry(server, client).is_err() {
            close_both(client, server);
        }
        let _ = client.shutdown(Shutdown::Write);
    });
}

fn close_both(client: &UnixStream, server: &TcpStream) {
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

/// Moves bytes through a pipe, so that they stay in the kernel.
fn carry(from: impl AsFd, to: impl AsFd) -> Result<(), Errno> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    // A smaller pipe works as well, only slower.
    let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
    loop {
        let mut held = move_bytes(&from, &write, PIPE_BYTES)?;
        if held == 0 {
            return Ok(());
        }
        while held > 0 {
            held -= move_bytes(&read, &to, held)?;
        }
    }
}

fn move_bytes(from: impl AsFd, to: impl AsFd, most: usize) -> Result<usize, Errno> {
    let flags = SpliceFlags::MOVE;
    rustix::io::retry_on_intr(|| splice(&from, None, &to, None, most, flags))
}
