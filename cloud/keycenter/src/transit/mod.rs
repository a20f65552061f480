//! The transit engine: keys with versions, and what is done with them.

mod key;
mod operation;

pub(crate) use key::KeyRing;
pub(crate) use operation::{
    ConfigBody, CreateBody, CryptoBody, DataKeyBody, RandomBody, Verb, data_key, random, run,
};
