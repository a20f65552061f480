//! What a trusted application may use.
//!
//! A TA implements [`TrustedApplication`] and its `main` is one line, `tee_sdk::run::<MyTa>()`.
//! It is a process of its own with one descriptor, the channel to the trusted OS; whatever it
//! needs it asks the OS for, through its [`Context`]. There is no file, no socket and no clock
//! that it could open: [`run`] locks the process in before the first command comes.
//!
//! [`testing`] runs a TA inside a unit test, over a trusted OS in memory.

mod context;
pub mod isolation;
mod question;
mod runtime;
pub mod sandbox;
pub mod swap;
pub mod testing;

pub use board::ui::{Input, Typed};
pub use context::{Batch, Context, Peer, Storage, TrustedOs};
pub use question::{Question, Step};
pub use runtime::{Instance, own_user, return_freed_memory, run};
pub use tee_api::boot::{BootInfo, Trust, fingerprint};
pub use tee_api::clock::{SecureTime, TimeTrust};
pub use tee_api::storage::Placement;
pub use tee_api::ui::{Confirmation, Transaction};
pub use tee_api::{Identity, Login, Protocol, Signer, TaId, TeeError};
pub use zeroize::Zeroizing;

/// Keys and algorithms: see [`Context::generate_key`] and its neighbours.
pub mod engine {
    pub use crate::context::engine::{Key, Opening, Running};
    pub use tee_api::engine::{
        Attributes, Cipher, Curve, Derivation, Hash, Input, KeyInfo, KeyType, Operation, Origin,
        Padding, Run, Scheme, Span, Usage, Wrapping,
    };
    pub use tee_engine::PublicKey;
}

/// A trusted application: one instance, many sessions, one request at a time
/// (GlobalPlatform: single instance, multi-session, keep alive).
pub trait TrustedApplication: Default + 'static {
    /// What it speaks.
    type Protocol: Protocol;

    /// Somebody opens a session; refuse whom you don't serve.
    fn open(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        login: Login,
    ) -> Result<(), TeeError> {
        let _ = (context, session, login);
        Ok(())
    }

    /// A command in a session that stands, which may have to ask the person: see [`Step`].
    fn begin(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: <Self::Protocol as Protocol>::Command,
    ) -> Result<Step<Self>, TeeError> {
        self.invoke(context, session, command).map(Step::Done)
    }

    /// A command in a session that stands, which needs nobody to be asked.
    fn invoke(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: <Self::Protocol as Protocol>::Command,
    ) -> Result<<Self::Protocol as Protocol>::Reply, TeeError>;

    /// A session ended.
    fn close(&mut self, session: u32) {
        let _ = session;
    }
}
