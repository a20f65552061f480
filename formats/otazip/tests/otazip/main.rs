//! OTA files: made, signed, tricked with; real ones; and other people's programs.

mod index;
mod parts;
mod policy;
mod signatures;
mod streamed;
mod support;
mod zips;
