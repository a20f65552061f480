//! The audit log: one line for each use of a key and each change, chained by codes.
//!
//! The code of a line is HMAC-SHA-256 over the code before, its number and its text, under a key
//! that derives from the device-encrypted area's. Whoever alters, removes or inserts lines in the
//! flash can't make the codes right. Old lines go once there are [`MAX_LINES`]; the code of the
//! last one that went stays. A copy of the whole database is not told from the original: what must
//! not be rolled back is the TEE's business.

use crate::caller::label;
use crate::error::Error;
use crypto::mac::HmacSha256;
use crypto::secret::Secret;
use effects::UnixMillis;
use keymint::{Bytes, KeyPurpose};
use keystore_client::api::{AuditLine, Namespace};
use serde::Serialize;
use sqlx::SqliteConnection;

/// Lines that are kept.
pub(crate) const MAX_LINES: u64 = 100_000;
/// Lines beyond that go together.
const PRUNED_TOGETHER: u64 = 1000;
/// Bytes of a code.
const CODE_BYTES: usize = 32;
/// Where the last line that went is remembered.
const BASE: &str = "audit base";

/// What happened.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Event<'a> {
    at_ms: u64,
    uid: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    label: &'a str,
    what: What,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<KeyPurpose>,
    /// `ok`, or the refusal's name.
    outcome: &'a str,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    Generate,
    Import,
    Begin,
    Use,
    Open,
    Delete,
    Grant,
    Ungrant,
    Move,
    Update,
    Provision,
    AuthToken,
}

impl<'a> Event<'a> {
    pub(crate) fn new(at: UnixMillis, by: &'a Namespace, what: What, key: u64) -> Self {
        Self {
            at_ms: at.0,
            uid: by.uid,
            label: label(by),
            what,
            key: format!("{key:016x}"),
            purpose: None,
            outcome: "ok",
        }
    }

    pub(crate) const fn purpose(mut self, purpose: KeyPurpose) -> Self {
        self.purpose = Some(purpose);
        self
    }

    pub(crate) fn outcome<T>(mut self, result: &Result<T, Error>) -> Self {
        if let Err(error) = result {
            self.outcome = error.code().map_or("tee_unavailable", |code| code.name());
        }
        self
    }

    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).expect("plain data has a JSON form")
    }
}

/// The end of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    number: u64,
    code: [u8; CODE_BYTES],
}

impl Head {
    const NOTHING: Self = Self { number: 0, code: [0; CODE_BYTES] };

    fn of(number: i64, code: Vec<u8>) -> Result<Self, Error> {
        let code = code.try_into().map_err(|_| Error::corrupted("the audit log"))?;
        Ok(Self { number: number.cast_unsigned(), code })
    }
}

/// What makes codes.
pub(crate) struct Chain {
    key: HmacSha256,
    head: Head,
    base: Head,
}

impl Chain {
    /// Goes on where the database's log ends.
    pub(crate) async fn open(db: &mut SqliteConnection, key: &Secret<32>) -> Result<Self, Error> {
        let base = base(db).await?;
        let last: Option<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT number, code FROM audit ORDER BY number DESC LIMIT 1")
                .fetch_optional(db)
                .await?;
        let head = last.map_or(Ok(base), |(number, code)| Head::of(number, code))?;
        Ok(Self { key: HmacSha256::new(key.expose()), head, base })
    }

    /// Where the chain ends; [`Self::go_back`] takes it.
    pub(crate) const fn mark(&self) -> (Head, Head) {
        (self.head, self.base)
    }

    /// What was appended since was not kept.
    pub(crate) const fn go_back(&mut self, (head, base): (Head, Head)) {
        self.head = head;
        self.base = base;
    }

    /// Appends a line; it is durable with the transaction.
    pub(crate) async fn append(
        &mut self,
        db: &mut SqliteConnection,
        line: &str,
    ) -> Result<(), Error> {
        let number = self.head.number + 1;
        let code = code(&self.key, &self.head.code, number, line);
        sqlx::query("INSERT INTO audit (number, line, code) VALUES ($1, $2, $3)")
            .bind(number.cast_signed())
            .bind(line)
            .bind(&code[..])
            .execute(&mut *db)
            .await?;
        self.head = Head { number, code };
        self.prune(db).await
    }

    async fn prune(&mut self, db: &mut SqliteConnection) -> Result<(), Error> {
        let kept = self.head.number - self.base.number;
        if kept < MAX_LINES + PRUNED_TOGETHER {
            return Ok(());
        }
        let last = (self.base.number + PRUNED_TOGETHER).cast_signed();
        let gone: Vec<u8> = sqlx::query_scalar("SELECT code FROM audit WHERE number = $1")
            .bind(last)
            .fetch_one(&mut *db)
            .await?;
        let base = Head::of(last, gone)?;
        let value = [&base.number.to_be_bytes()[..], &base.code].concat();
        crate::rows::set_meta(db, BASE, &value).await?;
        sqlx::query("DELETE FROM audit WHERE number <= $1").bind(last).execute(db).await?;
        self.base = base;
        Ok(())
    }

    /// Whether `lines` follow one another, and the first of them `before`.
    pub(crate) fn verifier(key: &Secret<32>) -> impl Fn(&Head, &[AuditLine]) -> bool {
        let key = HmacSha256::new(key.expose());
        move |before, lines| {
            let mut head = *before;
            lines.iter().all(|line| {
                let number = head.number + 1;
                let code = code(&key, &head.code, number, &line.line);
                head = Head { number, code };
                line.number == number && crypto::constant_time_eq(&line.code, &code)
            })
        }
    }
}

fn code(key: &HmacSha256, before: &[u8; CODE_BYTES], number: u64, line: &str) -> [u8; CODE_BYTES] {
    key.tag(&[before, &number.to_be_bytes(), line.as_bytes()])
}

async fn base(db: &mut SqliteConnection) -> Result<Head, Error> {
    match crate::rows::meta(db, BASE).await? {
        None => Ok(Head::NOTHING),
        Some(value) => {
            let (number, code) =
                value.split_first_chunk().ok_or_else(|| Error::corrupted("the audit log"))?;
            Head::of(u64::from_be_bytes(*number).cast_signed(), code.to_vec())
        }
    }
}

/// Lines behind `after`, and the line that the first of them must follow.
pub(crate) async fn lines(
    db: &mut SqliteConnection,
    after: u64,
    limit: usize,
) -> Result<(Head, Vec<AuditLine>), Error> {
    let base = base(db).await?;
    let after = after.max(base.number);
    let rows: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
        "SELECT number, line, code FROM audit WHERE number >= $1 ORDER BY number LIMIT $2",
    )
    .bind(after.cast_signed())
    .bind(i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await?;
    let mut before = base;
    let mut lines = Vec::new();
    for (number, line, code) in rows {
        if number.cast_unsigned() == after {
            before = Head::of(number, code)?;
        } else if lines.len() < limit {
            lines.push(AuditLine { number: number.cast_unsigned(), line, code: Bytes(code) });
        }
    }
    Ok((before, lines))
}
