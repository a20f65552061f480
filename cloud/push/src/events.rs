//! The log of events for each device: written before anything is acknowledged to its sender,
//! deleted when the device acknowledges.

use crate::{ABSENCE, Error, MESSAGE_LIFETIME, Push};
use sqlx::{Row as _, Sqlite, Transaction};
use wire::push::Event;

/// Events that may wait for one device.
const WAITING: i64 = 10_000;
/// Events that a link reads at once.
const BATCH: i64 = 64;
const TABLE: &str = "push_events";
const COLUMN: &str = "event_sealed";

/// An event in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Queued {
    /// Its id; they rise.
    pub id: u64,
    /// What it says.
    pub event: Event,
}

impl Push {
    /// Puts an event on a device's log and wakes its link.
    pub async fn deliver(&self, device_id: &str, event: &Event) -> Result<(), Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        self.append(&mut transaction, device_id, None, event).await?;
        transaction.commit().await?;
        self.links.wake(device_id);
        Ok(())
    }

    pub(crate) async fn append(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        device_id: &str,
        message_id: Option<i64>,
        event: &Event,
    ) -> Result<(), Error> {
        let waiting: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM push_events WHERE device_id = $1")
                .bind(device_id)
                .fetch_one(&mut **transaction)
                .await?;
        if message_id.is_some() && waiting >= WAITING {
            return Err(Error::Full);
        }
        let json = serde_json::to_vec(event).map_err(|_| Error::Damaged("an event"))?;
        sqlx::query(
            "INSERT INTO push_events (device_id, message_id, event_sealed, created_at_ms) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(device_id)
        .bind(message_id)
        .bind(self.sealer.seal(TABLE, COLUMN, device_id, &json))
        .bind(self.clock.now().0 as i64)
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    /// What waits for a device after event `after`, oldest first; at most a batch.
    pub async fn waiting(&self, device_id: &str, after: u64) -> Result<Vec<Queued>, Error> {
        let rows = sqlx::query(
            "SELECT event_id, event_sealed FROM push_events WHERE device_id = $1 AND event_id > $2 \
             AND (message_id IS NULL OR created_at_ms > $3) ORDER BY event_id LIMIT $4",
        )
        .bind(device_id)
        .bind(after.min(i64::MAX as u64) as i64)
        .bind(self.before(MESSAGE_LIFETIME))
        .bind(BATCH)
        .fetch_all(&self.pool)
        .await?;
        let queued = |row: &sqlx::sqlite::SqliteRow| {
            let event = self
                .sealer
                .open(TABLE, COLUMN, device_id, &row.get::<Vec<u8>, _>(COLUMN))
                .and_then(|json| serde_json::from_slice(&json).ok())
                .ok_or(Error::Damaged("an event"))?;
            Ok(Queued { id: row.get::<i64, _>("event_id") as u64, event })
        };
        rows.iter().map(queued).collect()
    }

    /// The device has these: they are deleted. Ids of others' events are passed over.
    pub async fn acknowledge(&self, device_id: &str, ids: &[u64]) -> Result<(), Error> {
        let now = self.clock.now().0 as i64;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for id in ids.iter().filter_map(|id| i64::try_from(*id).ok()) {
            let row = sqlx::query(
                "DELETE FROM push_events WHERE event_id = $1 AND device_id = $2 \
                 RETURNING message_id",
            )
            .bind(id)
            .bind(device_id)
            .fetch_optional(&mut *transaction)
            .await?;
            if let Some(message_id) = row.and_then(|row| row.get::<Option<i64>, _>("message_id")) {
                sqlx::query("UPDATE push_messages SET delivered_at_ms = $2 WHERE message_id = $1")
                    .bind(message_id)
                    .bind(now)
                    .execute(&mut *transaction)
                    .await?;
            }
        }
        Ok(transaction.commit().await?)
    }

    pub(crate) async fn acknowledge_up_to(&self, device_id: &str, last: u64) -> Result<(), Error> {
        let ids: Vec<i64> = sqlx::query_scalar(
            "SELECT event_id FROM push_events WHERE device_id = $1 AND event_id <= $2",
        )
        .bind(device_id)
        .bind(last.min(i64::MAX as u64) as i64)
        .fetch_all(&self.pool)
        .await?;
        let ids: Vec<u64> = ids.into_iter().map(|id| id as u64).collect();
        if ids.is_empty() { Ok(()) } else { self.acknowledge(device_id, &ids).await }
    }

    /// Takes back the commands that a device has not acknowledged; messages stay.
    pub async fn withdraw_commands(&self, device_id: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM push_events WHERE device_id = $1 AND message_id IS NULL")
            .bind(device_id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Deletes what has lapsed: messages after seven days, all that waits for a device that was
    /// absent for 90 days, and what is known of a message's delivery after seven days more.
    pub async fn sweep(&self) -> Result<(), Error> {
        for (sql, before) in [
            (
                "DELETE FROM push_events WHERE message_id IS NOT NULL AND created_at_ms <= $1",
                self.before(MESSAGE_LIFETIME),
            ),
            (
                "DELETE FROM push_events WHERE device_id IN \
                 (SELECT device_id FROM push_devices WHERE last_seen_ms <= $1)",
                self.before(ABSENCE),
            ),
            (
                "DELETE FROM push_messages WHERE accepted_at_ms <= $1",
                self.before(2 * MESSAGE_LIFETIME),
            ),
        ] {
            sqlx::query(sql).bind(before).execute(&self.pool).await?;
        }
        Ok(())
    }

    fn before(&self, age: std::time::Duration) -> i64 {
        self.clock.now().0 as i64 - age.as_millis() as i64
    }
}
