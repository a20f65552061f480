//! The keys that sign verdicts (ES256), and how others get to know them: a JWK set (RFC 7517).

use crate::{Attest, Error, ms};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::sign::{Curve, EcdsaKey};
use serde_json::{Value, json};
use std::time::Duration;
use zeroize::Zeroizing;

const TABLE: &str = "attest_signing_keys";
const COLUMN: &str = "sealed";
/// How long a replaced key stays in the set: longer than any verdict counts.
const AFTERLIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The key that signs now.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pub(crate) key: EcdsaKey,
}

impl Attest {
    /// Makes the first key, where there is none.
    pub(crate) async fn prepare_signing_key(&self) -> Result<(), Error> {
        let keys: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM attest_signing_keys WHERE replaced_at_ms IS NULL",
        )
        .fetch_one(&self.pool)
        .await?;
        if keys == 0 { self.put_signing_key().await.map(drop) } else { Ok(()) }
    }

    /// Signs with a new key from now on. Verdicts under the old one still verify until they lapse.
    pub async fn rotate_signing_key(&self, actor: &str) -> Result<String, Error> {
        let kid = self.put_signing_key().await?;
        self.audit.record(actor, "verdict_key_rotated", &kid).await?;
        let horizon = self.now_ms().saturating_sub(ms(AFTERLIFE));
        sqlx::query("DELETE FROM attest_signing_keys WHERE replaced_at_ms < $1")
            .bind(horizon)
            .execute(&self.pool)
            .await?;
        Ok(kid)
    }

    async fn put_signing_key(&self) -> Result<String, Error> {
        let key = EcdsaKey::generate(Curve::P256)?;
        let kid = thumbprint(key.public_key_point());
        let sealed = self.sealer.seal(TABLE, COLUMN, &kid, key.to_pkcs8());
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "UPDATE attest_signing_keys SET replaced_at_ms = $1 WHERE replaced_at_ms IS NULL",
        )
        .bind(self.now_ms())
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO attest_signing_keys (kid, sealed, public_key, made_at_ms) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(&kid)
        .bind(sealed)
        .bind(key.public_key_point())
        .bind(self.now_ms())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(kid)
    }

    pub(crate) async fn signing_key(&self) -> Result<SigningKey, Error> {
        let row: Option<(String, Vec<u8>)> = sqlx::query_as(
            "SELECT kid, sealed FROM attest_signing_keys WHERE replaced_at_ms IS NULL \
             ORDER BY made_at_ms DESC LIMIT 1",
        )
        .fetch_optional(&self.pool)
        .await?;
        let (kid, sealed) = row.ok_or(Error::Damaged("the key that signs verdicts is missing"))?;
        let pkcs8 = self.sealer.open(TABLE, COLUMN, &kid, &sealed).map(Zeroizing::new);
        let pkcs8 = pkcs8.ok_or(Error::Damaged("the key that signs verdicts does not open"))?;
        Ok(SigningKey { kid, key: EcdsaKey::from_pkcs8(Curve::P256, &pkcs8)? })
    }

    /// The keys that verdicts verify under: a JWK set.
    pub async fn jwks(&self) -> Result<Value, Error> {
        let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(
            "SELECT kid, public_key FROM attest_signing_keys \
             WHERE replaced_at_ms IS NULL OR replaced_at_ms >= $1 ORDER BY made_at_ms DESC",
        )
        .bind(self.now_ms().saturating_sub(ms(AFTERLIFE)))
        .fetch_all(&self.pool)
        .await?;
        let keys: Vec<Value> = rows
            .iter()
            .map(|(kid, point)| {
                let (x, y) = coordinates(point);
                json!({
                    "kty": "EC", "crv": "P-256", "x": x, "y": y,
                    "kid": kid, "use": "sig", "alg": "ES256",
                })
            })
            .collect();
        Ok(json!({ "keys": keys }))
    }
}

/// The coordinates of an uncompressed point, as a JWK writes them.
fn coordinates(point: &[u8]) -> (String, String) {
    let (x, y) = point.get(1..65).unwrap_or(&[0; 64]).split_at(32);
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}

/// The key's name: its thumbprint (RFC 7638).
fn thumbprint(point: &[u8]) -> String {
    let (x, y) = coordinates(point);
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(crypto::digest::sha256(canonical.as_bytes()))
}
