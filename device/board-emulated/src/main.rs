//! The emulated board: boot ROM, fuses, HUK, RPMB, trusted screen, radio.

fn main() {}
