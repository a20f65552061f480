//! The hashes of a payload, computed while its bytes go by.

use crate::layout::Payload;
use crypto::digest::Sha256;
use std::ops::Range;

/// SHA-256 of the whole file, and of what the payload's signature is over.
///
/// AWS-LC does not let the state of a hash be stored, so who resumes hashes again what is there
/// already: that takes less than a second a gigabyte, and finds a file that was swapped meanwhile.
#[derive(Clone)]
pub struct Hasher {
    file: Sha256,
    signed: Sha256,
    at: u64,
    signed_ranges: [Range<u64>; 2],
}

/// What a [`Hasher`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256 of every byte: `FILE_HASH`.
    pub file: [u8; 32],
    /// SHA-256 of header, manifest and blobs: what the payload's signature is over.
    pub signed: [u8; 32],
    /// Bytes that went by.
    pub length: u64,
}

impl Hasher {
    /// For a payload's bytes, from its first on.
    #[must_use]
    pub fn new(payload: &Payload) -> Self {
        Self::over([0..payload.header().metadata_size(), payload.blobs()])
    }

    pub(crate) fn over(signed_ranges: [Range<u64>; 2]) -> Self {
        Self { file: Sha256::new(), signed: Sha256::new(), at: 0, signed_ranges }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.file.update(bytes);
        let end = self.at + bytes.len() as u64;
        for range in &self.signed_ranges {
            let (from, to) = (range.start.max(self.at), range.end.min(end));
            if from < to {
                let place = |at: u64| usize::try_from(at - self.at).expect("inside these bytes");
                self.signed.update(&bytes[place(from)..place(to)]);
            }
        }
        self.at = end;
    }

    /// The digests of all that went by.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests { file: self.file.finish(), signed: self.signed.finish(), length: self.at }
    }
}
