//! Checking passwords, and signing in with one.

use crate::contact::{Login, masked_address};
use crate::keycenter::PASSWORD;
use crate::lost_rule::{Record, Standing, standing};
use crate::store::hex;
use crate::{Accounts, Error, SessionKind, Subject, audit};
use effects::UnixMillis;
use sqlx::Row as _;
use std::net::IpAddr;
use wire::account::{Session, SignIn};

/// Sign-ins that an account remembers.
const REMEMBERED: i64 = 50;

/// Whose password is checked.
#[derive(Clone, Copy)]
pub enum Who<'a> {
    /// Someone who typed this.
    Login(&'a str),
    /// A known account.
    Account(&'a Subject),
}

/// A try to sign in, as the account's owner sees it.
#[derive(Debug, Clone)]
pub struct SignInView {
    /// When.
    pub at: UnixMillis,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// From where, masked.
    pub source: String,
}

/// A stored password.
struct Stored {
    sealed: String,
    record: Record,
}

impl Accounts {
    /// Signs in with a login and a password.
    pub async fn sign_in(
        &self,
        request: &SignIn,
        kind: SessionKind,
        source: IpAddr,
    ) -> Result<Session, Error> {
        let subject =
            self.verify_owner(Who::Login(&request.login), &request.password, None, source);
        let subject = subject.await?;
        let account_id = self.open_account_id(&subject, &self.account_row(&subject).await?)?;
        self.open_session(&subject, &account_id, kind, None, source).await
    }

    /// Whose password this is. For a device that is lost since `lost_at`, the rule of S2.5.2
    /// decides which of the account's passwords counts.
    pub async fn verify_owner(
        &self,
        who: Who<'_>,
        password: &str,
        lost_at: Option<UnixMillis>,
        source: IpAddr,
    ) -> Result<Subject, Error> {
        let (subject, counted) = self.identify(who).await?;
        self.admit_try(&counted, source).await?;
        let verdict = self.weigh(subject.as_ref(), password, lost_at).await;
        if let Some(subject) = &subject {
            self.remember_sign_in(subject, verdict.is_ok(), source).await?;
        }
        verdict?;
        self.forgive(&counted, source).await?;
        subject.ok_or(Error::WrongPassword)
    }

    /// The account, and the name that failures are counted under.
    async fn identify(&self, who: Who<'_>) -> Result<(Option<Subject>, String), Error> {
        let login = match who {
            Who::Account(subject) => return Ok((Some(subject.clone()), subject.0.clone())),
            Who::Login(text) => Login::parse(text),
        };
        let index = self.index(&login.index_input()).await?;
        let subject = self.subject_at(&login, &index).await?;
        let counted = subject.as_ref().map_or_else(|| hex(&index), |subject| subject.0.clone());
        Ok((subject, counted))
    }

    pub(crate) async fn subject_of(&self, login: &Login) -> Result<Option<Subject>, Error> {
        let index = self.index(&login.index_input()).await?;
        self.subject_at(login, &index).await
    }

    async fn subject_at(&self, login: &Login, index: &[u8]) -> Result<Option<Subject>, Error> {
        let sql = match login {
            Login::Account(_) => "SELECT subject FROM account_accounts WHERE account_index = $1",
            Login::Phone(_) => "SELECT subject FROM account_accounts WHERE phone_index = $1",
            Login::Email(_) => "SELECT subject FROM account_accounts WHERE email_index = $1",
        };
        let subject: Option<String> =
            sqlx::query_scalar(sql).bind(index).fetch_optional(&self.pool).await?;
        Ok(subject.map(Subject))
    }

    /// Holds the password against the account's records.
    async fn weigh(
        &self,
        subject: Option<&Subject>,
        password: &str,
        lost_at: Option<UnixMillis>,
    ) -> Result<(), Error> {
        let Some(subject) = subject else {
            let (sealed, context) = self.nobody();
            self.matches(sealed, context, password).await?;
            return Err(Error::WrongPassword);
        };
        for stored in self.passwords_of(subject).await? {
            let current = stored.record.retired_at.is_none();
            if !current && lost_at.is_none() {
                continue;
            }
            if self.matches(&stored.sealed, subject.0.as_bytes(), password).await? {
                return self.judge(stored.record, lost_at);
            }
        }
        Err(Error::WrongPassword)
    }

    fn judge(&self, record: Record, lost_at: Option<UnixMillis>) -> Result<(), Error> {
        let Some(lost_at) = lost_at else { return Ok(()) };
        match standing(record, lost_at, self.clock.now()) {
            Standing::Accepted => Ok(()),
            Standing::Until(until) => Err(Error::ResetAroundLoss { until }),
            Standing::Refused => Err(Error::WrongPassword),
        }
    }

    async fn matches(&self, sealed: &str, context: &[u8], password: &str) -> Result<bool, Error> {
        let phc = self.key_center.decrypt(PASSWORD, context, sealed).await?;
        self.hasher.verify(password, phc).await
    }

    /// The current record first, then those that a reset retired, oldest first.
    async fn passwords_of(&self, subject: &Subject) -> Result<Vec<Stored>, Error> {
        let rows = sqlx::query(
            "SELECT sealed, reset_at_ms, retired_at_ms FROM account_passwords \
             WHERE subject = $1 ORDER BY retired_at_ms IS NOT NULL, retired_at_ms",
        )
        .bind(&subject.0)
        .fetch_all(&self.pool)
        .await?;
        let time = |row: &sqlx::sqlite::SqliteRow, column: &str| {
            row.get::<Option<i64>, _>(column).map(|ms| UnixMillis(ms as u64))
        };
        let stored = |row: &sqlx::sqlite::SqliteRow| Stored {
            sealed: row.get("sealed"),
            record: Record {
                reset_at: time(row, "reset_at_ms"),
                retired_at: time(row, "retired_at_ms"),
            },
        };
        Ok(rows.iter().map(stored).collect())
    }

    async fn remember_sign_in(
        &self,
        subject: &Subject,
        succeeded: bool,
        source: IpAddr,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO account_sign_ins (subject, at_ms, succeeded, source) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(&subject.0)
        .bind(self.clock.now().0 as i64)
        .bind(succeeded)
        .bind(masked_address(source))
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM account_sign_ins WHERE subject = $1 AND sign_in_id NOT IN (SELECT \
             sign_in_id FROM account_sign_ins WHERE subject = $1 ORDER BY sign_in_id DESC LIMIT $2)",
        )
        .bind(&subject.0)
        .bind(REMEMBERED)
        .execute(&mut *transaction)
        .await?;
        let action = if succeeded { "password_accepted" } else { "password_refused" };
        let entry = self.entry("owner", action, subject, &masked_address(source));
        audit::append(&mut transaction, &self.pii, &entry).await?;
        Ok(transaction.commit().await?)
    }

    /// The newest tries to sign in.
    pub async fn sign_ins(
        &self,
        subject: &Subject,
        at_most: u32,
    ) -> Result<Vec<SignInView>, Error> {
        let rows = sqlx::query(
            "SELECT at_ms, succeeded, source FROM account_sign_ins WHERE subject = $1 \
             ORDER BY sign_in_id DESC LIMIT $2",
        )
        .bind(&subject.0)
        .bind(at_most)
        .fetch_all(&self.pool)
        .await?;
        let view = |row: &sqlx::sqlite::SqliteRow| SignInView {
            at: UnixMillis(row.get::<i64, _>("at_ms") as u64),
            succeeded: row.get("succeeded"),
            source: row.get("source"),
        };
        Ok(rows.iter().map(view).collect())
    }
}
