//! What lies in a vault's folder.

pub(crate) mod config;
pub(crate) mod keys;
pub(crate) mod layout;
pub(crate) mod link;
pub(crate) mod names;
pub(crate) mod page;
