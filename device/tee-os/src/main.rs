//! The trusted OS.
#![allow(dead_code)]
mod secrets;
mod storage;
fn main() {}
