//! The kernel's ioctls (`include/uapi/linux/fscrypt.h`).

use fscrypt::Policy;
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::ioctl::{Updater, ioctl, opcode};
use zeroize::Zeroize;

const KEY_SPEC_IDENTIFIER: u32 = 2;
const IDENTIFIER_BYTES: usize = 16;
/// The longest master key.
const MAX_KEY_BYTES: usize = 64;
const FILES_BUSY: u32 = 1;
const OTHER_USERS: u32 = 2;

/// `fscrypt_key_specifier`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Specifier {
    kind: u32,
    reserved: u32,
    name: [u8; 32],
}

impl Specifier {
    fn of(identifier: &[u8; IDENTIFIER_BYTES]) -> Self {
        let mut name = [0; 32];
        name[..IDENTIFIER_BYTES].copy_from_slice(identifier);
        Self { kind: KEY_SPEC_IDENTIFIER, reserved: 0, name }
    }
}

/// `fscrypt_add_key_arg`, and the key behind it.
#[repr(C)]
struct AddKey {
    specifier: Specifier,
    raw_bytes: u32,
    key_id: u32,
    flags: u32,
    reserved: [u32; 7],
    raw: [u8; MAX_KEY_BYTES],
}

/// `fscrypt_remove_key_arg`.
#[repr(C)]
struct RemoveKey {
    specifier: Specifier,
    status: u32,
    reserved: [u32; 5],
}

/// `fscrypt_get_key_status_arg`.
#[repr(C)]
struct KeyStatus {
    specifier: Specifier,
    reserved: [u32; 6],
    status: u32,
    status_flags: u32,
    users: u32,
    out_reserved: [u32; 13],
}

/// `fscrypt_get_policy_ex_arg`.
#[repr(C)]
struct GetPolicy {
    bytes: u64,
    policy: [u8; 24],
}

const fn header<T>(bytes: usize) -> bool {
    size_of::<T>() == bytes
}
const _: () = assert!(header::<AddKey>(80 + MAX_KEY_BYTES) && header::<RemoveKey>(64));
const _: () = assert!(header::<KeyStatus>(128) && header::<GetPolicy>(32));

/// What the kernel knows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing: what it encrypts is locked.
    Absent,
    /// It has it.
    Present,
    /// It was removed while files were open: those go on, no other opens.
    IncompletelyRemoved,
}

/// What became of a key that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Files are still open, and the kernel keeps their own keys until they are closed.
    pub files_busy: bool,
    /// Other users added the key too, and have it still.
    pub other_users: bool,
}

/// Gives the kernel a master key, for the file system that `place` is on; its name comes back.
/// `EINVAL` for a key that is too short or too long, `EOPNOTSUPP` or `ENOTTY` where the file
/// system does not encrypt.
pub fn add_key(place: impl AsFd, master: &[u8]) -> Result<[u8; 16], Errno> {
    let mut argument = AddKey {
        specifier: Specifier::of(&[0; IDENTIFIER_BYTES]),
        raw_bytes: u32::try_from(master.len()).map_err(|_| Errno::INVAL)?,
        key_id: 0,
        flags: 0,
        reserved: [0; 7],
        raw: [0; MAX_KEY_BYTES],
    };
    argument.raw.get_mut(..master.len()).ok_or(Errno::INVAL)?.copy_from_slice(master);
    // The kernel's number counts the part before the key.
    const ADD: rustix::ioctl::Opcode = opcode::read_write::<[u8; 80]>(b'f', 23);
    // SAFETY: FS_IOC_ADD_ENCRYPTION_KEY reads the structure and `raw_bytes` behind its 80 bytes,
    // all of which are in `AddKey`, and writes the name into it.
    let added = unsafe { ioctl(place, Updater::<ADD, AddKey>::new(&mut argument)) };
    argument.raw.zeroize();
    added?;
    Ok(*argument.specifier.name.first_chunk().expect("16 of 32 bytes"))
}

/// Takes a key from the kernel: what it encrypts is locked from then on, but for open files.
/// `ENOKEY` where the kernel has none.
pub fn remove_key(place: impl AsFd, identifier: &[u8; 16]) -> Result<Removal, Errno> {
    let specifier = Specifier::of(identifier);
    let mut argument = RemoveKey { specifier, status: 0, reserved: [0; 5] };
    const REMOVE: rustix::ioctl::Opcode = opcode::read_write::<RemoveKey>(b'f', 24);
    // SAFETY: FS_IOC_REMOVE_ENCRYPTION_KEY reads and writes this structure only.
    unsafe { ioctl(place, Updater::<REMOVE, RemoveKey>::new(&mut argument))? };
    Ok(Removal {
        files_busy: argument.status & FILES_BUSY != 0,
        other_users: argument.status & OTHER_USERS != 0,
    })
}

/// Whether the kernel has a key.
pub fn key_status(place: impl AsFd, identifier: &[u8; 16]) -> Result<Presence, Errno> {
    let mut argument = KeyStatus {
        specifier: Specifier::of(identifier),
        reserved: [0; 6],
        status: 0,
        status_flags: 0,
        users: 0,
        out_reserved: [0; 13],
    };
    const STATUS: rustix::ioctl::Opcode = opcode::read_write::<KeyStatus>(b'f', 26);
    // SAFETY: FS_IOC_GET_ENCRYPTION_KEY_STATUS reads and writes this structure only.
    unsafe { ioctl(place, Updater::<STATUS, KeyStatus>::new(&mut argument))? };
    match argument.status {
        1 => Ok(Presence::Absent),
        2 => Ok(Presence::Present),
        3 => Ok(Presence::IncompletelyRemoved),
        _ => Err(Errno::PROTO),
    }
}

/// Encrypts the empty `directory` and all that will be in it.
pub fn set_policy(directory: impl AsFd, policy: &Policy) -> Result<(), Errno> {
    let mut bytes = [0; 24];
    let encoded = policy.encode();
    bytes[..encoded.len()].copy_from_slice(&encoded);
    if matches!(policy, Policy::V1 { .. }) {
        bytes[0] = 0;
    }
    // The kernel's number says 12 bytes and reads a pointer's target, for both versions.
    const SET: rustix::ioctl::Opcode = opcode::read::<[u8; 12]>(b'f', 19);
    // SAFETY: FS_IOC_SET_ENCRYPTION_POLICY reads at most the 24 bytes of a policy.
    unsafe { ioctl(directory, Updater::<SET, [u8; 24]>::new(&mut bytes)) }
}

/// The policy of a file or directory; `ENODATA` where it is not encrypted.
pub fn policy(place: impl AsFd) -> Result<Policy, Errno> {
    let mut argument = GetPolicy { bytes: 24, policy: [0; 24] };
    const GET: rustix::ioctl::Opcode = opcode::read_write::<[u8; 9]>(b'f', 22);
    // SAFETY: FS_IOC_GET_ENCRYPTION_POLICY_EX reads the number of bytes and writes so many.
    unsafe { ioctl(place, Updater::<GET, GetPolicy>::new(&mut argument))? };
    let bytes = usize::try_from(argument.bytes).ok();
    let policy = bytes.and_then(|bytes| argument.policy.get(..bytes)).ok_or(Errno::PROTO)?;
    Policy::decode(policy).map_err(|_| Errno::OPNOTSUPP)
}
