//! Peers: other people's programs that the tests and benchmarks run unchanged.
//!
//! They are installed with the system's package manager when that is allowed; else one line
//! says what to install. Under CI a missing peer is an error.

use crate::shell::{has, output, root, run, target_dir};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program and the Debian package that has it.
struct Peer {
    program: &'static str,
    package: &'static str,
}

const fn peer(program: &'static str, package: &'static str) -> Peer {
    Peer { program, package }
}

const TEST_PEERS: &[Peer] = &[
    peer("g++", "g++"),
    peer("veritysetup", "cryptsetup-bin"),
    peer("img2simg", "android-sdk-libsparse-utils"),
    peer("sgdisk", "gdisk"),
    peer("sfdisk", "fdisk"),
    peer("mkbootimg", "mkbootimg"),
    peer("mmc", "mmc-utils"),
    peer("cpio", "cpio"),
    peer("openssl", "openssl"),
    peer("bsdiff", "bsdiff"),
    peer("bspatch", "bsdiff"),
    peer("xz", "xz-utils"),
    peer("bzip2", "bzip2"),
    peer("zstd", "zstd"),
    peer("unzip", "unzip"),
    peer("curl", "curl"),
    peer("tar", "tar"),
    peer("python3", "python3"),
    peer("node", "nodejs"),
    peer("npm", "npm"),
    peer("chromium", "chromium"),
    peer("qemu-system-x86_64", "qemu-system-x86"),
    peer("busybox", "busybox-static"),
    peer("socat", "socat"),
    peer("dmsetup", "dmsetup"),
    peer("swtpm", "swtpm"),
    peer("tpm2_pcrread", "tpm2-tools"),
    peer("pkcs11-tool", "opensc"),
    peer("p11tool", "gnutls-bin"),
    peer("pcscd", "pcscd"),
    peer("/usr/share/doc/vsmartcard-vpcd/copyright", "vsmartcard-vpcd"),
    peer("yubico-piv-tool", "yubico-piv-tool"),
    peer("unshare", "util-linux"),
    peer("ip", "iproute2"),
    peer("ssh-keygen", "openssh-client"),
    peer("/usr/sbin/sshd", "openssh-server"),
    peer("/usr/share/doc/libengine-pkcs11-openssl/copyright", "libengine-pkcs11-openssl"),
    peer("fusermount3", "fuse3"),
    peer("fscrypt", "fscrypt"),
    peer("mkfs.ext4", "e2fsprogs"),
];

/// What a guest of QEMU loads to have disks and dm-verity, each after what it needs. Debian
/// builds all of these as modules.
const KERNEL_MODULES: &[&str] = &[
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "reed_solomon",
    "dm-mod",
    "dm-bufio",
    "dm-verity",
    "sha512_generic",
    "blake2b_generic",
];

const BENCH_PEERS: &[Peer] = &[
    peer("rclone", "rclone"),
    peer("gocryptfs", "gocryptfs"),
    peer("fusermount", "fuse3"),
    peer("veritysetup", "cryptsetup-bin"),
    peer("xz", "xz-utils"),
    peer("zstd", "zstd"),
    peer("softhsm2-util", "softhsm2"),
    peer("pcscd", "pcscd"),
    peer("/usr/share/doc/vsmartcard-vpcd/copyright", "vsmartcard-vpcd"),
];

/// Installs what the tests need.
pub(crate) fn for_tests() -> Result<()> {
    debian(TEST_PEERS)?;
    browser_packages()?;
    python_packages()?;
    pjdfstest()?;
    fscrypt_config()?;
    kernel()
}

/// Installs what the benchmarks need.
pub(crate) fn for_benches() -> Result<()> {
    debian(BENCH_PEERS)
}

fn debian(peers: &[Peer]) -> Result<()> {
    let missing: Vec<&str> =
        peers.iter().filter(|peer| !has(peer.program)).map(|peer| peer.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if has("apt-get") && is_root() {
        eprintln!("installing {packages}");
        let quiet = |args: &[&str]| {
            run(Command::new("apt-get")
                .args(args)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdout(Stdio::null()))
        };
        quiet(&["update", "-qq"])?;
        let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
        install.extend(&missing);
        return quiet(&install);
    }
    absent(&format!("these are missing: install the packages {packages}"))
}

/// pjdfstest holds a file system against POSIX. As other crates, it is built from the registry.
fn pjdfstest() -> Result<()> {
    let folder = pjdfstest_dir()?;
    if folder.join("bin/pjdfstest").exists() {
        return Ok(());
    }
    let install = ["install", "--quiet", "--locked", "--version", "0.2.2", "--root"];
    run(Command::new("cargo").args(install).arg(folder).arg("pjdfstest").current_dir("/"))
}

/// The fscrypt tool wants its configuration, which it makes itself, before it does anything.
fn fscrypt_config() -> Result<()> {
    let made = Path::new("/etc/fscrypt.conf").exists();
    if made || !has("fscrypt") || !is_root() {
        return Ok(());
    }
    run(Command::new("fscrypt").args(["setup", "--quiet"]).stdout(Stdio::null()))
}

/// Playwright drives Chromium; axe finds what people with disabilities would stumble over.
fn browser_packages() -> Result<()> {
    let folder = browser_dir()?;
    if folder.join("node_modules/playwright-core").exists()
        && folder.join("node_modules/axe-core").exists()
    {
        return Ok(());
    }
    if !has("npm") {
        return absent("npm is missing: the browser tests need playwright-core and axe-core");
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(root().join("holdfast/tests/browser/package.json"), folder.join("package.json"))?;
    run(Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(&folder))
}

/// What the tests drive in Python: the most used client of the Transit API, PKCS #11, a WebAuthn
/// relying party, readers of JSON Web Tokens and of mobile documents, of what is encrypted for
/// them, and an encoder of DER.
const PYTHON_PACKAGES: &[&str] = &[
    "hvac",
    PYTHON_SUITE,
    "webauthn",
    "pyjwt[crypto]",
    "joserfc",
    "pymdoccbor",
    "pyasn1",
    // What python-pkcs11's own tests need.
    "pytest",
    "parameterized",
];

/// The package whose own tests are run unchanged: its source distribution lies in `suites` of the
/// environment.
const PYTHON_SUITE: &str = "python-pkcs11==0.10.1";

/// Python packages, in an environment of its own. A file in it says which are there.
fn python_packages() -> Result<()> {
    let folder = python_dir()?;
    let (list, due) = (folder.join("packages"), PYTHON_PACKAGES.join("\n"));
    if std::fs::read_to_string(&list).is_ok_and(|there| there == due) {
        return Ok(());
    }
    if !has("python3") {
        return absent("python3 is missing: tests with Python peers need it");
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let pip = folder.join("bin/pip");
    run(Command::new(&pip).args(["install", "--quiet"]).args(PYTHON_PACKAGES))?;
    let suites = folder.join("suites");
    let source = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest"];
    run(Command::new(pip).args(source).arg(&suites).arg(PYTHON_SUITE))?;
    for archive in find(&suites, "gz")? {
        run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&suites))?;
    }
    Ok(std::fs::write(list, due)?)
}

/// Debian's kernel, unpacked but not installed: `vmlinuz`, modules, and `modules`, their order.
fn kernel() -> Result<()> {
    let folder = kernel_dir()?;
    if folder.join("modules").exists() {
        return Ok(());
    }
    if !has("apt-get") || !has("dpkg-deb") {
        return absent("no Debian here: the tests in a QEMU guest need its kernel");
    }
    let work = folder.join("unpacked");
    std::fs::create_dir_all(&work)?;
    let depends = output(Command::new("apt-cache").args(["depends", "linux-image-amd64"]))?;
    let Some(package) = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "))
    else {
        return absent("linux-image-amd64 is not known: is this machine's apt up to date?");
    };
    // apt's own user can't write here; without the option it only warns.
    let download = ["download", "-qq", "-o", "APT::Sandbox::User=root", package];
    run(Command::new("apt-get").args(download).current_dir(&folder))?;
    let archive = find(&folder, "deb")?.into_iter().next().context("apt-get download kept none")?;
    run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&work))?;
    for file in std::fs::read_dir(work.join("boot"))? {
        let path = file?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")) {
            std::fs::copy(path, folder.join("vmlinuz"))?;
        }
    }
    for path in find(&work, "ko")? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if KERNEL_MODULES.contains(&&*name) {
            std::fs::copy(&path, folder.join(format!("{name}.ko")))?;
        }
    }
    std::fs::remove_dir_all(work)?;
    std::fs::remove_file(archive)?;
    // The last file: with it the folder is whole.
    Ok(std::fs::write(folder.join("modules"), KERNEL_MODULES.join("\n"))?)
}

/// Files with this extension in `folder` and below.
fn find(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let (path, kind) = entry.and_then(|it| Ok((it.path(), it.file_type()?)))?;
        if kind.is_dir() {
            found.extend(find(&path, extension)?);
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Where the kernel is.
pub(crate) fn kernel_dir() -> Result<PathBuf> {
    Ok(target_dir()?.join("peers/kernel"))
}

/// Where the browser's packages are.
pub(crate) fn browser_dir() -> Result<PathBuf> {
    Ok(target_dir()?.join("peers/browser"))
}

/// Where pjdfstest is.
pub(crate) fn pjdfstest_dir() -> Result<PathBuf> {
    Ok(target_dir()?.join("peers/pjdfstest"))
}

/// Where the Python packages are.
pub(crate) fn python_dir() -> Result<PathBuf> {
    Ok(target_dir()?.join("peers/python"))
}

/// Says what is missing; under CI that is an error.
pub(crate) fn absent(message: &str) -> Result<()> {
    if std::env::var_os("CI").is_some() {
        bail!("{message}");
    }
    eprintln!("xtask: {message}; tests that need them will say so and not run");
    Ok(())
}

fn is_root() -> bool {
    // The owner of /proc/self is the effective user of this process.
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}
