//! Identities: opened, issued for, given up.

use crate::person::{self, hex};
use crate::{Error, Issuer, Refusal};
use crypto::ec::{Curve, PublicKey};
use mdoc::{Issuance, Validity};
use std::time::Duration;
use wire::eid::{Open, Purpose, Signed, statement};

/// How long a document is valid; the device gets another before.
pub const DOCUMENT_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// An identity that was not given up.
struct Live {
    key: [u8; 65],
    person: Vec<u8>,
}

impl Issuer {
    /// Opens an identity: its name. Everything is checked before the proof is used up.
    pub async fn open_identity(&self, open: &Open) -> Result<String, Error> {
        let key = self.attested_key(&open.attestation.0, &open.attester.0).await?;
        self.check(&key, Purpose::Open, &open.account, &open.signed).await?;
        let taken: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM eid_identities WHERE device_key = $1")
                .bind(&key[..])
                .fetch_one(&self.on.pool)
                .await?;
        if taken > 0 {
            return Err(Refusal::KeyInUse.into());
        }
        let person = self.proven(&open.account, &open.proof).await?;
        let identity = hex(&effects::random_array::<16>(&*self.on.entropy));
        let plain =
            serde_json::to_vec(&person).map_err(|error| Error::Internal(error.to_string()))?;
        let sealed = self.on.sealer.seal("eid_identities", "person_sealed", &identity, &plain);
        sqlx::query(
            "INSERT INTO eid_identities (identity, account, device_key, person_sealed, opened_at_ms) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&identity)
        .bind(&open.account)
        .bind(&key[..])
        .bind(sealed)
        .bind(self.now_ms())
        .execute(&self.on.pool)
        .await?;
        Ok(identity)
    }

    /// The document of an identity: `IssuerSigned`, CBOR.
    pub async fn document(&self, identity: &str, signed: &Signed) -> Result<Vec<u8>, Error> {
        let live = self.live(identity).await?;
        self.check(&live.key, Purpose::Download, identity, signed).await?;
        let person = person::read(&live.person)?;
        let now = self.on.clock.now().seconds();
        let issuance = Issuance {
            doc_type: &person.doc_type,
            namespace: &person.namespace,
            elements: person::elements(&person)?,
            device_key: live.key,
            validity: Validity { signed: now, from: now, until: now + DOCUMENT_LIFETIME.as_secs() },
        };
        let chain = vec![self.authority.signer.as_der().to_vec()];
        let salt = || effects::random_array(&*self.on.entropy);
        let document =
            issuance.sign(chain, salt, |bytes| self.authority.signer_key.sign_fixed(bytes));
        Ok(document.map_err(|error| Error::Internal(error.to_string()))?.encode())
    }

    /// Ends an identity, and forgets the person. The statement is about no challenge: a device that
    /// destroyed the key without a network says so whenever it has one again.
    pub async fn deregister(&self, identity: &str, signed: &Signed) -> Result<(), Error> {
        let live = self.live(identity).await?;
        is_said(&live.key, Purpose::Deregister, identity, signed)?;
        sqlx::query(
            "UPDATE eid_identities SET deregistered_at_ms = $2, person_sealed = NULL \
             WHERE identity = $1",
        )
        .bind(identity)
        .bind(self.now_ms())
        .execute(&self.on.pool)
        .await?;
        Ok(())
    }

    /// Whether `key` signed this statement about a fresh challenge, which is used up.
    async fn check(
        &self,
        key: &[u8; 65],
        purpose: Purpose,
        subject: &str,
        signed: &Signed,
    ) -> Result<(), Error> {
        is_said(key, purpose, subject, signed)?;
        self.use_up(&signed.challenge.0).await
    }

    async fn live(&self, identity: &str) -> Result<Live, Error> {
        let found: Option<(Vec<u8>, Option<Vec<u8>>)> = sqlx::query_as(
            "SELECT device_key, person_sealed FROM eid_identities \
             WHERE identity = $1 AND deregistered_at_ms IS NULL",
        )
        .bind(identity)
        .fetch_optional(&self.on.pool)
        .await?;
        let (key, sealed) = found.ok_or(Refusal::NoIdentity)?;
        let sealed = sealed.ok_or(Error::Damaged("a person"))?;
        let person = self.on.sealer.open("eid_identities", "person_sealed", identity, &sealed);
        Ok(Live {
            key: key.try_into().map_err(|_| Error::Damaged("a key"))?,
            person: person.ok_or(Error::Damaged("a person"))?,
        })
    }
}

/// Whether `key` signed this statement.
fn is_said(
    key: &[u8; 65],
    purpose: Purpose,
    subject: &str,
    signed: &Signed,
) -> Result<(), Refusal> {
    let said = statement(purpose, subject, &signed.challenge.0);
    let digest = crypto::digest::sha256(&said);
    PublicKey::from_point(Curve::P256, key)
        .and_then(|key| key.verify(&digest, &signed.signature.0))
        .map_err(|_| Refusal::Signature)
}
