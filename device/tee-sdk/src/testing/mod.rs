//! A trusted OS in memory, so that a TA's rules are tested without processes.
//!
//! It does what the real one does: keys from a HUK, storage that outlives a restart, a clock
//! (which the test moves), prompts (which the test answers), life cycle, boot info. Commands
//! and replies pass through their encoding.

mod calls;
mod clock;
mod engine;
mod harness;
mod storage;
mod ui;

pub use harness::{Asked, Harness};

use crate::context::TrustedOs;
use crate::{Instance, Question, TrustedApplication};
use calls::Peers;
use clock::{FakeClock, millis};
use serde_bytes::ByteBuf;
use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use storage::Objects;
use tee_api::boot::{BootInfo, BootLock, BootState, Trust};
use tee_api::ta::{Syscall, SyscallReply};
use tee_api::{Protocol, TaId, TeeError};
use tee_engine::Engine;
use tee_engine::shared_secret::{self, Agreement};

struct State {
    huk: [u8; 32],
    boot_secret: [u8; 32],
    agreement: Agreement,
    uptime: Duration,
    clock: FakeClock,
    factory: bool,
    serial: String,
    boot_info: Option<BootInfo>,
    boot_lock: BootLock,
    raised: Vec<(u32, u64)>,
    objects: Objects,
    keeps_files: bool,
    answers: VecDeque<Option<String>>,
    prompts: Vec<Question>,
    confirmed: Vec<ui::Confirmed>,
    writes_left: Option<u32>,
    engines: BTreeMap<TaId, Engine>,
    peers: Peers,
    cancelled: bool,
}

/// The trusted OS in memory. A clone is the same OS.
#[derive(Clone)]
pub struct FakeOs(Rc<RefCell<State>>);

impl Default for FakeOs {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeOs {
    /// A new board that left the factory, powered on a minute ago, green and locked.
    #[must_use]
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(State {
            huk: crypto::random_array(),
            boot_secret: crypto::random_array(),
            agreement: Agreement::alone(crypto::random_array(), crypto::random_array()),
            uptime: Duration::from_secs(60),
            clock: FakeClock::new(),
            factory: false,
            serial: "HF-TEST-0001".into(),
            boot_info: Some(green()),
            boot_lock: BootLock::default(),
            raised: Vec::new(),
            objects: Objects::new(),
            keeps_files: true,
            answers: VecDeque::new(),
            prompts: Vec::new(),
            confirmed: Vec::new(),
            writes_left: None,
            engines: BTreeMap::new(),
            peers: Peers::default(),
            cancelled: false,
        })))
    }

    /// A new board that is still in the factory.
    #[must_use]
    pub fn in_factory() -> Self {
        let os = Self::new();
        os.state().factory = true;
        os
    }

    /// Starts a TA with one session open.
    #[must_use]
    pub fn start<T: TrustedApplication>(&self) -> Harness<T> {
        self.state().engines.remove(&T::Protocol::TA);
        Harness { os: self.clone(), instance: Instance::default() }
    }

    /// Moves the board's clock on.
    pub fn advance(&self, by: Duration) {
        self.state().uptime += by;
    }

    /// Power off and on: the clock starts anew, storage stays. Start the TAs again too.
    pub fn power_cycle(&self) {
        let mut state = self.state();
        state.uptime = Duration::from_secs(1);
        state.clock.power_cycle();
        state.boot_secret = crypto::random_array();
        let seed = state.agreement.own().seed[..].try_into().expect("it was made of 32 bytes");
        state.agreement = Agreement::alone(seed, crypto::random_array());
        state.writes_left = None;
        state.answers.clear();
        state.engines.clear();
        state.confirmed.clear();
    }

    /// The person will type this at the next prompt that has no answer yet.
    pub fn will_type(&self, text: &str) {
        self.state().answers.push_back(Some(text.to_owned()));
    }

    /// The person will turn the next prompt away that has no answer yet.
    pub fn will_cancel(&self) {
        self.state().answers.push_back(None);
    }

    /// The person walks away: answers that were not asked for are forgotten.
    pub fn forget_answers(&self) {
        self.state().answers.clear();
    }

    /// The prompts that were shown, oldest first.
    #[must_use]
    pub fn prompts(&self) -> Vec<Question> {
        self.state().prompts.clone()
    }

    /// From now on whoever calls withdraws what they asked, while the TA works on it.
    pub fn cancels(&self, cancelled: bool) {
        self.state().cancelled = cancelled;
    }

    /// Sets what was booted.
    pub fn set_boot_info(&self, info: Option<BootInfo>) {
        self.state().boot_info = info;
    }

    /// The rollback indexes that were raised by [`crate::Context::boot_successful`].
    #[must_use]
    pub fn raised_rollback_indexes(&self) -> Vec<(u32, u64)> {
        self.state().raised.clone()
    }

    /// How the bootloader is locked.
    #[must_use]
    pub fn boot_lock(&self) -> BootLock {
        self.state().boot_lock.clone()
    }

    /// Whether the board is still in the factory.
    #[must_use]
    pub fn is_in_factory(&self) -> bool {
        self.state().factory
    }

    /// The key of hardware auth tokens in this boot.
    #[must_use]
    pub fn auth_token_key(&self) -> [u8; 32] {
        *self.state().auth_token_key().expose()
    }

    fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }
}

fn green() -> BootInfo {
    BootInfo {
        verified_boot_key: [0xAB; 32],
        device_locked: true,
        boot_state: BootState::Green,
        verified_boot_hash: ByteBuf::from([0xCD; 32]),
        os_version: 10_000,
        os_patch_level: 202_611,
        boot_patch_level: 20_261_101,
        rollback_indexes: vec![(0, 1), (1, 1)],
    }
}

impl State {
    fn answer(&mut self, ta: TaId, syscall: Syscall) -> Result<SyscallReply, TeeError> {
        Ok(match syscall {
            Syscall::Engine(call) => SyscallReply::Engine(self.engine(ta, call)?),
            Syscall::Call(call) => SyscallReply::Call(self.peers.answer(call)?),
            Syscall::Random { bytes } => random(bytes)?,
            Syscall::Storage(call) => SyscallReply::Storage(self.storage(ta, call)?),
            Syscall::Uptime => SyscallReply::Number(millis(self.uptime)),
            Syscall::Clock(call) => {
                SyscallReply::Clock(self.clock.answer(call, millis(self.uptime))?)
            }
            Syscall::BootInfo => SyscallReply::BootInfo(self.booted()?.clone()),
            Syscall::BootId => SyscallReply::Bytes(ByteBuf::from(&self.boot_secret[..16])),
            Syscall::InFactory => SyscallReply::Flag(self.factory),
            Syscall::LeaveFactory => {
                self.factory = false;
                SyscallReply::Done
            }
            Syscall::Serial => SyscallReply::Text(self.serial.clone()),
            Syscall::BootSuccessful => {
                self.raised = self.booted()?.rollback_indexes.clone();
                SyscallReply::Done
            }
            Syscall::Trust => {
                let lock = self.boot_lock.clone();
                SyscallReply::Trust(Trust { lock, ..Trust::default() })
            }
            Syscall::SetBootLock { locked } => {
                self.boot_lock.unlocked = !locked;
                SyscallReply::Done
            }
            Syscall::SetCustomKey { .. } if !self.boot_lock.unlocked => {
                return Err(TeeError::BadState("the bootloader is locked".into()));
            }
            Syscall::SetCustomKey { key } => {
                self.boot_lock.custom_key = key;
                SyscallReply::Done
            }
            Syscall::SharedSecretParameters => {
                SyscallReply::SharedSecret(self.agreement.own().clone())
            }
            Syscall::ComputeSharedSecret { participants } => {
                self.agreement.join(participants)?;
                SyscallReply::Bytes(ByteBuf::from(shared_secret::check(&self.auth_token_key())))
            }
            Syscall::Ui(call) => SyscallReply::Ui(self.screen_call(ta, call)?),
        })
    }

    fn booted(&self) -> Result<&BootInfo, TeeError> {
        self.boot_info.as_ref().ok_or_else(|| TeeError::BadState("nothing was booted yet".into()))
    }
}

fn random(bytes: u16) -> Result<SyscallReply, TeeError> {
    if bytes > 256 {
        return Err(TeeError::BadParameters("at most 256 random bytes at once".into()));
    }
    let mut out = vec![0; bytes.into()];
    crypto::random(&mut out);
    Ok(SyscallReply::Bytes(ByteBuf::from(out)))
}

impl TrustedOs for FakeOs {
    fn call(&mut self, caller: TaId, syscall: Syscall) -> Result<SyscallReply, TeeError> {
        self.state().answer(caller, syscall)
    }

    fn is_cancelled(&mut self) -> bool {
        self.state().cancelled
    }
}
