//! Ways to a server: direct, through an HTTP CONNECT proxy on a Unix socket (RFC 9110, 9.3.6),
//! a Unix socket itself, or a port of this machine.

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tower::Service;

/// How long a connection may take to come about, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a Unix socket's address, the zero at its end not counted (unix(7)).
const LONGEST_ADDRESS: usize = 107;

/// The way to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connector {
    /// TCP to the host and port of the base URL, then TLS.
    Tcp,
    /// HTTP CONNECT for that host and port on a Unix socket, then TLS: a device's radio.
    Proxy(PathBuf),
    /// Plain HTTP on a Unix socket: a local API. The base URL's host means nothing.
    Unix(PathBuf),
    /// Plain HTTP over TCP to this very machine, and to no other.
    Loopback,
}

/// A connector with its TLS settings, in the form that the pool calls.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) way: Connector,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// A stream of either kind, ready for HTTP.
pub(crate) struct Stream(Box<dyn Duplex>);

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Dialer {
    async fn dial(self, uri: Uri) -> io::Result<TokioIo<Stream>> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(usual);
        let stream = match &self.way {
            Connector::Tcp => {
                let stream = TcpStream::connect((host.as_str(), port)).await?;
                stream.set_nodelay(true)?;
                self.secure(stream, &host).await?
            }
            Connector::Proxy(path) => {
                let tunnel = tunnel(unix(path).await?, &host, port).await?;
                self.secure(tunnel, &host).await?
            }
            Connector::Unix(path) => Stream(Box::new(unix(path).await?)),
            Connector::Loopback => Stream(Box::new(loopback(&host, port).await?)),
        };
        Ok(TokioIo::new(stream))
    }

    async fn secure(&self, stream: impl Duplex + 'static, host: &str) -> io::Result<Stream> {
        let tls = self.tls.clone().expect("a client that leaves this machine has TLS");
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(tls).connect(name, stream).await?;
        Ok(Stream(Box::new(stream)))
    }
}

/// Connects to the Unix socket at `path`, however long that is: an address of more than 107 bytes
/// goes through a descriptor of the folder.
async fn unix(path: &Path) -> io::Result<UnixStream> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return UnixStream::connect(path).await;
    };
    if path.as_os_str().len() <= LONGEST_ADDRESS {
        return UnixStream::connect(path).await;
    }
    let folder = File::open(folder)?;
    let short = format!("/proc/self/fd/{}", folder.as_raw_fd());
    UnixStream::connect(Path::new(&short).join(name)).await
}

/// Connects to a port of this machine.
async fn loopback(host: &str, port: u16) -> io::Result<TcpStream> {
    let found = tokio::net::lookup_host((host, port)).await?;
    let here: Vec<_> = found.filter(|address| address.ip().is_loopback()).collect();
    if here.is_empty() {
        return Err(io::Error::other("plain http is for this machine alone: use https"));
    }
    let stream = TcpStream::connect(here.as_slice()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks the proxy behind `socket` for a tunnel to the server.
async fn tunnel(socket: UnixStream, host: &str, port: u16) -> io::Result<impl Duplex + 'static> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let authority = format!("{host}:{port}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .map_err(io::Error::other)?;
    // It ends with the tunnel or with the refusal.
    tokio::spawn(connection.with_upgrades());
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(&authority)
        .header(http::header::HOST, &authority)
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    if !answer.status().is_success() {
        let status = answer.status();
        return Err(io::Error::other(format!("the relay refused {authority}: {status}")));
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(io::Error::other)?;
    Ok(TokioIo::new(upgraded))
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialing = tokio::time::timeout(CONNECT_TIMEOUT, self.clone().dial(uri));
        Box::pin(async move { dialing.await.map_err(|_| io::ErrorKind::TimedOut)? })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_http_stays_on_this_machine() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        loopback("127.0.0.1", port).await.unwrap();
        for elsewhere in ["192.0.2.1", "0.0.0.0", "2001:db8::1"] {
            let refused = loopback(elsewhere, port).await.unwrap_err().to_string();
            assert!(refused.contains("use https"), "{elsewhere}: {refused}");
        }
    }

    #[tokio::test]
    async fn connects_to_a_socket_whose_path_is_longer_than_an_address() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("x".repeat(200));
        std::fs::create_dir(&folder).unwrap();
        let short = File::open(&folder).unwrap();
        let short = format!("/proc/self/fd/{}/a.sock", short.as_raw_fd());
        let _listener = tokio::net::UnixListener::bind(short).unwrap();
        unix(&folder.join("a.sock")).await.unwrap();
        assert!(unix(&folder.join("b.sock")).await.is_err());
    }
}
