//! Roots and heads: what an account's blocks are named with, and its newest snapshot.

use crate::Sync;
use crate::error::Error;
use crate::packs::check_account;
use snapshot::block::{BlockId, PackId};
use snapshot::pack::WRAPPED_KEY_BYTES;
use sqlx::{Sqlite, Transaction};
use std::collections::HashSet;
use wire::sync::{Advance, Head, Root};

/// Heads that are kept: a restore that runs while a new one comes still finds its packs.
const KEPT_HEADS: i64 = 2;

/// What an account takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Packs.
    pub packs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Different blocks in them.
    pub blocks: u64,
}

impl Sync {
    /// The account's root, if it has one.
    pub async fn root(&self, account: &str) -> Result<Option<Root>, Error> {
        let row: Option<(String,)> =
            sqlx::query_as("SELECT wrapped_id_key FROM sync_roots WHERE account = $1")
                .bind(check_account(account)?)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(wrapped_id_key,)| Root { wrapped_id_key }))
    }

    /// Sets the account's root. It is set once: with another, its blocks would have other names.
    pub async fn create_root(&self, account: &str, root: &Root) -> Result<(), Error> {
        let key = root.wrapped_id_key.as_bytes();
        let fits = (1..=WRAPPED_KEY_BYTES).contains(&key.len());
        if !fits || !key.iter().all(u8::is_ascii_graphic) {
            return Err(Error::WrappedKey);
        }
        let done = sqlx::query(
            "INSERT INTO sync_roots (account, wrapped_id_key) VALUES ($1, $2)
             ON CONFLICT (account) DO NOTHING",
        )
        .bind(check_account(account)?)
        .bind(&root.wrapped_id_key)
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(Error::RootExists) }
    }

    /// The newest snapshot.
    pub async fn head(&self, account: &str) -> Result<Option<Head>, Error> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT head FROM sync_heads WHERE account = $1 ORDER BY generation DESC LIMIT 1",
        )
        .bind(check_account(account)?)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|(head,)| from_json(&head)).transpose()
    }

    /// Makes a snapshot the newest, if it follows the one that is, and all that it names is
    /// stored. The same again from the same device is no error: its answer may have been lost.
    pub async fn advance(
        &self,
        account: &str,
        device_id: &str,
        advance: Advance,
    ) -> Result<Head, Error> {
        check_account(account)?;
        let manifest = parse_names(&advance.manifest)?;
        let packs: Vec<PackId> =
            advance.packs.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
        if manifest.is_empty() || packs.is_empty() {
            return Err(Error::EmptySnapshot);
        }
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let newest = newest(&mut transaction, account).await?;
        let head = Head {
            generation: advance.follows.saturating_add(1),
            manifest: advance.manifest,
            device_id: device_id.to_owned(),
            at_ms: self.clock.now().0,
            files: advance.files,
            bytes: advance.bytes,
        };
        let newest_generation = newest.as_ref().map_or(0, |head| head.generation);
        if newest_generation != advance.follows {
            let conflict = Error::Conflict { newest: newest_generation, follows: advance.follows };
            return newest.filter(|newest| is_same(newest, &head)).ok_or(conflict);
        }
        let packs = find_packs(&mut transaction, account, &packs).await?;
        check_manifest(&mut transaction, &manifest, &packs).await?;
        insert(&mut transaction, account, &head, &packs).await?;
        transaction.commit().await?;
        Ok(head)
    }

    /// What the account takes up.
    pub async fn usage(&self, account: &str) -> Result<Usage, Error> {
        let (packs, bytes, blocks): (i64, i64, i64) = sqlx::query_as(
            "SELECT COUNT(*), COALESCE(SUM(bytes), 0),
                    (SELECT COUNT(DISTINCT b.id) FROM sync_blocks b
                     JOIN sync_packs p ON p.seq = b.pack WHERE p.account = $1)
             FROM sync_packs WHERE account = $1",
        )
        .bind(check_account(account)?)
        .fetch_one(&self.pool)
        .await?;
        let figure = |value: i64| u64::try_from(value).unwrap_or_default();
        Ok(Usage { packs: figure(packs), bytes: figure(bytes), blocks: figure(blocks) })
    }
}

/// Whether `newest` is what `head` would have become, but for the time.
fn is_same(newest: &Head, head: &Head) -> bool {
    let at_newest = Head { at_ms: newest.at_ms, ..head.clone() };
    *newest == at_newest
}

fn parse_names(names: &[String]) -> Result<Vec<BlockId>, Error> {
    Ok(names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?)
}

fn from_json(head: &str) -> Result<Head, Error> {
    serde_json::from_str(head).map_err(|_| Error::Stored("head"))
}

async fn newest(
    transaction: &mut Transaction<'_, Sqlite>,
    account: &str,
) -> Result<Option<Head>, Error> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT head FROM sync_heads WHERE account = $1 ORDER BY generation DESC LIMIT 1",
    )
    .bind(account)
    .fetch_optional(&mut **transaction)
    .await?;
    row.map(|(head,)| from_json(&head)).transpose()
}

async fn find_packs(
    transaction: &mut Transaction<'_, Sqlite>,
    account: &str,
    names: &[PackId],
) -> Result<HashSet<i64>, Error> {
    let mut packs = HashSet::with_capacity(names.len());
    for name in names {
        let row: Option<(i64,)> =
            sqlx::query_as("SELECT seq FROM sync_packs WHERE account = $1 AND name = $2")
                .bind(account)
                .bind(&name.0[..])
                .fetch_optional(&mut **transaction)
                .await?;
        packs.insert(row.ok_or(Error::NoSuchPack(*name))?.0);
    }
    Ok(packs)
}

async fn check_manifest(
    transaction: &mut Transaction<'_, Sqlite>,
    manifest: &[BlockId],
    packs: &HashSet<i64>,
) -> Result<(), Error> {
    for id in manifest {
        let rows: Vec<(i64,)> = sqlx::query_as("SELECT pack FROM sync_blocks WHERE id = $1")
            .bind(&id.0[..])
            .fetch_all(&mut **transaction)
            .await?;
        if !rows.iter().any(|(pack,)| packs.contains(pack)) {
            return Err(Error::ManifestBlock(*id));
        }
    }
    Ok(())
}

async fn insert(
    transaction: &mut Transaction<'_, Sqlite>,
    account: &str,
    head: &Head,
    packs: &HashSet<i64>,
) -> Result<(), Error> {
    let generation = i64::try_from(head.generation).map_err(|_| Error::Stored("generation"))?;
    let json = serde_json::to_string(head).expect("a head can be written as JSON");
    sqlx::query(
        "INSERT INTO sync_heads (account, generation, head, at_ms) VALUES ($1, $2, $3, $4)",
    )
    .bind(account)
    .bind(generation)
    .bind(json)
    .bind(head.at_ms as i64)
    .execute(&mut **transaction)
    .await?;
    for pack in packs {
        sqlx::query("INSERT INTO sync_head_packs (account, generation, pack) VALUES ($1, $2, $3)")
            .bind(account)
            .bind(generation)
            .bind(pack)
            .execute(&mut **transaction)
            .await?;
    }
    for table in ["sync_heads", "sync_head_packs"] {
        sqlx::query(&format!("DELETE FROM {table} WHERE account = $1 AND generation <= $2"))
            .bind(account)
            .bind(generation - KEPT_HEADS)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}
