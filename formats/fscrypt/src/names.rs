//! Names and targets of symbolic links: AES-256 in CBC with ciphertext stealing (the kernel's
//! `cts(cbc(aes))`, CS3 of NIST SP 800-38A's addendum).

use crate::error::Error;
use crate::keys::FileKey;
use crypto::cipher::{Direction, Key, Mode, Padding, Stream};

const BLOCK: usize = 16;
/// A longer name or target no file system has.
const MAX_BYTES: usize = 4096;

/// Opens and seals the names of one directory, or the target of one link.
pub struct Names {
    key: Key,
    vector: [u8; 16],
    padding: usize,
}

/// The ciphertext in what an encrypted link holds: a 16-bit length stands before it.
pub fn symlink_ciphertext(content: &[u8]) -> Result<&[u8], Error> {
    let wrong = Error::Length { what: "link", length: content.len() };
    let (length, rest) = content.split_first_chunk().ok_or(wrong)?;
    rest.get(..u16::from_le_bytes(*length).into()).ok_or(wrong)
}

impl Names {
    pub(crate) fn new(key: &FileKey, padding: usize) -> Result<Self, Error> {
        let wrong = Error::Length { what: "names key", length: key.key.len() };
        Ok(Self {
            key: Key::aes(&key.key).map_err(|_| wrong)?,
            vector: key.vector.of(0).ok_or(wrong)?,
            padding,
        })
    }

    /// The name that `sealed` stands for.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        if !(BLOCK..=MAX_BYTES).contains(&sealed.len()) {
            return Err(Error::Length { what: "name", length: sealed.len() });
        }
        let mut plain = self.decrypt(sealed)?;
        let end = plain.iter().position(|byte| *byte == 0).unwrap_or(plain.len());
        if end == 0 || plain[end..].iter().any(|byte| *byte != 0) {
            return Err(Error::Name);
        }
        plain.truncate(end);
        Ok(plain)
    }

    /// Seals `name`, filled up by the policy's padding but to `most` bytes only.
    pub fn seal(&self, name: &[u8], most: usize) -> Result<Vec<u8>, Error> {
        if name.is_empty() || name.len() > most.min(MAX_BYTES) || name.contains(&0) {
            return Err(Error::Name);
        }
        let mut plain = name.to_vec();
        let filled = name.len().max(BLOCK).next_multiple_of(self.padding);
        plain.resize(filled.min(most).max(BLOCK), 0);
        self.encrypt(&plain)
    }

    /// Where the last two blocks begin: the ones that are stolen from and to.
    const fn last_two(length: usize) -> usize {
        (length.div_ceil(BLOCK) * BLOCK).saturating_sub(2 * BLOCK)
    }

    fn decrypt(&self, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        if sealed.len() == BLOCK {
            return self.cbc(Direction::Decrypt, self.vector, sealed);
        }
        let (front, back) = sealed.split_at(Self::last_two(sealed.len()));
        let (whole, part) = back.split_at(BLOCK);
        let before = front.last_chunk().copied().unwrap_or(self.vector);
        let mut plain = self.cbc(Direction::Decrypt, self.vector, front)?;
        // The last block was encrypted with zeros behind it: what they became completes the part.
        let last = self.cbc(Direction::Decrypt, [0; BLOCK], whole)?;
        let mut stolen = part.to_vec();
        stolen.extend(&last[part.len()..]);
        plain.extend(self.cbc(Direction::Decrypt, before, &stolen)?);
        plain.extend(last.iter().zip(part).map(|(a, b)| a ^ b));
        Ok(plain)
    }

    fn encrypt(&self, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut filled = plain.to_vec();
        filled.resize(plain.len().next_multiple_of(BLOCK), 0);
        let mut sealed = self.cbc(Direction::Encrypt, self.vector, &filled)?;
        if sealed.len() > BLOCK {
            let at = Self::last_two(plain.len());
            sealed[at..].rotate_left(BLOCK);
        }
        sealed.truncate(plain.len());
        Ok(sealed)
    }

    fn cbc(&self, direction: Direction, vector: [u8; 16], input: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(input.len() + 32);
        let done = Stream::new(&self.key, direction, Mode::Cbc(&vector, Padding::None)).and_then(
            |mut stream| {
                stream.update(input, &mut out)?;
                stream.finish(&mut out)
            },
        );
        done.map_err(|_| Error::Length { what: "name", length: input.len() })?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Vector;
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    fn names(padding: usize) -> Names {
        let key = FileKey { key: Zeroizing::new(vec![7; 32]), vector: Vector::Index };
        Names::new(&key, padding).unwrap()
    }

    proptest! {
        #[test]
        fn names_of_any_length_come_back(name in prop::collection::vec(1..=255u8, 1..=255),
                                         padding in prop::sample::select(vec![4, 8, 16, 32])) {
            let sealed = names(padding).seal(&name, 255).unwrap();
            prop_assert!(sealed.len() >= 16 && sealed.len() <= 255);
            prop_assert_eq!(names(padding).open(&sealed).unwrap(), name);
        }

        #[test]
        fn any_bytes_are_a_name_or_an_error(sealed in prop::collection::vec(any::<u8>(), 0..5000)) {
            let _ = names(4).open(&sealed);
            let _ = symlink_ciphertext(&sealed);
        }
    }

    /// RFC 3962, appendix B: the same construction with AES-128.
    #[test]
    fn agrees_with_rfc_3962() {
        let key =
            FileKey { key: Zeroizing::new(b"chicken teriyaki".to_vec()), vector: Vector::Index };
        let names = Names::new(&key, 4).unwrap();
        let plain = b"I would like the General Gau's C";
        let hex = |text: &str| -> Vec<u8> {
            let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            (0..text.len()).step_by(2).map(digit).collect()
        };
        let vectors = [
            (17, "c6353568f2bf8cb4d8a580362da7ff7f97"),
            (31, "fc00783e0efdb2c1d445d4c8eff7ed2297687268d6ecccc0c07b25e25ecfe5"),
            (32, "39312523a78662d5be7fcbcc98ebf5a897687268d6ecccc0c07b25e25ecfe584"),
        ];
        for (length, sealed) in vectors {
            assert_eq!(names.encrypt(&plain[..length]).unwrap(), hex(sealed));
            assert_eq!(names.decrypt(&hex(sealed)).unwrap(), &plain[..length]);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let names = names(16);
        for name in [&b""[..], b"a\0b", &[b'a'; 256]] {
            assert_eq!(names.seal(name, 255), Err(Error::Name));
        }
        let zeros = names.encrypt(&[0; 16]).unwrap();
        let behind = names.encrypt(b"a\0b\0\0\0\0\0\0\0\0\0\0\0\0\0").unwrap();
        assert_eq!(names.open(&zeros), Err(Error::Name));
        assert_eq!(names.open(&behind), Err(Error::Name));
        assert_eq!(symlink_ciphertext(&[9, 0, 1]), Err(Error::Length { what: "link", length: 3 }));
    }
}
