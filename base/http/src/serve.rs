//! The listeners: an axum `Router` over TLS or over a Unix socket.
//!
//! A client that sends its head, its body or reads its answer too slowly is cut off
//! ([`Limits`]); the number of connections is bounded; a shutdown lets requests that run come
//! to their end.

use crate::patience::{PatientBody, PatientWriter};
use crate::tls::Identity;
use axum::Router;
use axum::http::header::EXPECT;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

pub use crate::patience::Patience;

/// What one client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at one time; more wait in the kernel's queue.
    pub connections: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For a request's head, and for the silence between two requests.
    pub header: Duration,
    /// For a request's body, and for taking the answer.
    pub transfer: Patience,
    /// For the requests that run when the service is told to stop.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(30),
            transfer: Patience { grace: Duration::from_secs(30), bytes_per_second: 1024 },
            shutdown: Duration::from_secs(5),
        }
    }
}

/// The client's address: a request extension behind [`serve_tls`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote(pub SocketAddr);

/// Who is at the other end of a Unix socket (`SO_PEERCRED`): a request extension behind
/// [`serve_unix`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCredentials {
    /// The process, where the kernel told.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The label that the kernel's security module gave it (`SO_PEERSEC`); `None` where the
    /// kernel has no labels.
    pub label: Option<Arc<str>>,
}

/// Serves `app` over TLS until `shutdown` is ready, then lets running requests end.
pub async fn serve_tls(
    listener: TcpListener,
    identity: Arc<Identity>,
    app: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), crate::tls::Error> {
    let acceptor = TlsAcceptor::from(identity.server_config()?);
    let door = TlsDoor { listener, identity, acceptor };
    Connections::new(app, limits).run(door, shutdown).await;
    Ok(())
}

/// Serves `app` on a Unix socket until `shutdown` is ready; each request carries the
/// [`PeerCredentials`] of its sender.
pub async fn serve_unix(
    listener: UnixListener,
    app: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let most = (limits.connections / STRANGERS_SHARE).max(1);
    let door = UnixDoor { listener, strangers: Strangers { most, here: Arc::default() } };
    Connections::new(app, limits).run(door, shutdown).await;
}

/// Where connections come in.
trait Door {
    /// A connection as the kernel gives it.
    type Accepted: Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Accepted>> + Send;

    /// Runs the connection to its end.
    fn run(
        &self,
        accepted: Self::Accepted,
        connection: Connection,
    ) -> impl Future<Output = ()> + Send + 'static;
}

struct TlsDoor {
    listener: TcpListener,
    identity: Arc<Identity>,
    acceptor: TlsAcceptor,
}

impl Door for TlsDoor {
    type Accepted = (TcpStream, SocketAddr);

    async fn accept(&self) -> io::Result<Self::Accepted> {
        let accepted = self.listener.accept().await?;
        if let Err(error) = self.identity.renew_if_due() {
            tracing::error!(%error, "the server certificate cannot be renewed");
        }
        Ok(accepted)
    }

    fn run(
        &self,
        (stream, remote): Self::Accepted,
        connection: Connection,
    ) -> impl Future<Output = ()> + Send + 'static {
        let acceptor = self.acceptor.clone();
        async move {
            let _ = stream.set_nodelay(true);
            let handshake = acceptor.accept(stream);
            match tokio::time::timeout(connection.limits.handshake, handshake).await {
                Ok(Ok(stream)) => connection.run(stream, Remote(remote)).await,
                Ok(Err(error)) => tracing::debug!(%remote, %error, "no TLS session"),
                Err(_) => tracing::debug!(%remote, "the TLS handshake took too long"),
            }
        }
    }
}

/// The part of all connections, one in so many, that one user may hold who is neither root nor
/// the server's own: a program that only connects shuts nobody else out.
const STRANGERS_SHARE: usize = 4;

struct UnixDoor {
    listener: UnixListener,
    strangers: Strangers,
}

/// Connections of users who are neither root nor the server's own.
#[derive(Clone)]
struct Strangers {
    /// For each of them.
    most: usize,
    here: Arc<Mutex<HashMap<u32, usize>>>,
}

/// One of them; leaves when it is dropped.
struct Stranger {
    strangers: Strangers,
    uid: u32,
}

impl Strangers {
    fn enter(&self, uid: u32) -> Option<Stranger> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let count = here.entry(uid).or_default();
        (*count < self.most).then(|| {
            *count += 1;
            Stranger { strangers: self.clone(), uid }
        })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut here = self.strangers.here.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = here.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                here.remove(&self.uid);
            }
        }
    }
}

impl Door for UnixDoor {
    type Accepted = (UnixStream, PeerCredentials);

    async fn accept(&self) -> io::Result<Self::Accepted> {
        let (stream, _) = self.listener.accept().await?;
        let credentials = stream.peer_cred()?;
        let (pid, uid, gid) = (credentials.pid(), credentials.uid(), credentials.gid());
        let label = label(&stream);
        Ok((stream, PeerCredentials { pid, uid, gid, label }))
    }

    fn run(
        &self,
        (stream, peer): Self::Accepted,
        connection: Connection,
    ) -> impl Future<Output = ()> + Send + 'static {
        // SAFETY: the call has no preconditions and touches no memory.
        let own = unsafe { libc::geteuid() };
        let known = peer.uid == 0 || peer.uid == own;
        let strangers = self.strangers.clone();
        async move {
            let stranger = if known { None } else { strangers.enter(peer.uid) };
            if known || stranger.is_some() {
                connection.run(stream, peer).await;
            }
        }
    }
}

/// The longest label that is asked for.
const MAX_LABEL_BYTES: usize = 255;

fn label(stream: &UnixStream) -> Option<Arc<str>> {
    let mut label = [0_u8; MAX_LABEL_BYTES];
    let mut length = label.len() as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERSEC);
    // SAFETY: the call writes at most `length` bytes into `label`, and the length that it has;
    // both outlive it.
    let done = unsafe {
        let place = label.as_mut_ptr().cast();
        libc::getsockopt(stream.as_raw_fd(), level, option, place, &raw mut length)
    };
    let given = label.get(..length as usize).filter(|_| done == 0)?;
    let text = std::str::from_utf8(given).ok()?.trim_end_matches('\0');
    (!text.is_empty()).then(|| text.into())
}

/// Binds a Unix socket at `path` with the given permissions. One that a process left behind
/// when it was killed is replaced; one that somebody listens on is an error.
pub fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)?;
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// The connections of one listener.
struct Connections {
    app: Router,
    limits: Limits,
    free: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// A connection that was accepted and counts against the limit until it is dropped.
struct Connection {
    app: Router,
    limits: Limits,
    stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    fn new(app: Router, limits: Limits) -> Self {
        let free = Arc::new(Semaphore::new(limits.connections));
        Self { app, limits, free, stop: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    async fn run(mut self, door: impl Door, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let next = async {
                let permit = self.free.clone().acquire_owned().await;
                (permit.expect("the semaphore is never closed"), door.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                next = next => next,
            };
            match accepted {
                Ok(accepted) => {
                    let connection = self.connection(permit);
                    self.tasks.spawn(door.run(accepted, connection));
                }
                Err(error) => pause_after(&error).await,
            }
            while self.tasks.try_join_next().is_some() {}
        }
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.shutdown, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    fn connection(&self, permit: OwnedSemaphorePermit) -> Connection {
        let (app, limits) = (self.app.clone(), self.limits);
        Connection { app, limits, stop: self.stop.subscribe(), _permit: permit }
    }
}

/// A connection that was gone before it was accepted is nothing; a lack of descriptors passes.
async fn pause_after(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::warn!(%error, "cannot accept a connection");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Connection {
    async fn run<S, P>(self, stream: S, peer: P)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        P: Clone + Send + Sync + 'static,
    {
        let Self { app, limits, mut stop, _permit } = self;
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let reads_rest = !request.headers().contains_key(EXPECT);
            let request = request.map(|body| PatientBody::new(body, limits.transfer, reads_rest));
            // In a task of its own: a client that hangs up must not stop a handler between two
            // steps of a change (a dropped `BEGIN` leaves its connection in a transaction).
            let answer = tokio::spawn(app.clone().oneshot(request));
            async move {
                let answer = answer.await.map_err(io::Error::other)?;
                Ok::<_, io::Error>(answer.unwrap_or_else(|never| match never {}))
            }
        });
        let stream = TokioIo::new(PatientWriter::new(stream, limits.transfer));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header)
            .max_buf_size(128 * 1024)
            .serve_connection(stream, service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let told = async { drop(stop.wait_for(|stop| *stop).await) };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = told => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_holds_its_share_and_no_more() {
        let strangers = Strangers { most: 2, here: Arc::default() };
        let first = strangers.enter(7);
        let _second = strangers.enter(7);
        assert!(first.is_some() && strangers.enter(7).is_none());
        assert!(strangers.enter(8).is_some(), "another one's share is its own");
        drop(first);
        assert!(strangers.enter(7).is_some());
        assert_eq!(strangers.here.lock().unwrap().len(), 1, "who left is forgotten");
    }
}
