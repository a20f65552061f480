//! The system's files as they lie in its archive: names, modes, places. No content.

use bootimg::cpio::{Archive, Content};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// The number of the root folder, as FUSE has it.
pub(super) const ROOT: u64 = 1;

/// All files, numbered from [`ROOT`] on.
#[derive(Debug)]
pub struct Files(Vec<Node>);

/// A file, folder or symbolic link.
#[derive(Debug)]
pub(super) struct Node {
    /// Permission bits.
    pub(super) mode: u32,
    /// The folder that it is in; the root is in itself.
    pub(super) parent: u64,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Names and numbers.
    Folder(BTreeMap<String, u64>),
    /// Which bytes of the system's data.
    File(Range<u64>),
    /// A symbolic link's target.
    Link(String),
}

impl Files {
    /// Lists `archive`, which was read from the start of `data`.
    #[must_use]
    pub fn index(archive: &Archive<'_>, data: &[u8]) -> Self {
        let folder = |mode, parent| Node { mode, parent, kind: Kind::Folder(BTreeMap::new()) };
        let mut nodes = vec![folder(0o755, ROOT)];
        let mut folders = HashMap::from([("", ROOT)]);
        for entry in archive.entries() {
            let (place, name) = entry.path.rsplit_once('/').unwrap_or(("", entry.path));
            // An archive names each folder before what is in it.
            let Some(&parent) = folders.get(place) else { continue };
            let number = nodes.len() as u64 + ROOT;
            nodes.push(match entry.content {
                Content::Directory => {
                    folders.insert(entry.path, number);
                    folder(entry.mode, parent)
                }
                Content::File(bytes) => {
                    let kind = Kind::File(place_of(bytes, data));
                    Node { mode: entry.mode, parent, kind }
                }
                Content::Symlink(target) => {
                    Node { mode: entry.mode, parent, kind: Kind::Link(target.to_owned()) }
                }
            });
            let parent = usize::try_from(parent - ROOT).unwrap_or(usize::MAX);
            if let Some(Kind::Folder(names)) = nodes.get_mut(parent).map(|node| &mut node.kind) {
                names.insert(name.to_owned(), number);
            }
        }
        Self(nodes)
    }

    /// The file with this number.
    pub(super) fn node(&self, number: u64) -> Option<&Node> {
        self.0.get(usize::try_from(number.checked_sub(ROOT)?).ok()?)
    }

    /// How many there are.
    pub(super) const fn count(&self) -> u64 {
        self.0.len() as u64
    }
}

impl Node {
    /// Type and permission bits, as `stat` gives them.
    pub(super) const fn full_mode(&self) -> u32 {
        self.mode & 0o7777
            | match self.kind {
                Kind::Folder(_) => 0o040_000,
                Kind::File(_) => 0o100_000,
                Kind::Link(_) => 0o120_000,
            }
    }

    /// Bytes, as `stat` gives them.
    pub(super) const fn size(&self) -> u64 {
        match &self.kind {
            Kind::Folder(_) => 0,
            Kind::File(bytes) => bytes.end - bytes.start,
            Kind::Link(target) => target.len() as u64,
        }
    }
}

/// Where `part` lies in `whole`, of which it is a part.
#[must_use]
pub fn place_of(part: &[u8], whole: &[u8]) -> Range<u64> {
    let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr()) as u64;
    start..start + part.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootimg::cpio::Writer;

    #[test]
    fn files_are_found_where_the_archive_has_them() {
        let mut writer = Writer::new();
        writer.directory("bin", 0o755).unwrap();
        writer.file("bin/tool", 0o750, b"a program").unwrap();
        writer.symlink("bin/alias", "tool").unwrap();
        let mut data = writer.finish();
        data.resize(8192, 0);
        let files = Files::index(&Archive::parse(&data).unwrap(), &data);
        let names = |number| match &files.node(number).unwrap().kind {
            Kind::Folder(names) => names.clone(),
            other => panic!("{other:?}"),
        };
        let bin = names(ROOT)["bin"];
        let tool = files.node(names(bin)["tool"]).unwrap();
        let Kind::File(place) = &tool.kind else { panic!("{tool:?}") };
        assert_eq!(&data[place.start as usize..place.end as usize], b"a program");
        assert_eq!((tool.full_mode(), tool.size(), tool.parent), (0o100_750, 9, bin));
        let alias = files.node(names(bin)["alias"]).unwrap();
        assert!(matches!(&alias.kind, Kind::Link(target) if target == "tool"));
        assert!(files.node(0).is_none() && files.node(files.count() + ROOT).is_none());
    }
}
