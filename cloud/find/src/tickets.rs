//! Tickets: what a device's gatekeeper accepts as the cloud's word that the owner's password was
//! right, or what time it is. Bound to the device and to a nonce of its TEE.

use crate::{Error, Find, Sealer};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::sign::{Curve, EcdsaKey};
use serde::Serialize;
use sqlx::SqlitePool;
use wire::attest::TimeToken;
use wire::find::Ticket;

/// What a ticket is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// Ends the activation lock after a reset.
    Activate,
    /// Ends lost mode.
    EndLostMode,
}

/// The claims of a ticket, as [`Ticket`] says.
#[derive(Serialize)]
struct Claims<'a> {
    serial: &'a str,
    purpose: Purpose,
    nonce: String,
}

/// The claims of a time token, as [`TimeToken`] says.
#[derive(Serialize)]
struct TimeClaims<'a> {
    purpose: &'static str,
    serial: &'a str,
    nonce: String,
    time_ms: u64,
}

impl Find {
    pub(crate) fn ticket(
        &self,
        serial: &str,
        purpose: Purpose,
        nonce: &[u8],
    ) -> Result<Ticket, Error> {
        let nonce = encode(nonce)?;
        let ticket = self.sign(&Claims { serial, purpose, nonce })?;
        Ok(Ticket { ticket })
    }

    /// What time it is, signed for the secure clock of the device that asked with `nonce`. That
    /// it is this device has been checked.
    pub fn time_token(&self, serial: &str, nonce: &[u8]) -> Result<TimeToken, Error> {
        let nonce = encode(nonce)?;
        let time_ms = self.clock.now().0;
        let token = self.sign(&TimeClaims { purpose: "set_time", serial, nonce, time_ms })?;
        Ok(TimeToken { token })
    }

    fn sign(&self, claims: &impl Serialize) -> Result<String, Error> {
        jws::sign(claims, |message| self.ticket_key.sign_fixed(message))
            .map_err(|_| Error::Damaged("the ticket key"))
    }

    /// The key that tickets verify under, for the maker to put into devices: SubjectPublicKeyInfo
    /// DER.
    pub fn ticket_public_key(&self) -> Result<Vec<u8>, Error> {
        Ok(self.ticket_key.public_key_spki()?)
    }
}

fn encode(nonce: &[u8]) -> Result<String, Error> {
    if nonce.len() != 32 {
        return Err(Error::Invalid { field: "nonce", reason: "has 32 bytes" });
    }
    Ok(URL_SAFE_NO_PAD.encode(nonce))
}

pub(crate) async fn ticket_key(pool: &SqlitePool, sealer: &dyn Sealer) -> Result<EcdsaKey, Error> {
    const PLACE: (&str, &str, &str) = ("find_meta", "value", "ticket_key");
    if stored(pool).await?.is_none() {
        let fresh = EcdsaKey::generate(Curve::P256)?;
        let sealed = sealer.seal(PLACE.0, PLACE.1, PLACE.2, fresh.to_pkcs8());
        sqlx::query(
            "INSERT INTO find_meta (name, value) VALUES ('ticket_key', $1) ON CONFLICT DO NOTHING",
        )
        .bind(sealed)
        .execute(pool)
        .await?;
    }
    let sealed = stored(pool).await?.ok_or(Error::Damaged("the ticket key is missing"))?;
    let pkcs8 = sealer
        .open(PLACE.0, PLACE.1, PLACE.2, &sealed)
        .ok_or(Error::Damaged("the ticket key does not open"))?;
    Ok(EcdsaKey::from_pkcs8(Curve::P256, &pkcs8)?)
}

async fn stored(pool: &SqlitePool) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM find_meta WHERE name = 'ticket_key'")
        .fetch_optional(pool)
        .await
}
