//! A QEMU guest with Debian's kernel under software emulation: a script, some disks, what it says.

use crate::data::program;
use bootimg::cpio::Writer;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Far more than a boot takes where software emulates the processor and others work too.
const PATIENCE: Duration = Duration::from_secs(240);

/// What scripts use of busybox.
const APPLETS: [&str; 5] = ["insmod", "mount", "poweroff", "sha256sum", "dmesg"];

/// What the guest is made from.
pub(crate) struct Guest {
    qemu: PathBuf,
    kernel: PathBuf,
    busybox: PathBuf,
    dmsetup: PathBuf,
}

impl Guest {
    /// Says in one line what is absent.
    pub(crate) fn new() -> Option<Self> {
        let qemu = program("qemu-system-x86_64", "qemu-system-x86")?;
        let busybox = program("busybox", "busybox-static")?;
        let dmsetup = program("dmsetup", "dmsetup")?;
        // Where `cargo xtask test` puts it: beside the folder of the programs.
        let programs = Path::new(env!("CARGO_BIN_EXE_holdfast")).parent().expect("a folder");
        let beside = || programs.join("../peers/kernel");
        let kernel = std::env::var_os("HOLDFAST_KERNEL").map_or_else(beside, PathBuf::from);
        if !kernel.join("modules").exists() {
            assert!(std::env::var_os("CI").is_none(), "no kernel at {}", kernel.display());
            eprintln!("skipped: no kernel for a guest (`cargo xtask test` gets Debian's)");
            return None;
        }
        Some(Self { qemu, kernel, busybox, dmsetup })
    }

    /// Boots with `disks` as /dev/vda, /dev/vdb …, runs `script` with busybox's shell as the
    /// first process, and gives all that came over the serial line.
    pub(crate) fn run(&self, folder: &Path, disks: &[PathBuf], script: &str) -> String {
        let initramfs = folder.join("initramfs");
        std::fs::write(&initramfs, self.initramfs(script)).expect("it is written");
        let mut qemu = Command::new(&self.qemu);
        qemu.args(["-accel", "tcg", "-cpu", "max", "-m", "384", "-nographic", "-no-reboot"])
            .args(["-nodefaults", "-serial", "stdio", "-kernel"])
            .arg(self.kernel.join("vmlinuz"))
            .arg("-initrd")
            .arg(&initramfs)
            .args([
                "-append",
                "console=ttyS0 quiet loglevel=5 panic=-1 rdinit=/init mitigations=off",
            ]);
        for disk in disks {
            let drive = format!("file={},format=raw,if=virtio,readonly=on", disk.display());
            qemu.args(["-drive", &drive]);
        }
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut guest = qemu.spawn().expect("QEMU starts");
        let mut serial = guest.stdout.take().expect("piped");
        let (said, ended) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = serial.read_to_end(&mut bytes);
            let _ = said.send(());
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let in_time = ended.recv_timeout(PATIENCE).is_ok();
        let _ = guest.kill();
        guest.wait().expect("it can be waited for");
        let said = reader.join().expect("it reads to the end");
        assert!(in_time, "the guest did not end within {PATIENCE:?}; it said:\n{said}");
        said
    }

    fn initramfs(&self, script: &str) -> Vec<u8> {
        let mut archive = Archive::default();
        archive.program("/bin/busybox", &self.busybox);
        archive.program("/bin/dmsetup", &self.dmsetup);
        for applet in APPLETS {
            archive.writer.symlink(&format!("bin/{applet}"), "busybox").expect("a link");
        }
        for folder in ["proc", "sys", "dev"] {
            archive.writer.directory(folder, 0o755).expect("a folder");
        }
        let order = std::fs::read_to_string(self.kernel.join("modules")).expect("it is there");
        let mut init = "#!/bin/busybox sh\n\
            export PATH=/bin\n\
            mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n"
            .to_owned();
        for module in order.lines() {
            let name = format!("{module}.ko");
            let bytes = std::fs::read(self.kernel.join(&name)).expect("a module");
            archive.file(&format!("/modules/{name}"), 0o644, &bytes);
            init += &format!("insmod /modules/{name} || echo no module {module}\n");
        }
        init += script;
        init += "\npoweroff -f\n";
        archive.file("/init", 0o755, init.as_bytes());
        archive.writer.finish()
    }
}

/// An initramfs that grows.
#[derive(Default)]
struct Archive {
    writer: Writer,
    folders: BTreeSet<String>,
}

impl Archive {
    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        let path = path.trim_start_matches('/');
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        for folder in folders {
            if self.folders.insert(folder.to_owned()) {
                self.writer.directory(folder, 0o755).expect("a folder");
            }
        }
        self.writer.file(path, mode, bytes).expect("a file");
    }

    /// A program and the libraries that the loader would give it here.
    fn program(&mut self, path: &str, program: &Path) {
        self.file(path, 0o755, &std::fs::read(program).expect("a program"));
        let needs = Command::new("ldd").arg(program).output().expect("ldd runs");
        let needs = String::from_utf8_lossy(&needs.stdout).into_owned();
        for library in needs.split_whitespace().filter(|word| word.starts_with('/')) {
            if self.folders.insert(format!("{library} is there")) {
                self.file(library, 0o755, &std::fs::read(library).expect("a library"));
            }
        }
    }
}
