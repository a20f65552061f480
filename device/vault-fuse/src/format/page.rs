//! Sealed pages: the map of a file, and the tags of its blocks.
//!
//! ```text
//! map page   magic 8 | file id 16 | nonce 12 | tag 16 | sealed: size 8, limit 8,
//!            regions 1024 (one bit each), groups 2048 (one bit each), zeros
//! tag page   nonce 12 | tag 16 | sealed: present 8, newest 8, 64 × 2 slots of 28, zeros
//! ```
//! Numbers are little-endian. Each page is AES-256-GCM under the file's key; what a page is and
//! which one is associated data, so that no page passes for another.

use super::layout::{BLOCK_BYTES, GROUP_BLOCKS, REGION_GROUPS, REGIONS};
use crypto::aead::{Key, NONCE_BYTES, TAG_BYTES};

/// A page.
pub(crate) type Page = [u8; BLOCK_BYTES];
/// A random name of a file or directory, from which its keys derive.
pub(crate) type Id = [u8; 16];

const MAGIC: &[u8; 8] = b"HFVAULT\x01";
const ID: usize = MAGIC.len();
const MAP_NONCE: usize = ID + 16;
const MAP_TAG: usize = MAP_NONCE + NONCE_BYTES;
const MAP_BODY: usize = MAP_TAG + TAG_BYTES;
const SIZE: usize = MAP_BODY;
const LIMIT: usize = SIZE + 8;
const REGION_BITS: usize = LIMIT + 8;
const GROUP_BITS: usize = REGION_BITS + REGIONS as usize / 8;
const _: () = assert!(GROUP_BITS + REGION_GROUPS as usize / 8 <= BLOCK_BYTES);

const TAGS_TAG: usize = NONCE_BYTES;
const TAGS_BODY: usize = TAGS_TAG + TAG_BYTES;
const PRESENT: usize = TAGS_BODY;
const NEWEST: usize = PRESENT + 8;
const SLOTS: usize = NEWEST + 8;
const SLOT_BYTES: usize = NONCE_BYTES + TAG_BYTES;
const _: () = assert!(SLOTS + GROUP_BLOCKS * 2 * SLOT_BYTES <= BLOCK_BYTES);

/// What a sealed page or block is, and which: its associated data.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    /// The map page of this region.
    Map(u64),
    /// The tag page of this group.
    Tags(u64),
    /// The content of this block.
    Block(u64),
}

impl Role {
    pub(crate) fn associated(self) -> [u8; 9] {
        let (kind, number) = match self {
            Self::Map(number) => (b'm', number),
            Self::Tags(number) => (b't', number),
            Self::Block(number) => (b'b', number),
        };
        let mut out = [kind; 9];
        out[1..].copy_from_slice(&number.to_le_bytes());
        out
    }
}

/// A page's seal does not hold: somebody altered it, or put another in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// The map page of a region, open.
pub(crate) struct Map {
    page: Box<Page>,
    /// It differs from what is on the disk.
    pub(crate) changed: bool,
}

impl Map {
    /// The map of a region without content.
    pub(crate) fn new(id: &Id) -> Self {
        let mut page = Box::new([0; BLOCK_BYTES]);
        page[..ID].copy_from_slice(MAGIC);
        page[ID..MAP_NONCE].copy_from_slice(id);
        Self { page, changed: false }
    }

    /// The file's id, which a sealed map page says in the clear: the key derives from it.
    pub(crate) fn id(page: &Page) -> Result<Id, Broken> {
        match page.starts_with(MAGIC) {
            true => Ok(page[ID..MAP_NONCE].try_into().expect("16 bytes")),
            false => Err(Broken),
        }
    }

    /// Opens the sealed `page` of `region`.
    pub(crate) fn open(mut page: Box<Page>, key: &Key, region: u64) -> Result<Self, Broken> {
        let nonce = array(&page[MAP_NONCE..]);
        let tag: [u8; TAG_BYTES] = array(&page[MAP_TAG..]);
        let sealed = page[MAP_BODY..].to_vec();
        let role = Role::Map(region).associated();
        key.open_separate(nonce, &role, &sealed, &tag, &mut page[MAP_BODY..])
            .map_err(|_| Broken)?;
        Ok(Self { page, changed: false })
    }

    /// The page as it goes to the disk.
    pub(crate) fn seal(&self, key: &Key, region: u64) -> Page {
        let mut page = *self.page;
        let nonce: [u8; NONCE_BYTES] = crypto::random_array();
        let role = Role::Map(region).associated();
        let tag = key.seal_in_place(nonce, &role, &mut page[MAP_BODY..]);
        page[MAP_NONCE..MAP_TAG].copy_from_slice(&nonce);
        page[MAP_TAG..MAP_BODY].copy_from_slice(&tag);
        page
    }

    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        long(&self.page[SIZE..])
    }

    pub(crate) fn set_size(&mut self, size: u64) {
        self.changed |= size != self.size();
        self.page[SIZE..LIMIT].copy_from_slice(&size.to_le_bytes());
    }

    /// Up to here a writer may have left blocks without having said so in the size.
    pub(crate) fn limit(&self) -> u64 {
        long(&self.page[LIMIT..])
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.changed |= limit != self.limit();
        self.page[LIMIT..REGION_BITS].copy_from_slice(&limit.to_le_bytes());
    }

    pub(crate) fn has_region(&self, region: u64) -> bool {
        bit(&self.page[REGION_BITS..GROUP_BITS], region)
    }

    pub(crate) fn set_region(&mut self, region: u64) {
        self.changed |= !self.has_region(region);
        set_bit(&mut self.page[REGION_BITS..GROUP_BITS], region, true);
    }

    /// Forgets the regions from `first` on.
    pub(crate) fn clear_regions_from(&mut self, first: u64) {
        self.changed |= clear_bits_from(&mut self.page[REGION_BITS..GROUP_BITS], first);
    }

    /// Whether `group`, counted from the region's first, has any content.
    pub(crate) fn has_group(&self, group: u64) -> bool {
        bit(&self.page[GROUP_BITS..], group)
    }

    pub(crate) fn set_group(&mut self, group: u64) {
        self.changed |= !self.has_group(group);
        set_bit(&mut self.page[GROUP_BITS..], group, true);
    }

    /// Forgets the groups from `first` on, counted from the region's first.
    pub(crate) fn clear_groups_from(&mut self, first: u64) {
        self.changed |= clear_bits_from(&mut self.page[GROUP_BITS..], first);
    }
}

/// A nonce and a tag: the seal of one version of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) tag: [u8; TAG_BYTES],
}

/// The tag page of a group, open: two seals a block, of its newest version and of the one before.
#[derive(Clone)]
pub(crate) struct Tags(Box<Page>);

impl Tags {
    /// Of a group without content.
    pub(crate) fn new() -> Self {
        Self(Box::new([0; BLOCK_BYTES]))
    }

    /// Opens the sealed `page` of `group`.
    pub(crate) fn open(sealed: &Page, key: &Key, group: u64) -> Result<Self, Broken> {
        let mut page = Box::new([0; BLOCK_BYTES]);
        let nonce = array(&sealed[..]);
        let tag: [u8; TAG_BYTES] = array(&sealed[TAGS_TAG..]);
        let role = Role::Tags(group).associated();
        key.open_separate(nonce, &role, &sealed[TAGS_BODY..], &tag, &mut page[TAGS_BODY..])
            .map_err(|_| Broken)?;
        Ok(Self(page))
    }

    /// The page as it goes to the disk.
    pub(crate) fn seal(&self, key: &Key, group: u64) -> Page {
        let mut page = *self.0;
        let nonce: [u8; NONCE_BYTES] = crypto::random_array();
        let role = Role::Tags(group).associated();
        let tag = key.seal_in_place(nonce, &role, &mut page[TAGS_BODY..]);
        page[..TAGS_TAG].copy_from_slice(&nonce);
        page[TAGS_TAG..TAGS_BODY].copy_from_slice(&tag);
        page
    }

    /// Whether `block`, counted from the group's first, has content; else it is a hole.
    pub(crate) fn is_present(&self, block: usize) -> bool {
        self.present() >> block & 1 == 1
    }

    /// One bit a block.
    pub(crate) fn present(&self) -> u64 {
        long(&self.0[PRESENT..])
    }

    /// The newest seal of `block`, then the one before.
    pub(crate) fn slots(&self, block: usize) -> [Slot; 2] {
        let newest = self.newest(block);
        [self.slot(block, newest), self.slot(block, 1 - newest)]
    }

    /// Notes the seal of a new version. The seal of the version before stays beside it.
    pub(crate) fn push(&mut self, block: usize, slot: Slot) {
        let place = if self.is_present(block) { 1 - self.newest(block) } else { 0 };
        self.set_word(PRESENT, block, true);
        self.set_word(NEWEST, block, place == 1);
        let at = SLOTS + (2 * block + place) * SLOT_BYTES;
        self.0[at..at + NONCE_BYTES].copy_from_slice(&slot.nonce);
        self.0[at + NONCE_BYTES..at + SLOT_BYTES].copy_from_slice(&slot.tag);
    }

    /// Makes `block` a hole.
    pub(crate) fn clear(&mut self, block: usize) {
        self.set_word(PRESENT, block, false);
        self.set_word(NEWEST, block, false);
        let at = SLOTS + 2 * block * SLOT_BYTES;
        self.0[at..at + 2 * SLOT_BYTES].fill(0);
    }

    fn newest(&self, block: usize) -> usize {
        usize::from(long(&self.0[NEWEST..]) >> block & 1 == 1)
    }

    fn slot(&self, block: usize, place: usize) -> Slot {
        let at = SLOTS + (2 * block + place) * SLOT_BYTES;
        Slot { nonce: array(&self.0[at..]), tag: array(&self.0[at + NONCE_BYTES..]) }
    }

    fn set_word(&mut self, at: usize, block: usize, on: bool) {
        set_bit(&mut self.0[at..at + 8], block as u64, on);
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("a page is longer than its fields")
}

fn long(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(array(bytes))
}

fn bit(bits: &[u8], index: u64) -> bool {
    bits[index as usize / 8] >> (index % 8) & 1 == 1
}

fn set_bit(bits: &mut [u8], index: u64, on: bool) {
    let mask = 1 << (index % 8);
    let byte = &mut bits[index as usize / 8];
    *byte = if on { *byte | mask } else { *byte & !mask };
}

/// Clears the bits from `first` on; whether one was set.
fn clear_bits_from(bits: &mut [u8], first: u64) -> bool {
    let (byte, within) = (first as usize / 8, first % 8);
    let Some((edge, rest)) = bits.get_mut(byte..).and_then(<[u8]>::split_first_mut) else {
        return false;
    };
    let kept = *edge & ((1 << within) - 1);
    let any = kept != *edge || rest.iter().any(|byte| *byte != 0);
    *edge = kept;
    rest.fill(0);
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_keeps_what_it_is_told_and_no_bit_may_change() {
        let key = Key::aes_256_gcm(&[3; 32]);
        let mut map = Map::new(&[9; 16]);
        map.set_size(12_345);
        map.set_limit(20_000);
        map.set_region(8191);
        map.set_group(16_383);
        map.set_group(5);
        assert!(map.changed);
        let sealed = map.seal(&key, 0);
        assert_eq!(Map::id(&sealed), Ok([9; 16]));
        let opened = Map::open(Box::new(sealed), &key, 0).ok().unwrap();
        assert_eq!((opened.size(), opened.limit()), (12_345, 20_000));
        assert!(opened.has_region(8191) && !opened.has_region(0));
        assert!(opened.has_group(16_383) && !opened.has_group(16_382) && !opened.changed);
        let mut cut = Map::open(Box::new(sealed), &key, 0).ok().unwrap();
        cut.clear_groups_from(6);
        cut.clear_regions_from(0);
        assert!(cut.has_group(5) && !cut.has_group(16_383) && !cut.has_region(8191));
        assert!(Map::open(Box::new(sealed), &key, 1).is_err());
        for at in (MAP_NONCE..BLOCK_BYTES).step_by(37) {
            let mut altered = sealed;
            altered[at] ^= 1;
            assert!(Map::open(Box::new(altered), &key, 0).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_tag_page_keeps_the_seals_of_two_versions() {
        let key = Key::aes_256_gcm(&[3; 32]);
        let slot = |byte| Slot { nonce: [byte; 12], tag: [byte; 16] };
        let mut tags = Tags::new();
        for byte in 1..=3 {
            tags.push(63, slot(byte));
        }
        let tags = Tags::open(&tags.seal(&key, 5), &key, 5).ok().unwrap();
        assert_eq!(tags.slots(63), [slot(3), slot(2)]);
        assert!(tags.is_present(63) && !tags.is_present(0));
        assert!(Tags::open(&tags.seal(&key, 5), &key, 6).is_err());
        let mut tags = tags;
        tags.clear(63);
        assert_eq!((tags.present(), tags.slots(63)), (0, [slot(0), slot(0)]));
    }
}
