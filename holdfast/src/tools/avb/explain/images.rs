//! The files that were given, by the partition's name.

use crate::exit::Misused;
use anyhow::Result;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Images of partitions.
pub(super) struct Images {
    /// By name, with the slot's suffix.
    pub(super) files: BTreeMap<String, File>,
    /// Names of files in Android's sparse format, which is not what a partition holds.
    pub(super) sparse: Vec<String>,
}

const SPARSE_MAGIC: [u8; 4] = 0xED26_FF3A_u32.to_le_bytes();

impl Images {
    /// Opens the files, and those named `*.img` in folders.
    pub(super) fn open(given: &[PathBuf]) -> Result<Self> {
        let mut images = Self { files: BTreeMap::new(), sparse: Vec::new() };
        for path in given {
            if path.is_dir() {
                for file in in_folder(path)? {
                    images.add(&file)?;
                }
            } else {
                images.add(path)?;
            }
        }
        if images.files.is_empty() && images.sparse.is_empty() {
            return Err(Misused("no image among what was given: *.img".into()).into());
        }
        Ok(images)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let file = super::super::open(path)?;
        let misused = |problem: &str| Misused(format!("{}: {problem}", path.display()));
        if !file.metadata()?.is_file() {
            return Err(misused("not a regular file").into());
        }
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| misused("its name is no partition's"))?.to_owned();
        let mut magic = [0; 4];
        if file.read_exact_at(&mut magic, 0).is_ok() && magic == SPARSE_MAGIC {
            self.sparse.push(name);
        } else if self.files.insert(name, file).is_some() {
            return Err(misused("there is another image for this partition").into());
        }
        Ok(())
    }

    /// The slots that have a vbmeta or a boot image.
    pub(super) fn suffixes(&self) -> Vec<String> {
        let has = |suffix: &&str| {
            let known = |name: &str| self.files.contains_key(&format!("{name}{suffix}"));
            known("vbmeta") || known("boot")
        };
        let found: Vec<String> =
            ["", "_a", "_b"].iter().copied().filter(|s| has(s)).map(str::to_owned).collect();
        if found.is_empty() { vec![String::new()] } else { found }
    }

    /// The names of a slot's images, without suffix, and of those that have no slots.
    pub(super) fn names<'i>(&'i self, suffix: &str) -> impl Iterator<Item = &'i str> {
        let in_slot = move |name: &'i str| match suffix {
            "" => Some(name),
            suffix => name.strip_suffix(suffix),
        };
        let names: Vec<_> = self.files.keys().filter_map(|name| in_slot(name)).collect();
        names.into_iter()
    }
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| super::super::lacking(folder, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| super::super::lacking(folder, &error))?.path();
        if path.extension().is_some_and(|it| it == "img") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
