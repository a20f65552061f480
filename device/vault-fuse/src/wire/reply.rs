//! Answers.

use super::OUT_HEADER_BYTES;
use rustix::io::Errno;

/// Names and attributes hold for an hour: nobody changes them but through the kernel that asks.
const VALID_SECONDS: u64 = 3600;
const BLOCK_BYTES: u32 = 4096;

/// What is told of a file (`fuse_attr`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes {
    pub(crate) inode: u64,
    pub(crate) size: u64,
    /// Blocks of 512 bytes.
    pub(crate) blocks: u64,
    /// Seconds and nanoseconds: read, changed, its attributes changed.
    pub(crate) times: [(i64, u32); 3],
    /// Type and permissions.
    pub(crate) mode: u32,
    pub(crate) links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) device: u32,
}

/// What is told of the file system (`fuse_kstatfs`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statistics {
    pub(crate) blocks: u64,
    pub(crate) free: u64,
    pub(crate) available: u64,
    pub(crate) files: u64,
    pub(crate) free_files: u64,
    pub(crate) block_bytes: u32,
}

/// An answer in the making. Its room is taken once and used for all.
pub(crate) struct Reply {
    room: Box<[u8]>,
    end: usize,
}

impl Reply {
    /// With room for bodies of `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { room: vec![0; OUT_HEADER_BYTES + bytes].into(), end: OUT_HEADER_BYTES }
    }

    /// Begins anew.
    pub(crate) const fn start(&mut self) {
        self.end = OUT_HEADER_BYTES;
    }

    /// The answer with its header, to the request `unique`.
    pub(crate) fn finish(&mut self, unique: u64, result: Result<(), Errno>) -> &[u8] {
        if result.is_err() {
            self.start();
        }
        let error = result.err().map_or(0, |error| -error.raw_os_error());
        let length = u32::try_from(self.end).expect("an answer is a few MiB at most");
        self.room[..4].copy_from_slice(&length.to_ne_bytes());
        self.room[4..8].copy_from_slice(&error.to_ne_bytes());
        self.room[8..16].copy_from_slice(&unique.to_ne_bytes());
        &self.room[..self.end]
    }

    /// Bytes of the body so far.
    pub(crate) const fn len(&self) -> usize {
        self.end - OUT_HEADER_BYTES
    }

    /// Cuts the body.
    pub(crate) fn truncate(&mut self, bytes: usize) {
        self.end = self.end.min(OUT_HEADER_BYTES + bytes);
    }

    /// The next `bytes` of the body, to be filled; what is in them is anything. Fewer where the
    /// room ends.
    pub(crate) fn space(&mut self, bytes: usize) -> &mut [u8] {
        let start = self.end;
        self.end = start.saturating_add(bytes).min(self.room.len());
        &mut self.room[start..self.end]
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let space = self.space(bytes.len());
        let length = space.len();
        space.copy_from_slice(&bytes[..length]);
    }

    pub(crate) fn zeros(&mut self, bytes: usize) {
        self.space(bytes).fill(0);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.bytes(&number.to_ne_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.bytes(&number.to_ne_bytes());
    }

    /// `fuse_attr`.
    fn attribute(&mut self, it: &Attributes) {
        for field in [it.inode, it.size, it.blocks] {
            self.u64(field);
        }
        it.times.iter().for_each(|(seconds, _)| self.u64(seconds.cast_unsigned()));
        it.times.iter().for_each(|(_, nanoseconds)| self.u32(*nanoseconds));
        for field in [it.mode, it.links, it.uid, it.gid, it.device, BLOCK_BYTES, 0] {
            self.u32(field);
        }
    }

    /// `fuse_attr_out`.
    pub(crate) fn attributes(&mut self, attributes: &Attributes) {
        self.u64(VALID_SECONDS);
        self.u64(0);
        self.attribute(attributes);
    }

    /// `fuse_entry_out`.
    pub(crate) fn entry(&mut self, node: u64, attributes: &Attributes) {
        for field in [node, 0, VALID_SECONDS, VALID_SECONDS, 0] {
            self.u64(field);
        }
        self.attribute(attributes);
    }

    /// `fuse_entry_out` of a name that is not there, for the kernel to remember.
    pub(crate) fn no_entry(&mut self) {
        for field in [0, 0, VALID_SECONDS, 0, 0] {
            self.u64(field);
        }
        self.zeros(88);
    }

    /// `fuse_open_out`.
    pub(crate) fn opened(&mut self, handle: u64, flags: u32) {
        self.u64(handle);
        self.u32(flags);
        self.u32(0);
    }

    /// `fuse_dirent`; `kind` is the type's four bits of a mode.
    pub(crate) fn directory_entry(&mut self, inode: u64, place: u64, kind: u32, name: &[u8]) {
        self.u64(inode);
        self.u64(place);
        self.u32(u32::try_from(name.len()).expect("a name has 255 bytes at most"));
        self.u32(kind);
        self.bytes(name);
        self.zeros(name.len().next_multiple_of(8) - name.len());
    }

    /// `fuse_statfs_out`.
    pub(crate) fn statistics(&mut self, it: &Statistics) {
        for field in [it.blocks, it.free, it.available, it.files, it.free_files] {
            self.u64(field);
        }
        for field in [it.block_bytes, 255, it.block_bytes, 0] {
            self.u32(field);
        }
        self.zeros(24);
    }
}

/// Bytes of a `fuse_dirent` with a name of this length.
pub(crate) const fn directory_entry_bytes(name: usize) -> usize {
    24 + name.next_multiple_of(8)
}

/// Bytes of a `fuse_entry_out`.
pub(crate) const ENTRY_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_kernels_sizes() {
        let it = Attributes {
            inode: 1,
            size: 2,
            blocks: 3,
            times: [(4, 5), (6, 7), (-8, 9)],
            mode: 0o100_644,
            links: 1,
            uid: 0,
            gid: 0,
            device: 0,
        };
        let mut reply = Reply::new(4096);
        let mut check = |bytes: usize, fill: &dyn Fn(&mut Reply)| {
            reply.start();
            fill(&mut reply);
            assert_eq!(reply.len(), bytes);
            assert_eq!(reply.finish(7, Ok(())).len(), OUT_HEADER_BYTES + bytes);
        };
        check(ENTRY_BYTES, &|reply| reply.entry(2, &it));
        check(ENTRY_BYTES, &Reply::no_entry);
        check(104, &|reply| reply.attributes(&it));
        check(16, &|reply| reply.opened(1, 2));
        check(80, &|reply| {
            reply.statistics(&Statistics {
                blocks: 1,
                free: 1,
                available: 1,
                files: 1,
                free_files: 1,
                block_bytes: 4096,
            });
        });
        for name in 1..20 {
            check(directory_entry_bytes(name), &|reply| {
                reply.directory_entry(1, 2, 8, &vec![b'a'; name]);
            });
        }
        check(4096, &|reply| reply.bytes(&[0; 5000]));
        let failed = reply.finish(7, Err(Errno::IO));
        assert_eq!((failed.len(), &failed[4..8]), (16, &(-5_i32).to_ne_bytes()[..]));
    }
}
