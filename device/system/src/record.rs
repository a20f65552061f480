//! What the system remembers: the record in the userdata partition, and the inbox.
//!
//! The record ([`Record`]) is small, changes seldom, and its rollback is detected by the TEE.
//! The inbox ([`Inbox`]) changes with every event of the link: a sealed file in the
//! device-encrypted area, replaced in one step, readable before the first unlock.

use crypto::aead::Key;
use effects::durable;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use wire::push::Message;

/// Notifications that are kept; older ones go.
pub const MAX_NOTIFICATIONS: usize = 200;
/// The longest text of a notification that is kept, in bytes: what the cloud accepts.
pub const MAX_TEXT_BYTES: usize = 4096;
/// Ids of events that are remembered.
const MAX_SEEN: usize = 1024;

/// What the userdata partition holds.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Record {
    /// Random, made with the record; a reset makes another.
    pub android_id: ByteBuf,
    /// The account that the device is bound to.
    pub account: Option<Account>,
    /// Find-device is on.
    pub find_enabled: bool,
    /// Applications that are registered for push.
    pub registrations: Vec<PushRegistration>,
}

/// The account that the device is bound to.
#[derive(Clone, Serialize, Deserialize)]
pub struct Account {
    /// The account's id.
    pub account_id: String,
    /// Its e-mail address, masked.
    pub masked: String,
    /// The device's id at the cloud.
    pub device_id: String,
    /// KeyMint's blob of the key that the device signs in with.
    pub key_blob: ByteBuf,
}

/// An application that is registered for push.
#[derive(Clone, Serialize, Deserialize)]
pub struct PushRegistration {
    /// Its package name.
    pub app: String,
    /// What a developer addresses.
    pub registration_id: String,
    /// The AES-128 key of its messages.
    pub content_key: ByteBuf,
}

/// A message that was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The event that brought it.
    pub id: u64,
    /// For which application.
    pub app: String,
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// When it came (cloud's time).
    pub at_ms: u64,
}

/// What the inbox file holds.
#[derive(Default, Clone, Serialize, Deserialize)]
struct Content {
    notifications: VecDeque<Notification>,
    seen: VecDeque<u64>,
    last_event_id: Option<u64>,
}

/// Notifications, and which events were already handled.
pub struct Inbox {
    place: Option<(PathBuf, Key)>,
    content: Content,
}

const INBOX_AAD: &[u8] = b"holdfast-inbox-v1";

impl Inbox {
    /// Opens the inbox at `path` under `key`. One that does not open under this key was left by
    /// a state of the device that was erased: an empty one takes its place.
    pub fn open(path: &Path, key: &[u8; 32]) -> io::Result<Self> {
        let key = Key::aes_256_gcm_siv(key);
        let content = match std::fs::read(path) {
            Ok(sealed) => key.open(INBOX_AAD, &sealed).ok().and_then(|plain| decode(&plain).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let place = Some((path.to_owned(), key));
        Ok(Self { place, content: content.unwrap_or_default() })
    }

    /// Empty, and not to be changed: there is no key.
    #[must_use]
    pub fn closed() -> Self {
        Self { place: None, content: Content::default() }
    }

    /// The notifications, newest first.
    pub fn notifications(&self) -> impl Iterator<Item = &Notification> {
        self.content.notifications.iter().rev()
    }

    /// Whether the effect of event `id` is already durable.
    #[must_use]
    pub fn has_seen(&self, id: u64) -> bool {
        self.content.seen.contains(&id)
    }

    /// The newest event whose effect is durable.
    #[must_use]
    pub const fn last_event_id(&self) -> Option<u64> {
        self.content.last_event_id
    }

    /// Remembers, durably, that event `id` had its effect.
    pub fn mark_seen(&mut self, id: u64) -> io::Result<()> {
        self.change(|content| content.see(id))
    }

    /// Keeps the message that event `id` brought and remembers the event, in one step.
    pub fn deliver(&mut self, id: u64, app: &str, message: Message, at_ms: u64) -> io::Result<()> {
        let notification = Notification {
            id,
            app: app.to_owned(),
            title: shortened(message.title, MAX_TEXT_BYTES),
            body: shortened(message.body, MAX_TEXT_BYTES),
            at_ms,
        };
        self.change(|content| {
            content.see(id);
            content.notifications.push_back(notification);
            while content.notifications.len() > MAX_NOTIFICATIONS {
                content.notifications.pop_front();
            }
        })
    }

    /// Removes one notification, or all.
    pub fn clear(&mut self, id: Option<u64>) -> io::Result<()> {
        self.change(|content| match id {
            Some(id) => content.notifications.retain(|notification| notification.id != id),
            None => content.notifications.clear(),
        })
    }

    /// Forgets everything, for another account.
    pub fn reset(&mut self) -> io::Result<()> {
        self.change(|content| *content = Content::default())
    }

    /// What is not durable did not happen: the change is visible only once it is on the disk.
    fn change(&mut self, change: impl FnOnce(&mut Content)) -> io::Result<()> {
        let closed = || io::Error::other("the device waits for its owner's account");
        let (path, key) = self.place.as_ref().ok_or_else(closed)?;
        let mut content = self.content.clone();
        change(&mut content);
        durable::replace(path, &key.seal(INBOX_AAD, &encode(&content)), 0o600)?;
        self.content = content;
        Ok(())
    }
}

impl Content {
    fn see(&mut self, id: u64) {
        self.seen.push_back(id);
        while self.seen.len() > MAX_SEEN {
            self.seen.pop_front();
        }
        self.last_event_id = self.last_event_id.max(Some(id));
    }
}

/// `text`, or as much of it as fits `max_bytes`.
pub(crate) fn shortened(mut text: String, max_bytes: usize) -> String {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// CBOR of `value`.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("plain data has a CBOR form");
    bytes
}

/// From CBOR that must end where the bytes end.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(mut bytes: &[u8]) -> Result<T, String> {
    let value = ciborium::from_reader(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.is_empty() { Ok(value) } else { Err("bytes after the record".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(title: &str) -> Message {
        Message { title: title.into(), body: "body".into() }
    }

    #[test]
    fn keeps_what_it_was_given_over_a_restart_and_only_under_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inbox");
        let mut inbox = Inbox::open(&path, &[1; 32]).unwrap();
        inbox.deliver(7, "app", message("hello"), 5).unwrap();
        let again = Inbox::open(&path, &[1; 32]).unwrap();
        assert_eq!(again.notifications().next().unwrap().title, "hello");
        assert!(again.has_seen(7) && !again.has_seen(6));
        assert_eq!(again.last_event_id(), Some(7));
        assert!(!std::fs::read(&path).unwrap().windows(5).any(|bytes| bytes == b"hello"));
        assert_eq!(Inbox::open(&path, &[2; 32]).unwrap().notifications().count(), 0);
    }

    #[test]
    fn is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(&folder.path().join("inbox"), &[1; 32]).unwrap();
        let long = Message { title: "é".repeat(5000), body: String::new() };
        inbox.deliver(0, "app", long, 0).unwrap();
        assert!(inbox.notifications().next().unwrap().title.len() <= MAX_TEXT_BYTES);
        for id in 1..=(MAX_NOTIFICATIONS as u64 + 5) {
            inbox.deliver(id, "app", message("n"), id).unwrap();
        }
        assert_eq!(inbox.notifications().count(), MAX_NOTIFICATIONS);
        assert_eq!(inbox.notifications().last().unwrap().id, 6);
    }

    #[test]
    fn a_change_that_is_not_durable_is_not_visible() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone").join("inbox");
        let mut inbox = Inbox::open(&path, &[1; 32]).unwrap();
        assert!(inbox.deliver(1, "app", message("lost"), 0).is_err());
        assert!(!inbox.has_seen(1));
        assert_eq!(inbox.notifications().count(), 0);
    }
}
