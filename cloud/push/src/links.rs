//! The link of a device: what is on its log, then whatever comes. No sockets here: the server
//! turns a [`Link`] into an event stream.

use crate::{Error, Push, Queued};
use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The links that are up, by device. A device may have two for a moment, while it reconnects.
#[derive(Default)]
pub(crate) struct Links(Mutex<HashMap<String, Entry>>);

struct Entry {
    news: watch::Sender<u64>,
    open: usize,
}

impl Links {
    pub(crate) fn wake(&self, device_id: &str) {
        if let Some(entry) = self.entries().get(device_id) {
            entry.news.send_modify(|count| *count += 1);
        }
    }

    fn join(&self, device_id: &str) -> watch::Receiver<u64> {
        let mut entries = self.entries();
        let entry = entries
            .entry(device_id.to_owned())
            .or_insert_with(|| Entry { news: watch::Sender::new(0), open: 0 });
        entry.open += 1;
        entry.news.subscribe()
    }

    fn leave(&self, device_id: &str) {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(device_id) {
            entry.open -= 1;
            if entry.open == 0 {
                entries.remove(device_id);
            }
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A device's link. Dropping it closes it.
pub struct Link {
    push: Arc<Push>,
    device_id: String,
    news: watch::Receiver<u64>,
    after: u64,
    batch: VecDeque<Queued>,
}

impl Link {
    /// The next event; waits until there is one. Safe to drop while it waits.
    pub async fn next(&mut self) -> Result<Queued, Error> {
        loop {
            if let Some(queued) = self.batch.pop_front() {
                self.after = queued.id;
                return Ok(queued);
            }
            // Marked as seen before the log is read: what comes in between wakes at once.
            self.news.borrow_and_update();
            self.batch = self.push.waiting(&self.device_id, self.after).await?.into();
            if self.batch.is_empty() {
                self.news.changed().await.map_err(|_| Error::NotFound("link"))?;
            }
        }
    }

    /// Whose link it is.
    #[must_use]
    pub fn device_id(&self) -> &str {
        &self.device_id
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.push.links.leave(&self.device_id);
    }
}

impl Push {
    /// Opens a device's link, from the event after `last_event_id` on: naming it acknowledges all
    /// up to it. Events that were sent but not acknowledged come again to a device that names none.
    pub async fn link(
        self: &Arc<Self>,
        device_id: &str,
        last_event_id: Option<u64>,
    ) -> Result<Link, Error> {
        self.note_seen(device_id).await?;
        if let Some(last) = last_event_id {
            self.acknowledge_up_to(device_id, last).await?;
        }
        Ok(Link {
            news: self.links.join(device_id),
            push: Arc::clone(self),
            device_id: device_id.to_owned(),
            after: last_event_id.unwrap_or(0),
            batch: VecDeque::new(),
        })
    }

    /// Whether a device's link is up.
    #[must_use]
    pub fn connected(&self, device_id: &str) -> bool {
        self.links.entries().contains_key(device_id)
    }

    /// The device is there: its 90 days begin anew.
    pub async fn note_seen(&self, device_id: &str) -> Result<(), Error> {
        sqlx::query("UPDATE push_devices SET last_seen_ms = $2 WHERE device_id = $1")
            .bind(device_id)
            .bind(self.clock.now().0 as i64)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
