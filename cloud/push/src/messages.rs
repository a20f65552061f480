//! Messages of developers.

use crate::{Error, MESSAGE_LIFETIME, Push};
use crypto::aead;
use sqlx::Row as _;
use wire::push::{Delivery, Event, Send, Sent};

/// The longest body, in bytes.
const BODY_BYTES: usize = 4096;
/// The longest title, in bytes.
const TITLE_BYTES: usize = 256;

impl Push {
    /// Accepts a message: sealed under its registration's content key, durable, and on its way.
    pub async fn send(&self, developer_id: &str, request: &Send) -> Result<Sent, Error> {
        let message = &request.message;
        if message.body.len() > BODY_BYTES {
            return Err(Error::Invalid { field: "body", reason: "longer than 4096 bytes" });
        }
        if message.title.is_empty() || message.title.len() > TITLE_BYTES {
            return Err(Error::Invalid { field: "title", reason: "has 1 to 256 bytes" });
        }
        let (device_id, key) = self.addressee(&request.registration_id).await?;
        let json = serde_json::to_vec(message).map_err(|_| Error::Damaged("a message"))?;
        let sealed = aead::Key::aes_128_gcm(&key).seal(request.registration_id.as_bytes(), &json);
        let event =
            Event::Push { registration_id: request.registration_id.clone(), sealed: sealed.into() };
        let message_id = self.accept(developer_id, &device_id, &event).await?;
        Ok(Sent { message_id })
    }

    async fn addressee(&self, registration_id: &str) -> Result<(String, [u8; 16]), Error> {
        let row = sqlx::query(
            "SELECT d.device_id, r.content_key_sealed FROM push_registrations r \
             JOIN push_devices d ON d.push_id = r.push_id WHERE r.registration_id = $1",
        )
        .bind(registration_id)
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::NotFound("registration"))?;
        let key =
            self.content_key(registration_id, &row.get::<Vec<u8>, _>("content_key_sealed"))?;
        Ok((row.get("device_id"), key))
    }

    async fn accept(
        &self,
        developer_id: &str,
        device_id: &str,
        event: &Event,
    ) -> Result<u64, Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let message_id: i64 = sqlx::query_scalar(
            "INSERT INTO push_messages (developer_id, accepted_at_ms) VALUES ($1, $2) \
             RETURNING message_id",
        )
        .bind(developer_id)
        .bind(self.clock.now().0 as i64)
        .fetch_one(&mut *transaction)
        .await?;
        self.append(&mut transaction, device_id, Some(message_id), event).await?;
        transaction.commit().await?;
        self.links.wake(device_id);
        Ok(message_id as u64)
    }

    /// How far a message of this developer is.
    pub async fn delivery(&self, developer_id: &str, message_id: u64) -> Result<Delivery, Error> {
        let row = sqlx::query(
            "SELECT accepted_at_ms, delivered_at_ms FROM push_messages \
             WHERE message_id = $1 AND developer_id = $2",
        )
        .bind(message_id as i64)
        .bind(developer_id)
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::NotFound("message"))?;
        let accepted: i64 = row.get("accepted_at_ms");
        let delivered: Option<i64> = row.get("delivered_at_ms");
        let age = self.clock.now().0.saturating_sub(accepted as u64);
        let state = match delivered {
            Some(_) => "delivered",
            None if u128::from(age) >= MESSAGE_LIFETIME.as_millis() => "expired",
            None => "pending",
        };
        let latency_ms = delivered.map(|at| at.saturating_sub(accepted) as u64);
        Ok(Delivery { state: state.into(), latency_ms })
    }
}
