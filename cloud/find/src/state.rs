//! What the server knows of a device: whether find-device is on, lost mode, the last position.

use crate::{Error, Find};
use effects::UnixMillis;
use sqlx::{Row as _, sqlite::SqliteRow};
use std::net::IpAddr;
use wire::find::{Enable, Position};

const TABLE: &str = "find_devices";

/// The state of a device.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Whether find-device is on.
    pub enabled: bool,
    /// The message of lost mode, while it holds.
    pub lost: Option<String>,
    /// Since when it is lost.
    pub lost_at: Option<UnixMillis>,
    /// Whether it was erased and not activated since.
    pub erased: bool,
    /// Its last position.
    pub position: Option<Position>,
}

impl Find {
    /// The state of a device; one never heard of has everything off.
    pub async fn state(&self, device_id: &str) -> Result<State, Error> {
        let row = sqlx::query("SELECT * FROM find_devices WHERE device_id = $1")
            .bind(device_id)
            .fetch_optional(&self.pool)
            .await?;
        row.map_or_else(|| Ok(State::default()), |row| self.state_of(device_id, &row))
    }

    fn state_of(&self, device_id: &str, row: &SqliteRow) -> Result<State, Error> {
        let time = |column| row.get::<Option<i64>, _>(column).map(|ms| UnixMillis(ms as u64));
        let message = self.open_column(device_id, row, "lost_message_sealed")?;
        let position = self.open_column(device_id, row, "position_sealed")?;
        let lost = message.map(String::from_utf8).transpose();
        let position = position.map(|json| serde_json::from_slice(&json)).transpose();
        Ok(State {
            enabled: row.get("enabled"),
            lost: lost.map_err(|_| Error::Damaged("a lost message"))?,
            lost_at: time("lost_at_ms"),
            erased: time("erased_at_ms").is_some(),
            position: position.map_err(|_| Error::Damaged("a position"))?,
        })
    }

    fn open_column(
        &self,
        device_id: &str,
        row: &SqliteRow,
        column: &str,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(sealed) = row.get::<Option<Vec<u8>>, _>(column) else { return Ok(None) };
        let opened = self.sealer.open(TABLE, column, device_id, &sealed);
        opened.map(Some).ok_or(Error::Damaged("a sealed value of find-device"))
    }

    /// Turns find-device on, or, with the owner's password and not while lost, off.
    pub async fn enable(
        &self,
        device_id: &str,
        owner: &str,
        request: &Enable,
        source: IpAddr,
    ) -> Result<(), Error> {
        if request.enabled {
            return self.set_enabled(device_id, owner, true).await;
        }
        let state = self.state(device_id).await?;
        if state.lost_at.is_some() {
            return Err(Error::Lost);
        }
        if state.enabled {
            let password = request.password.as_deref().unwrap_or_default();
            self.owners.verify(owner, password, None, source).await?;
        }
        self.set_enabled(device_id, owner, false).await
    }

    async fn set_enabled(&self, device_id: &str, owner: &str, on: bool) -> Result<(), Error> {
        let action = if on { "find_enabled" } else { "find_disabled" };
        self.owners.record(owner, "device", action, device_id).await?;
        sqlx::query(
            "INSERT INTO find_devices (device_id, owner, enabled) VALUES ($1, $2, $3) \
             ON CONFLICT (device_id) DO UPDATE SET owner = excluded.owner, enabled = excluded.enabled",
        )
        .bind(device_id)
        .bind(owner)
        .bind(on)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(crate) async fn set_position(
        &self,
        device_id: &str,
        position: &Position,
    ) -> Result<(), Error> {
        let json = serde_json::to_vec(position).map_err(|_| Error::Damaged("a position"))?;
        let sealed = self.sealer.seal(TABLE, "position_sealed", device_id, &json);
        self.update(
            "UPDATE find_devices SET position_sealed = $2 WHERE device_id = $1",
            device_id,
            sealed,
        )
        .await
    }

    /// Lost mode begins; one that holds already keeps its first moment, which the password rule
    /// counts from.
    pub(crate) async fn set_lost(&self, device_id: &str, message: &str) -> Result<(), Error> {
        let sealed = self.sealer.seal(TABLE, "lost_message_sealed", device_id, message.as_bytes());
        sqlx::query(
            "UPDATE find_devices SET lost_message_sealed = $2, \
             lost_at_ms = COALESCE(lost_at_ms, $3) WHERE device_id = $1",
        )
        .bind(device_id)
        .bind(sealed)
        .bind(self.clock.now().0 as i64)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(crate) async fn set_erased(&self, device_id: &str) -> Result<(), Error> {
        let now = self.clock.now().0 as i64;
        self.update(
            "UPDATE find_devices SET erased_at_ms = $2 WHERE device_id = $1",
            device_id,
            now,
        )
        .await
    }

    /// The owner has it back: neither lost nor erased. Commands still on their way were meant for
    /// a device in other hands; an erasure that arrived now would destroy what was just restored.
    pub(crate) async fn set_recovered(&self, device_id: &str) -> Result<(), Error> {
        self.carrier.withdraw(device_id).await?;
        self.drop_pending(device_id).await?;
        sqlx::query(
            "UPDATE find_devices SET lost_message_sealed = NULL, lost_at_ms = NULL, \
             erased_at_ms = NULL WHERE device_id = $1",
        )
        .bind(device_id)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn update<'q, T>(&self, sql: &'q str, device_id: &'q str, value: T) -> Result<(), Error>
    where
        T: 'q + sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        sqlx::query(sql).bind(device_id).bind(value).execute(&self.pool).await?;
        Ok(())
    }

    /// The earliest loss among the devices of `owner` that are still lost.
    pub async fn earliest_loss(&self, owner: &str) -> Result<Option<UnixMillis>, Error> {
        let earliest: Option<i64> =
            sqlx::query_scalar("SELECT MIN(lost_at_ms) FROM find_devices WHERE owner = $1")
                .bind(owner)
                .fetch_one(&self.pool)
                .await?;
        Ok(earliest.map(|ms| UnixMillis(ms as u64)))
    }

    /// Forgets a device and its commands.
    pub async fn forget_device(&self, device_id: &str) -> Result<(), Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for sql in [
            "DELETE FROM find_commands WHERE device_id = $1",
            "DELETE FROM find_devices WHERE device_id = $1",
        ] {
            sqlx::query(sql).bind(device_id).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}
