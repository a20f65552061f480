//! Tests of the crate's interface. Peers are veritysetup and avbtool's images.

mod peer;
mod trees;
