//! The Key Center: keys in hands apart from business and data.

fn main() {}
