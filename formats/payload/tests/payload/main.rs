//! Payloads, made, signed, broken, applied; real ones; and other people's programs.

mod computed;
mod delta;
mod hostile;
mod peers;
mod round_trip;
mod samples;
mod signatures;
mod support;
