//! What developers type: up, test, bench, fuzz.

fn main() {}
