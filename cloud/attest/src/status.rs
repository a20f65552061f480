//! Revocation: our own list, and Google's as it was taken over last.

use crate::{Attest, Error, Refusal};
use effects::UnixMillis;
use keyattest::x509::{Certificate, SerialNumber};
use keyattest::{ListError, Revocation, RevocationList, RevocationStatus, list_json};
use serde_json::Value;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Somebody else's revocation list, with the time at which it was known to be current.
#[derive(Debug)]
pub struct ForeignList {
    held: RwLock<Option<(Arc<RevocationList>, UnixMillis)>>,
    max_age: Duration,
}

impl ForeignList {
    /// None yet; one that is older than this counts as none.
    #[must_use]
    pub const fn new(max_age: Duration) -> Self {
        Self { held: RwLock::new(None), max_age }
    }

    /// Takes a list over that was current at `at`. One that is not understood, and one older than
    /// what is held, change nothing.
    pub fn take(&self, json: &[u8], at: UnixMillis) -> Result<usize, ListError> {
        let list = RevocationList::from_json(json)?;
        let entries = list.len();
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_none_or(|(_, since)| *since <= at) {
            *held = Some((Arc::new(list), at));
        }
        Ok(entries)
    }

    /// Whether there is a list that is young enough at `now`.
    #[must_use]
    pub fn is_fresh(&self, now: UnixMillis) -> bool {
        self.fresh(now).is_some()
    }

    /// The list, if it is young enough at `now`. Without one nothing that it is for counts.
    pub(crate) fn fresh(&self, now: UnixMillis) -> Option<Arc<RevocationList>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let (list, at) = held.as_ref()?;
        // What comes from the future has no age.
        let known = at.0 <= now.0.saturating_add(60_000);
        (known && now.since(*at) <= self.max_age).then(|| list.clone())
    }
}

impl Attest {
    /// Believes a certificate of a maker, say a factory's, no more, nor what it signed. The first
    /// reason stays; what is suspended can still be revoked.
    pub async fn revoke_certificate(
        &self,
        actor: &str,
        serial: &SerialNumber,
        status: RevocationStatus,
        reason: &str,
    ) -> Result<(), Error> {
        let word = match status {
            RevocationStatus::Revoked => "REVOKED",
            RevocationStatus::Suspended => "SUSPENDED",
        };
        let detail = format!("{} {word}: {reason}", serial.to_hex());
        self.audit.record(actor, "certificate_revoked", &detail).await?;
        sqlx::query(
            "INSERT INTO attest_revocations (certificate_serial, status, reason, revoked_at_ms) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (certificate_serial) DO UPDATE SET \
             status = excluded.status, reason = excluded.reason \
             WHERE attest_revocations.status = 'SUSPENDED'",
        )
        .bind(serial.to_hex())
        .bind(word)
        .bind(reason)
        .bind(self.now_ms())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Our list in Google's form: certificates that were revoked, and those of revoked devices.
    pub async fn status_list(&self) -> Result<Value, Error> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT certificate_serial, status, reason FROM attest_revocations")
                .fetch_all(&self.pool)
                .await?;
        let mut entries = Vec::new();
        for (serial, status, reason) in &rows {
            entries.push((serial_of_hex(serial)?, revocation(status, reason)?));
        }
        let devices: Vec<(Vec<u8>, String)> = sqlx::query_as(
            "SELECT certificate, COALESCE(revoked_reason, '') FROM attest_devices \
             WHERE revoked_at_ms IS NOT NULL",
        )
        .fetch_all(&self.pool)
        .await?;
        for (certificate, reason) in &devices {
            let certificate = Certificate::parse(certificate)
                .map_err(|_| Error::Damaged("a certificate of the registry"))?;
            entries.push((certificate.serial().clone(), revocation("REVOKED", reason)?));
        }
        Ok(list_json(entries.iter().map(|(serial, revocation)| (serial, revocation.clone()))))
    }

    /// What our list says about the certificates of a chain.
    pub(crate) async fn own_revocations(
        &self,
        chain: &[impl AsRef<[u8]>],
    ) -> Result<RevocationList, Error> {
        let mut list = RevocationList::default();
        for der in chain {
            // What does not parse is refused when the chain is verified.
            let Ok(certificate) = Certificate::parse(der.as_ref()) else { continue };
            let serial = certificate.serial().to_hex();
            let found: Option<(String, String)> = sqlx::query_as(
                "SELECT status, reason FROM attest_revocations WHERE certificate_serial = $1",
            )
            .bind(&serial)
            .fetch_optional(&self.pool)
            .await?;
            if let Some((status, reason)) = found {
                list.insert(&serial, revocation(&status, &reason)?)
                    .map_err(|_| Error::Damaged("a serial number of the revocation list"))?;
            }
        }
        Ok(list)
    }
}

fn revocation(status: &str, reason: &str) -> Result<Revocation, Error> {
    let status = match status {
        "REVOKED" => RevocationStatus::Revoked,
        "SUSPENDED" => RevocationStatus::Suspended,
        _ => return Err(Error::Damaged("a status of the revocation list")),
    };
    Ok(Revocation { status, reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()) })
}

/// A serial number in hexadecimal digits.
pub(crate) fn serial_of_hex(hex: &str) -> Result<SerialNumber, Error> {
    SerialNumber::from_hex(hex).map_err(|_| {
        Refusal::Invalid { field: "serial", reason: "hexadecimal digits of at most 20 bytes" }
            .into()
    })
}
