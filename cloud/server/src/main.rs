//! The cloud: services put together, and the web console.

fn main() {}
