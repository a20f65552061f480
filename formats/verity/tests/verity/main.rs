//! Tests of the crate's interface. Peers are veritysetup and avbtool's images.

mod fec;
mod peer;
mod trees;
