//! As much of ext4 as the raw disk of a test needs: inodes, extents, entries, the hidden attribute.

use std::collections::BTreeMap;

const ROOT: u32 = 2;
const SUPERBLOCK: usize = 1024;
const EXTENT_MAGIC: u16 = 0xf30a;
const ATTRIBUTE_MAGIC: u32 = 0xea02_0000;
/// The name index of the encryption context, and its name.
const CONTEXT: (u8, &[u8]) = (9, b"c");
const DIRECTORY: u16 = 0o040_000;
const LINK: u16 = 0o120_000;

/// An image of an ext4 file system.
pub(crate) struct Ext4 {
    image: Vec<u8>,
    block: usize,
}

/// An inode.
pub(crate) struct Inode {
    raw: Vec<u8>,
    pub(crate) number: u32,
}

impl Ext4 {
    pub(crate) fn new(image: Vec<u8>) -> Self {
        let block = 1024 << long(&image, SUPERBLOCK + 24);
        Self { image, block }
    }

    pub(crate) fn uuid(&self) -> [u8; 16] {
        self.image[SUPERBLOCK + 104..][..16].try_into().unwrap()
    }

    pub(crate) const fn block_bytes(&self) -> usize {
        self.block
    }

    pub(crate) fn inode(&self, number: u32) -> Inode {
        let per_group = long(&self.image, SUPERBLOCK + 40);
        let size = usize::from(short(&self.image, SUPERBLOCK + 88));
        let wide = long(&self.image, SUPERBLOCK + 96) & 0x80 != 0;
        let descriptor = if wide { usize::from(short(&self.image, SUPERBLOCK + 254)) } else { 32 };
        let (group, index) = ((number - 1) / per_group, ((number - 1) % per_group) as usize);
        // The descriptors follow the block that has the superblock.
        let table = (SUPERBLOCK / self.block + 1) * self.block + group as usize * descriptor;
        let start = long(&self.image, table + 8) as usize * self.block + index * size;
        Inode { raw: self.image[start..start + size].to_vec(), number }
    }

    /// What lies on the disk: number of a block in the file, and its bytes.
    pub(crate) fn blocks(&self, inode: &Inode) -> BTreeMap<u64, &[u8]> {
        let mut found = BTreeMap::new();
        self.extents(&inode.raw[40..100], &mut found);
        found
    }

    fn extents<'a>(&'a self, node: &[u8], found: &mut BTreeMap<u64, &'a [u8]>) {
        if short(node, 0) != EXTENT_MAGIC {
            return;
        }
        for entry in node[12..].chunks_exact(12).take(short(node, 2).into()) {
            if short(node, 6) > 0 {
                let below = long(entry, 4) as usize * self.block;
                self.extents(&self.image[below..below + self.block], found);
                continue;
            }
            let (first, count) = (u64::from(long(entry, 0)), usize::from(short(entry, 4)));
            let start = long(entry, 8) as usize * self.block;
            // Longer ones are reserved and not written.
            for index in (0..count).filter(|_| count <= 32_768) {
                let at = start + index * self.block;
                found.insert(first + index as u64, &self.image[at..at + self.block]);
            }
        }
    }

    /// Names as they lie on the disk, and their inodes.
    pub(crate) fn entries(&self, directory: &Inode) -> Vec<(Vec<u8>, u32)> {
        let mut found = Vec::new();
        for block in self.blocks(directory).values() {
            let mut at = 0;
            while at + 8 < block.len() {
                let (inode, length) = (long(block, at), usize::from(short(block, at + 4)));
                let name = &block[at + 8..][..usize::from(block[at + 6])];
                if inode != 0 && !name.is_empty() && name != b"." && name != b".." {
                    found.push((name.to_vec(), inode));
                }
                at += length.max(8);
            }
        }
        found
    }

    /// The inode of a path of plain names.
    pub(crate) fn find(&self, path: &str) -> Inode {
        path.split('/').fold(self.inode(ROOT), |inode, name| {
            let entries = self.entries(&inode);
            let found = entries.iter().find(|(there, _)| there == name.as_bytes());
            self.inode(found.expect("the name is there").1)
        })
    }
}

impl Inode {
    pub(crate) fn is_directory(&self) -> bool {
        short(&self.raw, 0) & 0o170_000 == DIRECTORY
    }

    pub(crate) fn is_link(&self) -> bool {
        short(&self.raw, 0) & 0o170_000 == LINK
    }

    pub(crate) fn size(&self) -> u64 {
        u64::from(long(&self.raw, 4)) | u64::from(long(&self.raw, 108)) << 32
    }

    /// A short link's content, which lies in the inode itself.
    pub(crate) fn inline(&self) -> &[u8] {
        &self.raw[40..100]
    }

    /// The encryption context, if it has one.
    pub(crate) fn context(&self) -> Option<&[u8]> {
        let start = 128 + usize::from(short(&self.raw, 128));
        if self.raw.len() < start + 4 || long(&self.raw, start) != ATTRIBUTE_MAGIC {
            return None;
        }
        let base = start + 4;
        let mut at = base;
        while self.raw[at] != 0 {
            let length = usize::from(self.raw[at]);
            let name = (self.raw[at + 1], &self.raw[at + 16..][..length]);
            if name == CONTEXT {
                let offset = base + usize::from(short(&self.raw, at + 2));
                return Some(&self.raw[offset..][..long(&self.raw, at + 8) as usize]);
            }
            at += (16 + length).next_multiple_of(4);
        }
        None
    }
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
