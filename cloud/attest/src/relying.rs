//! Relying parties and their policies. A policy is never changed: a new version takes its place.

use crate::{Attest, Error, Policy, Refusal, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use effects::{UnixMillis, random_array};

/// The most policies of one relying party, and versions of one policy.
const POLICIES_MAX: i64 = 1000;

/// Who asks for verdicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelyingParty {
    /// Its name: the audience of its verdicts.
    pub name: String,
    /// When it was admitted.
    pub created_at: UnixMillis,
}

/// A version of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPolicy {
    /// Its name.
    pub name: String,
    /// Counts from 1.
    pub version: u32,
    /// What it says.
    pub policy: Policy,
    /// When it was stored.
    pub stored_at: UnixMillis,
}

impl Attest {
    /// Admits a relying party, or gives one a new credential. It is told once: the database keeps
    /// a digest.
    pub async fn admit(&self, actor: &str, name: &str) -> Result<String, Error> {
        check_name("name", name)?;
        let credential = URL_SAFE_NO_PAD.encode(random_array::<32>(&*self.entropy));
        self.audit.record(actor, "relying_party_admitted", name).await?;
        sqlx::query(
            "INSERT INTO attest_relying_parties (name, credential_hash, created_at_ms) \
             VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET \
             credential_hash = excluded.credential_hash",
        )
        .bind(name)
        .bind(digest(credential.as_bytes()))
        .bind(self.now_ms())
        .execute(&self.pool)
        .await?;
        Ok(credential)
    }

    /// Dismisses a relying party, with its policies.
    pub async fn dismiss(&self, actor: &str, name: &str) -> Result<(), Error> {
        self.audit.record(actor, "relying_party_dismissed", name).await?;
        let gone = sqlx::query("DELETE FROM attest_relying_parties WHERE name = $1")
            .bind(name)
            .execute(&self.pool)
            .await?;
        match gone.rows_affected() {
            0 => Err(Refusal::NotFound("relying party").into()),
            _ => Ok(()),
        }
    }

    /// All relying parties.
    pub async fn relying_parties(&self) -> Result<Vec<RelyingParty>, Error> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT name, created_at_ms FROM attest_relying_parties ORDER BY name")
                .fetch_all(&self.pool)
                .await?;
        Ok(rows
            .into_iter()
            .map(|(name, at)| RelyingParty { name, created_at: crate::registry::time(at) })
            .collect())
    }

    /// Whose credential this is.
    pub async fn relying_party(&self, credential: &str) -> Result<String, Error> {
        let name: Option<String> = sqlx::query_scalar(
            "SELECT name FROM attest_relying_parties WHERE credential_hash = $1",
        )
        .bind(digest(credential.as_bytes()))
        .fetch_optional(&self.pool)
        .await?;
        name.ok_or_else(|| Refusal::NotARelyingParty.into())
    }

    /// Stores the next version of a policy. The same as the newest changes nothing.
    pub async fn store_policy(
        &self,
        actor: &str,
        party: &str,
        name: &str,
        policy: &Policy,
    ) -> Result<StoredPolicy, Error> {
        check_name("policy", name)?;
        if let Some((field, reason)) = policy.wrong_field() {
            return Err(Refusal::Invalid { field, reason }.into());
        }
        if !self.relying_parties().await?.iter().any(|it| it.name == party) {
            return Err(Refusal::NotFound("relying party").into());
        }
        if let Ok(newest) = self.policy(party, name, None).await
            && newest.policy == *policy
        {
            return Ok(newest);
        }
        let text = serde_json::to_string(policy).map_err(|it| Error::Internal(it.to_string()))?;
        self.audit.record(actor, "policy_stored", &format!("{party}/{name}: {text}")).await?;
        // One statement: of two writers each gets a version of its own.
        let version: Option<i64> = sqlx::query_scalar(
            "INSERT INTO attest_policies (relying_party, name, version, policy, stored_at_ms) \
             SELECT $1, $2, COALESCE(MAX(version), 0) + 1, $3, $4 FROM attest_policies \
             WHERE relying_party = $1 AND name = $2 \
             HAVING (SELECT COUNT(*) FROM attest_policies WHERE relying_party = $1) < $5 \
             RETURNING version",
        )
        .bind(party)
        .bind(name)
        .bind(text)
        .bind(self.now_ms())
        .bind(POLICIES_MAX)
        .fetch_optional(&self.pool)
        .await?;
        let reason = "a relying party has at most 1000 versions of policies: dismiss old ones";
        let version = version.ok_or(Refusal::Invalid { field: "policy", reason })?;
        self.policy(party, name, u32::try_from(version).ok()).await
    }

    /// A version of a policy; the newest where none is named.
    pub async fn policy(
        &self,
        party: &str,
        name: &str,
        version: Option<u32>,
    ) -> Result<StoredPolicy, Error> {
        let row: Option<(i64, String, i64)> = sqlx::query_as(
            "SELECT version, policy, stored_at_ms FROM attest_policies WHERE relying_party = $1 \
             AND name = $2 AND ($3 IS NULL OR version = $3) ORDER BY version DESC LIMIT 1",
        )
        .bind(party)
        .bind(name)
        .bind(version)
        .fetch_optional(&self.pool)
        .await?;
        let (version, text, at) = row.ok_or(Refusal::NotFound("policy"))?;
        Ok(StoredPolicy {
            name: name.to_owned(),
            version: u32::try_from(version).unwrap_or(0),
            policy: serde_json::from_str(&text).map_err(|_| Error::Damaged("a policy"))?,
            stored_at: crate::registry::time(at),
        })
    }

    /// The names of a relying party's policies, with their newest versions.
    pub async fn policies(&self, party: &str) -> Result<Vec<(String, u32)>, Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT name, MAX(version) FROM attest_policies WHERE relying_party = $1 \
             GROUP BY name ORDER BY name",
        )
        .bind(party)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(name, version)| (name, u32::try_from(version).unwrap_or(0)))
            .collect())
    }

    /// Deletes a policy with all its versions.
    pub async fn delete_policy(&self, actor: &str, party: &str, name: &str) -> Result<(), Error> {
        self.audit.record(actor, "policy_deleted", &format!("{party}/{name}")).await?;
        let gone =
            sqlx::query("DELETE FROM attest_policies WHERE relying_party = $1 AND name = $2")
                .bind(party)
                .bind(name)
                .execute(&self.pool)
                .await?;
        match gone.rows_affected() {
            0 => Err(Refusal::NotFound("policy").into()),
            _ => Ok(()),
        }
    }
}

/// Names stand in addresses and in tokens.
fn check_name(field: &'static str, name: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.') {
        return Ok(());
    }
    let reason = "1 to 64 letters, digits, hyphens, underscores or dots, no dot in front";
    Err(Refusal::Invalid { field, reason })
}
