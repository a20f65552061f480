//! What is in the tables, one function a statement or two. No rule lives here.

use crate::caller::{label, namespace};
use crate::error::Error;
use keystore_client::KeystoreCode;
use keystore_client::api::{Access, Entry, Namespace};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use tee_api::keymint::KeyCharacteristics;

/// Under what a blob is sealed, besides what the TEE did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sealing {
    /// Nothing.
    None,
    /// The unlock key.
    Unlock,
    /// The unlock key's public half.
    UnlockPublic,
}

impl Sealing {
    const fn number(self) -> i64 {
        self as i64
    }

    fn with_number(number: i64) -> Result<Self, Error> {
        let known = [Self::None, Self::Unlock, Self::UnlockPublic];
        known
            .into_iter()
            .find(|it| it.number() == number)
            .ok_or_else(|| Error::corrupted("how a key is sealed"))
    }
}

/// A blob as it lies in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) sealing: Sealing,
    pub(crate) bytes: Vec<u8>,
}

/// A row of `keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) id: u64,
    pub(crate) owner: Namespace,
    pub(crate) alias: String,
    /// `None`: certificates only.
    pub(crate) blob: Option<Sealed>,
    pub(crate) characteristics: KeyCharacteristics,
    /// DER.
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) extra: Option<Vec<u8>>,
    pub(crate) created_ms: u64,
    pub(crate) uses_left: Option<u32>,
}

const COLUMNS: &str = "SELECT id, uid, label, alias, blob, sealing, characteristics, \
                       certificates, extra, created_ms, uses_left FROM keys";

impl Key {
    fn of(row: &SqliteRow) -> Result<Self, Error> {
        let blob: Option<Vec<u8>> = row.try_get("blob")?;
        let sealing = Sealing::with_number(row.try_get("sealing")?)?;
        let json = |column: &str| -> Result<Vec<u8>, Error> { Ok(row.try_get(column)?) };
        Ok(Self {
            id: row.try_get::<i64, _>("id")?.cast_unsigned(),
            owner: namespace(row.try_get("uid")?, row.try_get("label")?),
            alias: row.try_get("alias")?,
            blob: blob.map(|bytes| Sealed { sealing, bytes }),
            characteristics: from_json(&json("characteristics")?)?,
            certificates: chain_from(&json("certificates")?)?,
            extra: row.try_get("extra")?,
            created_ms: row.try_get::<i64, _>("created_ms")?.cast_unsigned(),
            uses_left: row
                .try_get::<Option<i64>, _>("uses_left")?
                .map(|left| u32::try_from(left).unwrap_or(0)),
        })
    }
}

fn from_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|_| Error::corrupted("what a key obeys"))
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data has a JSON form")
}

/// Certificates one behind the other; DER says how long each is.
fn chain_from(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let mut chain = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) =
            bytes.split_first_chunk().ok_or_else(|| Error::corrupted("certificates"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let certificate = rest.get(..length).ok_or_else(|| Error::corrupted("certificates"))?;
        chain.push(certificate.to_vec());
        bytes = &rest[length..];
    }
    Ok(chain)
}

fn chain_to(chain: &[Vec<u8>]) -> Vec<u8> {
    let one = |der: &Vec<u8>| {
        let length = u32::try_from(der.len()).expect("a certificate came in a message");
        [&length.to_be_bytes()[..], der].concat()
    };
    chain.iter().flat_map(one).collect()
}

pub(crate) async fn meta(db: &mut SqliteConnection, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let query = sqlx::query_scalar("SELECT value FROM meta WHERE name = $1");
    Ok(query.bind(name).fetch_optional(db).await?)
}

pub(crate) async fn set_meta(
    db: &mut SqliteConnection,
    name: &str,
    value: &[u8],
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO meta (name, value) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET value = $2",
    )
    .bind(name)
    .bind(value)
    .execute(db)
    .await?;
    Ok(())
}

pub(crate) async fn by_alias(
    db: &mut SqliteConnection,
    owner: &Namespace,
    alias: &str,
) -> Result<Option<Key>, Error> {
    let sql = const_format(COLUMNS, " WHERE uid = $1 AND label = $2 AND alias = $3");
    let query = sqlx::query(&sql).bind(owner.uid).bind(label(owner)).bind(alias);
    query.fetch_optional(db).await?.as_ref().map(Key::of).transpose()
}

pub(crate) async fn by_id(db: &mut SqliteConnection, id: u64) -> Result<Option<Key>, Error> {
    let sql = const_format(COLUMNS, " WHERE id = $1");
    let query = sqlx::query(&sql).bind(id.cast_signed());
    query.fetch_optional(db).await?.as_ref().map(Key::of).transpose()
}

fn const_format(columns: &str, condition: &str) -> String {
    format!("{columns}{condition}")
}

pub(crate) async fn insert(db: &mut SqliteConnection, key: &Key) -> Result<(), Error> {
    let (sealing, blob) = match &key.blob {
        Some(sealed) => (sealed.sealing, Some(&sealed.bytes[..])),
        None => (Sealing::None, None),
    };
    let done = sqlx::query(
        "INSERT INTO keys (id, uid, label, alias, blob, sealing, characteristics, certificates, \
         extra, created_ms, uses_left) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(key.id.cast_signed())
    .bind(key.owner.uid)
    .bind(label(&key.owner))
    .bind(&key.alias)
    .bind(blob)
    .bind(sealing.number())
    .bind(json(&key.characteristics))
    .bind(chain_to(&key.certificates))
    .bind(key.extra.as_deref())
    .bind(key.created_ms.cast_signed())
    .bind(key.uses_left)
    .execute(db)
    .await;
    done.map(drop).map_err(|error| taken(error, &key.alias))
}

/// A second key of one alias is a refusal, not a failure.
fn taken(error: sqlx::Error, alias: &str) -> Error {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => Error::refused(
            KeystoreCode::AlreadyExists,
            format!("there is a key {alias:?}: delete it, replace it, or take another alias"),
        ),
        _ => error.into(),
    }
}

/// Takes a key away; its blob waits for the TEE to delete it too.
pub(crate) async fn doom(db: &mut SqliteConnection, id: u64) -> Result<bool, Error> {
    sqlx::query(
        "INSERT INTO doomed (key, blob, sealing) \
         SELECT id, blob, sealing FROM keys WHERE id = $1 AND blob IS NOT NULL",
    )
    .bind(id.cast_signed())
    .execute(&mut *db)
    .await?;
    let query = sqlx::query("DELETE FROM keys WHERE id = $1").bind(id.cast_signed());
    Ok(query.execute(db).await?.rows_affected() > 0)
}

/// All that wait.
pub(crate) async fn doomed(db: &mut SqliteConnection) -> Result<Vec<(u64, Sealed)>, Error> {
    let rows: Vec<(i64, Vec<u8>, i64)> =
        sqlx::query_as("SELECT key, blob, sealing FROM doomed").fetch_all(db).await?;
    let one = |(key, bytes, sealing): (i64, Vec<u8>, i64)| {
        Ok((key.cast_unsigned(), Sealed { sealing: Sealing::with_number(sealing)?, bytes }))
    };
    rows.into_iter().map(one).collect()
}

pub(crate) async fn forget_doomed(db: &mut SqliteConnection, id: u64) -> Result<(), Error> {
    let query = sqlx::query("DELETE FROM doomed WHERE key = $1").bind(id.cast_signed());
    Ok(query.execute(db).await.map(drop)?)
}

pub(crate) async fn set_blob(
    db: &mut SqliteConnection,
    id: u64,
    old: &Sealed,
    new: &Sealed,
) -> Result<bool, Error> {
    let query = sqlx::query("UPDATE keys SET blob = $1, sealing = $2 WHERE id = $3 AND blob = $4");
    let query = query.bind(&new.bytes).bind(new.sealing.number()).bind(id.cast_signed());
    Ok(query.bind(&old.bytes).execute(db).await?.rows_affected() > 0)
}

pub(crate) async fn set_about(
    db: &mut SqliteConnection,
    id: u64,
    certificates: &[Vec<u8>],
    extra: Option<&[u8]>,
) -> Result<(), Error> {
    let query = sqlx::query("UPDATE keys SET certificates = $1, extra = $2 WHERE id = $3");
    let query = query.bind(chain_to(certificates)).bind(extra).bind(id.cast_signed());
    Ok(query.execute(db).await.map(drop)?)
}

pub(crate) async fn set_owner(
    db: &mut SqliteConnection,
    id: u64,
    owner: &Namespace,
    alias: &str,
) -> Result<(), Error> {
    let query = sqlx::query("UPDATE keys SET uid = $1, label = $2, alias = $3 WHERE id = $4");
    let query = query.bind(owner.uid).bind(label(owner)).bind(alias).bind(id.cast_signed());
    query.execute(db).await.map(drop).map_err(|error| taken(error, alias))
}

/// Counts one use; `false`: there was none left.
pub(crate) async fn count_use(db: &mut SqliteConnection, id: u64) -> Result<bool, Error> {
    let query =
        sqlx::query("UPDATE keys SET uses_left = uses_left - 1 WHERE id = $1 AND uses_left > 0");
    Ok(query.bind(id.cast_signed()).execute(db).await?.rows_affected() > 0)
}

/// How many keys somebody has; stops counting at `most`.
pub(crate) async fn count(
    db: &mut SqliteConnection,
    owner: &Namespace,
    most: i64,
) -> Result<i64, Error> {
    let query = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT 1 FROM keys WHERE uid = $1 AND label = $2 LIMIT $3)",
    );
    Ok(query.bind(owner.uid).bind(label(owner)).bind(most).fetch_one(db).await?)
}

/// Keys whose alias is at least `from` and greater than `after`, by alias.
pub(crate) async fn page(
    db: &mut SqliteConnection,
    owner: &Namespace,
    from: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<Entry>, Error> {
    let rows = sqlx::query(
        "SELECT id, alias, blob IS NOT NULL AS has_key, created_ms, sealing FROM keys \
         WHERE uid = $1 AND label = $2 AND alias >= $3 AND alias > $4 ORDER BY alias LIMIT $5",
    )
    .bind(owner.uid)
    .bind(label(owner))
    .bind(from)
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await?;
    let one = |row: &SqliteRow| {
        Ok(Entry {
            alias: row.try_get("alias")?,
            id: format!("{:016x}", row.try_get::<i64, _>("id")?),
            has_key: row.try_get("has_key")?,
            created_ms: row.try_get::<i64, _>("created_ms")?.cast_unsigned(),
            needs_unlock: row.try_get::<i64, _>("sealing")? != Sealing::None.number(),
        })
    };
    rows.iter().map(one).collect()
}

/// A row of `grants`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantRow {
    pub(crate) id: u64,
    pub(crate) key: u64,
    pub(crate) to: Namespace,
    pub(crate) access: Vec<Access>,
}

/// Bits of an access vector.
fn bits(access: &[Access]) -> i64 {
    access.iter().fold(0, |bits, access| bits | 1 << *access as u8)
}

impl GrantRow {
    fn of((id, key, uid, label, bits): (i64, i64, i64, String, i64)) -> Self {
        let has = |access: &Access| bits & 1 << *access as u8 != 0;
        Self {
            id: id.cast_unsigned(),
            key: key.cast_unsigned(),
            to: namespace(uid, label),
            access: Access::ALL.into_iter().filter(has).collect(),
        }
    }
}

pub(crate) async fn put_grant(db: &mut SqliteConnection, grant: &GrantRow) -> Result<u64, Error> {
    let query = sqlx::query_scalar(
        "INSERT INTO grants (id, key, uid, label, access) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (key, uid, label) DO UPDATE SET access = $5 RETURNING id",
    );
    let query = query.bind(grant.id.cast_signed()).bind(grant.key.cast_signed());
    let query = query.bind(grant.to.uid).bind(label(&grant.to)).bind(bits(&grant.access));
    let id: i64 = query.fetch_one(db).await?;
    Ok(id.cast_unsigned())
}

pub(crate) async fn remove_grant(
    db: &mut SqliteConnection,
    key: u64,
    to: &Namespace,
) -> Result<bool, Error> {
    let query = sqlx::query("DELETE FROM grants WHERE key = $1 AND uid = $2 AND label = $3");
    let query = query.bind(key.cast_signed()).bind(to.uid).bind(label(to));
    Ok(query.execute(db).await?.rows_affected() > 0)
}

const GRANT_COLUMNS: &str = "SELECT id, key, uid, label, access FROM grants";

pub(crate) async fn grants(db: &mut SqliteConnection, key: u64) -> Result<Vec<GrantRow>, Error> {
    let sql = const_format(GRANT_COLUMNS, " WHERE key = $1 ORDER BY uid, label");
    let rows = sqlx::query_as(&sql).bind(key.cast_signed()).fetch_all(db).await?;
    Ok(rows.into_iter().map(GrantRow::of).collect())
}

pub(crate) async fn grant(db: &mut SqliteConnection, id: u64) -> Result<Option<GrantRow>, Error> {
    let sql = const_format(GRANT_COLUMNS, " WHERE id = $1");
    let row = sqlx::query_as(&sql).bind(id.cast_signed()).fetch_optional(db).await?;
    Ok(row.map(GrantRow::of))
}
