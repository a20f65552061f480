//! The board's secure services: what only the trusted side can ask. One message, or one group of
//! messages, for each trait of [`crate::silicon`].

use crate::channel;
use crate::silicon::{
    CryptoEngine, Engine, Fuses, Huk, LifeCycle, MonotonicCounter, Rpmb, Silicon, SiliconError,
    Timer, Trng,
};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::sync::Mutex;

pub use crate::silicon::{BL1_COUNTER, TEE_COUNTER};

/// A question to the board on [`crate::fds::SECURE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// To the [`Fuses`].
    Fuses(FusesRequest),
    /// Of the [`Huk`].
    Huk(HukRequest),
    /// See [`Trng::random`].
    Random {
        /// How many.
        bytes: u16,
    },
    /// To a [`MonotonicCounter`].
    Counter(CounterRequest),
    /// See [`Rpmb::rpmb`].
    Rpmb {
        /// Request frames of 512 bytes each.
        frames: ByteBuf,
    },
    /// See [`CryptoEngine::engine`].
    Engine,
    /// See [`Timer::uptime_ms`].
    Uptime,
}

/// A question to the [`Fuses`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FusesRequest {
    /// See [`Fuses::root_key_hashes`].
    RootKeyHashes,
    /// See [`Fuses::serial`].
    Serial,
    /// See [`Fuses::life_cycle`].
    LifeCycle,
    /// See [`Fuses::deploy`].
    Deploy,
}

/// A use of the [`Huk`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HukRequest {
    /// See [`Huk::derive`].
    Derive {
        /// What the key is for.
        label: String,
        /// What it is bound to.
        context: ByteBuf,
    },
    /// See [`Huk::mac`].
    Mac {
        /// What the MAC is for.
        label: String,
        /// What it is over.
        data: ByteBuf,
    },
}

/// A question to a [`MonotonicCounter`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CounterRequest {
    /// See [`MonotonicCounter::counter`].
    Read {
        /// Which of the counters.
        location: u8,
    },
    /// See [`MonotonicCounter::raise_counter`].
    Raise {
        /// Which of the counters.
        location: u8,
        /// Its new value.
        value: u64,
    },
}

/// The board's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Bytes: a hash, a key, a MAC, random bytes, RPMB frames.
    Bytes(ByteBuf),
    /// Text: the serial number.
    Text(String),
    /// A number: a counter, milliseconds.
    Number(u64),
    /// The life cycle.
    LifeCycle(LifeCycle),
    /// The crypto engine.
    Engine(Engine),
    /// Done; nothing to tell.
    Done,
    /// Refused.
    Refused(SiliconError),
}

/// Answers `request` from `silicon`: the board's side of the channel.
pub fn answer(silicon: &dyn Silicon, request: Request) -> Reply {
    let result = match request {
        Request::Fuses(request) => fuses(silicon, &request),
        Request::Huk(request) => huk(silicon, &request),
        Request::Random { bytes: count } => silicon.random(count.into()).map(bytes),
        Request::Counter(request) => counter(silicon, &request),
        Request::Rpmb { frames } => silicon.rpmb(&frames).map(bytes),
        Request::Engine => silicon.engine().map(Reply::Engine),
        Request::Uptime => silicon.uptime_ms().map(Reply::Number),
    };
    result.unwrap_or_else(Reply::Refused)
}

fn bytes(value: Vec<u8>) -> Reply {
    Reply::Bytes(ByteBuf::from(value))
}

fn fuses(silicon: &dyn Silicon, request: &FusesRequest) -> Result<Reply, SiliconError> {
    Ok(match request {
        FusesRequest::RootKeyHashes => bytes(silicon.root_key_hashes()?.as_flattened().to_vec()),
        FusesRequest::Serial => Reply::Text(silicon.serial()?),
        FusesRequest::LifeCycle => Reply::LifeCycle(silicon.life_cycle()?),
        FusesRequest::Deploy => {
            silicon.deploy()?;
            Reply::Done
        }
    })
}

fn huk(silicon: &dyn Silicon, request: &HukRequest) -> Result<Reply, SiliconError> {
    let result = match request {
        HukRequest::Derive { label, context } => silicon.derive(label, context),
        HukRequest::Mac { label, data } => silicon.mac(label, data),
    };
    result.map(|key| bytes(key.to_vec()))
}

fn counter(silicon: &dyn Silicon, request: &CounterRequest) -> Result<Reply, SiliconError> {
    match *request {
        CounterRequest::Read { location } => silicon.counter(location).map(Reply::Number),
        CounterRequest::Raise { location, value } => {
            silicon.raise_counter(location, value).map(|()| Reply::Done)
        }
    }
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
        Reply::Engine(_) => "an engine",
        Reply::Done => "done",
        Reply::Refused(_) => "a refusal",
    };
    SiliconError::Unreachable(format!("answered with {kind} where something else was due"))
}

impl Fuses for RemoteSilicon {
    fn root_key_hashes(&self) -> Result<Vec<[u8; 32]>, SiliconError> {
        let bytes = self.ask_bytes(&Request::Fuses(FusesRequest::RootKeyHashes))?;
        match bytes.as_chunks() {
            (hashes, []) => Ok(hashes.to_vec()),
            _ => Err(SiliconError::Unreachable("not hashes of 32 bytes each".into())),
        }
    }

    fn serial(&self) -> Result<String, SiliconError> {
        match self.ask(&Request::Fuses(FusesRequest::Serial))? {
            Reply::Text(text) => Ok(text),
            other => Err(unexpected(&other)),
        }
    }

    fn life_cycle(&self) -> Result<LifeCycle, SiliconError> {
        match self.ask(&Request::Fuses(FusesRequest::LifeCycle))? {
            Reply::LifeCycle(value) => Ok(value),
            other => Err(unexpected(&other)),
        }
    }

    fn deploy(&self) -> Result<(), SiliconError> {
        self.ask_done(&Request::Fuses(FusesRequest::Deploy))
    }
}

impl Huk for RemoteSilicon {
    fn derive(&self, label: &str, context: &[u8]) -> Result<[u8; 32], SiliconError> {
        let (label, context) = (label.to_owned(), ByteBuf::from(context));
        self.ask_array(&Request::Huk(HukRequest::Derive { label, context }))
    }

    fn mac(&self, label: &str, data: &[u8]) -> Result<[u8; 32], SiliconError> {
        let (label, data) = (label.to_owned(), ByteBuf::from(data));
        self.ask_array(&Request::Huk(HukRequest::Mac { label, data }))
    }
}

impl Trng for RemoteSilicon {
    fn random(&self, bytes: usize) -> Result<Vec<u8>, SiliconError> {
        crate::silicon::check_random(bytes)?;
        self.ask_bytes(&Request::Random { bytes: bytes as u16 })
    }
}

impl MonotonicCounter for RemoteSilicon {
    fn counter(&self, location: u8) -> Result<u64, SiliconError> {
        self.ask_number(&Request::Counter(CounterRequest::Read { location }))
    }

    fn raise_counter(&self, location: u8, value: u64) -> Result<(), SiliconError> {
        self.ask_done(&Request::Counter(CounterRequest::Raise { location, value }))
    }
}

impl Rpmb for RemoteSilicon {
    fn rpmb(&self, frames: &[u8]) -> Result<Vec<u8>, SiliconError> {
        self.ask_bytes(&Request::Rpmb { frames: ByteBuf::from(frames) })
    }
}

impl CryptoEngine for RemoteSilicon {
    fn engine(&self) -> Result<Engine, SiliconError> {
        match self.ask(&Request::Engine)? {
            Reply::Engine(engine) => Ok(engine),
            other => Err(unexpected(&other)),
        }
    }
}

impl Timer for RemoteSilicon {
    fn uptime_ms(&self) -> Result<u64, SiliconError> {
        self.ask_number(&Request::Uptime)
    }
}
