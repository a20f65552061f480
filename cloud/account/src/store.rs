//! Opening the service: its tables, and the keys that it keeps sealed.

use crate::keycenter::{PASSWORD, PII, PII_INDEX};
use crate::password::Hasher;
use crate::pii::{Pii, Place};
use crate::{Accounts, Error, Foundation, KeyCenter, schema, throttle};
use crypto::secret::Secret;
use crypto::sign::{Curve, EcdsaKey};
use effects::random_array;
use sqlx::{Sqlite, SqlitePool, Transaction};
use std::sync::Arc;

/// Whose password record stands for the unknown login.
const NOBODY: &[u8] = b"nobody";

impl Accounts {
    /// Opens the service; the first time, its keys are made and the Key Center learns whose owner
    /// assertions count.
    pub async fn open(foundation: Foundation) -> Result<Self, Error> {
        let Foundation { pool, key_center, clock, entropy, post, lock, cores } = foundation;
        schema::create(&pool).await?;
        let pii = Arc::new(open_pii(&pool, &*key_center).await?);
        let assertion_key = assertion_key(&pool, &pii, &*key_center).await?;
        let hasher = Hasher::new(cores);
        let unguessable = hex(&random_array::<16>(&*entropy));
        let phc = hasher.hash(&unguessable, random_array(&*entropy)).await?;
        let nobody = key_center.encrypt(PASSWORD, NOBODY, phc.as_bytes()).await?;
        let sources = throttle::Sources::default();
        Ok(Self {
            pool,
            key_center,
            clock,
            entropy,
            post,
            lock,
            hasher,
            sources,
            pii,
            assertion_key,
            nobody,
        })
    }

    /// What seals personal data; the server lends it to services that keep some.
    #[must_use]
    pub fn pii(&self) -> Arc<Pii> {
        Arc::clone(&self.pii)
    }

    /// A transaction that writes: it waits for other writers instead of failing on them.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// A random id of 128 bits.
    pub(crate) fn random_id(&self) -> String {
        hex(&random_array::<16>(&*self.entropy))
    }

    /// The blind index of `input`.
    pub(crate) async fn index(&self, input: &str) -> Result<Vec<u8>, Error> {
        self.key_center.hmac(PII_INDEX, input.as_bytes()).await
    }

    /// The password record of nobody and its context.
    pub(crate) fn nobody(&self) -> (&str, &'static [u8]) {
        (&self.nobody, NOBODY)
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn open_pii(pool: &SqlitePool, key_center: &dyn KeyCenter) -> Result<Pii, Error> {
    if meta(pool, "pii_key").await?.is_none() {
        let fresh = key_center.data_key(PII).await?;
        keep_meta(pool, "pii_key", fresh.wrapped.as_bytes()).await?;
    }
    let wrapped = meta(pool, "pii_key").await?.ok_or(Error::Damaged("the data key is missing"))?;
    let wrapped = String::from_utf8(wrapped).map_err(|_| Error::Damaged("the data key"))?;
    let data_key = key_center.decrypt(PII, b"", &wrapped).await?;
    Ok(Pii::new(&Secret::from_slice(&data_key)?))
}

async fn assertion_key(
    pool: &SqlitePool,
    pii: &Pii,
    key_center: &dyn KeyCenter,
) -> Result<EcdsaKey, Error> {
    let place = Place::new("account_meta", "value", "assertion_key");
    if meta(pool, "assertion_key").await?.is_none() {
        let fresh = EcdsaKey::generate(Curve::P256)?;
        keep_meta(pool, "assertion_key", &pii.seal(place, fresh.to_pkcs8())).await?;
    }
    let sealed =
        meta(pool, "assertion_key").await?.ok_or(Error::Damaged("the assertion key is missing"))?;
    let key =
        EcdsaKey::from_pkcs8(Curve::P256, &zeroize::Zeroizing::new(pii.open(place, &sealed)?))?;
    if meta(pool, "assertion_key_registered").await?.is_none() {
        key_center.trust_assertions(&key.public_key_spki()?).await?;
        keep_meta(pool, "assertion_key_registered", b"1").await?;
    }
    Ok(key)
}

async fn meta(pool: &SqlitePool, name: &str) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM account_meta WHERE name = $1")
        .bind(name)
        .fetch_optional(pool)
        .await
}

/// The first value stays.
async fn keep_meta(pool: &SqlitePool, name: &str, value: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO account_meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(name)
        .bind(value)
        .execute(pool)
        .await
        .map(|_| ())
}
