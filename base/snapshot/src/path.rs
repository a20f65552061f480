//! Paths inside a tree.

use std::fmt;

/// The most bytes of one name, as on Linux.
pub const NAME_BYTES: usize = 255;
/// The most bytes of a whole path.
pub const PATH_BYTES: usize = 64 << 10;
/// The most names in a path: whoever walks a tree needs a stack and descriptors for each.
pub const DEPTH: usize = 512;

/// A path inside a tree, of raw bytes: names with `/` between them, relative, never leaving the
/// tree. The empty path is the tree's root.
///
/// Ordered name by name, so that what is in a directory follows it directly.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Vec<u8>);

/// Why bytes are no path inside a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// It begins with a slash.
    #[error("the path is absolute")]
    Absolute,
    /// A name is `..`.
    #[error("the path leaves the folder (..)")]
    Parent,
    /// A name is empty or `.`.
    #[error("the path has an empty name or the name '.'")]
    EmptyName,
    /// A name has more than [`NAME_BYTES`], or the path more than [`PATH_BYTES`].
    #[error("a name has more than 255 bytes, or the path more than 64 KiB")]
    TooLong,
    /// There are more than [`DEPTH`] names.
    #[error("the path is more than 512 directories deep")]
    TooDeep,
    /// It has a zero byte.
    #[error("the path has a zero byte")]
    Zero,
}

impl TreePath {
    /// The tree's root.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Takes `bytes` as a path, strictly.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        if bytes.len() > PATH_BYTES {
            return Err(PathError::TooLong);
        }
        if bytes.first() == Some(&b'/') {
            return Err(PathError::Absolute);
        }
        if !bytes.is_empty() {
            bytes.split(|byte| *byte == b'/').try_for_each(check_name)?;
        }
        Self(bytes).checked_depth()
    }

    /// Takes a path as archives write it: a leading `./`, a trailing `/` and doubled slashes
    /// are dropped first.
    pub fn lenient(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.first() == Some(&b'/') {
            return Err(PathError::Absolute);
        }
        let names = bytes.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
        Self::new(names.collect::<Vec<_>>().join(&b'/'))
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, from the root down.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    /// Directory and name; `None` for the root.
    #[must_use]
    pub fn split(&self) -> Option<(Self, &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Self(self.0[..slash].to_vec()), &self.0[slash + 1..]),
            None => (Self::root(), &self.0),
        })
    }

    /// The path of `name` in this directory.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        check_name(name)?;
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        if bytes.len() > PATH_BYTES { Err(PathError::TooLong) } else { Self(bytes).checked_depth() }
    }

    fn checked_depth(self) -> Result<Self, PathError> {
        if self.names().count() > DEPTH { Err(PathError::TooDeep) } else { Ok(self) }
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.names().cmp(other.names())
    }
}

/// For people: what is not UTF-8 is replaced.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Checks one name.
pub fn check_name(name: &[u8]) -> Result<(), PathError> {
    match name {
        b"" | b"." => Err(PathError::EmptyName),
        b".." => Err(PathError::Parent),
        name if name.len() > NAME_BYTES => Err(PathError::TooLong),
        name if name.contains(&0) => Err(PathError::Zero),
        name if name.contains(&b'/') => Err(PathError::EmptyName),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_every_path_that_leaves_the_tree() {
        let check = |bytes: &[u8], error| assert_eq!(TreePath::new(bytes), Err(error), "{bytes:?}");
        check(b"/etc/passwd", PathError::Absolute);
        check(b"../x", PathError::Parent);
        check(b"a/../../x", PathError::Parent);
        check(b"a/..", PathError::Parent);
        check(b"a//b", PathError::EmptyName);
        check(b"a/./b", PathError::EmptyName);
        check(b"a/", PathError::EmptyName);
        check(b"a\0b", PathError::Zero);
        check(&[b'a'; 256], PathError::TooLong);
        check(&b"a/".repeat(DEPTH + 1)[..2 * DEPTH + 1], PathError::TooDeep);
        assert_eq!(TreePath::lenient(b"./a//../b/"), Err(PathError::Parent));
        assert_eq!(TreePath::lenient(b"//a"), Err(PathError::Absolute));
    }

    #[test]
    fn takes_raw_bytes_and_splits_and_joins_them() {
        let path = TreePath::lenient(b"./a/\xff\n/c/").expect("a path");
        assert_eq!(path.as_bytes(), b"a/\xff\n/c");
        let (parent, name) = path.split().expect("not the root");
        assert_eq!((parent.as_bytes(), name), (&b"a/\xff\n"[..], &b"c"[..]));
        assert_eq!(parent.join(b"c"), Ok(path));
        assert_eq!(TreePath::lenient(b"./"), Ok(TreePath::root()));
        assert_eq!(TreePath::root().split(), None);
        assert!(TreePath::root().join(b"a/b").is_err());
    }

    #[test]
    fn what_is_in_a_directory_follows_it() {
        let path = |text: &str| TreePath::new(text).expect("a path");
        assert!(path("a") < path("a/b") && path("a/b") < path("a.txt"));
        assert!(TreePath::root() < path("\u{1}"));
    }
}
