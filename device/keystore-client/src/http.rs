//! HTTP/1.1 (RFC 9112) over a Unix socket, blocking: one request, one answer, connections kept.
//!
//! For programs that other programs load (a PKCS#11 module): no thread and no runtime of its own,
//! and after a `fork` the child makes connections of its own.

use crate::error::Error;
use rustix::net::{RecvFlags, recv};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The longest head of an answer.
const MAX_HEAD_BYTES: u64 = 64 * 1024;
/// The longest body of an answer; a page of keys and 1 MiB of data as base64 fit well.
const MAX_BODY_BYTES: u64 = 8 << 20;
/// Connections that are kept for the next request.
const KEPT: usize = 8;

/// What a request carries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'a> {
    /// Nothing.
    Empty,
    /// `application/json`.
    Json(&'a [u8]),
    /// `application/octet-stream`.
    Bytes(&'a [u8]),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// A server at a Unix socket.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Whose connections these are: a fork's child must not talk in between.
    process: u32,
    idle: Vec<BufReader<UnixStream>>,
}

impl Server {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, kept: Mutex::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Sends a request and waits for its answer. What was sent is never sent again.
    pub(crate) fn ask(&self, method: &str, target: &str, body: Body<'_>) -> Result<Answer, Error> {
        let mut connection = match self.take() {
            Some(kept) => kept,
            None => BufReader::new(UnixStream::connect(&self.path).map_err(|e| self.lost(e))?),
        };
        let request = request(method, target, body);
        connection.get_mut().write_all(&request).map_err(|error| self.lost(error))?;
        let (answer, stays) = answer(&mut connection).map_err(|error| self.lost(error))?;
        if stays {
            self.keep(connection);
        }
        Ok(answer)
    }

    fn lost(&self, source: io::Error) -> Error {
        Error::Unreachable { socket: self.path.clone(), source }
    }

    /// A kept connection that the server has not closed since.
    fn take(&self) -> Option<BufReader<UnixStream>> {
        let mut kept = self.kept();
        while let Some(connection) = kept.idle.pop() {
            if is_quiet(connection.get_ref()) {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: BufReader<UnixStream>) {
        let mut kept = self.kept();
        if kept.idle.len() < KEPT && connection.buffer().is_empty() {
            kept.idle.push(connection);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if kept.process != process {
            *kept = Kept { process, idle: Vec::new() };
        }
        kept
    }
}

/// Nothing came in, not even an end.
fn is_quiet(stream: &UnixStream) -> bool {
    let mut byte = [0; 1];
    let looked = recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(looked, Err(rustix::io::Errno::AGAIN))
}

fn request(method: &str, target: &str, body: Body<'_>) -> Vec<u8> {
    let (kind, bytes): (_, &[u8]) = match body {
        Body::Empty => ("", &[]),
        Body::Json(bytes) => ("content-type: application/json\r\n", bytes),
        Body::Bytes(bytes) => ("content-type: application/octet-stream\r\n", bytes),
    };
    let length = bytes.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\n{kind}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), bytes].concat()
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer is not HTTP: {what}"))
}

/// The answer, and whether the connection may be used again.
fn answer(connection: &mut BufReader<UnixStream>) -> io::Result<(Answer, bool)> {
    let (status, length, stays) = head(connection)?;
    let body = match length {
        Length::Known(length) => exactly(connection, length)?,
        Length::Chunked => chunks(connection)?,
    };
    Ok((Answer { status, body }, stays))
}

enum Length {
    Known(u64),
    Chunked,
}

fn head(connection: &mut BufReader<UnixStream>) -> io::Result<(u16, Length, bool)> {
    let mut connection = connection.take(MAX_HEAD_BYTES);
    let first = line(&mut connection)?;
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| malformed("its first line"))?;
    let (mut length, mut stays) = (Length::Known(0), true);
    loop {
        let field = line(&mut connection)?;
        if field.is_empty() {
            return Ok((status, length, stays));
        }
        let (name, value) = field.split_once(':').ok_or_else(|| malformed("a header"))?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                length = Length::Known(value.parse().map_err(|_| malformed("its length"))?);
            }
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => {
                length = Length::Chunked;
            }
            "connection" => stays &= !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(text) => Ok(text.to_owned()),
        None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        None => Err(malformed("a line without its end")),
    }
}

fn exactly(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    if length > MAX_BODY_BYTES {
        return Err(malformed("its body is too long"));
    }
    let mut body = Vec::new();
    from.take(length).read_to_end(&mut body)?;
    if body.len() as u64 == length { Ok(body) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn chunks(connection: &mut BufReader<UnixStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(&mut connection.take(1024))?;
        let size = size.split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(|_| malformed("a chunk's size"))?;
        let room = MAX_BODY_BYTES - body.len() as u64;
        if size > room {
            return Err(malformed("its body is too long"));
        }
        body.extend(exactly(connection, size)?);
        if !line(&mut connection.take(1024))?.is_empty() {
            return Err(malformed("a chunk's end"));
        }
        if size == 0 {
            return Ok(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// A server that answers each connection's requests with these bytes, one after the other.
    fn server(answers: Vec<&'static [u8]>) -> (tempfile::TempDir, Server) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for bytes in answers {
                let mut request = [0; 1024];
                if stream.read(&mut request).unwrap_or(0) == 0 {
                    return;
                }
                let _ = stream.write_all(bytes);
            }
        });
        (folder, Server::at(path))
    }

    #[test]
    fn reads_bodies_of_known_length_and_in_chunks_over_one_connection() {
        let (_folder, server) = server(vec![
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        ]);
        let first = server.ask("GET", "/", Body::Empty).unwrap();
        assert_eq!((first.status, &first.body[..]), (200, &b"hello"[..]));
        let second = server.ask("POST", "/", Body::Json(b"{}")).unwrap();
        assert_eq!((second.status, &second.body[..]), (404, &b"abcd"[..]));
    }

    #[test]
    fn hostile_answers_are_errors() {
        for bytes in [
            &b"nonsense\r\n\r\n"[..],
            b"HTTP/1.1 2",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            let (_folder, server) = server(vec![bytes]);
            assert!(server.ask("GET", "/", Body::Empty).is_err(), "{bytes:?}");
        }
    }
}
