//! fscrypt: what ext4 and F2FS keep of encrypted files (`Documentation/filesystems/fscrypt.rst`).
//!
//! A [`Context`] stands in a hidden extended attribute of each encrypted file, directory and
//! symbolic link: its [`Policy`] and a nonce. With the master key of the policy it gives a
//! [`Contents`] or a [`Names`], which open and seal what lies on the disk.
//!
//! Policies of version 1 and 2; AES-256-XTS contents and AES-256-CTS names; keys for each file,
//! `IV_INO_LBLK_64` and `IV_INO_LBLK_32`; data units smaller than a block. **Not covered**:
//! `DIRECT_KEY`, Adiantum, HCTR2, AES-128, SM4, keys wrapped by hardware, case-folded directories'
//! hashes: [`Error::Unsupported`].
//!
//! ```
//! use fscrypt::{Context, Flags, Mode, Owner, Policy, identifier};
//!
//! let master = [7; 64];
//! let policy = Policy::V2 {
//!     contents: Mode::AES_256_XTS,
//!     names: Mode::AES_256_CTS,
//!     flags: Flags::PAD_32,
//!     log2_data_unit: 0,
//!     identifier: identifier(&master),
//! };
//! let context = Context { policy, nonce: [1; 16] };
//! let names = context.names(&master, &Owner { uuid: [0; 16], inode: 12 })?;
//! let sealed = names.seal(b"diary", 255)?;
//! assert_eq!(sealed.len(), 32);
//! assert_eq!(names.open(&sealed)?, b"diary");
//! # Ok::<(), fscrypt::Error>(())
//! ```

mod contents;
mod error;
mod keys;
mod names;
mod policy;
mod siphash;

pub use contents::Contents;
pub use error::Error;
pub use keys::{Owner, identifier, v1_descriptor};
pub use names::{Names, symlink_ciphertext};
pub use policy::{Context, Flags, Mode, Policy};
