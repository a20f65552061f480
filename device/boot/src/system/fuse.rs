//! The kernel's FUSE protocol, as far as a read-only file system needs it
//! (`include/uapi/linux/fuse.h`, version 7.31): requests in, answers out.

use super::files::{Files, Kind, Node, ROOT};
use rustix::io::Errno;
use std::ops::Range;

/// Bytes of a request's header (`fuse_in_header`) and of an answer's (`fuse_out_header`).
const IN_HEADER_BYTES: usize = 40;
const OUT_HEADER_BYTES: usize = 16;
/// The version that is spoken here.
const MAJOR: u32 = 7;
const MINOR: u32 = 31;
/// The largest write, of which there are none: a request of 8 KiB has room for it.
const MAX_WRITE: u32 = 4096;
/// The longest answer to a read: what the kernel asks for by itself.
const MAX_READ: u32 = 128 * 1024;
/// Names and attributes hold for ever: the system does not change while it runs.
const VALID_SECONDS: u64 = 1 << 31;
const BLOCK_BYTES: u32 = 4096;

/// What a request asks for (`fuse_opcode`).
mod opcode {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const READLINK: u32 = 5;
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const STATFS: u32 = 17;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const INIT: u32 = 26;
    pub(super) const OPENDIR: u32 = 27;
    pub(super) const READDIR: u32 = 28;
    pub(super) const RELEASEDIR: u32 = 29;
    pub(super) const INTERRUPT: u32 = 36;
    pub(super) const BATCH_FORGET: u32 = 42;
}

/// A request of the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    opcode: u32,
    unique: u64,
    node: u64,
    body: &'a [u8],
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The kernel waits for none.
    Nothing,
    /// This body, or this error.
    Now(Result<Vec<u8>, Errno>),
    /// These bytes of the system's data.
    Data(Range<u64>),
}

impl<'a> Request<'a> {
    /// Takes a request apart.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, body) = bytes.split_at_checked(IN_HEADER_BYTES)?;
        let whole = Fields(header).number(0)? as usize == bytes.len();
        let fields = Fields(header);
        whole.then_some(Self {
            opcode: fields.number(4)?,
            unique: fields.long(8)?,
            node: fields.long(16)?,
            body,
        })
    }

    /// What a read-only file system with these `files` says to it; `blocks` is its size.
    pub(super) fn answer(&self, files: &Files, blocks: u64) -> Answer {
        Answer::Now(match self.opcode {
            opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT => return Answer::Nothing,
            opcode::READ => match self.range_to_read(files) {
                Ok(range) => return Answer::Data(range),
                Err(error) => Err(error),
            },
            opcode::INIT => self.init(),
            opcode::LOOKUP => self.look_up(files),
            opcode::GETATTR => self.node(files).map(|node| attributes(self.node, node)),
            opcode::READLINK => self.link(files),
            opcode::OPEN | opcode::OPENDIR => self.node(files).map(|_| opened()),
            opcode::READDIR => self.list(files),
            opcode::STATFS => Ok(statistics(files, blocks)),
            opcode::RELEASE | opcode::RELEASEDIR => Ok(Vec::new()),
            _ => Err(Errno::NOSYS),
        })
    }

    /// An answer with its header.
    pub(super) fn reply(&self, answer: Result<&[u8], Errno>) -> Vec<u8> {
        let body = answer.unwrap_or_default();
        let error = answer.err().map_or(0, |error| -error.raw_os_error());
        let length = u32::try_from(OUT_HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(OUT_HEADER_BYTES + body.len());
        out.extend(length.to_ne_bytes());
        out.extend(error.to_ne_bytes());
        out.extend(self.unique.to_ne_bytes());
        out.extend(body);
        out
    }

    fn node<'f>(&self, files: &'f Files) -> Result<&'f Node, Errno> {
        files.node(self.node).ok_or(Errno::NOENT)
    }

    /// `fuse_init_out`: no feature is asked for. The kernel drops a file's cached pages whenever
    /// it is opened, so a block that changed meanwhile is seen.
    fn init(&self) -> Result<Vec<u8>, Errno> {
        let body = Fields(self.body);
        let (major, readahead) = (body.number(0), body.number(8));
        if major != Some(MAJOR) {
            return Err(Errno::PROTO);
        }
        let mut out = numbers(&[MAJOR, MINOR, readahead.unwrap_or_default(), 0]);
        out.extend([0; 4]); // background requests: the kernel's own limits
        out.extend(numbers(&[MAX_WRITE, 1]));
        out.resize(64, 0);
        Ok(out)
    }

    fn look_up(&self, files: &Files) -> Result<Vec<u8>, Errno> {
        let Kind::Folder(names) = &self.node(files)?.kind else { return Err(Errno::NOTDIR) };
        let name = self.body.strip_suffix(&[0]).and_then(|name| std::str::from_utf8(name).ok());
        let number = *name.and_then(|name| names.get(name)).ok_or(Errno::NOENT)?;
        let node = files.node(number).ok_or(Errno::NOENT)?;
        let mut out = Vec::with_capacity(128);
        for field in [number, 0, VALID_SECONDS, VALID_SECONDS, 0] {
            out.extend(field.to_ne_bytes());
        }
        out.extend(attribute(number, node));
        Ok(out)
    }

    fn link(&self, files: &Files) -> Result<Vec<u8>, Errno> {
        match &self.node(files)?.kind {
            Kind::Link(target) => Ok(target.clone().into_bytes()),
            _ => Err(Errno::INVAL),
        }
    }

    /// `fuse_read_in`: handle, offset, size.
    fn range_to_read(&self, files: &Files) -> Result<Range<u64>, Errno> {
        let Kind::File(bytes) = &self.node(files)?.kind else { return Err(Errno::ISDIR) };
        let body = Fields(self.body);
        let (Some(offset), Some(size)) = (body.long(8), body.number(16)) else {
            return Err(Errno::INVAL);
        };
        let start = bytes.start.saturating_add(offset).min(bytes.end);
        Ok(start..start.saturating_add(size.min(MAX_READ).into()).min(bytes.end))
    }

    /// `fuse_dirent`s from an offset on, as many as fit.
    fn list(&self, files: &Files) -> Result<Vec<u8>, Errno> {
        let node = self.node(files)?;
        let Kind::Folder(names) = &node.kind else { return Err(Errno::NOTDIR) };
        let body = Fields(self.body);
        let (Some(skip), Some(room)) = (body.long(8), body.number(16)) else {
            return Err(Errno::INVAL);
        };
        let here = [(".", self.node), ("..", node.parent)];
        let names = names.iter().map(|(name, number)| (name.as_str(), *number));
        let mut out = Vec::new();
        for (place, (name, number)) in (1_u64..).zip(here.into_iter().chain(names)) {
            let kind = files.node(number).map_or(0, Node::full_mode) >> 12;
            let entry = directory_entry(number, place, kind, name);
            if out.len() + entry.len() > room.min(MAX_READ) as usize {
                break;
            }
            if place > skip {
                out.extend(entry);
            }
        }
        Ok(out)
    }
}

/// Numbers at their places in a request, in the byte order of this machine.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    fn long(&self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }
}

fn numbers(fields: &[u32]) -> Vec<u8> {
    fields.iter().flat_map(|field| field.to_ne_bytes()).collect()
}

/// `fuse_attr`. Times are those of 1970: a signed image does not say when.
fn attribute(number: u64, node: &Node) -> Vec<u8> {
    let mut out = Vec::with_capacity(88);
    for field in [number, node.size(), node.size().div_ceil(512), 0, 0, 0] {
        out.extend(field.to_ne_bytes());
    }
    let links = if matches!(node.kind, Kind::Folder(_)) { 2 } else { 1 };
    out.extend(numbers(&[0, 0, 0, node.full_mode(), links, 0, 0, 0, BLOCK_BYTES, 0]));
    out
}

/// `fuse_attr_out`.
fn attributes(number: u64, node: &Node) -> Vec<u8> {
    let mut out = VALID_SECONDS.to_ne_bytes().to_vec();
    out.extend([0; 8]);
    out.extend(attribute(number, node));
    out
}

/// `fuse_open_out`: handle 0, and no flag to keep what is cached.
fn opened() -> Vec<u8> {
    vec![0; 16]
}

/// `fuse_statfs_out`: full, for nothing can be written.
fn statistics(files: &Files, blocks: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(80);
    for field in [blocks, 0, 0, files.count(), 0] {
        out.extend(field.to_ne_bytes());
    }
    out.extend(numbers(&[BLOCK_BYTES, 255, BLOCK_BYTES, 0]));
    out.resize(80, 0);
    out
}

fn directory_entry(number: u64, place: u64, kind: u32, name: &str) -> Vec<u8> {
    let mut out = number.to_ne_bytes().to_vec();
    out.extend(place.to_ne_bytes());
    out.extend(numbers(&[u32::try_from(name.len()).unwrap_or(u32::MAX), kind]));
    out.extend(name.as_bytes());
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

const _: () = assert!(ROOT == 1, "FUSE_ROOT_ID");

#[cfg(test)]
mod tests {
    use super::*;
    use bootimg::cpio::{Archive, Writer};

    fn files() -> Files {
        let mut writer = Writer::new();
        writer.directory("etc", 0o755).unwrap();
        writer.file("etc/a", 0o644, &[7; 5000]).unwrap();
        writer.symlink("etc/b", "a").unwrap();
        let data = writer.finish();
        Files::index(&Archive::parse(&data).unwrap(), &data)
    }

    fn request(opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
        let mut out = numbers(&[u32::try_from(IN_HEADER_BYTES + body.len()).unwrap(), opcode]);
        out.extend(99_u64.to_ne_bytes());
        out.extend(node.to_ne_bytes());
        out.resize(IN_HEADER_BYTES, 0);
        out.extend(body);
        out
    }

    fn ask(opcode: u32, node: u64, body: &[u8]) -> Answer {
        let request = request(opcode, node, body);
        Request::parse(&request).unwrap().answer(&files(), 9)
    }

    fn found(parent: u64, name: &str) -> u64 {
        match ask(opcode::LOOKUP, parent, &[name.as_bytes(), &[0]].concat()) {
            Answer::Now(Ok(entry)) => {
                assert_eq!(entry.len(), 128);
                Fields(&entry).long(0).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    fn place(offset: u64, size: u32) -> Vec<u8> {
        let mut body = vec![0; 8];
        body.extend(offset.to_ne_bytes());
        body.extend(size.to_ne_bytes());
        body.resize(40, 0);
        body
    }

    #[test]
    fn names_lead_to_files_and_files_to_their_bytes() {
        let etc = found(ROOT, "etc");
        let a = found(etc, "a");
        let Answer::Data(all) = ask(opcode::READ, a, &place(0, u32::MAX)) else { panic!("data") };
        assert_eq!(all.end - all.start, 5000);
        let part = ask(opcode::READ, a, &place(4990, 4096));
        assert_eq!(part, Answer::Data(all.end - 10..all.end));
        assert_eq!(ask(opcode::READ, a, &place(u64::MAX, 1)), Answer::Data(all.end..all.end));
        assert_eq!(ask(opcode::READLINK, found(etc, "b"), &[]), Answer::Now(Ok(b"a".to_vec())));
        assert_eq!(ask(opcode::LOOKUP, etc, b"c\0"), Answer::Now(Err(Errno::NOENT)));
        assert_eq!(ask(opcode::READ, etc, &place(0, 1)), Answer::Now(Err(Errno::ISDIR)));
    }

    #[test]
    fn folders_are_listed_from_any_place() {
        let etc = found(ROOT, "etc");
        let list = |skip, room| match ask(opcode::READDIR, etc, &place(skip, room)) {
            Answer::Now(Ok(list)) => list,
            other => panic!("{other:?}"),
        };
        let all = list(0, 4096);
        assert_eq!(all.len(), 4 * 32);
        assert_eq!(list(2, 4096), all[64..]);
        assert!(list(4, 4096).is_empty());
        assert_eq!(list(0, 40), all[..32]);
    }

    #[test]
    fn nothing_can_be_written_and_nothing_is_promised() {
        for opcode in [6, 8, 9, 10, 11, 12, 13, 16, 21, 35, 43] {
            assert_eq!(ask(opcode, ROOT, &[0; 80]), Answer::Now(Err(Errno::NOSYS)), "{opcode}");
        }
        assert_eq!(ask(opcode::FORGET, ROOT, &[0; 8]), Answer::Nothing);
        let Answer::Now(Ok(init)) = ask(opcode::INIT, 0, &numbers(&[7, 45, 9, u32::MAX])) else {
            panic!("a version that both speak")
        };
        assert_eq!(
            (init.len(), Fields(&init).number(4), Fields(&init).number(12)),
            (64, Some(31), Some(0))
        );
        assert_eq!(ask(opcode::INIT, 0, &numbers(&[8, 0])), Answer::Now(Err(Errno::PROTO)));
    }

    #[test]
    fn s2_2_a_request_that_is_cut_short_is_none_or_an_error() {
        for opcode in 0..60 {
            let whole = request(opcode, found(ROOT, "etc"), &place(0, 64));
            for length in 0..whole.len() {
                assert!(Request::parse(&whole[..length]).is_none());
                let Some(body) = length.checked_sub(IN_HEADER_BYTES) else { continue };
                let short = request(opcode, ROOT, &whole[IN_HEADER_BYTES..][..body]);
                Request::parse(&short).unwrap().answer(&files(), 1);
            }
        }
    }
}
