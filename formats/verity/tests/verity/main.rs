//! Tests of the crate's interface. Peers are veritysetup and avbtool's images.

mod family;
mod fec;
mod peer;
mod repair;
mod superblock;
mod table;
mod trees;
