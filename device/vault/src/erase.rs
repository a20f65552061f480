//! Removes what erased keys once opened (SPEC S3.1.3).

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// How much of a file's beginning is overwritten: its header with the nonce that its key
/// derives from, and more.
const OVERWRITTEN_BYTES: usize = 4096;

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// Files.
    pub files: u64,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// Overwrites the header of every file in `folder`, then removes the folder; durable when it
/// returns. No error where there is no such folder, so that a killed erase can be run again.
///
/// The keys are what counts, and the TEE destroyed them before: on flash memory an overwritten
/// block may survive. This makes sure that the files go too, and that what survives by chance
/// lacks the nonces.
pub fn erase(folder: &Path) -> std::io::Result<Erased> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = match rustix::fs::open(folder, flags, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(Erased::default()),
        Err(error) => return Err(error.into()),
    };
    let mut erased = Erased::default();
    walk(&root, &mut |directory, name, _| {
        erased.files += 1;
        erased.bytes += overwrite(directory, name)?;
        Ok(())
    })?;
    rustix::fs::syncfs(&root)?;
    std::fs::remove_dir_all(folder)?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    Ok(erased)
}

type Visit<'v> = dyn FnMut(&OwnedFd, &CStr, FileType) -> rustix::io::Result<()> + 'v;

fn walk(directory: &OwnedFd, visit: &mut Visit<'_>) -> rustix::io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                walk(&rustix::fs::openat(directory, name, flags, Mode::empty())?, visit)?;
            }
            FileType::RegularFile => visit(directory, name, FileType::RegularFile)?,
            _ => {}
        }
    }
    Ok(())
}

/// Bytes that the file takes on the disk.
fn overwrite(directory: impl AsFd, name: &CStr) -> rustix::io::Result<u64> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    let noise: [u8; OVERWRITTEN_BYTES] = crypto::random_array();
    let length = OVERWRITTEN_BYTES.min(stat.st_size as usize);
    let mut at = 0;
    while at < length {
        at += rustix::io::pwrite(&file, &noise[at..length], at as u64)?;
    }
    Ok(stat.st_blocks as u64 * 512)
}
