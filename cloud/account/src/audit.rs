//! The audit log: every privileged action, written before its answer is sent.
//!
//! Each entry carries an HMAC over itself and the entry before it, under a key that is not in the
//! database. Who alters, reorders or removes an entry breaks the chain at that place. Not covered:
//! cutting off the newest entries together with every later trace of them.

use crate::pii::Pii;
use crate::{Accounts, Error, Subject};
use crypto::mac::hmac_sha256;
use effects::UnixMillis;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: UnixMillis,
    /// Who did it: `owner`, `device`, `recovery` or `system`.
    pub actor: String,
    /// What was done: `sign_in`, `password_reset`, `device_erase` …
    pub action: String,
    /// Whose account.
    pub subject: Subject,
    /// More about it; never personal data.
    pub detail: String,
}

impl Entry {
    fn digest(&self, key: &[u8; 32], previous: &[u8], sequence: i64) -> [u8; 32] {
        let at = self.at.0.to_be_bytes();
        let fields = [
            previous,
            &sequence.to_be_bytes(),
            &at,
            self.actor.as_bytes(),
            self.action.as_bytes(),
            self.subject.0.as_bytes(),
            self.detail.as_bytes(),
        ];
        // Lengths keep neighbouring fields apart.
        let lengths: Vec<u8> =
            fields.iter().flat_map(|field| (field.len() as u64).to_be_bytes()).collect();
        let mut parts = vec![&lengths[..]];
        parts.extend(fields);
        hmac_sha256(key, &parts)
    }

    fn from_row(row: &SqliteRow) -> Self {
        Self {
            at: UnixMillis(row.get::<i64, _>("at_ms") as u64),
            actor: row.get("actor"),
            action: row.get("action"),
            subject: Subject(row.get("subject")),
            detail: row.get("detail"),
        }
    }
}

/// Appends an entry inside the caller's transaction.
pub(crate) async fn append(
    connection: &mut SqliteConnection,
    pii: &Pii,
    entry: &Entry,
) -> Result<(), Error> {
    let last =
        sqlx::query("SELECT sequence, chain FROM account_audit ORDER BY sequence DESC LIMIT 1")
            .fetch_optional(&mut *connection)
            .await?;
    let (sequence, previous) = match last {
        Some(row) => (row.get::<i64, _>("sequence") + 1, row.get::<Vec<u8>, _>("chain")),
        None => (1, Vec::new()),
    };
    let chain = entry.digest(pii.audit_key(), &previous, sequence);
    sqlx::query(
        "INSERT INTO account_audit (sequence, at_ms, actor, action, subject, detail, chain) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(sequence)
    .bind(entry.at.0 as i64)
    .bind(&entry.actor)
    .bind(&entry.action)
    .bind(&entry.subject.0)
    .bind(&entry.detail)
    .bind(&chain[..])
    .execute(connection)
    .await?;
    Ok(())
}

/// How the log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Whole, with so many entries.
    Whole(u64),
    /// Broken at the entry with this number.
    BrokenAt(u64),
}

impl Accounts {
    /// Writes down a privileged action that another service did for `subject`.
    pub async fn record(
        &self,
        actor: &str,
        action: &str,
        subject: &Subject,
        detail: &str,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        append(&mut transaction, &self.pii, &self.entry(actor, action, subject, detail)).await?;
        Ok(transaction.commit().await?)
    }

    pub(crate) fn entry(
        &self,
        actor: &str,
        action: &str,
        subject: &Subject,
        detail: &str,
    ) -> Entry {
        Entry {
            at: self.clock.now(),
            actor: actor.into(),
            action: action.into(),
            subject: subject.clone(),
            detail: detail.into(),
        }
    }

    /// The newest entries about this account.
    pub async fn audit_of(&self, subject: &Subject, at_most: u32) -> Result<Vec<Entry>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM account_audit WHERE subject = $1 ORDER BY sequence DESC LIMIT $2",
        )
        .bind(&subject.0)
        .bind(at_most)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().map(Entry::from_row).collect())
    }

    /// Checks the whole chain.
    pub async fn verify_audit(&self) -> Result<Verdict, Error> {
        use futures_util::TryStreamExt as _;
        let mut rows =
            sqlx::query("SELECT * FROM account_audit ORDER BY sequence").fetch(&self.pool);
        let (mut previous, mut expected) = (Vec::new(), 1_i64);
        while let Some(row) = rows.try_next().await? {
            let sequence: i64 = row.get("sequence");
            let digest = Entry::from_row(&row).digest(self.pii.audit_key(), &previous, sequence);
            let chain: Vec<u8> = row.get("chain");
            if sequence != expected || !crypto::constant_time_eq(&digest, &chain) {
                return Ok(Verdict::BrokenAt(expected as u64));
            }
            (previous, expected) = (chain, expected + 1);
        }
        Ok(Verdict::Whole(expected as u64 - 1))
    }
}
