//! RPMB as JEDEC defines it (JESD84-B51, 6.6.22): storage that only the holder of a key can
//! write, and whose content nobody can replay.
//!
//! Three parts: the [`Frame`], the [`RpmbDevice`] (the chip's state machine over a [`Store`]),
//! and the [`host`] (requests that the key's holder builds, responses that it checks).
//!
//! Covered: all seven requests (key programming, counter read, authenticated write and read over
//! several frames, result read, device configuration write and read), all results, counter
//! expiry. Not covered: the RPMB of UFS and NVMe, whose frames are alike and whose regions are not.
//!
//! ```
//! use rpmb::{MemoryStore, RpmbDevice, host};
//! let key = [7; 32];
//! let mut device = RpmbDevice::new(MemoryStore::new(512));
//! host::check_key(&device.exchange(&host::program_key(&key)))?;
//! let request = host::write(&key, 0, 3, &[[1; 256], [2; 256]]);
//! host::check_write(&key, 1, 3, &device.exchange(&request))?;
//! let response = device.exchange(&host::read(&[9; 16], 4, 1));
//! assert_eq!(host::check_read(&key, &[9; 16], 4, 1, &response)?, [[2; 256]]);
//! # Ok::<(), rpmb::Refused>(())
//! ```

mod configuration;
mod device;
mod frame;
pub mod host;
mod memory;

pub use configuration::{Configuration, Register};
pub use device::{RpmbDevice, Store};
pub use frame::{
    Block, COUNTER_EXPIRED, FRAME_BYTES, Frame, MAC_BYTES, MalformedFrame, NONCE_BYTES,
    OperationResult, Request, frames_mac, join, split,
};
pub use host::Refused;
pub use memory::MemoryStore;

/// Bytes of a block: what one frame carries.
pub const BLOCK_BYTES: usize = 256;
/// The most frames of one write, as the largest reliable-write size (EXT_CSD\[222\]) allows.
pub const MAX_WRITE_FRAMES: usize = 32;
