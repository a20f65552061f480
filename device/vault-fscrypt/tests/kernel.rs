//! The kernel encrypts a file system that the test makes; what lies on the raw disk is opened with
//! `formats/fscrypt` alone, and the `fscrypt` tool sees what it made itself.

#[path = "../../../formats/fscrypt/tests/kernel_image/ext4.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod ext4;
#[path = "../../../formats/fscrypt/tests/kernel_image/plain.rs"]
mod plain;

use crypto::secret::Secret;
use ext4::Ext4;
use fscrypt::{Flags, Mode, Policy};
use plain::{Plain, below};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use vault_fscrypt::kernel::{self, Presence, Removal};
use vault_fscrypt::{AreaError, Areas, Class, State};

/// A small encrypted ext4, mounted from an image.
struct Disk {
    folder: TempDir,
}

impl Disk {
    /// `None`, said in a line, where this machine can't: without root, loop devices or fscrypt.
    fn new() -> Option<Self> {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(disk.mount()).unwrap();
        File::create(disk.image()).unwrap().set_len(24 << 20).unwrap();
        let features = "encrypt,stable_inodes,^has_journal";
        let made = run("mkfs.ext4", &["-q", "-b", "4096", "-O", features], &disk.image());
        let mounted = made.and_then(|()| disk.mount_image());
        match mounted {
            Ok(()) => Some(disk),
            Err(why) => {
                eprintln!("skipped: no encrypted ext4 on a loop device here: {why}");
                None
            }
        }
    }

    fn mount(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount_image(&self) -> Result<(), String> {
        let image = self.image();
        run("mount", &["-o", "loop", image.to_str().unwrap()], &self.mount())
    }

    /// What lies on the disk, read when the kernel has let it go.
    fn raw(&self) -> Ext4 {
        run("umount", &[], &self.mount()).unwrap();
        let raw = Ext4::new(fs::read(self.image()).unwrap());
        self.mount_image().unwrap();
        raw
    }

    fn root(&self) -> File {
        File::open(self.mount()).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("umount", &["-l"], &self.mount());
    }
}

fn run(program: &str, arguments: &[&str], last: &Path) -> Result<(), String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let ended = Command::new(program).args(arguments).arg(last).env("PATH", path).output();
    let ended = ended.map_err(|error| format!("{program}: {error}"))?;
    let errors = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    if ended.status.success() { Ok(()) } else { Err(format!("{program}: {errors}")) }
}

/// Files of many kinds below `folder`; what is there, by path.
fn fill(folder: &Path) -> BTreeMap<String, Plain> {
    let mut made = BTreeMap::new();
    let long = "n".repeat(200);
    let file = |length: usize| (0..length).map(|at| (at * 7 + at / 251) as u8).collect::<Vec<_>>();
    fs::create_dir(folder.join("folder")).unwrap();
    made.insert("folder".to_owned(), Plain::Directory);
    let names =
        [("empty", 0), ("a", 1), ("ünïcode 名前", 5000), ("folder/big", 70_000), (&long, 99)];
    for (name, length) in names {
        fs::write(folder.join(name), file(length)).unwrap();
        made.insert(name.to_owned(), Plain::File(file(length)));
    }
    let sparse = File::create(folder.join("sparse")).unwrap();
    sparse.write_all_at(b"end", 40_960).unwrap();
    let mut content = vec![0; 40_960];
    content.extend(b"end");
    made.insert("sparse".to_owned(), Plain::File(content));
    for target in ["short", &"t".repeat(150)] {
        std::os::unix::fs::symlink(target, folder.join(&target[..1])).unwrap();
        made.insert(target[..1].to_owned(), Plain::Link(target.to_owned()));
    }
    made
}

#[test]
fn s3_1_1_what_the_kernel_wrote_is_opened_from_the_raw_disk_for_every_kind_of_policy() {
    let Some(disk) = Disk::new() else { return };
    let kinds = [
        (Flags::PAD_32, 0),
        (Flags::PAD_4, 0),
        (Flags::PAD_16, 9),
        (Flags::PAD_32.with_iv_ino_lblk_64(), 0),
        (Flags::PAD_8.with_iv_ino_lblk_32(), 0),
    ];
    let mut expected = Vec::new();
    for (index, (flags, log2_data_unit)) in kinds.into_iter().enumerate() {
        let master: [u8; 64] = crypto::random_array();
        let identifier = kernel::add_key(disk.root(), &master).unwrap();
        assert_eq!(identifier, fscrypt::identifier(&master));
        let name = format!("policy{index}");
        let folder = disk.mount().join(&name);
        fs::create_dir(&folder).unwrap();
        let (contents, names) = (Mode::AES_256_XTS, Mode::AES_256_CTS);
        let policy = Policy::V2 { contents, names, flags, log2_data_unit, identifier };
        match kernel::set_policy(File::open(&folder).unwrap(), &policy) {
            // Data units below a block came with Linux 6.7.
            Err(Errno::INVAL) if log2_data_unit > 0 => continue,
            set => set.unwrap(),
        }
        assert_eq!(kernel::policy(File::open(&folder).unwrap()), Ok(policy));
        expected.push((name, master, fill(&folder)));
    }
    let raw = disk.raw();
    for (name, master, made) in expected {
        let directory = raw.find(&name);
        assert!(below(&raw, &directory, &master).unwrap() == made, "{name}");
        assert!(below(&raw, &directory, &[1; 64]).is_err());
    }
}

#[test]
fn s3_1_1_areas_are_open_exactly_while_their_keys_are_there() {
    let Some(disk) = Disk::new() else { return };
    let areas = Areas::at(&disk.mount()).unwrap();
    let (ce, de) = (Secret::new([3; 64]), Secret::new([4; 64]));
    assert_eq!(areas.state(Class::Credential, 10).unwrap(), State::None);
    areas.open(Class::Device, 10, &de).unwrap();
    areas.open(Class::Credential, 10, &ce).unwrap();
    let alarm = areas.directory(Class::Device, 10, "clock", 10_001).unwrap();
    let mail = areas.directory(Class::Credential, 10, "mail", 10_002).unwrap();
    fs::write(alarm.join("seven"), "ring").unwrap();
    fs::write(mail.join("letter"), "dear").unwrap();
    let about = fs::metadata(&mail).unwrap();
    assert_eq!((about.uid(), about.gid(), about.mode() & 0o777), (10_002, 10_002, 0o700));
    for name in ["", "..", "a/b", ".hidden"] {
        let refused = areas.directory(Class::Device, 10, name, 1);
        assert!(matches!(refused, Err(AreaError::Name(_))), "{name:?}");
    }

    // Locked, with a file open: that one goes on, and it is said.
    let open = File::open(mail.join("letter")).unwrap();
    let busy = Removal { files_busy: true, other_users: false };
    assert_eq!(areas.close(Class::Credential, 10).unwrap(), busy);
    assert_eq!(areas.state(Class::Credential, 10).unwrap(), State::Busy);
    let mut text = [0; 4];
    open.read_exact_at(&mut text, 0).unwrap();
    assert_eq!(&text, b"dear");
    drop(open);
    let free = Removal { files_busy: false, other_users: false };
    assert_eq!(areas.close(Class::Credential, 10).unwrap(), free);
    assert_eq!(areas.state(Class::Credential, 10).unwrap(), State::Locked);
    assert!(!mail.join("letter").exists());
    let names = fs::read_dir(disk.mount().join("ce/10")).unwrap();
    assert!(names.flatten().all(|entry| entry.file_name() != "mail"));
    let locked = areas.directory(Class::Credential, 10, "mail", 10_002);
    assert!(matches!(locked, Err(AreaError::Locked(_))));
    // DE is open all the while.
    assert_eq!(fs::read_to_string(alarm.join("seven")).unwrap(), "ring");

    // Another key opens nothing, and does not stay in the kernel.
    let refused = areas.open(Class::Credential, 10, &Secret::new([5; 64]));
    assert!(matches!(refused, Err(AreaError::OtherKey(_))));
    let other = fscrypt::identifier(&[5; 64]);
    assert_eq!(kernel::key_status(disk.root(), &other), Ok(Presence::Absent));
    areas.open(Class::Credential, 10, &ce).unwrap();
    assert_eq!(fs::read_to_string(mail.join("letter")).unwrap(), "dear");
    areas.close(Class::Credential, 10).unwrap();
    areas.close(Class::Device, 10).unwrap();

    // Nothing of it lies on the disk in the clear, and no key.
    drop(disk.raw());
    let raw = fs::read(disk.image()).unwrap();
    let holds = |what: &[u8]| raw.windows(what.len()).any(|window| window == what);
    for secret in [&b"dear"[..], b"ring", b"letter", b"seven", &[3; 32], &[4; 32]] {
        assert!(!holds(secret), "{:?}", String::from_utf8_lossy(secret));
    }
}

#[test]
fn a_file_system_without_encryption_is_said_with_what_to_do() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let refused = Areas::at(folder.path()).unwrap_err();
    assert!(matches!(refused, AreaError::NotSupported(_)), "{refused}");
    assert!(refused.to_string().contains("tune2fs -O encrypt"));
}

#[test]
fn the_fscrypt_tool_and_this_crate_see_the_same() {
    let Some(disk) = Disk::new() else { return };
    if Command::new("fscrypt").arg("version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "fscrypt is absent");
        eprintln!("skipped: fscrypt is absent (Debian package fscrypt)");
        return;
    }
    if !Path::new("/etc/fscrypt.conf").exists() {
        assert!(std::env::var_os("CI").is_none(), "fscrypt was never set up");
        eprintln!("skipped: fscrypt was never set up (`cargo xtask test` does)");
        return;
    }
    run("fscrypt", &["setup", "--quiet", "--all-users"], &disk.mount()).unwrap();
    let key = disk.folder.path().join("key");
    let raw: [u8; 32] = crypto::random_array();
    fs::write(&key, raw).unwrap();
    let folder = disk.mount().join("theirs");
    fs::create_dir(&folder).unwrap();
    let key_option = format!("--key={}", key.display());
    let encrypt = ["encrypt", "--quiet", "--source=raw_key", "--name=test", &key_option];
    run("fscrypt", &encrypt, &folder).unwrap();
    fs::write(folder.join("file"), "theirs").unwrap();
    let Ok(Policy::V2 { identifier, .. }) = kernel::policy(File::open(&folder).unwrap()) else {
        panic!("a policy of version 2 is due");
    };
    assert_eq!(kernel::key_status(disk.root(), &identifier), Ok(Presence::Present));
    // Locked by this crate, as the tool sees it too.
    fs::File::open(disk.mount()).unwrap().sync_all().unwrap();
    kernel::remove_key(disk.root(), &identifier).unwrap();
    let status = Command::new("fscrypt").arg("status").arg(&folder).output().unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("Unlocked: No"), "{status}");
    assert!(!folder.join("file").exists());
    run("fscrypt", &["unlock", "--quiet", &key_option], &folder).unwrap();
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "theirs");
}
