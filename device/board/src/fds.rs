//! The descriptors that the stages inherit, by number. Nothing else of the board reaches them.
//!
//! | fd | what | who holds it |
//! |---|---|---|
//! | 3 | [`SECURE`]: SEQPACKET to the board's secure services | bl1, tee-os |
//! | 4 | [`FLASH`]: the flash image, read and write | bl1, bl2, init, system |
//! | 5 | [`LOG`]: write end of a pipe, one JSON [`crate::report::Record`] a line | all stages |
//! | 6 | [`TEE_LISTENER`]: listening SEQPACKET socket that REE programs connect to | bl1, tee-os |
//! | 7 | [`TRUSTED_UI`]: SEQPACKET to the trusted screen and its keys | bl1, tee-os |
//! | 8 | [`POWER`]: read end of a pipe that never carries data; end of file = power is gone | all |
//! | 9 | [`MODEM`]: SEQPACKET over which the verified modem firmware is handed to the board | bl1, bl2 |
//! | 10 | [`IMAGE`]: sealed memfd with the verified image that a stage came from | tee-os, init |
//! | 11 | [`BOOT`]: SEQPACKET between the bootloaders and the TEE; closed before the system runs | bl1, bl2, tee-os |
//! | 12 | [`KASLR`]: pipe with the seed of the kernel's layout, 8 bytes | init |
//! | 13 | [`FUSE`]: the place of `/dev/fuse`, where the host has it; whoever wants to use it opens it anew | bl2, init |
//! | 14 | [`RAMDISK`]: sealed memfd with the boot image's ramdisk, where recovery runs | init, recovery |
//! | 15 | [`TEE_LOG`]: as [`LOG`], for the trusted OS alone: it gets this one in the other's place | bl1 |

/// The board's secure services.
pub const SECURE: i32 = 3;
/// The flash image.
pub const FLASH: i32 = 4;
/// The boot log.
pub const LOG: i32 = 5;
/// Where REE programs connect to the TEE.
pub const TEE_LISTENER: i32 = 6;
/// The trusted screen and its keys.
pub const TRUSTED_UI: i32 = 7;
/// End of file here means that power is gone.
pub const POWER: i32 = 8;
/// The modem's loader.
pub const MODEM: i32 = 9;
/// The verified image that a stage came from.
pub const IMAGE: i32 = 10;
/// Between the bootloaders and the TEE.
pub const BOOT: i32 = 11;
/// The seed of the kernel's layout.
pub const KASLR: i32 = 12;
/// The place of `/dev/fuse` (an `O_PATH` descriptor): the normal world has no such node.
pub const FUSE: i32 = 13;
/// The ramdisk of the verified boot image; only where recovery runs instead of the system.
pub const RAMDISK: i32 = 14;
/// The trusted OS's own log: records that count because nobody else can write them. Level 1 gives
/// it to the trusted OS as [`LOG`].
pub const TEE_LOG: i32 = 15;
