//! Requests to one server: kept-alive connections, JSON, streamed bodies, bounded memory.
//!
//! Time: a request has a *patience*, the longest silence that it bears. It counts while the
//! answer is awaited and between two pieces of its body, and starts anew with every piece of a
//! streamed request body; so a long transfer that moves is never cut off.

use crate::connect::{Connector, Dialer};
use crate::error::{Error, Refusal};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyDataStream, BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::{Serialize, de::DeserializeOwned};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The patience of a request that asks for no other.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);
/// The longest JSON answer that is read.
pub const MAX_JSON_BYTES: usize = 16 * 1024 * 1024;
/// The longest body of a refusal that is read.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
/// How long an unused connection is kept: less than a server keeps it.
const IDLE: Duration = Duration::from_secs(20);
/// Unused connections that are kept.
const MAX_IDLE: usize = 4;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A client of one server. Clones share their connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    pool: legacy::Client<Dialer, Body>,
    /// `https://host:port` and a path without a slash at its end.
    base: String,
    server: String,
}

impl Client {
    /// A client of the server at `base_url` (`https://host[:port][/path]`) that believes the
    /// authorities in `ca_pem` alone. On a Unix socket or the loopback it is `http://`, without TLS.
    pub fn new(base_url: &str, ca_pem: &[u8], way: Connector) -> Result<Self, Error> {
        let uri: Uri = base_url.parse().map_err(|_| Error::Url(base_url.to_owned()))?;
        let local = matches!(way, Connector::Unix(_) | Connector::Loopback);
        let scheme = if local { "http" } else { "https" };
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some(scheme));
        let authority = authority.ok_or_else(|| Error::Url(base_url.to_owned()))?.to_string();
        if uri.query().is_some() || authority.contains('@') {
            return Err(Error::Url(base_url.to_owned()));
        }
        let server = match &way {
            Connector::Unix(path) => path.display().to_string(),
            _ => authority,
        };
        let tls = if local { None } else { Some(crate::tls::client_config(ca_pem)?) };
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(Dialer { way, tls });
        let base = base_url.trim_end_matches('/').to_owned();
        Ok(Self(Arc::new(Inner { pool, base, server })))
    }

    /// A client of the local API on the Unix socket at `path`.
    #[must_use]
    pub fn unix(path: &Path) -> Self {
        Self::new("http://localhost", &[], Connector::Unix(path.to_path_buf()))
            .expect("http://localhost is an address and needs no authority")
    }

    /// The server, as errors name it: `host:port` or the socket's path.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.0.server
    }

    /// A request for `path` (with its query), which begins with a slash.
    pub fn request(&self, method: Method, path: &str) -> Request {
        let uri = format!("{}{path}", self.0.base);
        let headers = http::HeaderMap::new();
        let content = Content::Whole(Bytes::new());
        let client = self.clone();
        Request { client, method, uri, headers, content, patience: DEFAULT_PATIENCE, wrong: None }
    }

    /// A GET request.
    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// A POST request.
    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    /// A PUT request.
    pub fn put(&self, path: &str) -> Request {
        self.request(Method::PUT, path)
    }

    /// A DELETE request.
    pub fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }
}

enum Content {
    Whole(Bytes),
    Stream(Body),
}

/// A request that is being put together.
#[must_use]
pub struct Request {
    client: Client,
    method: Method,
    uri: String,
    headers: http::HeaderMap,
    content: Content,
    patience: Duration,
    wrong: Option<Error>,
}

impl Request {
    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(mut value) => {
                let name = HeaderName::from_static(name);
                value.set_sensitive(name == AUTHORIZATION || name == "x-vault-token");
                self.headers.insert(name, value);
            }
            Err(_) => self.wrong = Some(Error::Request(format!("the header {name}"))),
        }
        self
    }

    /// Adds `Authorization: Bearer` (RFC 6750).
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// The longest silence of the server that is borne.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The body: `value` as JSON.
    pub fn json(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => self.content = Content::Whole(json.into()),
            Err(error) => self.wrong = Some(Error::Request(error.to_string())),
        }
        self.header("content-type", "application/json")
    }

    /// The body: `bytes`.
    pub fn bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.content = Content::Whole(bytes.into());
        self
    }

    /// The body: the pieces of `stream`, `length` bytes in all where that is known. They are
    /// drawn no faster than they are sent.
    pub fn stream<S>(mut self, length: Option<u64>, stream: S) -> Self
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        if let Some(length) = length {
            self.headers.insert(CONTENT_LENGTH, length.into());
        }
        let body = StreamBody::new(stream.map_ok(Frame::data));
        self.content = Content::Stream(body.boxed_unsync());
        self
    }

    /// Sends it. An answer other than 2xx is [`Error::Refused`].
    pub async fn send(self) -> Result<Response, Error> {
        let response = self.send_any().await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let retry_after = response.header(&RETRY_AFTER).and_then(|value| value.parse().ok());
        let body = response.bytes(MAX_REFUSAL_BYTES).await.unwrap_or_default();
        Err(Refusal::new(status, retry_after, &body).into())
    }

    /// Sends it and reads the JSON answer.
    pub async fn send_json<T: DeserializeOwned>(self) -> Result<T, Error> {
        self.send().await?.json().await
    }

    /// Sends it and gives the answer back whatever its status.
    pub async fn send_any(self) -> Result<Response, Error> {
        let Self { client, method, uri, headers, content, patience, wrong } = self;
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let moved = Arc::new(Mutex::new(Instant::now()));
        let body = match content {
            Content::Whole(bytes) => {
                Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
            }
            Content::Stream(body) => watched(body, moved.clone()),
        };
        let mut request = http::Request::builder().method(method).uri(uri);
        if let Some(own) = request.headers_mut() {
            *own = headers;
        }
        let request = request.body(body).map_err(|error| Error::Request(error.to_string()))?;
        let server = client.0.server.clone();
        tokio::select! {
            answer = client.0.pool.request(request) => match answer {
                Ok(answer) => Ok(Response { answer, server, patience }),
                Err(error) => Err(failed(server, &error)),
            },
            () = silence(&moved, patience) => Err(Error::Timeout { server, patience }),
        }
    }
}

/// `body`, which notes the time of each piece that is drawn from it.
fn watched(body: Body, moved: Arc<Mutex<Instant>>) -> Body {
    body.map_frame(move |frame| {
        *moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        frame
    })
    .boxed_unsync()
}

/// Ends once nothing has moved for as long as `patience`.
async fn silence(moved: &Mutex<Instant>, patience: Duration) {
    loop {
        let until = *moved.lock().unwrap_or_else(PoisonError::into_inner) + patience;
        if until <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(until).await;
    }
}

fn failed(server: String, error: &legacy::Error) -> Error {
    let reason = innermost(error);
    if error.is_connect() {
        Error::Connect { server, reason }
    } else {
        Error::Broken { server, reason }
    }
}

/// What the error at the bottom of the chain says: the ones above only say where it came through.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// An answer whose body has not been read yet.
pub struct Response {
    answer: http::Response<Incoming>,
    server: String,
    patience: Duration,
}

impl Response {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.answer.status()
    }

    /// A header's value, where it is there and is text.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.answer.headers().get(name)?.to_str().ok()
    }

    /// The body's media type, where it is said.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.header(&CONTENT_TYPE)
    }

    /// The body's pieces as they come. The connection is used again if it is read to its end.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send + Unpin + 'static {
        let Self { answer, server, patience } = self;
        let pieces = BodyDataStream::new(answer.into_body());
        futures_util::stream::unfold(Some((pieces, server)), move |state| async move {
            let (mut pieces, server) = state?;
            match tokio::time::timeout(patience, pieces.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(piece))) => Some((Ok(piece), Some((pieces, server)))),
                Ok(Some(Err(error))) => {
                    let reason = innermost(&error);
                    Some((Err(Error::Broken { server, reason }), None))
                }
                Err(_) => Some((Err(Error::Timeout { server, patience }), None)),
            }
        })
        .boxed()
    }

    /// The whole body, if it is not longer than `limit_bytes`.
    pub async fn bytes(self, limit_bytes: usize) -> Result<Vec<u8>, Error> {
        // The right size at once: a body that holds secrets leaves no copies behind.
        let length = self.header(&CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let mut whole = Vec::with_capacity(length.unwrap_or(0).min(limit_bytes));
        let mut pieces = self.stream();
        while let Some(piece) = pieces.try_next().await? {
            if whole.len() + piece.len() > limit_bytes {
                return Err(Error::TooLong { limit_bytes });
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    /// The body as JSON, of up to [`MAX_JSON_BYTES`].
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let body = self.bytes(MAX_JSON_BYTES).await?;
        serde_json::from_slice(&body).map_err(|error| Error::Answer(error.to_string()))
    }
}
