//! The interface: the functions, and the lists that programs find them by.

mod absent;
mod ciphers;
mod digests;
mod general;
mod keys;
mod messages;
mod objects;
mod sessions;
mod signatures;
mod slots;
mod table;

pub use table::{C_GetFunctionList, C_GetInterface, C_GetInterfaceList};
