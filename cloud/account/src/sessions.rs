//! Sessions: random tokens of 256 bits, stored as hashes, with an end.

use crate::contact::masked_address;
use crate::pii::Place;
use crate::{Accounts, Error, Subject};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::digest::sha256;
use effects::{UnixMillis, random_array};
use sqlx::Row as _;
use std::net::IpAddr;
use std::time::Duration;
use wire::account::Session;

/// A web session ends after this long without activity (S5.2.2).
pub const WEB_IDLE: Duration = Duration::from_secs(15 * 60);
/// Whatever happens, a person signs in again after this long.
const PERSON_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// A device's session; it gets the next by itself.
const DEVICE_LIFETIME: Duration = Duration::from_secs(3600);

/// Who holds a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    /// A person's program.
    Api,
    /// A person's browser.
    Web,
    /// A bound device.
    Device,
}

impl SessionKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Web => "web",
            Self::Device => "device",
        }
    }

    fn parse(name: &str) -> Result<Self, Error> {
        match name {
            "api" => Ok(Self::Api),
            "web" => Ok(Self::Web),
            "device" => Ok(Self::Device),
            _ => Err(Error::Damaged("a session's kind")),
        }
    }

    const fn lifetime(self) -> Duration {
        match self {
            Self::Api | Self::Web => PERSON_LIFETIME,
            Self::Device => DEVICE_LIFETIME,
        }
    }
}

/// Whether a request counts as activity. What a page does by itself does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// A person did something.
    Activity,
    /// A page refreshed itself.
    Background,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account inside the cloud.
    pub subject: Subject,
    /// The account, as its owner and devices know it.
    pub account_id: String,
    /// The bound device, where one calls.
    pub device_id: Option<String>,
    /// Browser, program or device.
    pub kind: SessionKind,
    /// Names the session without being able to act as it.
    pub session_id: [u8; 32],
}

/// A session, as the account's owner sees it.
#[derive(Debug, Clone)]
pub struct SessionView {
    /// Browser, program or device.
    pub kind: SessionKind,
    /// From where it was opened, masked.
    pub source: String,
    /// When it was opened.
    pub created_at: UnixMillis,
    /// When it was last active.
    pub last_used: UnixMillis,
    /// Whether it is the one that asks.
    pub current: bool,
}

impl Accounts {
    pub(crate) async fn open_session(
        &self,
        subject: &Subject,
        account_id: &str,
        kind: SessionKind,
        device_id: Option<&str>,
        source: IpAddr,
    ) -> Result<Session, Error> {
        let token = URL_SAFE_NO_PAD.encode(random_array::<32>(&*self.entropy));
        let now = self.clock.now();
        let expires = now.plus(kind.lifetime());
        sqlx::query(
            "INSERT INTO account_sessions (token_hash, subject, kind, device_id, source, \
             created_at_ms, last_used_ms, expires_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $6, $7)",
        )
        .bind(&sha256(token.as_bytes())[..])
        .bind(&subject.0)
        .bind(kind.name())
        .bind(device_id)
        .bind(masked_address(source))
        .bind(now.0 as i64)
        .bind(expires.0 as i64)
        .execute(&self.pool)
        .await?;
        Ok(Session { account_id: account_id.into(), token, expires_at_ms: expires.0 })
    }

    /// Who holds this token.
    pub async fn authenticate(&self, token: &str, touch: Touch) -> Result<Caller, Error> {
        let session_id = sha256(token.as_bytes());
        let row = sqlx::query(
            "SELECT s.subject, s.kind, s.device_id, s.last_used_ms, s.expires_at_ms, \
             a.account_sealed FROM account_sessions s \
             JOIN account_accounts a ON a.subject = s.subject WHERE s.token_hash = $1",
        )
        .bind(&session_id[..])
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::NotSignedIn)?;
        let now = self.clock.now();
        let time = |column| UnixMillis(row.get::<i64, _>(column) as u64);
        let kind = SessionKind::parse(row.get("kind"))?;
        let idle = kind == SessionKind::Web && now.since(time("last_used_ms")) >= WEB_IDLE;
        if idle || now >= time("expires_at_ms") {
            self.end_session(&session_id).await?;
            return Err(Error::NotSignedIn);
        }
        if kind == SessionKind::Web && touch == Touch::Activity {
            self.touch(&session_id, now).await?;
        }
        let subject = Subject(row.get("subject"));
        let place = Place::new("account_accounts", "account_sealed", &subject.0);
        let account_id = self.pii.open_text(place, &row.get::<Vec<u8>, _>("account_sealed"))?;
        Ok(Caller { account_id, device_id: row.get("device_id"), kind, session_id, subject })
    }

    async fn touch(&self, session_id: &[u8; 32], now: UnixMillis) -> Result<(), Error> {
        sqlx::query("UPDATE account_sessions SET last_used_ms = $2 WHERE token_hash = $1")
            .bind(&session_id[..])
            .bind(now.0 as i64)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Ends a session.
    pub async fn end_session(&self, session_id: &[u8; 32]) -> Result<(), Error> {
        sqlx::query("DELETE FROM account_sessions WHERE token_hash = $1")
            .bind(&session_id[..])
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Ends every session of a person but this one.
    pub async fn end_other_sessions(&self, caller: &Caller) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let ended = sqlx::query(
            "DELETE FROM account_sessions WHERE subject = $1 AND kind <> 'device' \
             AND token_hash <> $2",
        )
        .bind(&caller.subject.0)
        .bind(&caller.session_id[..])
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        let entry = self.entry("owner", "sessions_ended", &caller.subject, &ended.to_string());
        crate::audit::append(&mut transaction, &self.pii, &entry).await?;
        transaction.commit().await?;
        Ok(ended)
    }

    /// The sessions that are open.
    pub async fn sessions(&self, caller: &Caller) -> Result<Vec<SessionView>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM account_sessions WHERE subject = $1 AND expires_at_ms > $2 \
             AND (kind <> 'web' OR last_used_ms > $3) ORDER BY last_used_ms DESC LIMIT 50",
        )
        .bind(&caller.subject.0)
        .bind(self.clock.now().0 as i64)
        .bind(self.clock.now().0 as i64 - WEB_IDLE.as_millis() as i64)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| view(row, caller)).collect()
    }

    /// Deletes what has lapsed: sessions, reset codes, used assertions, old failures.
    pub async fn sweep(&self) -> Result<(), Error> {
        let now = self.clock.now().0 as i64;
        let day = 24 * 3600 * 1000;
        for (sql, before) in [
            ("DELETE FROM account_sessions WHERE expires_at_ms <= $1", now),
            (
                "DELETE FROM account_sessions WHERE kind = 'web' AND last_used_ms <= $1",
                now - WEB_IDLE.as_millis() as i64,
            ),
            ("DELETE FROM account_used_assertions WHERE expires_at_ms <= $1", now),
            ("DELETE FROM account_failures WHERE last_ms <= $1", now - day),
            ("DELETE FROM account_reset_codes WHERE window_start_ms <= $1", now - day),
        ] {
            sqlx::query(sql).bind(before).execute(&self.pool).await?;
        }
        Ok(())
    }
}

fn view(row: &sqlx::sqlite::SqliteRow, caller: &Caller) -> Result<SessionView, Error> {
    let time = |column| UnixMillis(row.get::<i64, _>(column) as u64);
    Ok(SessionView {
        kind: SessionKind::parse(row.get("kind"))?,
        source: row.get("source"),
        created_at: time("created_at_ms"),
        last_used: time("last_used_ms"),
        current: row.get::<Vec<u8>, _>("token_hash") == caller.session_id,
    })
}
