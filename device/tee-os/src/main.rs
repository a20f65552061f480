//! The trusted OS.

fn main() {}
