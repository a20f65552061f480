//! The chip's registers, as a page.

use rpmb::MAC_BYTES;
use zeroize::Zeroizing;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
const MAGIC: [u8; 8] = *b"HFRPMB02";

/// The chip's key, counter and configuration, and how many writes there were of any kind.
#[derive(Clone, Default)]
pub(crate) struct Registers {
    pub(crate) sequence: u64,
    pub(crate) counter: u32,
    pub(crate) key: Option<Zeroizing<[u8; MAC_BYTES]>>,
    pub(crate) secure_wp_mode_enable: bool,
}

impl Registers {
    /// Magic, sequence, counter, whether there is a key, configuration, the key, zeros, CRC-32.
    pub(crate) fn encode(&self) -> Zeroizing<[u8; PAGE]> {
        let mut page = Zeroizing::new([0; PAGE]);
        page[..8].copy_from_slice(&MAGIC);
        page[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        page[16..20].copy_from_slice(&self.counter.to_be_bytes());
        if let Some(key) = &self.key {
            page[20] = 1;
            page[24..24 + MAC_BYTES].copy_from_slice(&**key);
        }
        page[21] = u8::from(self.secure_wp_mode_enable);
        let crc = crc32fast::hash(&page[..PAGE - 4]);
        page[PAGE - 4..].copy_from_slice(&crc.to_be_bytes());
        page
    }

    /// From a page; `None` where it is not one, or was torn.
    pub(crate) fn decode(page: &[u8; PAGE]) -> Option<Self> {
        let field = |at: usize| page[at..at + 4].try_into().map(u32::from_be_bytes).ok();
        if page[..8] != MAGIC || field(PAGE - 4)? != crc32fast::hash(&page[..PAGE - 4]) {
            return None;
        }
        let key = page[24..24 + MAC_BYTES].try_into().ok()?;
        Some(Self {
            sequence: u64::from(field(8)?) << 32 | u64::from(field(12)?),
            counter: field(16)?,
            key: (page[20] == 1).then(|| Zeroizing::new(key)),
            secure_wp_mode_enable: page[21] == 1,
        })
    }
}
