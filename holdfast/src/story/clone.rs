//! Copies of this run's state, so that nothing is attacked that somebody uses.

use crate::state::State;
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::path::Arg;
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// How the content of a folder is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    /// Into files of their own (shared extents where the file system has them; holes stay).
    Copied,
    /// As hard links: only for files that nobody changes in place.
    Linked,
}

/// A copy on its way. Files with several names get one copy with several names: each waits for
/// its next name in a folder beside the copy.
struct Copying {
    files: Files,
    several_names: OwnedFd,
    waiting: HashSet<String>,
}

/// Copies a device that is off: board, flash image, large data.
pub(crate) fn device(from: &Path, to: &Path) -> Result<()> {
    copy_device(from, to, Files::Copied)
}

/// The same of a device that is a copy itself, to see it refused: the large data, which may be
/// gigabytes, is linked.
pub(crate) fn doomed_device(from: &Path, to: &Path) -> Result<()> {
    copy_device(from, to, Files::Linked)
}

fn copy_device(from: &Path, to: &Path, data: Files) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700))?;
    copy_tree(&from.join("board"), &to.join("board"), Files::Copied)?;
    copy_file(&from.join("flash.img"), &to.join("flash.img"))?;
    copy_tree(&from.join("data"), &to.join("data"), data)
}

/// Copies what a thief with a soldering iron would: the flash image and the large data, not the
/// board.
pub(crate) fn flash(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    copy_file(&from.join("flash.img"), &to.join("flash.img"))?;
    copy_tree(&from.join("data"), &to.join("data"), Files::Copied)
}

/// Copies a folder of files.
pub(crate) fn folder(from: &Path, to: &Path) -> Result<()> {
    copy_tree(from, to, Files::Copied)
}

/// Moves a flash image and large data that were copied before into a board.
pub(crate) fn put_flash_back(from: &Path, board: &Path) -> Result<()> {
    std::fs::remove_dir_all(board.join("data"))?;
    for part in ["flash.img", "data"] {
        let (from, to) = (from.join(part), board.join(part));
        std::fs::rename(&from, &to)
            .with_context(|| format!("{} can't be moved to {}", from.display(), to.display()))?;
    }
    Ok(())
}

/// Waits until the copies in `folder` are on the disk, so that the next step, which syncs the
/// same file system, does not wait for them.
pub(crate) fn write_out(folder: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(open(CWD, folder)?)?)
}

/// Copies the cloud and the Key Center, which must not run; stored blocks are linked, since a
/// block never changes.
pub(crate) fn cloud(from: &State, to: &State) -> Result<()> {
    copy_tree(&from.path("keycenter"), &to.path("keycenter"), Files::Copied)?;
    let (from, to) = (from.path("cloud"), to.path("cloud"));
    copy_tree_but(&from, &to, Files::Copied, Some(BLOCKS))?;
    copy_tree(&from.join("blocks"), &to.join("blocks"), Files::Linked)
}

/// Where the cloud keeps blocks.
const BLOCKS: &CStr = c"blocks";

fn copy_tree(from: &Path, to: &Path, files: Files) -> Result<()> {
    copy_tree_but(from, to, files, None)
}

/// Copies all of `from` but one entry.
fn copy_tree_but(from: &Path, to: &Path, files: Files, but: Option<&CStr>) -> Result<()> {
    let beside = to.with_extension("links");
    let copy = || -> io::Result<()> {
        let source = open(CWD, from)?;
        make_folder(CWD, to)?;
        make_folder(CWD, &beside)?;
        let several_names = open(CWD, &beside)?;
        let mut copying = Copying { files, several_names, waiting: HashSet::new() };
        copying.content(&source, &open(CWD, to)?, but)?;
        std::fs::remove_dir_all(&beside)
    };
    copy().with_context(|| format!("{} can't be copied to {}", from.display(), to.display()))
}

impl Copying {
    /// From folder to folder, by name: encrypted names are long, and a path of many of them would
    /// be longer than the system takes.
    fn content(&mut self, from: &OwnedFd, to: &OwnedFd, but: Option<&CStr>) -> io::Result<()> {
        for name in names_in(from)?.iter().filter(|name| Some(name.as_c_str()) != but) {
            self.entry((from, to), name)?;
        }
        let stat = rustix::fs::fstat(from)?;
        rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
        set_times(to, &stat)
    }

    fn entry(&mut self, (from, to): (&OwnedFd, &OwnedFd), name: &CStr) -> io::Result<()> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                make_folder(to, name)?;
                self.content(&open(from, name)?, &open(to, name)?, None)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                Ok(rustix::fs::symlinkat(target, to, name)?)
            }
            FileType::RegularFile => {
                let linked = self.files == Files::Linked
                    && rustix::fs::linkat(from, name, to, name, AtFlags::empty()).is_ok();
                if linked { Ok(()) } else { self.file((from, to), name, &stat) }
            }
            // Sockets belong to processes that are gone.
            _ => Ok(()),
        }
    }

    fn file(
        &mut self,
        (from, to): (&OwnedFd, &OwnedFd),
        name: &CStr,
        stat: &Stat,
    ) -> io::Result<()> {
        if stat.st_nlink < 2 {
            return copy_file_at((from, name), (to, name));
        }
        let file = format!("{}-{}", stat.st_dev, stat.st_ino);
        if self.waiting.insert(file.clone()) {
            copy_file_at((from, name), (&self.several_names, file.as_str()))?;
        }
        let none = AtFlags::empty();
        Ok(rustix::fs::linkat(&self.several_names, file.as_str(), to, name, none)?)
    }
}

fn open(within: impl AsFd, path: impl Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(within, path, flags, Mode::empty())?)
}

fn make_folder(within: impl AsFd, path: impl Arg) -> io::Result<()> {
    match rustix::fs::mkdirat(within, path, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn names_in(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

/// Copies a file's data and leaves its holes.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    copy_file_at((CWD, from), (CWD, to))
        .with_context(|| format!("{} can't be copied to {}", from.display(), to.display()))
}

fn copy_file_at(from: (impl AsFd, impl Arg), to: (impl AsFd, impl Arg)) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let source = File::from(rustix::fs::openat(from.0, from.1, flags, Mode::empty())?);
    let stat = rustix::fs::fstat(&source)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let mut target = File::from(rustix::fs::openat(to.0, to.1, flags, mode)?);
    let length = stat.st_size.unsigned_abs();
    if stat.st_blocks.unsigned_abs() * 512 < length {
        copy_extents(&source, &target, length)?;
    } else {
        io::copy(&mut &source, &mut target)?;
    }
    target.set_len(length)?;
    rustix::fs::fchmod(&target, mode)?;
    set_times(&target, &stat)
}

fn copy_extents(source: &File, target: &File, length: u64) -> io::Result<()> {
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

fn set_times(of: impl AsFd, stat: &Stat) -> io::Result<()> {
    let at = |tv_sec, nanoseconds| Timespec { tv_sec, tv_nsec: nanoseconds as _ };
    let times = Timestamps {
        last_access: at(stat.st_atime, stat.st_atime_nsec),
        last_modification: at(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rustix::fs::futimens(of, &times)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_tree_deeper_than_a_path_can_be_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        let deep = |base: &Path, make: bool| {
            let mut at = open(CWD, base).unwrap();
            for _ in 0..40 {
                let name = "d".repeat(200);
                if make {
                    make_folder(&at, name.as_str()).unwrap();
                }
                at = open(&at, name.as_str()).unwrap();
            }
            at
        };
        deep(&from, true);
        copy_tree(&from, &to, Files::Copied).unwrap();
        deep(&to, false);
    }

    #[test]
    fn a_file_with_two_names_is_one_file_in_the_copy_too() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir_all(from.join("sub")).unwrap();
        std::fs::write(from.join("one"), "content").unwrap();
        std::fs::hard_link(from.join("one"), from.join("sub/two")).unwrap();
        copy_tree(&from, &to, Files::Copied).unwrap();
        let of = |path: &Path| std::fs::metadata(path).unwrap();
        let (one, two) = (of(&to.join("one")), of(&to.join("sub/two")));
        assert_eq!((one.ino(), one.nlink()), (two.ino(), 2));
        assert_ne!(one.ino(), of(&from.join("one")).ino());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "something is left over");
    }

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
