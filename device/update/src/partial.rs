//! A package that comes in pieces: what is here, how much of it counts, and whether it is right.
//!
//! Two files in the update folder, named by the SHA-256 of the package, so that bytes of two
//! packages never mix: `<sha256>.part` has the bytes, `<sha256>.mark` says how many of them were
//! on the disk when it was written, and their hash. After a power cut what lies behind the mark
//! may be anything, so a download goes on from the mark. Whole and right, the package is called
//! `<sha256>.zip`.

use crypto::digest::Sha256;
use effects::durable;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A mark is made every so many bytes: what a power cut costs at most.
pub const MARK_BYTES: u64 = 4 << 20;
/// What is read, hashed and written at once.
const PIECE_BYTES: usize = 256 << 10;
/// What stays free on the disk besides the package: the system must go on working.
pub const RESERVE_BYTES: u64 = 16 << 20;

/// Which package: its size and its hash, as announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
}

impl Announced {
    fn name(&self, folder: &Path, ending: &str) -> PathBuf {
        folder.join(format!("{}.{ending}", hex(&self.sha256)))
    }

    /// Where the whole package is, once it is.
    #[must_use]
    pub fn whole(&self, folder: &Path) -> PathBuf {
        self.name(folder, "zip")
    }
}

/// Why a package does not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartialError {
    /// The disk has too little room; what came stays.
    #[error(
        "the disk has {free} bytes free, and the package needs {need}: make room, then go on; \
         what came stays"
    )]
    DiskFull {
        /// Bytes that are still to come, and the reserve.
        need: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// More bytes came than were announced; nothing of it stays.
    #[error("more bytes came than the {0} that were announced")]
    Longer(u64),
    /// The bytes are not those that were announced; nothing of it stays.
    #[error("the package's SHA-256 is {found}, and {announced} was announced")]
    Hash {
        /// As announced, hexadecimal.
        announced: String,
        /// As it is.
        found: String,
    },
    /// The sender broke off; what came stays.
    #[error("the download broke off: {0}")]
    Source(io::Error),
    /// The disk failed.
    #[error("the update folder: {0}")]
    Disk(#[from] io::Error),
}

/// What was there when a download began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing: it begins.
    Nothing,
    /// So many bytes, hashed again: it goes on behind them.
    Bytes(u64),
    /// Something else than the mark says; it begins anew.
    Damaged {
        /// Bytes that the mark counted.
        lost: u64,
    },
}

/// The bytes that count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    bytes: u64,
    sha256: String,
}

/// A package that is not whole yet.
#[derive(Debug)]
pub struct Partial {
    folder: PathBuf,
    announced: Announced,
    file: File,
    hash: Hash,
    bytes: u64,
    marked: u64,
}

/// [`Sha256`] with a name.
#[derive(Clone, Default)]
struct Hash(Sha256);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash")
    }
}

impl Partial {
    /// Opens what is there of the package, and hashes it again up to its mark.
    pub fn open(folder: &Path, announced: Announced) -> Result<(Self, Found), PartialError> {
        let path = announced.name(folder, "part");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nofollow())
            .open(path)?;
        let folder = folder.to_owned();
        let mut partial =
            Self { folder, announced, file, hash: Hash::default(), bytes: 0, marked: 0 };
        let found = partial.recall()?;
        partial.file.set_len(partial.bytes)?;
        Ok((partial, found))
    }

    /// Bytes that are here.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the package whose download is interrupted, without hashing them.
    #[must_use]
    pub fn marked(folder: &Path, announced: &Announced) -> u64 {
        read_mark(&announced.name(folder, "mark")).map_or(0, |mark| mark.bytes)
    }

    /// Refuses where the rest would not fit the disk.
    pub fn require_room(&self) -> Result<(), PartialError> {
        require_room(&self.folder, self.announced.size - self.bytes)
    }

    /// Takes the bytes that come next until `from` ends; `moved` is told how many are here. What
    /// came is marked also where `from` breaks off.
    pub fn append(&mut self, from: &mut dyn Read, moved: &dyn Fn(u64)) -> Result<(), PartialError> {
        let taken = self.take(from, moved);
        match taken {
            Err(PartialError::Longer(_)) => self.clear()?,
            _ => self.mark()?,
        }
        taken
    }

    fn take(&mut self, from: &mut dyn Read, moved: &dyn Fn(u64)) -> Result<(), PartialError> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = match from.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(PartialError::Source(error)),
            };
            if length as u64 > self.announced.size - self.bytes {
                return Err(PartialError::Longer(self.announced.size));
            }
            self.write(&piece[..length])?;
            moved(self.bytes);
            if self.bytes - self.marked >= MARK_BYTES {
                self.mark()?;
            }
        }
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), PartialError> {
        match self.file.write_all(piece) {
            Ok(()) => {
                self.hash.0.update(piece);
                self.bytes += piece.len() as u64;
                Ok(())
            }
            Err(error) => {
                // What a half-written piece left is neither hashed nor counted.
                self.rewind(self.bytes)?;
                Err(self.full_or(error))
            }
        }
    }

    fn full_or(&self, error: io::Error) -> PartialError {
        if !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            return error.into();
        }
        let need = self.announced.size - self.bytes + RESERVE_BYTES;
        PartialError::DiskFull { need, free: free_bytes(&self.folder).unwrap_or(0) }
    }

    /// Whole and right? Then the package gets its name. Wrong: nothing of it stays.
    pub fn finish(mut self) -> Result<PathBuf, PartialError> {
        if self.bytes != self.announced.size {
            let reason = format!("{} of {} bytes came", self.bytes, self.announced.size);
            return Err(PartialError::Source(io::Error::new(ErrorKind::UnexpectedEof, reason)));
        }
        let found = std::mem::take(&mut self.hash).0.finish();
        if found != self.announced.sha256 {
            self.clear()?;
            let (announced, found) = (hex(&self.announced.sha256), hex(&found));
            return Err(PartialError::Hash { announced, found });
        }
        self.file.sync_all()?;
        let whole = self.announced.whole(&self.folder);
        fs::rename(self.announced.name(&self.folder, "part"), &whole)?;
        remove(&self.announced.name(&self.folder, "mark"))?;
        durable::sync_folder_of(&whole)?;
        Ok(whole)
    }

    /// Throws away what came; the next byte is the package's first.
    pub fn clear(&mut self) -> Result<(), PartialError> {
        remove(&self.announced.name(&self.folder, "mark"))?;
        self.hash = Hash::default();
        (self.bytes, self.marked) = (0, 0);
        Ok(self.rewind(0)?)
    }

    /// What is on the disk counts from here on.
    fn mark(&mut self) -> Result<(), PartialError> {
        if self.bytes == self.marked {
            return Ok(());
        }
        self.file.sync_data()?;
        let mark = Mark { bytes: self.bytes, sha256: hex(&self.hash.0.clone().finish()) };
        let json = serde_json::to_vec(&mark).expect("a number and a text have a JSON form");
        let marked = durable::replace(&self.announced.name(&self.folder, "mark"), &json, 0o600);
        // A full disk has no room for a new mark: the old one holds.
        match marked {
            Err(error) => Err(self.full_or(error)),
            Ok(()) => {
                self.marked = self.bytes;
                Ok(())
            }
        }
    }

    /// Hashes what the mark counts.
    fn recall(&mut self) -> Result<Found, PartialError> {
        let Some(mark) = read_mark(&self.announced.name(&self.folder, "mark")) else {
            return Ok(Found::Nothing);
        };
        let there = self.file.metadata()?.len();
        if mark.bytes <= there.min(self.announced.size) {
            let mut counted = (&self.file).take(mark.bytes);
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                match counted.read(&mut piece)? {
                    0 => break,
                    length => self.hash.0.update(&piece[..length]),
                }
            }
            if hex(&self.hash.0.clone().finish()) == mark.sha256 {
                (self.bytes, self.marked) = (mark.bytes, mark.bytes);
                self.rewind(mark.bytes)?;
                return Ok(if mark.bytes == 0 { Found::Nothing } else { Found::Bytes(mark.bytes) });
            }
        }
        self.clear()?;
        Ok(Found::Damaged { lost: mark.bytes })
    }

    fn rewind(&self, bytes: u64) -> io::Result<()> {
        use std::io::Seek as _;
        self.file.set_len(bytes)?;
        (&self.file).seek(io::SeekFrom::Start(bytes)).map(drop)
    }
}

/// Refuses where `bytes` and the reserve would not fit the disk that holds `folder`.
pub fn require_room(folder: &Path, bytes: u64) -> Result<(), PartialError> {
    let need = bytes.saturating_add(RESERVE_BYTES);
    let free = free_bytes(folder)?;
    if free < need { Err(PartialError::DiskFull { need, free }) } else { Ok(()) }
}

pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether `file` is what was announced; `moved` is told how many bytes were hashed. Gives what is
/// wrong.
pub fn check_whole(
    file: &File,
    announced: &Announced,
    moved: &dyn Fn(u64),
) -> io::Result<Option<String>> {
    use std::os::unix::fs::FileExt as _;
    let (mut hash, mut at) = (Sha256::new(), 0_u64);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read_at(&mut piece, at)? {
            0 => break,
            length => {
                hash.update(&piece[..length]);
                at += length as u64;
                moved(at);
            }
        }
    }
    let found = hash.finish();
    Ok(match (at == announced.size, found == announced.sha256) {
        (true, true) => None,
        (false, _) => Some(format!("{at} bytes, and {} are due", announced.size)),
        (true, false) => {
            Some(format!("SHA-256 {}, and {} is due", hex(&found), hex(&announced.sha256)))
        }
    })
}

/// Removes everything in `folder` that belongs to packages, but for the one that is to stay.
/// Says how many bytes went.
pub fn remove_others(folder: &Path, stays: Option<&Announced>) -> io::Result<u64> {
    let stays = stays.map(|package| hex(&package.sha256));
    let mut gone = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        let ours = matches!(ending, Some("part" | "mark" | "zip"));
        if ours && path.file_stem().and_then(|stem| stem.to_str()) != stays.as_deref() {
            gone += if ending == Some("mark") { 0 } else { fs::symlink_metadata(&path)?.len() };
            remove(&path)?;
        }
    }
    Ok(gone)
}

/// What cannot be read is no mark: the download then begins anew.
fn read_mark(path: &Path) -> Option<Mark> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A link in the place of a package is not followed.
fn nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

/// Hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 64 hexadecimal digits.
#[must_use]
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    if text.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
