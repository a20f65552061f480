//! The modem's firmware: relays the device's connections to the network.

fn main() {}
