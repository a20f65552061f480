//! What a flash image is made of. Each format has a module of its own:
//!
//! | module | format | specification |
//! |---|---|---|
//! | [`gpt`] | GUID partition table with its protective MBR | UEFI 2.10, 5.2.3 and 5.3 |
//! | [`boot`] | Android boot image, version 0 to 4, and vendor boot image | AOSP `bootimg.h` |
//! | [`cpio`] | cpio archive, "newc" | Linux `buffer-format.rst`, cpio(5) |
//! | [`misc`] | the misc partition: A/B slot metadata, and how a slot is chosen | AOSP `libavb_ab`, `boot_control` |
//!
//! All are strict: a reader refuses what the writer would not write — trailing bytes, non-zero
//! padding and reserved fields, names that leave the tree. Not covered: GPT sectors of other than
//! 512 bytes, compressed archives.

pub mod boot;
pub mod cpio;
pub mod gpt;
pub mod misc;
