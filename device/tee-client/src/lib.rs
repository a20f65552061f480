//! How the REE calls trusted applications (after GlobalPlatform's TEE Client API).
//!
//! Calls block until the TA answered, which is as long as a person takes where it shows a
//! prompt. Each [`Session`] has a connection of its own, so one that waits for a prompt holds up
//! nobody else; dropping it takes the prompt off the screen.
//!
//! ```no_run
//! use tee_api::gatekeeper::{Command, Gatekeeper, Reply};
//! let tee = tee_client::Tee::connect("/run/tee.sock")?;
//! if let Reply::Status(status) = tee.session::<Gatekeeper>()?.call(Command::Status)? {
//!     println!("a screen lock is set: {}", status.enrolled);
//! }
//! # Ok::<(), tee_client::TeeError>(())
//! ```

pub mod keeper;
mod memory;

use board::{channel, exec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_bytes::ByteBuf;
use std::borrow::Borrow;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tee_api::ree::{Reply, Request};

pub use memory::SharedMemory;
pub use tee_api::ree::Installed;
pub use tee_api::{Identity, LoginMethod, Protocol, Signer, TaId, TeeError};

/// The TEE of this device.
#[derive(Debug, Clone)]
pub struct Tee {
    path: PathBuf,
}

impl Tee {
    /// The TEE whose socket is at `path`; fails where nobody answers there.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, TeeError> {
        let tee = Self { path: path.as_ref().to_owned() };
        Connection::new(&tee.path)?;
        Ok(tee)
    }

    /// Where its socket is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a session with the TA that speaks `P`, known by this program's user.
    pub fn session<P: Protocol>(&self) -> Result<Session<P>, TeeError> {
        self.session_as::<P>(Target::of::<P>())
    }

    /// As [`Self::session`], with a chosen signer and login method.
    pub fn session_as<P: Protocol>(&self, target: Target) -> Result<Session<P>, TeeError> {
        let open = Open::new(&self.path, target)?;
        let (path, open) = (self.path.clone(), Mutex::new(Some(open)));
        Ok(Session { path, target, open, protocol: PhantomData })
    }

    /// Runs one command, CBOR in and CBOR out, in a session of its own: for who does not know
    /// the protocol.
    pub fn call(&self, target: Target, command: Vec<u8>) -> Result<Vec<u8>, TeeError> {
        Open::new(&self.path, target)?.invoke(command).map(ByteBuf::into_vec)
    }

    /// Installs a trusted application out of its signed image, until power-off.
    pub fn load(&self, image: &[u8]) -> Result<Installed, TeeError> {
        let image = exec::sealed("ta-image", image)
            .map_err(|error| TeeError::Resources(format!("the image: {error}")))?;
        let connection = Connection::new(&self.path)?;
        match connection.ask_with(&Request::Load, &[image.as_fd()])? {
            Reply::Loaded(installed) => Ok(installed),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends and forgets a trusted application that was loaded.
    pub fn remove(&self, identity: Identity) -> Result<(), TeeError> {
        match Connection::new(&self.path)?.ask(&Request::Remove(identity))? {
            Reply::Removed => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Which trusted applications there are.
    pub fn installed(&self) -> Result<Vec<Installed>, TeeError> {
        match Connection::new(&self.path)?.ask(&Request::List)? {
            Reply::Listed(all) => Ok(all),
            other => Err(unexpected(&other)),
        }
    }
}

/// Which TA, and how this program wants to be known to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its UUID.
    pub uuid: TaId,
    /// Whose; `None`: the maker's, else the only one of that UUID.
    pub signer: Option<Signer>,
    /// The login method.
    pub login: LoginMethod,
}

impl Target {
    /// The one that speaks `P`, whoever signed it; known by the program's user.
    #[must_use]
    pub const fn of<P: Protocol>() -> Self {
        Self { uuid: P::TA, signer: None, login: LoginMethod::User }
    }
}

/// A session with a TA. It may be shared; calls go one after the other.
///
/// After the TA died ([`TeeError::TargetDead`]) or the connection broke, the next call opens a
/// new session by itself. The call that failed is not repeated: it may have had its effect.
#[derive(Debug)]
pub struct Session<P> {
    path: PathBuf,
    target: Target,
    open: Mutex<Option<Open>>,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Protocol> Session<P> {
    /// Runs a command and waits for the TA's reply.
    pub fn call(&self, command: impl Borrow<P::Command>) -> Result<P::Reply, TeeError> {
        self.call_sharing(command.borrow(), None)
    }

    /// The same, with memory that the TEE may work on while the command runs.
    pub fn call_with_memory(
        &self,
        command: impl Borrow<P::Command>,
        memory: &mut SharedMemory,
    ) -> Result<P::Reply, TeeError> {
        self.call_sharing(command.borrow(), Some(memory))
    }

    fn call_sharing(
        &self,
        command: &P::Command,
        memory: Option<&SharedMemory>,
    ) -> Result<P::Reply, TeeError> {
        let command =
            channel::encode(command).map_err(|error| TeeError::BadParameters(error.to_string()))?;
        let mut open = self.lock();
        let mut session = match open.take() {
            Some(session) => session,
            None => Open::new(&self.path, self.target)?,
        };
        let shared = memory.map_or(Ok(()), |memory| session.share(memory));
        let result = shared.and_then(|()| session.invoke(command));
        if !matches!(result, Err(TeeError::TargetDead | TeeError::Communication(_))) {
            *open = Some(session);
        }
        channel::decode(&result?)
            .map_err(|error| TeeError::Communication(format!("the TA's reply: {error}")))
    }

    /// What another thread can break a call of this session off with. To be asked for before
    /// the call; good until the session had to be opened anew.
    pub fn interrupt(&self) -> Result<Interrupt, TeeError> {
        let mut open = self.lock();
        let session = match open.take() {
            Some(session) => session,
            None => Open::new(&self.path, self.target)?,
        };
        let connection = open.insert(session).connection.0.try_clone();
        connection.map(Interrupt).map_err(|error| TeeError::Communication(error.to_string()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Breaks off the call that a session is in: a prompt that it shows leaves the screen.
#[derive(Debug)]
pub struct Interrupt(OwnedFd);

impl Interrupt {
    /// Ends the session too; the call ends with [`TeeError::Communication`].
    pub fn fire(&self) {
        // A connection that is gone already has nothing to break off.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }

    /// Withdraws the command that runs, and keeps the session: the call ends with
    /// [`TeeError::Cancelled`], unless it was done first.
    pub fn cancel(&self) {
        let _ = channel::send(&self.0, &Request::Cancel);
    }
}

/// A session that stands. It ends with its connection.
#[derive(Debug)]
struct Open {
    connection: Connection,
    session: u32,
    /// Which memory its connection shares.
    shared: Option<u64>,
}

impl Open {
    fn new(path: &Path, Target { uuid, signer, login }: Target) -> Result<Self, TeeError> {
        let connection = Connection::new(path)?;
        match connection.ask(&Request::Open { ta: uuid, signer, login })? {
            Reply::Opened { session } => Ok(Self { connection, session, shared: None }),
            other => Err(unexpected(&other)),
        }
    }

    /// Shares `memory`, unless it was shared last.
    fn share(&mut self, memory: &SharedMemory) -> Result<(), TeeError> {
        if self.shared == Some(memory.id) {
            return Ok(());
        }
        match self.connection.ask_with(&Request::Share, &[memory.as_fd()])? {
            Reply::Shared => self.shared = Some(memory.id),
            other => return Err(unexpected(&other)),
        }
        Ok(())
    }

    fn invoke(&self, command: Vec<u8>) -> Result<ByteBuf, TeeError> {
        let command = ByteBuf::from(command);
        match self.connection.ask(&Request::Invoke { session: self.session, command })? {
            Reply::Done(bytes) => Ok(bytes),
            other => Err(unexpected(&other)),
        }
    }
}

#[derive(Debug)]
struct Connection(OwnedFd);

impl Connection {
    fn new(path: &Path) -> Result<Self, TeeError> {
        let failed = |error: rustix::io::Errno| {
            TeeError::Communication(format!("{}: {error}", path.display()))
        };
        let address = SocketAddrUnix::new(path).map_err(failed)?;
        let flags = SocketFlags::CLOEXEC;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(failed)?;
        connect(&socket, &address).map_err(failed)?;
        Ok(Self(socket))
    }

    fn ask(&self, request: &Request) -> Result<Reply, TeeError> {
        self.ask_with(request, &[])
    }

    fn ask_with(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Reply, TeeError> {
        let lost = |error: channel::ChannelError| TeeError::Communication(error.to_string());
        channel::send_with_fds(&self.0, request, fds).map_err(lost)?;
        match channel::receive_soon(&self.0).map_err(lost)? {
            Reply::Refused(error) => Err(error),
            reply => Ok(reply),
        }
    }
}

/// Names the kind only: the content may be a key.
fn unexpected(reply: &Reply) -> TeeError {
    let kind = match reply {
        Reply::Opened { .. } => "opened",
        Reply::Done(_) => "done",
        Reply::Shared => "shared",
        Reply::Closed => "closed",
        Reply::File { .. } => "a file's operation",
        Reply::Loaded(_) => "loaded",
        Reply::Removed => "removed",
        Reply::Listed(_) => "listed",
        Reply::Refused(_) => "refused",
    };
    TeeError::Communication(format!("the TEE answered {kind} where something else was due"))
}
