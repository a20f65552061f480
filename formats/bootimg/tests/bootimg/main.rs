//! Tests of the crate's interface, one module for each format. Peers (Debian packages gdisk,
//! mkbootimg, cpio) are compared with where they are present.

mod boot;
mod cpio;
mod flow;
mod gpt;
mod legacy;
mod misc;
mod peer;
mod vendor;
