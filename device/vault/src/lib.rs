//! Areas: trees of files, each file encrypted under its own key (SPEC S3.1.1), in user space.
//!
//! An [`Area`] lies in a folder of the data partition and opens with a class key that the TEE
//! releases: the CE key after the first unlock, the DE key at boot. The TEE destroys the keys on
//! erase; [`erase`] then removes what they opened.
//!
//! # What is on the disk
//! ```text
//! area        head: magic, area id, sealed id of the root directory
//! tree/       the mirrored tree: encrypted names; each directory has a file .dir
//! notes/      small encrypted files beside the tree, for whoever keeps state about it
//! writing     there when temporaries (.t-…) may be in the tree: the next open removes them
//! ```
//! Every file begins with a sealed header (kind, mode, time, size, place) and goes on with sealed
//! blocks of 64 KiB; its key is HKDF(class key, random file nonce). Symbolic links are small
//! files too. Names are AES-256-GCM-SIV under the class key, with the directory's random id as
//! nonce, padded to 16 bytes; an encrypted name that is too long lies in a file beside its entry.
//!
//! # What an attacker who can write the disk cannot do unseen
//! Alter, cut, reorder or exchange blocks; fill or make holes; alter mode, time or size; give a
//! file another name or directory; exchange two files; move a directory; bring files of another
//! area, user or device. **Not detected**: an older state of a whole file under the same name, a
//! missing entry, and the exchange of names among files that have several (hard links carry no
//! binding to one place).
//!
//! # Durability
//! A method of [`Area`] that changes something has it on the disk when it returns. A [`Batch`]
//! writes everything through temporaries and renames, and calls `syncfs` once at its end:
//! acknowledged is what came before a successful [`Batch::finish`]. After a power cut every
//! file is there whole, old or new, or not at all.
//!
//! Later backends (kernel fscrypt, FUSE) stand behind the same methods.

mod area;
mod batch;
mod content;
mod disk;
mod erase;
mod error;
mod header;
mod keys;
mod node;
mod notes;
mod reader;
mod tar;
pub mod userdata;

pub use area::{Area, Kind, Metadata};
pub use batch::{Batch, Failure};
pub use content::BLOCK_BYTES;
pub use erase::{Erased, erase};
pub use error::VaultError;
pub use header::Attributes;
pub use keys::Id;
pub use reader::FileReader;
pub use tar::{TransferError, export_tar, import_tar, replace_with_tar};
