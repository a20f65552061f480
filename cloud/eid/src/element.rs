//! Elements: which may hold identities, and what they attest of a key.

use crate::{Error, Issuer, Refusal, digest};
use der::asn1::ObjectIdentifier;
use keyattest::x509::Certificate;

/// PIN policy and touch policy of an attested key, a byte each.
const POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.8");
/// The PIN before each use.
const PIN_ALWAYS: u8 = 3;

impl Issuer {
    /// Lets the element with this attestation certificate (DER) hold identities.
    pub async fn enrol_element(&self, attester: &[u8]) -> Result<(), Error> {
        let attester = Certificate::parse(attester).map_err(|_| Refusal::Element)?;
        sqlx::query(
            "INSERT INTO eid_elements (attester_hash, enrolled_at_ms) VALUES ($1, $2) \
             ON CONFLICT DO NOTHING",
        )
        .bind(digest(attester.public_key().as_der()))
        .bind(self.now_ms())
        .execute(&self.on.pool)
        .await?;
        Ok(())
    }

    /// The key that an enrolled element says it made inside, and that asks for the PIN each time.
    pub(crate) async fn attested_key(
        &self,
        attestation: &[u8],
        attester: &[u8],
    ) -> Result<[u8; 65], Error> {
        let parse = |der| Certificate::parse(der).map_err(|_| Refusal::Element);
        let (leaf, attester) = (parse(attestation)?, parse(attester)?);
        let known: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM eid_elements WHERE attester_hash = $1")
                .bind(digest(attester.public_key().as_der()))
                .fetch_one(&self.on.pool)
                .await?;
        if known == 0 || !leaf.is_issued_by(&attester) {
            return Err(Refusal::Element.into());
        }
        match leaf.extension(POLICIES) {
            Some([PIN_ALWAYS, _]) => {}
            _ => return Err(Refusal::Policy.into()),
        }
        Ok(leaf.public_key().as_p_256().ok_or(Refusal::Element)?)
    }
}
