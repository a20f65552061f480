//! What a person typed or chose at the trusted screen: is it anywhere that this world can read?
//!
//! The secrets come complemented, byte by byte, so that the search finds no copy of its own.

use super::Attempt;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Bytes that must be nowhere here, complemented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(Vec<u8>);

/// How much is read at once.
const PIECE_BYTES: usize = 1 << 20;
/// Where files are not searched: the kernel's own, and the system that the maker signed.
const LEFT_OUT: [&str; 4] = ["/proc", "/sys", "/dev", "/system"];
/// Questions to the system's local API.
const ROUTES: [&str; 4] = ["/v1/status", "/v1/notifications", "/v1/find", "/v1/bootloader"];
/// Where that API listens.
const SOCKET: &str = "/run/holdfast.sock";

impl Hidden {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.bytes().map(|byte| !byte).collect())
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        let equal = |window: &[u8]| window.iter().zip(&self.0).all(|(a, b)| *a == !*b);
        let first = self.0.first().map_or(0, |byte| !*byte);
        let last_start = bytes.len().saturating_sub(self.0.len().saturating_sub(1));
        bytes[..last_start]
            .iter()
            .enumerate()
            .any(|(at, byte)| *byte == first && bytes.get(at..at + self.0.len()).is_some_and(equal))
    }
}

/// A search; says where it found the secret first.
type Look = fn(&Hidden) -> Option<String>;

/// Every search for each secret.
pub(super) fn attempts(secrets: &[Hidden]) -> Vec<Attempt> {
    if secrets.is_empty() {
        return Vec::new();
    }
    let searches: [(&str, Look); 4] = [
        ("search all files for what was typed", |secret| secret.files(Path::new("/"))),
        ("search arguments and environments for what was typed", Hidden::arguments),
        ("search the memory of all processes for what was typed", Hidden::memory),
        ("ask the system's API for what was typed", Hidden::api),
    ];
    let mut attempts = Vec::new();
    for (number, secret) in secrets.iter().enumerate() {
        for (attempt, search) in searches {
            let found: io::Result<String> =
                search(secret).ok_or_else(|| io::ErrorKind::NotFound.into());
            let place = found.as_ref().cloned().unwrap_or_default();
            attempts.push(Attempt::new(attempt, format!("secret {number}"), found, &place));
        }
    }
    attempts
}

/// The searches: each says where it found the secret first.
impl Hidden {
    /// The first file below `folder` with the secret in its name or in it.
    fn files(&self, folder: &Path) -> Option<String> {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            let path = entry.path();
            let kind = entry.file_type().ok()?;
            let found = if LEFT_OUT.iter().any(|left_out| path == Path::new(left_out)) {
                None
            } else if self.is_in(path.as_os_str().as_encoded_bytes()) {
                Some(path.display().to_string())
            } else if kind.is_dir() {
                self.files(&path)
            } else if kind.is_file() {
                self.is_in_file(&path).then(|| path.display().to_string())
            } else {
                None
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn is_in_file(&self, path: &Path) -> bool {
        let Ok(mut file) = File::open(path) else { return false };
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        loop {
            let limit = (PIECE_BYTES - piece.len()) as u64;
            let read = Read::by_ref(&mut file).take(limit).read_to_end(&mut piece);
            if self.is_in(&piece) {
                return true;
            }
            if !matches!(read, Ok(1..)) {
                return false;
            }
            // It may begin in one piece and end in the next.
            piece.drain(..piece.len().saturating_sub(self.0.len()));
        }
    }

    fn arguments(&self) -> Option<String> {
        let lists = others().flat_map(|process| ["cmdline", "environ"].map(|it| process.join(it)));
        self.first(lists)
    }

    fn first(&self, mut paths: impl Iterator<Item = PathBuf>) -> Option<String> {
        let found = paths.find(|path| self.is_in_file(path))?;
        Some(found.display().to_string())
    }

    /// Memory that a process can write: what it read from its files is elsewhere searched.
    fn memory(&self) -> Option<String> {
        others().find_map(|process| {
            let maps = fs::read_to_string(process.join("maps")).ok()?;
            let memory = File::open(process.join("mem")).ok()?;
            let mut ranges = maps.lines().filter_map(writable);
            let found = ranges.any(|(from, to)| self.is_in_range(&memory, from, to));
            found.then(|| process.display().to_string())
        })
    }

    fn is_in_range(&self, memory: &File, mut from: u64, to: u64) -> bool {
        let mut piece = vec![0; PIECE_BYTES];
        while from < to {
            let limit =
                usize::try_from(to - from).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            match memory.read_at(&mut piece[..limit], from) {
                Ok(read @ 1..) if self.is_in(&piece[..read]) => return true,
                Ok(read @ 1..) if read > self.0.len() && from + (read as u64) < to => {
                    from += (read - self.0.len()) as u64;
                }
                _ => return false,
            }
        }
        false
    }

    fn api(&self) -> Option<String> {
        let asked = |route: &&str| {
            let mut answer = Vec::new();
            let Ok(mut socket) = UnixStream::connect(SOCKET) else { return false };
            let request = format!("GET {route} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            let told = socket.write_all(request.as_bytes());
            told.is_ok() && socket.read_to_end(&mut answer).is_ok() && self.is_in(&answer)
        };
        ROUTES.iter().find(|route| asked(route)).map(|route| (*route).to_owned())
    }
}

/// All processes that `/proc` shows but this one.
fn others() -> impl Iterator<Item = PathBuf> {
    let own = std::process::id();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter(move |entry| {
        let number = entry.file_name().to_string_lossy().parse::<u32>();
        number.is_ok_and(|pid| pid != own)
    })
    .map(|entry| entry.path())
}

/// The range of a line of `maps`, where it may be written.
fn writable(line: &str) -> Option<(u64, u64)> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    rest.starts_with("rw").then_some((address(from)?, address(to)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_secret_in_names_files_and_memory_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("{}-{}", "kelp", std::process::id());
        let secret = Hidden::new(&text);
        assert_eq!(secret.files(folder.path()), None);
        // Across the border of two pieces.
        let inside = [vec![b'x'; PIECE_BYTES - 3], text.clone().into_bytes()].concat();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/file"), inside).unwrap();
        assert!(secret.files(folder.path()).is_some());
        fs::remove_file(folder.path().join("deep/file")).unwrap();
        assert_eq!(secret.files(folder.path()), None);
        fs::write(folder.path().join(&text), b"").unwrap();
        assert!(secret.files(folder.path()).is_some());
    }

    #[test]
    fn a_hidden_secret_does_not_contain_itself() {
        let secret = Hidden::new("8214739065");
        assert!(secret.is_in(b"PIN 8214739065"));
        assert!(!secret.is_in(&secret.0));
        assert!(!secret.is_in(serde_json::to_string(&secret).unwrap().as_bytes()));
        assert!(!secret.is_in(b"821473906") && !secret.is_in(b""));
    }
}
