//! Hardware that could stand in for parts of the emulated board.

use super::{Finding, Subject, Trial};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs;

pub(super) fn findings() -> [Finding; 2] {
    [tpm(), kvm()]
}

fn open(path: &str) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

fn tpm() -> Finding {
    let version = fs::read_to_string("/sys/class/tpm/tpm0/tpm_version_major");
    let version = version.map(|version| version.trim().to_owned());
    let trial: Trial = match (open("/dev/tpmrm0"), version) {
        (Ok(_), Ok(version)) => Ok(format!("version {version}, /dev/tpmrm0 opens")),
        (Ok(_), Err(_)) => Ok("/dev/tpmrm0 opens".to_owned()),
        (Err(error), Ok(version)) => Err(format!("version {version}, but /dev/tpmrm0: {error}")),
        (Err(Errno::NOENT), Err(_)) => Err("no TPM".to_owned()),
        (Err(error), Err(_)) => Err(format!("/dev/tpmrm0: {error}")),
    };
    Subject {
        name: "tpm",
        title: "TPM 2.0",
        required: false,
        used: "`holdfast device make --board tpm2=device:/dev/tpmrm0`; without it the board is \
               emulated",
        instead: "the emulated board: HUK, fuses and counters are 0600 files; or an swtpm, see \
                  docs/tpm.md",
        stronger: "a TPM, real or virtual: whoever copies the state folder copies an emulated board",
    }
    .found(trial)
}

fn kvm() -> Finding {
    Subject {
        name: "kvm",
        title: "KVM",
        required: false,
        used: "nobody yet: normal and secure world are kept apart by namespaces",
        instead: "normal and secure world are kept apart by namespaces",
        stronger: "virtualisation, and /dev/kvm open to this user (group kvm): the worlds could \
                   have kernels of their own",
    }
    .found(kvm_version().map_err(|error| format!("/dev/kvm: {error}")))
}

fn kvm_version() -> Result<String, Errno> {
    /// `_IO(0xae, 0)`.
    const GET_API_VERSION: libc::Ioctl = 0xae00;
    let kvm = open("/dev/kvm")?;
    // SAFETY: takes no argument and changes nothing.
    match unsafe { libc::ioctl(kvm.as_raw_fd(), GET_API_VERSION, 0) } {
        version @ 1.. => Ok(format!("API {version}")),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
