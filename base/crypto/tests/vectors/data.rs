//! Finds the vectors that are handed in from outside.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of vectors.
pub(crate) struct Vectors {
    /// Its path below the folder.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Vectors {
    /// The folder that it is in.
    pub(crate) fn set(&self) -> &str {
        self.name.rsplit_once('/').map_or(self.name.as_str(), |(folder, _)| folder)
    }

    pub(crate) fn file_name(&self) -> &str {
        self.name.rsplit_once('/').map_or(self.name.as_str(), |(_, name)| name)
    }
}

/// `HOLDFAST_TEST_DATA/name`, or the same beside the project.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = std::env::var_os("HOLDFAST_TEST_DATA").map_or_else(beside, PathBuf::from);
    Some(data.join(name)).filter(|folder| folder.is_dir())
}

/// All files below `folder`, in order.
pub(crate) fn files(folder: &Path) -> Vec<Vectors> {
    let mut names = Vec::new();
    collect(folder, &mut names);
    names.sort();
    let vectors = |path: PathBuf| Vectors {
        name: path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned(),
        text: String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned(),
    };
    names.into_iter().map(vectors).collect()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else {
            into.push(path);
        }
    }
}
