//! Looking for plaintext where none may be: in everything that the cloud stores.

use aho_corasick::AhoCorasick;
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of a canary.
const CANARY_BYTES: usize = 24;
/// How many files give a canary.
const CANARIES: usize = 6;

/// Something that must not be found.
#[derive(Debug, Clone)]
pub(crate) struct Canary {
    /// What it is, for people.
    pub(crate) what: String,
    /// The file that it comes from.
    pub(crate) from: Option<PathBuf>,
    bytes: Vec<u8>,
}

impl Canary {
    /// A text, as a phone number.
    pub(crate) fn text(what: &str, text: &str) -> Self {
        Self { what: what.to_owned(), from: None, bytes: text.as_bytes().to_vec() }
    }
}

/// Canaries from the middle of some files of `folder`: bytes that are unlikely anywhere else.
pub(crate) fn canaries(folder: &Path) -> Vec<Canary> {
    let mut open = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        // What can't be read was left out of the import too.
        let read = std::fs::read_dir(&folder).into_iter().flatten();
        let mut entries: Vec<_> = read.flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() && found.len() < CANARIES {
                found.extend(canary(&entry.path()).ok().flatten());
            }
        }
        if found.len() == CANARIES {
            break;
        }
    }
    found
}

/// The most telling bytes of the first 64 KiB of a file, if there are any.
fn canary(path: &Path) -> Result<Option<Canary>> {
    let mut content = Vec::new();
    File::open(path)?.take(64 << 10).read_to_end(&mut content)?;
    let variety = |bytes: &[u8]| {
        let mut seen = [false; 256];
        bytes.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        seen.iter().filter(|seen| **seen).count()
    };
    let best = content.chunks_exact(CANARY_BYTES).max_by_key(|bytes| variety(bytes));
    Ok(best.filter(|bytes| variety(bytes) >= 10).map(|bytes| Canary {
        what: path.display().to_string(),
        from: Some(path.to_owned()),
        bytes: bytes.to_vec(),
    }))
}

/// What was searched, and that nothing was found.
#[derive(Debug)]
pub(crate) struct Clean {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Searches every file below `roots` for the canaries: raw, hexadecimal, base64. Finding one is
/// an error that says where.
pub(crate) fn search(roots: &[PathBuf], canaries: &[Canary]) -> Result<Clean> {
    let needles: Vec<(Vec<u8>, &Canary)> = canaries
        .iter()
        .flat_map(|canary| forms(canary).into_iter().map(move |form| (form, canary)))
        .collect();
    let finder = AhoCorasick::new(needles.iter().map(|(form, _)| form))?;
    let longest = needles.iter().map(|(form, _)| form.len()).max().unwrap_or(0);
    let mut clean = Clean { files: 0, bytes: 0 };
    let mut open = roots.to_vec();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        } else if path.is_file() {
            let hit = search_file(&path, &finder, longest, &mut clean.bytes)
                .with_context(|| path.display().to_string())?;
            clean.files += 1;
            if let Some(hit) = hit {
                bail!("{} is readable in {}", needles[hit].1.what, path.display());
            }
        }
    }
    Ok(clean)
}

/// Which needle is in the file, if any.
fn search_file(
    path: &Path,
    finder: &AhoCorasick,
    longest: usize,
    bytes: &mut u64,
) -> Result<Option<usize>> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; (1 << 20) + longest];
    let mut kept = 0;
    loop {
        let got = file.read(&mut buffer[kept..])?;
        if got == 0 {
            return Ok(None);
        }
        *bytes += got as u64;
        let filled = kept + got;
        if let Some(found) = finder.find(&buffer[..filled]) {
            return Ok(Some(found.pattern().as_usize()));
        }
        // A needle may lie across two reads.
        let keep = filled.min(longest.saturating_sub(1));
        buffer.copy_within(filled - keep..filled, 0);
        kept = keep;
    }
}

/// The forms in which bytes could lie in a file: as they are, in hexadecimal of either case, in
/// both base64 alphabets at each of the three alignments.
fn forms(canary: &Canary) -> Vec<Vec<u8>> {
    let bytes = &canary.bytes;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![bytes.clone(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    for shift in 0..3 {
        let Some(aligned) = bytes.get(shift..) else { continue };
        let whole = &aligned[..aligned.len() / 3 * 3];
        if whole.len() >= 6 {
            forms.push(STANDARD_NO_PAD.encode(whole).into_bytes());
            forms.push(URL_SAFE_NO_PAD.encode(whole).into_bytes());
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_phone_number_in_every_form_and_across_reads() {
        let folder = tempfile::tempdir().unwrap();
        let canary = Canary::text("the phone number", "+4915123456789");
        let path = folder.path().join("database");
        for form in forms(&canary) {
            for at in [0, 5, (1 << 20) - 3, (1 << 20) + 40] {
                let mut content = vec![b'.'; at];
                content.extend_from_slice(&form);
                std::fs::write(&path, content).unwrap();
                let found = search(&[folder.path().to_owned()], std::slice::from_ref(&canary));
                assert!(found.is_err(), "{:?} at {at}", String::from_utf8_lossy(&form));
            }
        }
        std::fs::write(&path, "+4915123456788").unwrap();
        assert_eq!(search(&[folder.path().to_owned()], &[canary]).unwrap().files, 1);
    }

    #[test]
    fn finds_a_file_of_the_folder_inside_a_longer_base64() {
        let folder = tempfile::tempdir().unwrap();
        let secret = b"0123456789 the quick brown fox jumps over the lazy dog";
        std::fs::write(folder.path().join("secret"), secret).unwrap();
        let canaries = canaries(folder.path());
        let store = tempfile::tempdir().unwrap();
        for padding in ["", "x", "xy"] {
            let mut plain = padding.as_bytes().to_vec();
            plain.extend_from_slice(secret);
            let text = STANDARD_NO_PAD.encode(plain);
            std::fs::write(store.path().join("row"), text).unwrap();
            assert!(search(&[store.path().to_owned()], &canaries).is_err());
        }
    }
}
