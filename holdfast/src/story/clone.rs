//! Copies of this run's state, so that nothing is attacked that somebody uses.

use crate::state::State;
use anyhow::{Context, Result};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// How the content of a folder is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    /// Into files of their own (shared extents where the file system has them; holes stay).
    Copied,
    /// As hard links: only for files that nobody changes in place.
    Linked,
}

/// Copies a device that is off: board, flash image, large data.
pub(crate) fn device(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700))?;
    copy_tree(&from.join("board"), &to.join("board"), Files::Copied)?;
    copy_file(&from.join("flash.img"), &to.join("flash.img"))?;
    copy_tree(&from.join("data"), &to.join("data"), Files::Copied)
}

/// Copies what a thief with a soldering iron would: the flash image and the large data, not the
/// board.
pub(crate) fn flash(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    copy_file(&from.join("flash.img"), &to.join("flash.img"))?;
    copy_tree(&from.join("data"), &to.join("data"), Files::Copied)
}

/// Puts a flash image and large data that were copied before into a board.
pub(crate) fn put_flash_back(from: &Path, board: &Path) -> Result<()> {
    std::fs::remove_dir_all(board.join("data"))?;
    flash(from, board)
}

/// Copies the cloud and the Key Center, which must not run; stored blocks are linked, since a
/// block never changes.
pub(crate) fn cloud(from: &State, to: &State) -> Result<()> {
    copy_tree(&from.path("keycenter"), &to.path("keycenter"), Files::Copied)?;
    std::fs::create_dir_all(to.path("cloud"))?;
    for entry in std::fs::read_dir(from.path("cloud"))? {
        let entry = entry?;
        let target = to.path("cloud").join(entry.file_name());
        let files = if entry.file_name() == "blocks" { Files::Linked } else { Files::Copied };
        copy_entry(&entry.path(), &target, files)?;
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path, files: Files) -> Result<()> {
    let read =
        std::fs::read_dir(from).with_context(|| format!("{} can't be read", from.display()))?;
    std::fs::create_dir_all(to)?;
    for entry in read {
        let entry = entry?;
        copy_entry(&entry.path(), &to.join(entry.file_name()), files)?;
    }
    let metadata = std::fs::metadata(from)?;
    std::fs::set_permissions(to, metadata.permissions())?;
    set_times(to, &metadata)
}

fn copy_entry(from: &Path, to: &Path, files: Files) -> Result<()> {
    let metadata = std::fs::symlink_metadata(from)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        copy_tree(from, to, files)
    } else if kind.is_symlink() {
        Ok(symlink(std::fs::read_link(from)?, to)?)
    } else if kind.is_socket() || kind.is_fifo() {
        // Sockets belong to processes that are gone.
        Ok(())
    } else if files == Files::Linked && std::fs::hard_link(from, to).is_ok() {
        Ok(())
    } else {
        copy_file(from, to)
    }
}

/// Copies a file's data and leaves its holes.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        let source = std::fs::File::open(from)?;
        let metadata = source.metadata()?;
        let mut target = std::fs::File::create(to)?;
        if metadata.blocks() * 512 < metadata.len() {
            copy_extents(&source, &target, metadata.len())?;
        } else {
            std::io::copy(&mut &source, &mut target)?;
        }
        target.set_len(metadata.len())?;
        target.set_permissions(metadata.permissions())
    };
    copy().with_context(|| format!("{} can't be copied to {}", from.display(), to.display()))?;
    set_times(to, &std::fs::metadata(from)?)
}

fn copy_extents(
    source: &std::fs::File,
    target: &std::fs::File,
    length: u64,
) -> std::io::Result<()> {
    use rustix::fs::{SeekFrom, seek};
    use std::os::unix::fs::FileExt;
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < length {
        let Ok(start) = seek(source, SeekFrom::Data(at)) else { break };
        let end = seek(source, SeekFrom::Hole(start))?;
        let mut position = start;
        while position < end {
            let want = buffer.len().min(usize::try_from(end - position).unwrap_or(usize::MAX));
            let got = source.read_at(&mut buffer[..want], position)?;
            if got == 0 {
                break;
            }
            target.write_all_at(&buffer[..got], position)?;
            position += got as u64;
        }
        at = end;
    }
    Ok(())
}

fn set_times(path: &Path, metadata: &std::fs::Metadata) -> Result<()> {
    let times = std::fs::FileTimes::new()
        .set_modified(metadata.modified()?)
        .set_accessed(metadata.accessed()?);
    Ok(std::fs::File::open(path)?.set_times(times)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_of_a_device_shares_nothing_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        for sub in ["board", "data/ce"] {
            std::fs::create_dir_all(from.join(sub)).unwrap();
        }
        std::fs::write(from.join("board/fuses"), "fuses").unwrap();
        std::fs::write(from.join("data/ce/file"), "content").unwrap();
        let flash = std::fs::File::create(from.join("flash.img")).unwrap();
        flash.set_len(64 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&flash, b"kernel", 32 << 20).unwrap();

        let to = folder.path().join("to");
        device(&from, &to).unwrap();
        std::fs::write(to.join("data/ce/file"), "changed").unwrap();
        assert_eq!(std::fs::read(from.join("data/ce/file")).unwrap(), b"content");
        let copy = std::fs::read(to.join("flash.img")).unwrap();
        assert_eq!(copy.len(), 64 << 20);
        assert_eq!(&copy[32 << 20..][..6], b"kernel");
        assert!(std::fs::metadata(to.join("flash.img")).unwrap().blocks() < 1024);
    }
}
