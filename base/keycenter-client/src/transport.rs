//! How questions get to the Key Center.

use bytes::Bytes;
use http::Method;
use std::future::Future;
use zeroize::Zeroizing;

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// An answer, whatever its status.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body: JSON, or empty.
    pub body: Zeroizing<Vec<u8>>,
}

/// Carries a question to the Key Center and its answer back.
pub trait Transport: Send + Sync {
    /// Sends `body` (JSON, or empty) to `path`, with the token where there is one.
    fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Zeroizing<Vec<u8>>,
    ) -> impl Future<Output = Result<Answer, http_link::Error>> + Send;
}

impl Transport for http_link::Client {
    async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Answer, http_link::Error> {
        let mut request = self.request(method, path).bytes(Bytes::from_owner(body));
        request = request.header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("x-vault-token", token);
        }
        let answer = request.send_any().await?;
        let status = answer.status().as_u16();
        let body = Zeroizing::new(answer.bytes(MAX_ANSWER_BYTES).await?);
        Ok(Answer { status, body })
    }
}
