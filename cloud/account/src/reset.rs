//! A forgotten password: a code of six digits goes to the recovery e-mail, good for ten minutes
//! and five tries.

use crate::contact::Login;
use crate::outbox::Letter;
use crate::passwords::By;
use crate::pii::Place;
use crate::{Accounts, Error, Subject};
use effects::{UnixMillis, random_array};
use sqlx::Row as _;
use std::net::IpAddr;
use std::time::Duration;
use wire::account::{Forgot, Reset};

/// How long a code is good.
const CODE_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// How many tries it has.
const TRIES: i64 = 5;
/// Codes that are sent in an hour.
const CODES_AN_HOUR: i64 = 3;
/// That hour.
const WINDOW: Duration = Duration::from_secs(3600);

const fn place(subject: &Subject) -> Place<'_> {
    Place::new("account_reset_codes", "code_sealed", subject.0.as_str())
}

impl Accounts {
    /// Sends a code, where the login is known. Whether it is cannot be told from the answer.
    pub async fn forgot(&self, request: &Forgot) -> Result<(), Error> {
        let Some(subject) = self.subject_of(&Login::parse(&request.login)).await? else {
            return Ok(());
        };
        let code = format!("{:06}", u64::from_be_bytes(random_array(&*self.entropy)) % 1_000_000);
        if !self.keep_code(&subject, &code).await? {
            return Ok(());
        }
        let (_, email) = self.contacts(&subject, &self.account_row(&subject).await?)?;
        let body = format!(
            "Your code to set a new password: {code}\nIt is good for ten minutes.\n\
             If you did not ask for it, ignore this message."
        );
        let letter = Letter { to: &email, subject: "Your Holdfast code", body: &body };
        Ok(self.post.hand_over(&letter)?)
    }

    /// Stores the code; false where too many were sent already.
    async fn keep_code(&self, subject: &Subject, code: &str) -> Result<bool, Error> {
        let now = self.clock.now();
        let mut transaction = self.begin().await?;
        let row = sqlx::query("SELECT * FROM account_reset_codes WHERE subject = $1")
            .bind(&subject.0)
            .fetch_optional(&mut *transaction)
            .await?;
        let (start, sent) = row.map_or((now, 0), |row| {
            let start = UnixMillis(row.get::<i64, _>("window_start_ms") as u64);
            if now.since(start) < WINDOW { (start, row.get("sent_in_window")) } else { (now, 0) }
        });
        if sent >= CODES_AN_HOUR {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO account_reset_codes (subject, code_sealed, expires_at_ms, tries_left, \
             window_start_ms, sent_in_window) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (subject) DO UPDATE SET code_sealed = excluded.code_sealed, \
             expires_at_ms = excluded.expires_at_ms, tries_left = excluded.tries_left, \
             window_start_ms = excluded.window_start_ms, sent_in_window = excluded.sent_in_window",
        )
        .bind(&subject.0)
        .bind(self.pii.seal(place(subject), code.as_bytes()))
        .bind(now.plus(CODE_LIFETIME).0 as i64)
        .bind(TRIES)
        .bind(start.0 as i64)
        .bind(sent + 1)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Sets a new password with a code. Every session of the person ends.
    pub async fn reset_password(&self, request: &Reset, source: IpAddr) -> Result<(), Error> {
        let subject = self.subject_of(&Login::parse(&request.login)).await?;
        let counted = subject.as_ref().map_or("reset:unknown", |subject| &subject.0);
        self.admit_try(counted, source).await?;
        let subject = subject.clone().ok_or(Error::WrongCode)?;
        // A weak password must not cost the code.
        let (phone, email) = self.contacts(&subject, &self.account_row(&subject).await?)?;
        crate::password::check(&request.new_password, &phone, &email)?;
        self.use_code(&subject, &request.code).await?;
        self.replace_password(&subject, &request.new_password, By::Reset).await?;
        self.forgive(&subject.0, source).await
    }

    /// Spends a try, and the code where it is right.
    async fn use_code(&self, subject: &Subject, given: &str) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query(
            "UPDATE account_reset_codes SET tries_left = tries_left - 1 \
             WHERE subject = $1 AND tries_left > 0 AND expires_at_ms > $2 RETURNING code_sealed",
        )
        .bind(&subject.0)
        .bind(self.clock.now().0 as i64)
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or(Error::WrongCode)?;
        let code = self.pii.open(place(subject), &row.get::<Vec<u8>, _>("code_sealed"))?;
        let right = crypto::constant_time_eq(&code, given.trim().as_bytes());
        if right {
            sqlx::query("UPDATE account_reset_codes SET tries_left = 0 WHERE subject = $1")
                .bind(&subject.0)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        if right { Ok(()) } else { Err(Error::WrongCode) }
    }
}
