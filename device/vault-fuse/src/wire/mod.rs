//! The kernel's FUSE protocol (`include/uapi/linux/fuse.h`, version 7.31 and later): requests in,
//! answers out, no system call.

mod reply;
mod request;

pub(crate) use reply::{Attributes, ENTRY_BYTES, Reply, Statistics, directory_entry_bytes};
pub(crate) use request::{Fields, Header, Moment, SetAttributes};

/// Bytes of a request's header (`fuse_in_header`).
pub(crate) const IN_HEADER_BYTES: usize = 40;
/// Bytes of an answer's header (`fuse_out_header`).
pub(crate) const OUT_HEADER_BYTES: usize = 16;
/// The largest read or write.
pub(crate) const MAX_CONTENT_BYTES: usize = 1 << 20;
/// Bytes that the kernel wants a request's buffer to have: a write and what stands before it.
pub(crate) const REQUEST_BYTES: usize = MAX_CONTENT_BYTES + 4096;
/// The root's node.
pub(crate) const ROOT: u64 = 1;

const MAJOR: u32 = 7;
const MINOR: u32 = 38;
/// The oldest version with all that is used here.
const OLDEST_MINOR: u32 = 31;

/// What a request asks for (`fuse_opcode`).
pub(crate) mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const READLINK: u32 = 5;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const UNLINK: u32 = 10;
    pub(crate) const RMDIR: u32 = 11;
    pub(crate) const RENAME: u32 = 12;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const SETXATTR: u32 = 21;
    pub(crate) const GETXATTR: u32 = 22;
    pub(crate) const LISTXATTR: u32 = 23;
    pub(crate) const REMOVEXATTR: u32 = 24;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const FSYNCDIR: u32 = 30;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const FALLOCATE: u32 = 43;
    pub(crate) const READDIRPLUS: u32 = 44;
    pub(crate) const RENAME2: u32 = 45;
    pub(crate) const LSEEK: u32 = 46;
}

/// What both sides can do (`FUSE_INIT` flags).
mod feature {
    pub(super) const ASYNC_READ: u32 = 1 << 0;
    pub(super) const BIG_WRITES: u32 = 1 << 5;
    pub(super) const DO_READDIRPLUS: u32 = 1 << 13;
    pub(super) const READDIRPLUS_AUTO: u32 = 1 << 14;
    pub(super) const ASYNC_DIO: u32 = 1 << 15;
    pub(super) const WRITEBACK_CACHE: u32 = 1 << 16;
    pub(super) const PARALLEL_DIROPS: u32 = 1 << 18;
    pub(super) const MAX_PAGES: u32 = 1 << 22;
    pub(super) const CACHE_SYMLINKS: u32 = 1 << 23;
    pub(super) const HANDLE_KILLPRIV_V2: u32 = 1 << 28;
    /// What is asked for. Locks are the kernel's own: nobody else has the vault mounted.
    pub(super) const WANTED: u32 = ASYNC_READ
        | BIG_WRITES
        | DO_READDIRPLUS
        | READDIRPLUS_AUTO
        | ASYNC_DIO
        | WRITEBACK_CACHE
        | PARALLEL_DIROPS
        | MAX_PAGES
        | CACHE_SYMLINKS
        | HANDLE_KILLPRIV_V2;
}

/// Answers `FUSE_INIT`; `None` where the kernel is too old.
pub(crate) fn init(body: Fields<'_>, reply: &mut Reply) -> Option<()> {
    let (major, minor) = (body.u32(0)?, body.u32(4)?);
    if major != MAJOR || minor < OLDEST_MINOR {
        return None;
    }
    let (ahead, offered) = (body.u32(8)?, body.u32(12)?);
    let pages = u32::try_from(MAX_CONTENT_BYTES / 4096).expect("256");
    for field in [MAJOR, MINOR.min(minor), ahead, offered & feature::WANTED] {
        reply.u32(field);
    }
    reply.u32(48 << 16 | 64); // requests in the background, and from where on they are many
    reply.u32(u32::try_from(MAX_CONTENT_BYTES).expect("1 MiB"));
    reply.u32(1); // times in nanoseconds
    reply.u32(pages);
    reply.zeros(32);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_offered_what_it_has_itself() {
        let mut reply = Reply::new(REQUEST_BYTES);
        let ask = |numbers: &[u32]| -> Vec<u8> {
            numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
        };
        let kernel = ask(&[7, 45, 131_072, feature::WRITEBACK_CACHE | feature::MAX_PAGES]);
        init(Fields(&kernel), &mut reply).unwrap();
        let answer = reply.finish(9, Ok(()));
        assert_eq!(answer.len(), OUT_HEADER_BYTES + 64);
        let fields = Fields(&answer[OUT_HEADER_BYTES..]);
        assert_eq!(fields.u32(4), Some(MINOR));
        assert_eq!(fields.u32(12), Some(feature::WRITEBACK_CACHE | feature::MAX_PAGES));
        assert_eq!(fields.u32(20), Some(1 << 20));
        for refused in [&[7, 30, 0, 0][..], &[8, 0, 0, 0], &[7, 45]] {
            reply.start();
            assert!(init(Fields(&ask(refused)), &mut reply).is_none());
        }
    }
}
