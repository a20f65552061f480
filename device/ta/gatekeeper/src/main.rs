//! Trusted application: screen lock and the keys that it guards.

fn main() {}
