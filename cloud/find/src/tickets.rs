//! Tickets: what a device's gatekeeper accepts as the cloud's word that the owner's password was
//! right. Bound to the device and to a nonce of its gatekeeper.

use crate::{Error, Find, Sealer};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::sign::{Curve, EcdsaKey};
use serde::Serialize;
use sqlx::SqlitePool;
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

impl Find {
    pub(crate) fn ticket(
        &self,
        serial: &str,
        purpose: Purpose,
        nonce: &[u8],
    ) -> Result<Ticket, Error> {
        if nonce.len() != 32 {
            return Err(Error::Invalid { field: "nonce", reason: "has 32 bytes" });
        }
        let claims = Claims { serial, purpose, nonce: URL_SAFE_NO_PAD.encode(nonce) };
        let ticket = jws::sign(&claims, |message| self.ticket_key.sign_fixed(message))
            .map_err(|_| Error::Damaged("the ticket key"))?;
        Ok(Ticket { ticket })
    }

    /// The key that tickets verify under, for the maker to put into devices: SubjectPublicKeyInfo
    /// DER.
    pub fn ticket_public_key(&self) -> Result<Vec<u8>, Error> {
        Ok(self.ticket_key.public_key_spki()?)
    }
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
