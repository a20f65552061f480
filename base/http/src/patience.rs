//! How long the other end may let us wait: a grace and a least speed. One that trickles bytes
//! runs out of patience as surely as one that is silent.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep};

/// How long may be waited for the other end in all: `grace`, and a second more for each
/// `bytes_per_second` that it moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Allowed before anything moved.
    pub grace: Duration,
    /// The least speed, in bytes per second.
    pub bytes_per_second: u32,
}

/// Counts the time spent waiting, and only that: the time we take ourselves is not the peer's.
struct Waiting {
    patience: Patience,
    moved: u64,
    waited: Duration,
    since: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl Waiting {
    fn new(patience: Patience) -> Self {
        let alarm = Box::pin(tokio::time::sleep(patience.grace));
        Self { patience, moved: 0, waited: Duration::ZERO, since: None, alarm }
    }

    /// The peer let us wait; `Ready` once it has done so for too long.
    fn pending(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.since.is_none() {
            let now = Instant::now();
            let earned = self.moved / u64::from(self.patience.bytes_per_second.max(1));
            let allowed = self.patience.grace + Duration::from_secs(earned);
            self.since = Some(now);
            self.alarm.as_mut().reset(now + allowed.saturating_sub(self.waited));
        }
        self.alarm.as_mut().poll(context)
    }

    /// The peer moved `bytes`.
    fn moved(&mut self, bytes: usize) {
        self.moved += bytes as u64;
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }
}

fn ran_out(doing: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the other end is too slow in {doing}"))
}

/// A stream whose writes fail once the reader at the other end is too slow.
pub(crate) struct PatientWriter<S> {
    stream: S,
    waiting: Waiting,
}

impl<S> PatientWriter<S> {
    pub(crate) fn new(stream: S, patience: Patience) -> Self {
        Self { stream, waiting: Waiting::new(patience) }
    }

    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        match outcome {
            Poll::Pending => {
                ready!(self.waiting.pending(context));
                Poll::Ready(Err(ran_out("reading the answer")))
            }
            Poll::Ready(outcome) => {
                self.waiting.moved(outcome.as_ref().map_or(0, bytes));
                Poll::Ready(outcome)
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientWriter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientWriter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, outcome, |written| *written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, outcome, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(context, outcome, |()| 0)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, outcome, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// What is read of a body that its handler did not want. The sender of a longer one may miss the
/// answer.
const REST_BYTES: usize = 4 << 20;

/// A request body that fails once its sender is too slow.
///
/// Where the handler answers before it read everything, the rest is read and thrown away: a
/// connection that is closed with unread bytes is reset, and its sender never sees the answer.
pub(crate) struct PatientBody {
    /// Nothing once it failed.
    body: Option<Incoming>,
    waiting: Waiting,
    reads_rest: bool,
}

impl PatientBody {
    /// `reads_rest` is false for a sender who waits to be asked for the body (RFC 9110, 10.1.1).
    pub(crate) fn new(body: Incoming, patience: Patience, reads_rest: bool) -> Self {
        Self { body: Some(body), waiting: Waiting::new(patience), reads_rest }
    }
}

impl Body for PatientBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(context) {
            Poll::Pending => {
                ready!(self.waiting.pending(context));
                self.body = None;
                Poll::Ready(Some(Err(ran_out("sending its request").into())))
            }
            Poll::Ready(frame) => {
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                let bytes = data.map_or(0, Bytes::len);
                self.waiting.moved(bytes);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for PatientBody {
    fn drop(&mut self) {
        if !self.reads_rest || self.is_end_stream() {
            return;
        }
        let (Some(mut rest), Ok(runtime)) = (self.body.take(), Handle::try_current()) else {
            return;
        };
        let read = async move {
            let mut bytes = 0;
            while let Some(Ok(frame)) = rest.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > REST_BYTES {
                    break;
                }
            }
        };
        runtime.spawn(tokio::time::timeout(self.waiting.patience.grace, read));
    }
}
