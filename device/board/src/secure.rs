//! The board's secure services: what only the trusted side can ask.

use crate::channel::{self, ChannelError};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::sync::Mutex;

/// The fuse counter that guards the level-1 bootloader.
pub const BL1_COUNTER: u8 = 0;
/// The fuse counter that guards the TEE.
pub const TEE_COUNTER: u8 = 1;

/// Where in its life a board is. It only moves forward; the fuse that holds it is write-once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LifeCycle {
    /// In the factory: the device certificate may be installed.
    Factory,
    /// In somebody's hands.
    Deployed,
}

/// Why the board refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SiliconError {
    /// The board is gone, or what it said is not a message.
    #[error("the board does not answer: {0}")]
    Unreachable(String),
    /// It can't be done; the reason is for people.
    #[error("the board refused: {0}")]
    Refused(String),
}

impl From<ChannelError> for SiliconError {
    fn from(error: ChannelError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// What hardware gives to the trusted side. The HUK can be used, never read.
pub trait Silicon: Send + Sync {
    /// SHA-256 of each root public key of the maker (AVB public-key blob) that still counts,
    /// from the fuses: those that were burnt in and not revoked.
    fn root_key_hashes(&self) -> Result<Vec<[u8; 32]>, SiliconError>;
    /// Serial number, from the fuses.
    fn serial(&self) -> Result<String, SiliconError>;
    /// HKDF-SHA-256 of the HUK with `label` and `context`: a key that only this board has.
    fn derive(&self, label: &str, context: &[u8]) -> Result<[u8; 32], SiliconError>;
    /// True random bytes, at most 256 at once.
    fn random(&self, bytes: usize) -> Result<Vec<u8>, SiliconError>;
    /// The life cycle, from the fuses.
    fn life_cycle(&self) -> Result<LifeCycle, SiliconError>;
    /// Blows the life-cycle fuse: from [`LifeCycle::Factory`] to [`LifeCycle::Deployed`].
    fn deploy(&self) -> Result<(), SiliconError>;
    /// The anti-rollback fuse counter at `location` (0..8).
    fn fuse_counter(&self, location: u8) -> Result<u64, SiliconError>;
    /// Raises an anti-rollback fuse counter; refuses to lower it.
    fn raise_fuse_counter(&self, location: u8, value: u64) -> Result<(), SiliconError>;
    /// One RPMB exchange: request frames in (JESD84-B51), response frames out (empty where the
    /// request has none).
    fn rpmb(&self, frames: &[u8]) -> Result<Vec<u8>, SiliconError>;
    /// Milliseconds since power-on, from the board's own counter.
    fn uptime_ms(&self) -> Result<u64, SiliconError>;
}

/// A question to the board on [`crate::fds::SECURE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// See [`Silicon::root_key_hashes`].
    RootKeyHashes,
    /// See [`Silicon::serial`].
    Serial,
    /// See [`Silicon::derive`].
    Derive {
        /// What the key is for.
        label: String,
        /// What it is bound to.
        context: ByteBuf,
    },
    /// See [`Silicon::random`].
    Random {
        /// How many.
        bytes: u16,
    },
    /// See [`Silicon::life_cycle`].
    LifeCycle,
    /// See [`Silicon::deploy`].
    Deploy,
    /// See [`Silicon::fuse_counter`].
    FuseCounter {
        /// Which of the counters.
        location: u8,
    },
    /// See [`Silicon::raise_fuse_counter`].
    RaiseFuseCounter {
        /// Which of the counters.
        location: u8,
        /// Its new value.
        value: u64,
    },
    /// See [`Silicon::rpmb`].
    Rpmb {
        /// Request frames of 512 bytes each.
        frames: ByteBuf,
    },
    /// See [`Silicon::uptime_ms`].
    Uptime,
}

/// The board's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Bytes: a hash, a key, random bytes, RPMB frames.
    Bytes(ByteBuf),
    /// Text: the serial number.
    Text(String),
    /// A number: a counter, milliseconds.
    Number(u64),
    /// The life cycle.
    LifeCycle(LifeCycle),
    /// Done; nothing to tell.
    Done,
    /// Refused.
    Refused(SiliconError),
}

/// Answers `request` from `silicon`: the board's side of the channel.
pub fn answer(silicon: &dyn Silicon, request: Request) -> Reply {
    let bytes = |value: Vec<u8>| Reply::Bytes(ByteBuf::from(value));
    let result = match request {
        Request::RootKeyHashes => {
            silicon.root_key_hashes().map(|hashes| bytes(hashes.as_flattened().to_vec()))
        }
        Request::Serial => silicon.serial().map(Reply::Text),
        Request::Derive { label, context } => {
            silicon.derive(&label, &context).map(|key| bytes(key.to_vec()))
        }
        Request::Random { bytes: count } => silicon.random(count.into()).map(bytes),
        Request::LifeCycle => silicon.life_cycle().map(Reply::LifeCycle),
        Request::Deploy => silicon.deploy().map(|()| Reply::Done),
        Request::FuseCounter { location } => silicon.fuse_counter(location).map(Reply::Number),
        Request::RaiseFuseCounter { location, value } => {
            silicon.raise_fuse_counter(location, value).map(|()| Reply::Done)
        }
        Request::Rpmb { frames } => silicon.rpmb(&frames).map(bytes),
        Request::Uptime => silicon.uptime_ms().map(Reply::Number),
    };
    result.unwrap_or_else(Reply::Refused)
}

/// The board at the other end of a channel: the stages' side.
#[derive(Debug)]
pub struct RemoteSilicon(Mutex<OwnedFd>);

impl RemoteSilicon {
    /// Speaks over `socket` (a stage's [`crate::fds::SECURE`]).
    #[must_use]
    pub const fn new(socket: OwnedFd) -> Self {
        Self(Mutex::new(socket))
    }

    fn ask(&self, request: &Request) -> Result<Reply, SiliconError> {
        let socket = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        channel::send(&*socket, request)?;
        match channel::receive(&*socket)? {
            Reply::Refused(error) => Err(error),
            reply => Ok(reply),
        }
    }

    fn ask_bytes(&self, request: &Request) -> Result<Vec<u8>, SiliconError> {
        match self.ask(request)? {
            Reply::Bytes(bytes) => Ok(bytes.into_vec()),
            other => Err(unexpected(&other)),
        }
    }

    fn ask_array(&self, request: &Request) -> Result<[u8; 32], SiliconError> {
        self.ask_bytes(request)?
            .try_into()
            .map_err(|_| SiliconError::Unreachable("not 32 bytes".into()))
    }

    fn ask_number(&self, request: &Request) -> Result<u64, SiliconError> {
        match self.ask(request)? {
            Reply::Number(number) => Ok(number),
            other => Err(unexpected(&other)),
        }
    }

    fn ask_done(&self, request: &Request) -> Result<(), SiliconError> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

/// Names the kind of answer only: the bytes may be a key.
fn unexpected(reply: &Reply) -> SiliconError {
    let kind = match reply {
        Reply::Bytes(_) => "bytes",
        Reply::Text(_) => "text",
        Reply::Number(_) => "a number",
        Reply::LifeCycle(_) => "a life cycle",
        Reply::Done => "done",
        Reply::Refused(_) => "a refusal",
    };
    SiliconError::Unreachable(format!("answered with {kind} where something else was due"))
}

impl Silicon for RemoteSilicon {
    fn root_key_hashes(&self) -> Result<Vec<[u8; 32]>, SiliconError> {
        let bytes = self.ask_bytes(&Request::RootKeyHashes)?;
        match bytes.as_chunks() {
            (hashes, []) => Ok(hashes.to_vec()),
            _ => Err(SiliconError::Unreachable("not hashes of 32 bytes each".into())),
        }
    }

    fn serial(&self) -> Result<String, SiliconError> {
        match self.ask(&Request::Serial)? {
            Reply::Text(text) => Ok(text),
            other => Err(unexpected(&other)),
        }
    }

    fn derive(&self, label: &str, context: &[u8]) -> Result<[u8; 32], SiliconError> {
        self.ask_array(&Request::Derive {
            label: label.to_owned(),
            context: ByteBuf::from(context),
        })
    }

    fn random(&self, bytes: usize) -> Result<Vec<u8>, SiliconError> {
        let count = u16::try_from(bytes)
            .map_err(|_| SiliconError::Refused("at most 256 random bytes at once".into()))?;
        self.ask_bytes(&Request::Random { bytes: count })
    }

    fn life_cycle(&self) -> Result<LifeCycle, SiliconError> {
        match self.ask(&Request::LifeCycle)? {
            Reply::LifeCycle(value) => Ok(value),
            other => Err(unexpected(&other)),
        }
    }

    fn deploy(&self) -> Result<(), SiliconError> {
        self.ask_done(&Request::Deploy)
    }

    fn fuse_counter(&self, location: u8) -> Result<u64, SiliconError> {
        self.ask_number(&Request::FuseCounter { location })
    }

    fn raise_fuse_counter(&self, location: u8, value: u64) -> Result<(), SiliconError> {
        self.ask_done(&Request::RaiseFuseCounter { location, value })
    }

    fn rpmb(&self, frames: &[u8]) -> Result<Vec<u8>, SiliconError> {
        self.ask_bytes(&Request::Rpmb { frames: ByteBuf::from(frames) })
    }

    fn uptime_ms(&self) -> Result<u64, SiliconError> {
        self.ask_number(&Request::Uptime)
    }
}
