//! What programs expect of a file system.

use super::{Vault, mounts};
use rustix::fs::{self as rfs, CWD, FallocateFlags, RenameFlags, SeekFrom, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Command;

/// pjdfstest 0.2.2, unchanged, as root: all its tests that this configuration runs.
#[test]
fn pjdfstest_passes() {
    let Some(program) = pjdfstest() else { return };
    if !rustix::process::geteuid().is_root() || !mounts() {
        eprintln!("skipped: pjdfstest needs root");
        return;
    }
    let Some(vault) = Vault::mounted() else { return };
    fs::set_permissions(vault.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(vault.mount(), fs::Permissions::from_mode(0o755)).unwrap();
    let config = vault.folder.path().join("pjdfstest.toml");
    let text = "[features]\nposix_fallocate = {}\nrename_ctime = {}\nutimensat = {}\n\
                utime_now = {}\n[settings]\nnaptime = 0.01\nallow_remount = false\n\
                [dummy_auth]\nentries = [[\"nobody\", \"nogroup\"], [\"daemon\", \"daemon\"]]\n";
    fs::write(&config, text).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(&config).arg("-p").arg(vault.mount());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed: Vec<&str> = said.lines().filter(|line| line.ends_with("FAILED")).collect();
    assert!(output.status.success(), "{failed:#?}\n{said}");
    assert!(said.contains("Summary: 0 failed, 16 skipped, 382 passed"), "{said}");
}

/// Where `cargo xtask test` puts it, or where HOLDFAST_PJDFSTEST says.
fn pjdfstest() -> Option<PathBuf> {
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_holdfast")).parent()?;
    let beside = || programs.join("../peers/pjdfstest/bin/pjdfstest");
    let program = std::env::var_os("HOLDFAST_PJDFSTEST").map_or_else(beside, PathBuf::from);
    if program.is_file() {
        return Some(program);
    }
    assert!(std::env::var_os("CI").is_none(), "no pjdfstest at {}", program.display());
    eprintln!("skipped: no pjdfstest (`cargo xtask test` gets it)");
    None
}

#[test]
fn sparse_files_take_no_space_and_their_holes_are_found() {
    let Some(vault) = Vault::mounted() else { return };
    let mut file = File::create_new(vault.file("sparse")).unwrap();
    file.set_len(1 << 40).unwrap();
    file.write_all_at(b"middle", 1 << 39).unwrap();
    file.sync_all().unwrap();
    let about = file.metadata().unwrap();
    assert_eq!(about.len(), 1 << 40);
    assert!(about.blocks() * 512 < 200_000, "{} blocks", about.blocks());
    assert_eq!(rfs::seek(&file, SeekFrom::Data(0)), Ok(1 << 39));
    assert_eq!(rfs::seek(&file, SeekFrom::Hole(1 << 39)), Ok((1 << 39) + 4096));
    assert_eq!(rfs::seek(&file, SeekFrom::Data((1 << 39) + 4096)), Err(Errno::NXIO));
    file.rewind().unwrap();
    let mut start = [1; 10];
    let file = File::open(vault.file("sparse")).unwrap();
    file.read_exact_at(&mut start, 1 << 38).unwrap();
    assert_eq!(start, [0; 10]);
}

#[test]
fn space_is_reserved_punched_and_zeroed() {
    let Some(vault) = Vault::mounted() else { return };
    let path = vault.file("space");
    fs::write(&path, vec![7; 100_000]).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rfs::fallocate(&file, punch, 5000, 20_000).unwrap();
    rfs::fallocate(&file, FallocateFlags::ZERO_RANGE, 90_000, 20_000).unwrap();
    rfs::fallocate(&file, FallocateFlags::empty(), 0, 200_000).unwrap();
    let mut expected = vec![7; 90_000];
    expected[5000..25_000].fill(0);
    expected.resize(200_000, 0);
    assert!(fs::read(&path).unwrap() == expected);
    let beyond = rfs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 20);
    assert_eq!(beyond, Err(Errno::OPNOTSUPP));
    vault.lock_after(file);
    vault.unlock();
    assert!(fs::read(&path).unwrap() == expected);
}

impl Vault {
    /// Locks when nobody has `file` open any more.
    fn lock_after(&self, file: File) {
        drop(file);
        self.lock();
    }
}

#[test]
fn mapped_memory_is_the_file() {
    use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};
    let Some(vault) = Vault::mounted() else { return };
    let path = vault.file("mapped");
    fs::write(&path, vec![1; 10_000]).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let (both, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a fresh mapping at an address that the kernel chooses, of 10,000 bytes that the
    // file has; it is used within them, and by nobody after the last call.
    unsafe {
        let start = mmap(std::ptr::null_mut(), 10_000, both, shared, &file, 0).unwrap();
        let bytes = std::slice::from_raw_parts_mut(start.cast::<u8>(), 10_000);
        assert!(bytes.iter().all(|byte| *byte == 1));
        bytes[4090..4100].fill(2);
        msync(start, 10_000, MsyncFlags::SYNC).unwrap();
        munmap(start, 10_000).unwrap();
    }
    drop(file);
    vault.lock();
    vault.unlock();
    let content = fs::read(&path).unwrap();
    assert!(content[4089..4101] == [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
}

#[test]
fn renaming_keeps_replaces_and_exchanges() {
    let Some(vault) = Vault::mounted() else { return };
    let (long, a, b) = (vault.file(&"ß".repeat(127)), vault.file("a"), vault.file("b"));
    fs::write(&a, "a").unwrap();
    fs::rename(&a, &long).unwrap();
    fs::write(&a, "new").unwrap();
    let keep = rfs::renameat_with(CWD, &a, CWD, &long, RenameFlags::NOREPLACE);
    assert_eq!(keep, Err(Errno::EXIST));
    rfs::renameat_with(CWD, &a, CWD, &long, RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read_to_string(&long).unwrap(), "new");
    assert_eq!(fs::read_to_string(&a).unwrap(), "a");
    fs::create_dir_all(b.join("below")).unwrap();
    fs::create_dir(vault.file("empty")).unwrap();
    fs::rename(&b, vault.file("empty")).unwrap();
    assert!(vault.file("empty/below").is_dir() && !b.exists());
    fs::create_dir(&b).unwrap();
    let full = fs::rename(&b, vault.file("empty")).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::DirectoryNotEmpty);
    fs::remove_file(&long).unwrap();
    vault.lock();
    vault.unlock();
    let names: BTreeSet<_> =
        fs::read_dir(vault.mount()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["a", "b", "empty"].map(Into::into).into());
}

#[test]
fn an_open_file_outlives_its_name_and_all_its_names_are_one_file() {
    let Some(vault) = Vault::mounted() else { return };
    let (one, two) = (vault.file("one"), vault.file("two"));
    fs::write(&one, "text").unwrap();
    fs::hard_link(&one, &two).unwrap();
    File::options().append(true).open(&two).unwrap().write_all(b" and more").unwrap();
    assert_eq!(fs::read_to_string(&one).unwrap(), "text and more");
    assert_eq!(fs::metadata(&one).unwrap().nlink(), 2);
    let mut file = File::open(&one).unwrap();
    fs::remove_file(&one).unwrap();
    assert_eq!(fs::read_to_string(&two).unwrap(), "text and more");
    fs::remove_file(&two).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), file.metadata().unwrap().nlink()), ("text and more", 0));
}

#[test]
fn extended_attributes_stay_with_the_file_and_show_nothing() {
    let Some(vault) = Vault::mounted() else { return };
    let path = vault.file("file");
    fs::write(&path, "text").unwrap();
    let set = |name: &str, value: &[u8], flags| rfs::setxattr(&path, name, value, flags);
    if set("user.colour", b"green", XattrFlags::CREATE) == Err(Errno::OPNOTSUPP) {
        eprintln!("skipped: the file system of the temporary folder keeps no attributes");
        return;
    }
    set("user.empty", b"", XattrFlags::empty()).unwrap();
    assert_eq!(set("user.colour", b"red", XattrFlags::CREATE), Err(Errno::EXIST));
    assert_eq!(set("user.none", b"red", XattrFlags::REPLACE), Err(Errno::NODATA));
    assert_eq!(set("security.capability", b"", XattrFlags::empty()), Err(Errno::OPNOTSUPP));
    vault.lock();
    let (backing, _) = &vault.backing()[0];
    let mut list = vec![0; 4096];
    let length = rfs::listxattr(backing, &mut list[..]).unwrap();
    assert!(!String::from_utf8_lossy(&list[..length]).contains("colour"));
    vault.unlock();
    let mut value = [0; 100];
    assert_eq!(rfs::getxattr(&path, "user.colour", &mut value), Ok(5));
    assert_eq!(&value[..5], b"green");
    assert_eq!(rfs::getxattr(&path, "user.colour", &mut [0; 3]), Err(Errno::RANGE));
    let length = rfs::listxattr(&path, &mut list[..]).unwrap();
    let names: BTreeSet<&[u8]> = list[..length].split(|byte| *byte == 0).collect();
    assert_eq!(names, [&b""[..], b"user.colour", b"user.empty"].into());
    rfs::removexattr(&path, "user.colour").unwrap();
    assert_eq!(rfs::getxattr(&path, "user.colour", &mut value), Err(Errno::NODATA));
}

#[test]
fn locks_are_between_all_who_use_the_file() {
    let Some(vault) = Vault::mounted() else { return };
    let path = vault.file("locked");
    fs::write(&path, "").unwrap();
    let (one, two) = (File::open(&path).unwrap(), File::open(&path).unwrap());
    one.lock().unwrap();
    assert!(two.try_lock().is_err());
    one.unlock().unwrap();
    two.try_lock().unwrap();
    let range = Command::new("python3")
        .arg("-c")
        .arg("import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f, fcntl.LOCK_EX, 10, 5)")
        .arg(&path)
        .status();
    assert!(range.is_ok_and(|status| status.success()));
}

#[test]
fn many_names_are_all_listed_and_the_longest_come_back() {
    let Some(vault) = Vault::mounted() else { return };
    let names: BTreeSet<String> =
        (0..1500).map(|number| format!("{number:04}{}", "x".repeat(number % 252))).collect();
    for name in &names {
        File::create_new(vault.file(name)).unwrap();
    }
    let list = || -> BTreeSet<String> {
        let entries = fs::read_dir(vault.mount()).unwrap();
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(list(), names);
    vault.lock();
    vault.unlock();
    assert_eq!(list(), names);
    assert!(fs::metadata(vault.file(names.last().unwrap())).is_ok());
    let too_long = File::create_new(vault.file(&"x".repeat(256))).unwrap_err();
    assert_eq!(Errno::from_io_error(&too_long), Some(Errno::NAMETOOLONG));
    let free = rfs::statvfs(vault.mount()).unwrap();
    assert!(free.f_namemax == 255 && free.f_blocks > 0);
}

#[test]
fn a_full_disk_is_told_and_loses_nothing_that_was_there() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: a small file system needs root");
        return;
    }
    let small = tempfile::tempdir().unwrap();
    let options = std::ffi::CString::new("size=3m").unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", small.path(), "tmpfs", flags, options.as_c_str()).unwrap();
    let folder = small.path().join("vault");
    let mount = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = super::command();
        command.arg(arguments[0]).arg(&folder).args(&arguments[1..]);
        assert!(command.output().unwrap().status.success(), "{arguments:?}");
    };
    run(&["create", "--argon2-memory", "1", "--argon2-passes", "1"]);
    run(&["unlock", "--mount", mount.path().to_str().unwrap()]);
    fs::write(mount.path().join("kept"), vec![7; 1 << 20]).unwrap();
    let big = File::create_new(mount.path().join("big")).unwrap();
    let written = (0..100).try_for_each(|number| {
        big.write_all_at(&[8; 65_536], number * 65_536)?;
        big.sync_all()
    });
    let error = written.unwrap_err();
    assert_eq!(Errno::from_io_error(&error), Some(Errno::NOSPC));
    drop(big);
    fs::remove_file(mount.path().join("big")).unwrap();
    fs::write(mount.path().join("after"), vec![9; 1 << 19]).unwrap();
    run(&["lock"]);
    run(&["check"]);
    run(&["unlock", "--mount", mount.path().to_str().unwrap()]);
    assert!(fs::read(mount.path().join("kept")).unwrap() == vec![7; 1 << 20]);
    assert!(fs::read(mount.path().join("after")).unwrap() == vec![9; 1 << 19]);
    run(&["lock"]);
    rustix::mount::unmount(small.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
}
