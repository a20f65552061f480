//! Making an account, and what it shows of itself.

use crate::contact::{Email, Login, Phone, country};
use crate::keycenter::user_key;
use crate::pii::Place;
use crate::{Accounts, Error, SessionKind, Subject, audit, password};
use effects::random_array;
use sqlx::Row as _;
use std::net::IpAddr;
use wire::account::{Profile, Session, SignUp};

/// An account about to be stored.
struct Draft {
    subject: Subject,
    account_id: String,
    phone: Phone,
    email: Email,
    country: String,
    password: String,
}

impl Accounts {
    /// Makes an account (S5.1.1) with a key of its own at the Key Center, and signs it in.
    pub async fn sign_up(&self, request: &SignUp, source: IpAddr) -> Result<Session, Error> {
        let phone = Phone::parse(&request.phone)?;
        let email = Email::parse(&request.email)?;
        let country = country(&request.country)?;
        password::check(&request.password, &phone, &email)?;
        let subject = Subject(self.random_id());
        let password = self.seal_password(&subject, &request.password).await?;
        let account_id = self.random_id();
        let draft = Draft { subject, account_id, phone, email, country, password };
        // The key first: an account without one would be unusable, a key without one is not.
        let key = user_key(&draft.account_id);
        self.key_center.create_key(&key).await?;
        if let Err(error) = self.insert(&draft).await {
            self.key_center.delete_key(&key).await?;
            return Err(error);
        }
        self.open_session(&draft.subject, &draft.account_id, SessionKind::Api, None, source).await
    }

    async fn insert(&self, draft: &Draft) -> Result<(), Error> {
        let Draft { subject, account_id, phone, email, .. } = draft;
        let place = |column| Place::new("account_accounts", column, &subject.0);
        let account_index = self.index(&Login::Account(account_id.clone()).index_input()).await?;
        let phone_index = self.index(&Login::Phone(phone.clone()).index_input()).await?;
        let email_index = self.index(&Login::Email(email.clone()).index_input()).await?;
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO account_accounts (subject, account_index, phone_index, email_index, \
             account_sealed, phone_sealed, email_sealed, country, created_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(&subject.0)
        .bind(account_index)
        .bind(phone_index)
        .bind(email_index)
        .bind(self.pii.seal(place("account_sealed"), account_id.as_bytes()))
        .bind(self.pii.seal(place("phone_sealed"), phone.as_str().as_bytes()))
        .bind(self.pii.seal(place("email_sealed"), email.as_str().as_bytes()))
        .bind(&draft.country)
        .bind(self.clock.now().0 as i64)
        .execute(&mut *transaction)
        .await
        .map_err(|error| match error.as_database_error() {
            Some(inner) if inner.is_unique_violation() => Error::Exists,
            _ => Error::Database(error),
        })?;
        sqlx::query("INSERT INTO account_passwords (subject, sealed) VALUES ($1, $2)")
            .bind(&subject.0)
            .bind(&draft.password)
            .execute(&mut *transaction)
            .await?;
        let entry = self.entry("owner", "sign_up", subject, "");
        audit::append(&mut transaction, &self.pii, &entry).await?;
        Ok(transaction.commit().await?)
    }

    /// What the account shows of itself, masked.
    pub async fn profile(&self, subject: &Subject) -> Result<Profile, Error> {
        let row = self.account_row(subject).await?;
        let (phone, email) = self.contacts(subject, &row)?;
        Ok(Profile {
            account_id: self.open_account_id(subject, &row)?,
            phone: phone.masked(),
            email: email.masked(),
            country: row.get("country"),
            created_at_ms: row.get::<i64, _>("created_at_ms") as u64,
        })
    }

    pub(crate) async fn account_row(
        &self,
        subject: &Subject,
    ) -> Result<sqlx::sqlite::SqliteRow, Error> {
        sqlx::query("SELECT * FROM account_accounts WHERE subject = $1")
            .bind(&subject.0)
            .fetch_optional(&self.pool)
            .await?
            .ok_or(Error::NotFound("account"))
    }

    pub(crate) fn open_account_id(
        &self,
        subject: &Subject,
        row: &sqlx::sqlite::SqliteRow,
    ) -> Result<String, Error> {
        let place = Place::new("account_accounts", "account_sealed", &subject.0);
        self.pii.open_text(place, &row.get::<Vec<u8>, _>("account_sealed"))
    }

    pub(crate) fn contacts(
        &self,
        subject: &Subject,
        row: &sqlx::sqlite::SqliteRow,
    ) -> Result<(Phone, Email), Error> {
        let open = |column: &str| {
            let place = Place::new("account_accounts", column, &subject.0);
            self.pii.open_text(place, &row.get::<Vec<u8>, _>(column))
        };
        Ok((Phone::parse(&open("phone_sealed")?)?, Email::parse(&open("email_sealed")?)?))
    }

    /// A fresh password record: hashed with a random salt, then sealed by the Key Center.
    pub(crate) async fn seal_password(
        &self,
        subject: &Subject,
        password: &str,
    ) -> Result<String, Error> {
        let phc = self.hasher.hash(password, random_array(&*self.entropy)).await?;
        let context = subject.0.as_bytes();
        self.key_center.encrypt(crate::keycenter::PASSWORD, context, phc.as_bytes()).await
    }
}
