//! Devices bound to accounts, and their sessions (RFC 7523 assertions under the bound key).

use crate::contact::Login;
use crate::outbox::Letter;
use crate::pii::Place;
use crate::store::hex;
use crate::{Accounts, Caller, Error, SessionKind, Subject, audit};
use crypto::digest::sha256;
use effects::UnixMillis;
use sqlx::{Row as _, sqlite::SqliteRow};
use std::net::IpAddr;
use std::time::Duration;
use wire::attest::Statement;
use wire::device::{Bound, DeviceClaims, Token, TokenRequest};

/// The audience of a device's assertion.
const AUDIENCE: &str = "holdfast-cloud";
/// The longest that an assertion may be good.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// By how much a device's clock may run ahead.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
/// The longest name of a device, in characters.
const NAME_CHARACTERS: usize = 64;

/// What the attestation service says of a device that asks to be bound.
#[derive(Debug, Clone)]
pub struct Attested {
    /// What it attests.
    pub statement: Statement,
    /// The leaf's key: SubjectPublicKeyInfo DER. The device signs in with it from now on.
    pub leaf_key: Vec<u8>,
}

/// A bound device.
#[derive(Debug, Clone)]
pub struct DeviceRecord {
    /// Its id.
    pub device_id: String,
    /// Whose it is.
    pub subject: Subject,
    /// What its owner calls it.
    pub name: String,
    /// What its last attestation said.
    pub statement: Statement,
    /// When that was.
    pub attested_at: UnixMillis,
    /// When it was last connected.
    pub last_seen: UnixMillis,
}

impl DeviceRecord {
    /// Its serial number as `HF*****07`.
    #[must_use]
    pub fn masked_serial(&self) -> String {
        let serial: Vec<char> = self.statement.serial.chars().collect();
        let hidden = serial.len().saturating_sub(4);
        let shown = |range: std::ops::Range<usize>| serial[range].iter().collect::<String>();
        match hidden {
            0 => "*".repeat(serial.len()),
            _ => {
                format!("{}{}{}", shown(0..2), "*".repeat(hidden), shown(hidden + 2..serial.len()))
            }
        }
    }
}

impl Accounts {
    /// Binds an attested device to the caller's account. The same device bound again, after a
    /// reset say, keeps its id and gets its new key; one that find-device holds to another account
    /// is refused (S2.5.2).
    pub async fn bind(
        &self,
        caller: &Caller,
        attested: &Attested,
        name: &str,
        source: IpAddr,
    ) -> Result<Bound, Error> {
        let name = device_name(name)?;
        let earlier = self.device_by_serial(&attested.statement.serial).await?;
        let own = |record: &&DeviceRecord| record.subject == caller.subject;
        if let Some(other) = earlier.as_ref().filter(|record| !own(record))
            && self.lock.holds(&other.device_id).await?
        {
            return Err(Error::ActivationLocked);
        }
        let device_id = match earlier.as_ref().filter(own) {
            Some(record) => record.device_id.clone(),
            None => self.random_id(),
        };
        self.store_binding(caller, &device_id, attested, &name, earlier.as_ref()).await?;
        self.tell_of_device(&caller.subject, source).await?;
        let statement = attested.statement.clone();
        Ok(Bound { device_id, account_id: caller.account_id.clone(), statement })
    }

    async fn store_binding(
        &self,
        caller: &Caller,
        device_id: &str,
        attested: &Attested,
        name: &str,
        earlier: Option<&DeviceRecord>,
    ) -> Result<(), Error> {
        let serial_index = self.serial_index(&attested.statement.serial).await?;
        let (name, statement) = self.seal_device(device_id, name, &attested.statement)?;
        let now = self.clock.now().0 as i64;
        let mut transaction = self.begin().await?;
        if let Some(earlier) = earlier {
            for sql in [
                "DELETE FROM account_sessions WHERE device_id = $1",
                "DELETE FROM account_devices WHERE device_id = $1",
            ] {
                sqlx::query(sql).bind(&earlier.device_id).execute(&mut *transaction).await?;
            }
        }
        sqlx::query(
            "INSERT INTO account_devices (device_id, subject, serial_index, name_sealed, \
             statement_sealed, public_key, bound_at_ms, attested_at_ms, last_seen_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7)",
        )
        .bind(device_id)
        .bind(&caller.subject.0)
        .bind(serial_index)
        .bind(name)
        .bind(statement)
        .bind(&attested.leaf_key)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        let entry = self.entry("owner", "device_bound", &caller.subject, device_id);
        audit::append(&mut transaction, &self.pii, &entry).await?;
        Ok(transaction.commit().await?)
    }

    fn seal_device(
        &self,
        device_id: &str,
        name: &str,
        statement: &Statement,
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let place = |column| Place::new("account_devices", column, device_id);
        let json =
            serde_json::to_vec(statement).map_err(|_| Error::Damaged("a device's statement"))?;
        Ok((
            self.pii.seal(place("name_sealed"), name.as_bytes()),
            self.pii.seal(place("statement_sealed"), &json),
        ))
    }

    async fn tell_of_device(&self, subject: &Subject, source: IpAddr) -> Result<(), Error> {
        let (_, email) = self.contacts(subject, &self.account_row(subject).await?)?;
        let body = format!(
            "A device was bound to your Holdfast account from {}.\n\
             If this was not you, change your password.",
            crate::contact::masked_address(source)
        );
        let letter = Letter { to: &email, subject: "New device on your account", body: &body };
        Ok(self.post.hand_over(&letter)?)
    }

    async fn serial_index(&self, serial: &str) -> Result<Vec<u8>, Error> {
        self.index(&format!("serial:{serial}")).await
    }

    /// The devices of an account, the one seen last first.
    pub async fn devices(&self, subject: &Subject) -> Result<Vec<DeviceRecord>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM account_devices WHERE subject = $1 ORDER BY last_seen_ms DESC, device_id",
        )
        .bind(&subject.0)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| self.device_record(row)).collect()
    }

    /// A device of this account; another account's is not found.
    pub async fn device(&self, subject: &Subject, device_id: &str) -> Result<DeviceRecord, Error> {
        let row =
            sqlx::query("SELECT * FROM account_devices WHERE device_id = $1 AND subject = $2")
                .bind(device_id)
                .bind(&subject.0)
                .fetch_optional(&self.pool)
                .await?
                .ok_or(Error::NotFound("device"))?;
        self.device_record(&row)
    }

    /// The device with this serial number, whoever's it is.
    pub async fn device_by_serial(&self, serial: &str) -> Result<Option<DeviceRecord>, Error> {
        let row = sqlx::query("SELECT * FROM account_devices WHERE serial_index = $1")
            .bind(self.serial_index(serial).await?)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| self.device_record(&row)).transpose()
    }

    fn device_record(&self, row: &SqliteRow) -> Result<DeviceRecord, Error> {
        let device_id: String = row.get("device_id");
        let open = |column: &str| {
            let place = Place::new("account_devices", column, &device_id);
            self.pii.open(place, &row.get::<Vec<u8>, _>(column))
        };
        let name = String::from_utf8(open("name_sealed")?)
            .map_err(|_| Error::Damaged("a device's name"))?;
        let statement = serde_json::from_slice(&open("statement_sealed")?)
            .map_err(|_| Error::Damaged("a device's statement"))?;
        let time = |column| UnixMillis(row.get::<i64, _>(column) as u64);
        Ok(DeviceRecord {
            subject: Subject(row.get("subject")),
            attested_at: time("attested_at_ms"),
            last_seen: time("last_seen_ms"),
            device_id,
            name,
            statement,
        })
    }

    /// Notes a fresh attestation of a bound device.
    pub async fn note_attestation(&self, statement: &Statement) -> Result<(), Error> {
        let Some(record) = self.device_by_serial(&statement.serial).await? else { return Ok(()) };
        let (_, sealed) = self.seal_device(&record.device_id, &record.name, statement)?;
        sqlx::query(
            "UPDATE account_devices SET statement_sealed = $2, attested_at_ms = $3 \
             WHERE device_id = $1",
        )
        .bind(&record.device_id)
        .bind(sealed)
        .bind(self.clock.now().0 as i64)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The device is, or was until now, connected.
    pub async fn note_seen(&self, device_id: &str) -> Result<(), Error> {
        sqlx::query("UPDATE account_devices SET last_seen_ms = $2 WHERE device_id = $1")
            .bind(device_id)
            .bind(self.clock.now().0 as i64)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// A session for a bound device that proves its key.
    pub async fn device_token(
        &self,
        request: &TokenRequest,
        source: IpAddr,
    ) -> Result<Token, Error> {
        let claimed: DeviceClaims = jws::unverified_claims(&request.assertion)
            .map_err(|_| Error::Assertion("not a compact JWS with a device's claims"))?;
        let row =
            sqlx::query("SELECT subject, public_key FROM account_devices WHERE device_id = $1")
                .bind(&claimed.iss)
                .fetch_optional(&self.pool)
                .await?
                .ok_or(Error::Assertion("no such device is bound"))?;
        let claims: DeviceClaims =
            jws::verify(&request.assertion, &row.get::<Vec<u8>, _>("public_key"))
                .map_err(|_| Error::Assertion("not signed by the device's key"))?;
        let now = self.clock.now();
        check_claims(&claims, now.seconds())?;
        self.spend_assertion(&claims).await?;
        let subject = Subject(row.get("subject"));
        let account_id = self.open_account_id(&subject, &self.account_row(&subject).await?)?;
        let kind = SessionKind::Device;
        let session =
            self.open_session(&subject, &account_id, kind, Some(&claims.iss), source).await?;
        self.note_seen(&claims.iss).await?;
        Ok(Token { token: session.token, expires_at_ms: session.expires_at_ms, now_ms: now.0 })
    }

    /// An assertion counts once.
    async fn spend_assertion(&self, claims: &DeviceClaims) -> Result<(), Error> {
        let name = format!("{}\0{}", claims.iss, claims.jti);
        let fresh = sqlx::query(
            "INSERT INTO account_used_assertions (jti_hash, expires_at_ms) VALUES ($1, $2) \
             ON CONFLICT DO NOTHING",
        )
        .bind(&sha256(name.as_bytes())[..])
        .bind(claims.exp.saturating_add(1).saturating_mul(1000) as i64)
        .execute(&self.pool)
        .await?
        .rows_affected();
        if fresh == 1 { Ok(()) } else { Err(Error::Assertion("it was used before")) }
    }

    /// The owner of the device with this serial number, and the masked e-mail as a hint.
    pub async fn owner_hint(&self, subject: &Subject) -> Result<String, Error> {
        let (_, email) = self.contacts(subject, &self.account_row(subject).await?)?;
        Ok(email.masked())
    }

    /// A short name for an id in logs: enough to follow it, not enough to use it.
    #[must_use]
    pub fn short_id(id: &str) -> String {
        hex(&sha256(id.as_bytes())[..4])
    }

    /// Whether this login names this account.
    pub async fn is_login_of(&self, login: &str, subject: &Subject) -> Result<bool, Error> {
        Ok(self.subject_of(&Login::parse(login)).await?.as_ref() == Some(subject))
    }
}

fn check_claims(claims: &DeviceClaims, now: u64) -> Result<(), Error> {
    let refuse = |reason| Err(Error::Assertion(reason));
    if claims.sub != claims.iss || claims.aud != AUDIENCE || claims.jti.is_empty() {
        return refuse("issuer, subject or audience are not those of a device");
    }
    if claims.exp.saturating_sub(claims.iat) > ASSERTION_LIFETIME.as_secs() {
        return refuse("it is good for more than five minutes");
    }
    if claims.iat > now.saturating_add(CLOCK_TOLERANCE.as_secs()) {
        return refuse("it is from the future; set the device's clock by the answer's Date");
    }
    if claims.exp <= now {
        return refuse("it has expired; set the device's clock by the answer's Date");
    }
    Ok(())
}

fn device_name(name: &str) -> Result<String, Error> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > NAME_CHARACTERS || name.chars().any(char::is_control) {
        let reason = "a device's name has 1 to 64 characters, none of them a control character";
        return Err(Error::Invalid { field: "name", reason });
    }
    Ok(name.to_owned())
}
