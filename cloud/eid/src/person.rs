//! Persons whose identity was checked, and the proofs that they were given.

use crate::{Error, Issuer, Refusal, digest};
use mdoc::Value;
use serde_json::Value as Json;
use std::time::Duration;
use wire::eid::Person;

/// How long a proof can be used.
pub const PROOF_LIFETIME: Duration = Duration::from_secs(14 * 24 * 3600);
/// Letters and digits that are not mistaken for each other: 32 of them, 5 bits each.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// 100 bits.
const PROOF_LETTERS: usize = 20;

impl Issuer {
    /// Registers a person, and gives the proof that opens the identity.
    pub async fn register(&self, person: &Person) -> Result<String, Error> {
        elements(person)?;
        let random: [u8; PROOF_LETTERS] = effects::random_array(&*self.on.entropy);
        let proof: String =
            random.iter().map(|byte| ALPHABET[usize::from(byte % 32)] as char).collect();
        let hash = digest(proof.as_bytes());
        let plain =
            serde_json::to_vec(person).map_err(|error| Error::Internal(error.to_string()))?;
        let sealed = self.on.sealer.seal("eid_proofs", "person_sealed", &hex(&hash), &plain);
        sqlx::query(
            "INSERT INTO eid_proofs (proof_hash, account, person_sealed, expires_at_ms) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(hash)
        .bind(&person.account)
        .bind(sealed)
        .bind(self.after_ms(PROOF_LIFETIME))
        .execute(&self.on.pool)
        .await?;
        Ok(proof)
    }

    /// Uses a proof up: who it is for. Of any number of callers, one succeeds.
    pub(crate) async fn proven(&self, account: &str, proof: &str) -> Result<Person, Error> {
        let hash = digest(proof.as_bytes());
        let sealed: Option<Vec<u8>> = sqlx::query_scalar(
            "DELETE FROM eid_proofs WHERE proof_hash = $1 AND account = $2 AND expires_at_ms > $3 \
             RETURNING person_sealed",
        )
        .bind(&hash)
        .bind(account)
        .bind(self.now_ms())
        .fetch_optional(&self.on.pool)
        .await?;
        let sealed = sealed.ok_or(Refusal::Proof)?;
        let plain = self.on.sealer.open("eid_proofs", "person_sealed", &hex(&hash), &sealed);
        read(&plain.ok_or(Error::Damaged("a person"))?)
    }
}

/// A person, as the database keeps one.
pub(crate) fn read(plain: &[u8]) -> Result<Person, Error> {
    serde_json::from_slice(plain).map_err(|_| Error::Damaged("a person"))
}

/// Names and values as a document holds them.
pub(crate) fn elements(person: &Person) -> Result<Vec<(String, Value)>, Refusal> {
    let value = |json: &Json| match json {
        Json::Bool(it) => Some(Value::from(*it)),
        Json::String(it) => Some(Value::from(it.as_str())),
        Json::Number(it) => it.as_i64().map(Value::from),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    };
    let element =
        |(name, json): (&String, &Json)| Ok((name.clone(), value(json).ok_or(Refusal::Value)?));
    person.elements.iter().map(element).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
