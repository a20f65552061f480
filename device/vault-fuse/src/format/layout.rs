//! Where the parts of a file lie in its backing file.
//!
//! ```text
//! region 0: map page | group 0: tag page, 64 blocks | group 1: tag page, 64 blocks | …
//! region 1: map page | group 16384: …
//! ```
//! Everything is a page of 4096 bytes at a multiple of 4096, so that a kill between two pages
//! leaves each of them whole.

/// Bytes of a block of content, and of every page.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Blocks that one tag page vouches for.
pub(crate) const GROUP_BLOCKS: usize = 64;
/// Bytes of content in a group.
pub(crate) const GROUP_BYTES: usize = GROUP_BLOCKS * BLOCK_BYTES;
/// Groups that one map page vouches for: 4 GiB of content.
pub(crate) const REGION_GROUPS: u64 = 16_384;
/// Regions that the first map page vouches for.
pub(crate) const REGIONS: u64 = 8192;
/// The largest file: 32 TiB.
pub(crate) const MAX_FILE_BYTES: u64 = REGIONS * REGION_GROUPS * GROUP_BYTES as u64;

const PAGE: u64 = BLOCK_BYTES as u64;
/// Bytes of a group in the backing file: its tag page and its blocks.
const GROUP_SPAN: u64 = PAGE + GROUP_BYTES as u64;
const REGION_SPAN: u64 = PAGE + REGION_GROUPS * GROUP_SPAN;

/// Where the map page of `region` is.
pub(crate) const fn map_offset(region: u64) -> u64 {
    region * REGION_SPAN
}

/// Where the tag page of `group` is.
pub(crate) const fn tags_offset(group: u64) -> u64 {
    map_offset(group / REGION_GROUPS) + PAGE + (group % REGION_GROUPS) * GROUP_SPAN
}

/// Where `block` is.
pub(crate) const fn block_offset(block: u64) -> u64 {
    let in_group = block % GROUP_BLOCKS as u64;
    tags_offset(block / GROUP_BLOCKS as u64) + PAGE + in_group * PAGE
}

/// Blocks that `size` bytes take.
pub(crate) const fn blocks(size: u64) -> u64 {
    size.div_ceil(PAGE)
}

/// Bytes of the backing file of a file with `size` bytes.
pub(crate) const fn backing_bytes(size: u64) -> u64 {
    match blocks(size) {
        0 => PAGE,
        count => block_offset(count - 1) + PAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_without_a_gap() {
        assert_eq!(backing_bytes(0), 4096);
        assert_eq!(backing_bytes(1), 3 * 4096);
        assert_eq!(tags_offset(1), block_offset(63) + 4096);
        let last = REGION_GROUPS - 1;
        assert_eq!(map_offset(1), block_offset(last * 64 + 63) + 4096);
        assert_eq!(tags_offset(REGION_GROUPS), map_offset(1) + 4096);
        assert!(backing_bytes(MAX_FILE_BYTES) < i64::MAX as u64);
    }
}
