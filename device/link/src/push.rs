//! The link: events from the cloud, as server-sent events (WHATWG HTML, 9.2.6).
//!
//! Three parts: [`EventStream`] decodes bytes and knows no socket; [`Backoff`] says how long to
//! wait before the next try; [`run`] keeps the connection. An event is acknowledged only after
//! its effect is durable ([`Handler::handle`] returned), so nothing is lost; the same event may
//! come again, so the handler recognises it by its id.

use crate::session::{DeviceSession, Error};
use effects::{Clock, Entropy, random_array};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use std::time::Duration;
use wire::device::Ack;
use wire::push::{Event, Message, Register, Registration};

/// The longest event: a message of 4 KiB, sealed and in base64, fits many times.
const MAX_EVENT_BYTES: usize = 256 * 1024;
/// A link on which not even a comment came for this long is dead.
const SILENCE: Duration = Duration::from_secs(300);
/// The first wait after a link broke.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A server-sent event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// `id`; the last one holds until another comes.
    pub id: Option<String>,
    /// `data`, its lines joined.
    pub data: String,
}

/// The stream cannot be followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {MAX_EVENT_BYTES} bytes")]
pub struct TooLong;

/// Decodes a `text/event-stream` that comes in pieces of any size.
#[derive(Debug, Default)]
pub struct EventStream {
    line: Vec<u8>,
    after_cr: bool,
    at_start: bool,
    id: Option<String>,
    data: String,
    has_data: bool,
}

impl EventStream {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self { at_start: true, ..Self::default() }
    }

    /// Takes the next `bytes`; gives the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, TooLong> {
        let mut frames = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => frames.extend(self.end_line()),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.len() > MAX_EVENT_BYTES {
                return Err(TooLong);
            }
        }
        Ok(frames)
    }

    fn end_line(&mut self) -> Option<Frame> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        let mark = std::mem::take(&mut self.at_start).then_some('\u{feff}');
        let line = mark.and_then(|mark| line.strip_prefix(mark)).unwrap_or(&line);
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Frame> {
        let mut data = std::mem::take(&mut self.data);
        if !std::mem::take(&mut self.has_data) {
            return None;
        }
        data.pop();
        Some(Frame { id: self.id.clone(), data })
    }
}

/// How long to wait before the next try: doubling, with full jitter, so that a cloud that comes
/// back is not met by all its devices at once.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next try.
    pub fn next_wait(&mut self, entropy: &dyn Entropy) -> Duration {
        let ceiling = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        let draw = u32::from_be_bytes(random_array(entropy));
        ceiling / 4 + (ceiling * 3 / 4).mul_f64(f64::from(draw) / f64::from(u32::MAX))
    }

    /// It worked.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// What came down the link.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The event's id.
    pub id: u64,
    /// What it says; `None` where this version does not understand it.
    pub event: Option<Event>,
}

/// What the link does with what it carries.
pub trait Handler: Send + Sync {
    /// Makes the effect of an event durable. `Err` leaves it unacknowledged: it comes again.
    fn handle(&self, delivery: Delivery) -> BoxFuture<'_, Result<(), String>>;
    /// The newest event whose effect is durable.
    fn last_event_id(&self) -> Option<u64>;
    /// The link came up or went down.
    fn connected(&self, connected: bool);
}

/// Keeps the link until the caller drops this future.
pub async fn run(
    session: &DeviceSession,
    handler: &dyn Handler,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) {
    let mut backoff = Backoff::default();
    loop {
        let since = clock.monotonic();
        let ended = follow(session, handler).await;
        handler.connected(false);
        match ended {
            Ok(()) => tracing::info!("the cloud closed the link"),
            Err(error) => tracing::info!(%error, "no link to the cloud"),
        }
        if clock.monotonic().saturating_sub(since) > Duration::from_secs(30) {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next_wait(entropy)).await;
    }
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The cloud, or the way to it.
    #[error(transparent)]
    Cloud(#[from] Error),
    /// What it sends is no event stream of ours.
    #[error("the event stream: {0}")]
    Stream(String),
    /// An effect could not be made durable.
    #[error("event {id}: {reason}")]
    Effect {
        /// The event's id.
        id: u64,
        /// What was in the way.
        reason: String,
    },
}

/// Follows one connection of the link to its end.
pub async fn follow(session: &DeviceSession, handler: &dyn Handler) -> Result<(), LinkError> {
    let last = handler.last_event_id();
    let response = session
        .send(|client| {
            let request = client.get("/v1/devices/self/link").patience(SILENCE);
            let request = request.header("accept", "text/event-stream");
            match last {
                Some(last) => request.header("last-event-id", &last.to_string()),
                None => request,
            }
        })
        .await?;
    handler.connected(true);
    let mut decoder = EventStream::new();
    let mut pieces = response.stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(Error::from)?;
        let frames = decoder.push(&piece).map_err(|error| LinkError::Stream(error.to_string()))?;
        let mut done = Vec::with_capacity(frames.len());
        let mut broken = None;
        for frame in frames {
            match take(handler, frame).await {
                Ok(id) => done.push(id),
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        acknowledge(session, done).await?;
        if let Some(error) = broken {
            return Err(error);
        }
    }
    Ok(())
}

async fn take(handler: &dyn Handler, frame: Frame) -> Result<u64, LinkError> {
    let id = frame.id.as_deref().and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| LinkError::Stream("an event without a number".into()))?;
    let event = serde_json::from_str(&frame.data).ok();
    let handled = handler.handle(Delivery { id, event }).await;
    handled.map(|()| id).map_err(|reason| LinkError::Effect { id, reason })
}

async fn acknowledge(session: &DeviceSession, ids: Vec<u64>) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let ack = Ack { ids };
    session.send(|client| client.post("/v1/devices/self/ack").json(&ack)).await.map(drop)
}

/// Registers an application of this device for push.
pub async fn register(session: &DeviceSession, register: &Register) -> Result<Registration, Error> {
    session.ask(|client| client.post("/v1/push/registrations").json(register)).await
}

/// An identifier of the device as push gets to see it: SHA-256 with a label of its own, so that
/// it is comparable with nothing else and does not give the identifier back.
#[must_use]
pub fn hashed_id(kind: &str, value: &str) -> String {
    let hash = crypto::digest::sha256(format!("holdfast-push-id-v1\0{kind}\0{value}").as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A message could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It was sealed under another key, for another registration, or altered.
    #[error("the message was not sealed for this registration")]
    Sealed,
    /// It holds no message.
    #[error("the message is malformed")]
    Malformed,
}

/// Opens a message that was sealed under its registration's content key.
pub fn open_message(
    registration_id: &str,
    content_key: &[u8; 16],
    sealed: &[u8],
) -> Result<Message, MessageError> {
    let json = crypto::aead::Key::aes_128_gcm(content_key)
        .open(registration_id.as_bytes(), sealed)
        .map_err(|_| MessageError::Sealed)?;
    serde_json::from_slice(&json).map_err(|_| MessageError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use effects::SystemEntropy;
    use proptest::prelude::*;

    fn frames(text: &str) -> Vec<Frame> {
        EventStream::new().push(text.as_bytes()).unwrap()
    }

    fn frame(id: Option<&str>, data: &str) -> Frame {
        Frame { id: id.map(Into::into), data: data.into() }
    }

    #[test]
    fn decodes_the_examples_of_the_standard() {
        assert_eq!(frames("data: YHOO\ndata: +2\ndata: 10\n\n"), [frame(None, "YHOO\n+2\n10")]);
        assert_eq!(
            frames(
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
            ),
            [
                frame(Some("1"), "first event"),
                frame(Some(""), "second event"),
                frame(Some(""), " third event")
            ]
        );
        assert_eq!(frames("data\n\ndata\ndata\n\ndata:"), [frame(None, ""), frame(None, "\n")]);
        assert_eq!(frames("\u{feff}data:test\r\n\r\ndata: test\r\r").len(), 2);
    }

    #[test]
    fn refuses_an_endless_event() {
        let mut stream = EventStream::new();
        let line = format!("data: {}\n", "x".repeat(1000));
        let refused = (0..1000).find_map(|_| stream.push(line.as_bytes()).err());
        assert_eq!(refused, Some(TooLong));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "(data: [a-z]{0,5}|id: [0-9]{1,3}|:c|x|\r\n|\n|\r){0,40}", cut in 0..200_usize) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let mut stream = EventStream::new();
            let mut got = stream.push(&bytes[..cut]).unwrap();
            got.extend(stream.push(&bytes[cut..]).unwrap());
            prop_assert_eq!(got, frames(&text));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = EventStream::new().push(&bytes);
        }
    }

    #[test]
    fn waits_grow_to_a_limit_and_start_anew() {
        let mut backoff = Backoff::default();
        for failures in 0..40_u32 {
            let ceiling = Duration::from_secs(1 << failures.min(10)).min(LONGEST_WAIT);
            let wait = backoff.next_wait(&SystemEntropy);
            assert!(wait >= ceiling / 4 && wait <= ceiling, "{failures}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait(&SystemEntropy) <= FIRST_WAIT);
    }

    #[test]
    fn s5_4_opens_a_message_only_under_its_registration_and_key() {
        let message = Message { title: "t".into(), body: "b".into() };
        let json = serde_json::to_vec(&message).unwrap();
        let sealed = crypto::aead::Key::aes_128_gcm(&[7; 16]).seal(b"reg", &json);
        assert_eq!(open_message("reg", &[7; 16], &sealed), Ok(message));
        assert_eq!(open_message("other", &[7; 16], &sealed), Err(MessageError::Sealed));
        assert_eq!(open_message("reg", &[8; 16], &sealed), Err(MessageError::Sealed));
    }

    #[test]
    fn s5_4_identifiers_are_hashed_apart_by_kind() {
        assert_ne!(hashed_id("serial", "A1"), hashed_id("android", "A1"));
        assert!(!hashed_id("serial", "A1").contains("A1"));
        assert_eq!(hashed_id("serial", "A1").len(), 64);
    }
}
