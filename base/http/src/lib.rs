//! HTTP/1.1 (RFC 9110, RFC 9112) over TLS with a pinned CA: the client and the listener that
//! every service uses, and the same over Unix sockets for a device's local APIs.
//!
//! - [`tls`]: a CA and a server certificate of one's own, made on first start, renewed in time.
//! - [`serve`]: an axum `Router` behind a TLS or a Unix listener; slow and hostile clients
//!   cannot hold it.
//! - [`pipe`]: bodies for blocking code.
//! - [`client`]: requests to one server, also through an HTTP CONNECT proxy on a Unix socket.
//!
//! Not covered: HTTP/2, redirects, cookies, compression, public certificate authorities.

pub mod client;
mod connect;
mod error;
mod patience;
pub mod pipe;
pub mod serve;
pub mod tls;

pub use client::{Client, Request, Response};
pub use connect::Connector;
pub use error::{Error, Refusal};
