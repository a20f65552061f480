//! Targets of symbolic links: sealed, then base64url, in a backing link.

use super::keys::Keys;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use crypto::aead::OVERHEAD_BYTES;
use rustix::io::Errno;

const ABOUT_LINK: &[u8] = b"link";
/// The longest target that the kernel takes.
const MAX_TARGET_BYTES: usize = 4095;

impl Keys {
    /// What the backing link points to. `ENAMETOOLONG` where the target is longer than 3,043
    /// bytes: the backing file system takes no longer link.
    pub(crate) fn seal_link(&self, target: &[u8]) -> Result<String, Errno> {
        let sealed = BASE64.encode(self.links.seal(ABOUT_LINK, target));
        if sealed.len() > MAX_TARGET_BYTES { Err(Errno::NAMETOOLONG) } else { Ok(sealed) }
    }

    /// The target that a backing link stands for.
    pub(crate) fn open_link(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.links.open(ABOUT_LINK, &BASE64.decode(sealed).ok()?).ok()
    }
}

/// Bytes of a target whose backing link has this length.
pub(crate) fn target_bytes(backing: u64) -> u64 {
    (backing * 3 / 4).saturating_sub(OVERHEAD_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::secret::Secret;

    #[test]
    fn targets_come_back_and_their_length_is_known_without_the_key() {
        let keys = Keys::new(&Secret::new([5; 32]));
        for length in [1, 2, 3, 4, 100, 3043] {
            let target = vec![b'x'; length];
            let sealed = keys.seal_link(&target).unwrap();
            assert_eq!(target_bytes(sealed.len() as u64), length as u64);
            assert_eq!(keys.open_link(sealed.as_bytes()), Some(target));
            assert_eq!(keys.open_link(&sealed.as_bytes()[1..]), None);
        }
        assert_eq!(keys.seal_link(&[b'x'; 3044]), Err(Errno::NAMETOOLONG));
    }
}
