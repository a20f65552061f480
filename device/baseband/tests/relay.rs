//! The relay over real sockets.

use baseband::relay;
use board::channel;
use board::modem::{Ask, ModemArgs, Position};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use tempfile::TempDir;

const HERE: Position = Position { lat: 52.52, lon: 13.405, accuracy_m: 12.0 };

struct Modem {
    _folder: TempDir,
    socket: std::path::PathBuf,
}

/// A modem that may reach `echo:7`, a server that answers what it gets, and `dead:9`.
fn modem() -> Modem {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("radio.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let echo = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let routes = [("echo:7".into(), echo.local_addr().unwrap()), ("dead:9".into(), dead)];
    thread::spawn(move || {
        for client in echo.incoming() {
            let client = client.unwrap();
            thread::spawn(move || std::io::copy(&mut &client, &mut &client));
        }
    });
    let flags = SocketFlags::CLOEXEC;
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    thread::spawn(move || {
        while let Ok(Ask::Position) = channel::receive(&near) {
            channel::send(&near, &HERE).unwrap();
        }
    });
    let routes = ModemArgs { routes: routes.into() };
    thread::spawn(move || relay::serve(&listener, routes, far));
    Modem { _folder: folder, socket }
}

impl Modem {
    fn ask(&self, request: &str) -> String {
        let mut client = UnixStream::connect(&self.socket).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    fn connect(&self, early: &[u8]) -> UnixStream {
        let mut client = UnixStream::connect(&self.socket).unwrap();
        client.write_all(b"CONNECT echo:7 HTTP/1.1\r\nHost: echo:7\r\n\r\n").unwrap();
        client.write_all(early).unwrap();
        let mut head = [0; 39];
        client.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 Connection established\r\n\r\n");
        client
    }
}

#[test]
fn carries_bytes_both_ways_and_ends_with_either_side() {
    let modem = modem();
    let mut client = modem.connect(b"early ");
    client.write_all(b"and late").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "early and late");
}

#[test]
fn carries_a_stream_larger_than_every_buffer() {
    let modem = modem();
    let client = modem.connect(b"");
    let bytes: Vec<u8> = (0..64_usize << 20).map(|at| (at * 31 % 251) as u8).collect();
    let start = std::time::Instant::now();
    let answer = thread::scope(|scope| {
        scope.spawn(|| {
            (&client).write_all(&bytes).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        let mut answer = Vec::with_capacity(bytes.len());
        (&client).read_to_end(&mut answer).unwrap();
        answer
    });
    println!("{} MiB there and back in {:?}", bytes.len() >> 20, start.elapsed());
    assert!(answer == bytes);
}

#[test]
fn reaches_allowed_hosts_only() {
    let modem = modem();
    for (host, status) in [
        ("127.0.0.1:1", "403"),
        ("localhost:7", "403"),
        ("echo:70", "403"),
        ("echo", "400"),
        ("dead:9", "502"),
    ] {
        let answer = modem.ask(&format!("CONNECT {host} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
}

#[test]
fn tells_where_the_device_is() {
    let answer = modem().ask("GET /position HTTP/1.1\r\nHost: radio\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(r#"{"lat":52.52,"lon":13.405,"accuracy_m":12}"#), "{answer}");
}
