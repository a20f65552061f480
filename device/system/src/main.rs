//! The system daemon: local API, the phone's screen, everything put together.

fn main() {}
