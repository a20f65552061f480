//! Replacing a password: by a change, which knows the old one, or by a reset, which does not.

use crate::lost_rule::PROTECTION;
use crate::outbox::Letter;
use crate::{Accounts, Caller, Error, Subject, Who, audit, password};
use effects::UnixMillis;
use sqlx::{Sqlite, Transaction};
use std::net::IpAddr;
use wire::account::Change;

/// How a password is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Its owner knows the old one.
    Change,
    /// A code from the recovery e-mail stood in for it.
    Reset,
}

impl Accounts {
    /// Changes the password. Every other session of the person ends.
    pub async fn change_password(
        &self,
        caller: &Caller,
        request: &Change,
        source: IpAddr,
    ) -> Result<(), Error> {
        let who = Who::Account(&caller.subject);
        self.verify_owner(who, &request.old_password, None, source).await?;
        self.replace_password(&caller.subject, &request.new_password, By::Change).await?;
        self.end_other_sessions(caller).await.map(|_| ())
    }

    pub(crate) async fn replace_password(
        &self,
        subject: &Subject,
        new: &str,
        by: By,
    ) -> Result<(), Error> {
        let (phone, email) = self.contacts(subject, &self.account_row(subject).await?)?;
        password::check(new, &phone, &email)?;
        let sealed = self.seal_password(subject, new).await?;
        let mut transaction = self.begin().await?;
        match by {
            By::Change => replace_in_place(&mut transaction, subject, &sealed).await?,
            By::Reset => {
                retire_current(&mut transaction, subject, &sealed, self.clock.now()).await?;
            }
        }
        let (actor, action) = match by {
            By::Change => ("owner", "password_changed"),
            By::Reset => ("recovery", "password_reset"),
        };
        let entry = self.entry(actor, action, subject, "");
        audit::append(&mut transaction, &self.pii, &entry).await?;
        transaction.commit().await?;
        let letter = Letter {
            to: &email,
            subject: "Your password was changed",
            body: "The password of your Holdfast account was just changed.\n\
                   If this was not you, set a new one now and end all sessions.",
        };
        Ok(self.post.hand_over(&letter)?)
    }

    /// Forgets passwords that resets retired, once no loss can need them: those retired more than
    /// three days ago, or more than three days before the earliest loss that still holds.
    pub async fn forget_retired(
        &self,
        subject: &Subject,
        earliest_loss: Option<UnixMillis>,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let since = earliest_loss.map_or(now, |loss| loss.min(now));
        let before = since.0.saturating_sub(PROTECTION.as_millis() as u64);
        sqlx::query("DELETE FROM account_passwords WHERE subject = $1 AND retired_at_ms < $2")
            .bind(&subject.0)
            .bind(before as i64)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The accounts that still keep a retired password.
    pub async fn with_retired_passwords(&self) -> Result<Vec<Subject>, Error> {
        let subjects: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT subject FROM account_passwords WHERE retired_at_ms IS NOT NULL",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(subjects.into_iter().map(Subject).collect())
    }
}

/// The record stays the heir of whatever reset it descends from.
async fn replace_in_place(
    transaction: &mut Transaction<'_, Sqlite>,
    subject: &Subject,
    sealed: &str,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE account_passwords SET sealed = $2 WHERE subject = $1 AND retired_at_ms IS NULL",
    )
    .bind(&subject.0)
    .bind(sealed)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// The old record is kept aside: on a lost device it is the owner's (S2.5.2).
async fn retire_current(
    transaction: &mut Transaction<'_, Sqlite>,
    subject: &Subject,
    sealed: &str,
    now: UnixMillis,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE account_passwords SET retired_at_ms = $2 \
         WHERE subject = $1 AND retired_at_ms IS NULL",
    )
    .bind(&subject.0)
    .bind(now.0 as i64)
    .execute(&mut **transaction)
    .await?;
    sqlx::query("INSERT INTO account_passwords (subject, sealed, reset_at_ms) VALUES ($1, $2, $3)")
        .bind(&subject.0)
        .bind(sealed)
        .bind(now.0 as i64)
        .execute(&mut **transaction)
        .await?;
    // Whoever may reset must know no session of the one who could not.
    sqlx::query("DELETE FROM account_sessions WHERE subject = $1 AND kind <> 'device'")
        .bind(&subject.0)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
