//! What makes the board that an element sits on the only one: a secret that no other has, and a
//! counter that only rises.

use board::silicon::{ELEMENT_COUNTER, Fuses, Huk, MonotonicCounter};
use crypto::mac::{hmac_sha256, verify_hmac_sha256};
use crypto::secret::Secret;
use effects::durable;
use std::io;
use std::path::PathBuf;

/// A board, as its element sees it.
pub trait Binding: Send {
    /// A key that no other board has.
    fn key(&self) -> io::Result<Secret<32>>;
    /// The counter.
    fn counter(&self) -> io::Result<u64>;
    /// Raises the counter, durably. The value that it has already is fine; a lower one is not.
    fn raise(&mut self, to: u64) -> io::Result<()>;
}

/// What a key file begins with.
const MAGIC: &[u8; 8] = b"hfelkey1";

/// A file that stands for the chip's own fuses where the element stands alone: a key, and the
/// counter beside it. Who copies this file *and* the state has copied the element, so it belongs on
/// another disk, or in a folder that nobody else reads.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    key: Secret<32>,
    counter: u64,
}

impl KeyFile {
    /// Makes one with a fresh key; refuses where there is a file.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Self { path, key: Secret::random(), counter: 0 };
        file.write(0)?;
        Ok(file)
    }

    /// Opens one.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let bytes = std::fs::read(&path)?;
        let damaged = || {
            let problem = format!("{} is no key file of an element, or damaged", path.display());
            io::Error::new(io::ErrorKind::InvalidData, problem)
        };
        let (body, tag) = bytes.split_last_chunk::<32>().ok_or_else(damaged)?;
        let (magic, rest) = body.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (key, counter) = rest.split_first_chunk::<32>().ok_or_else(damaged)?;
        let counter = <[u8; 8]>::try_from(counter).map_err(|_| damaged())?;
        if magic != MAGIC || verify_hmac_sha256(key, &[body], tag).is_err() {
            return Err(damaged());
        }
        let (key, counter) = (Secret::new(*key), u64::from_be_bytes(counter));
        Ok(Self { path, key, counter })
    }

    fn write(&self, counter: u64) -> io::Result<()> {
        let key = self.key.expose();
        let body = [&MAGIC[..], key, &counter.to_be_bytes()].concat();
        let tag = hmac_sha256(key, &[&body]);
        durable::replace(&self.path, &[&body[..], &tag].concat(), 0o600)
    }
}

impl Binding for KeyFile {
    fn key(&self) -> io::Result<Secret<32>> {
        Ok(self.key.duplicate())
    }

    fn counter(&self) -> io::Result<u64> {
        Ok(self.counter)
    }

    fn raise(&mut self, to: u64) -> io::Result<()> {
        if to < self.counter {
            return Err(io::Error::other("the counter only rises"));
        }
        if to > self.counter {
            self.write(to)?;
            self.counter = to;
        }
        Ok(())
    }
}

/// The label of the HUK's key for the element.
const LABEL: &str = "secure-element";

/// The board itself: a key from its HUK, and a counter among its fuses. `S` is the silicon, or the
/// channel to it that the board's stages have too.
#[derive(Debug)]
pub struct OnBoard<S>(pub S);

impl<S: Fuses + Huk + MonotonicCounter + Send> Binding for OnBoard<S> {
    fn key(&self) -> io::Result<Secret<32>> {
        let serial = self.0.serial().map_err(io::Error::other)?;
        let key = self.0.derive(LABEL, serial.as_bytes()).map_err(io::Error::other)?;
        Ok(Secret::new(key))
    }

    fn counter(&self) -> io::Result<u64> {
        self.0.counter(ELEMENT_COUNTER).map_err(io::Error::other)
    }

    fn raise(&mut self, to: u64) -> io::Result<()> {
        self.0.raise_counter(ELEMENT_COUNTER, to).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_keeps_its_key_and_its_counter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let mut file = KeyFile::create(path.clone()).unwrap();
        file.raise(7).unwrap();
        assert!(file.raise(6).is_err());
        let again = KeyFile::open(path.clone()).unwrap();
        assert_eq!(again.counter().unwrap(), 7);
        assert_eq!(again.key().unwrap().expose(), file.key().unwrap().expose());
        assert!(KeyFile::create(path).is_err());
    }

    #[test]
    fn a_key_file_with_any_byte_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        KeyFile::create(path.clone()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            std::fs::write(&path, changed).unwrap();
            assert!(KeyFile::open(path.clone()).is_err(), "byte {index}");
        }
    }
}
