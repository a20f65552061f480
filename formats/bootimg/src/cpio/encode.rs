//! Writing an archive. The same entries give the same bytes: no times, no owners.

use super::{ALIGNMENT, Content, CpioError, MAGIC, TRAILER, Tree};

/// Writes entries one after the other.
#[derive(Default)]
pub struct Writer {
    out: Vec<u8>,
    inode: u32,
    tree: Tree,
}

impl Writer {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory. Its own directory must have been added before.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<(), CpioError> {
        self.entry(path, mode, Content::Directory)
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> Result<(), CpioError> {
        self.entry(path, mode, Content::File(data))
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), CpioError> {
        self.entry(path, 0o777, Content::Symlink(target))
    }

    fn entry(&mut self, path: &str, mode: u32, content: Content<'_>) -> Result<(), CpioError> {
        let data = match content {
            Content::Directory => &[],
            Content::File(data) => data,
            Content::Symlink(target) => target.as_bytes(),
        };
        let size = u32::try_from(data.len()).map_err(|_| CpioError::TooLarge(path.to_owned()))?;
        if mode > 0o7777 {
            return Err(CpioError::Path {
                path: path.to_owned(),
                problem: "has more than permission bits in its mode",
            });
        }
        self.tree.admit(path, &content)?;
        self.inode += 1;
        let links = if matches!(content, Content::Directory) { 2 } else { 1 };
        self.header(path, self.inode, content.file_type() | mode, links, size);
        self.out.extend(data);
        self.align(ALIGNMENT);
        Ok(())
    }

    fn header(&mut self, path: &str, inode: u32, mode: u32, links: u32, size: u32) {
        let name_bytes = u32::try_from(path.len() + 1).expect("paths are short");
        self.out.extend(MAGIC);
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize
        // check: see cpio(5).
        for field in [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_bytes, 0] {
            self.out.extend(format!("{field:08X}").bytes());
        }
        self.out.extend(path.as_bytes());
        self.out.push(0);
        self.align(ALIGNMENT);
    }

    fn align(&mut self, alignment: usize) {
        self.out.resize(self.out.len().next_multiple_of(alignment), 0);
    }

    /// The archive with its trailer, padded to 512 bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.header(TRAILER, 0, 0, 1, 0);
        self.align(512);
        self.out
    }
}
