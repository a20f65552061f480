//! Packs come in: checked while they pass, durable before they are acknowledged.
//!
//! Memory is bounded: pieces go through a queue of [`QUEUE`] to a thread that hashes, checks
//! and writes them; a full queue slows the sender down.

use crate::error::Error;
use crate::packs::{Incoming, check_account};
use crate::{Sync, joined};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use snapshot::block::{BlockId, PackId, split_ids};
use snapshot::pack::{Index, Scanner};
use sqlx::QueryBuilder;
use std::collections::{HashMap, HashSet};
use tokio::sync::mpsc;

/// Pieces between the network and the disk.
const QUEUE: usize = 32;
/// Values in one statement.
const ROWS: usize = 500;
/// A pack that is asked about is noted as such no more often than this.
const ASKED_EVERY_MS: i64 = 600_000;

impl Sync {
    /// Takes the pack `name` from `pieces`. Once it returns, a power cut takes nothing back. The
    /// same pack again is no error.
    pub async fn put_pack<E: std::fmt::Display>(
        &self,
        account: &str,
        name: PackId,
        mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), Error> {
        check_account(account)?;
        let _turn = self.uploads.acquire().await.expect("the semaphore is never closed");
        let (queue, received) = mpsc::channel(QUEUE);
        let incoming = self.packs.begin()?;
        let writer = tokio::task::spawn_blocking(move || receive(incoming, received));
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| Error::CutShort(error.to_string()));
            let failed = piece.is_err();
            // A queue that is closed has a writer that gave up; it says why.
            if queue.send(piece).await.is_err() || failed {
                break;
            }
        }
        drop(queue);
        let (incoming, index) = joined(writer.await)?;
        if index.id != name {
            return Err(Error::PackName { actual: index.id });
        }
        let _no_removal = self.removal.read().await;
        let (packs, owner) = (self.packs.clone(), account.to_owned());
        let kept = tokio::task::spawn_blocking(move || packs.keep(incoming, &owner, &name));
        joined(kept.await)?;
        self.index(account, &index).await
    }

    /// Notes where the blocks of a durable pack lie.
    async fn index(&self, account: &str, index: &Index) -> Result<(), Error> {
        let now = self.clock.now().0 as i64;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let known =
            sqlx::query("UPDATE sync_packs SET asked_ms = $1 WHERE account = $2 AND name = $3")
                .bind(now)
                .bind(account)
                .bind(&index.id.0[..])
                .execute(&mut *transaction)
                .await?;
        if known.rows_affected() > 0 {
            return Ok(transaction.commit().await?);
        }
        let (pack,): (i64,) = sqlx::query_as(
            "INSERT INTO sync_packs (account, name, wrapped_key, bytes, created_ms, asked_ms)
             VALUES ($1, $2, $3, $4, $5, $5) RETURNING seq",
        )
        .bind(account)
        .bind(&index.id.0[..])
        .bind(&index.wrapped_key)
        .bind(index.bytes as i64)
        .bind(now)
        .fetch_one(&mut *transaction)
        .await?;
        for places in index.blocks.chunks(ROWS) {
            let mut insert = QueryBuilder::new("INSERT INTO sync_blocks (id, pack, at, length) ");
            insert.push_values(places, |mut row, place| {
                row.push_bind(&place.id.0[..])
                    .push_bind(pack)
                    .push_bind(place.offset as i64)
                    .push_bind(i64::from(place.length));
            });
            insert.build().execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Which of the names in `ids` (end to end) are not stored, in the same form. Packs that
    /// hold the others are safe from the sweep for a while: who asked relies on them.
    pub async fn missing(&self, account: &str, ids: &[u8]) -> Result<Vec<u8>, Error> {
        check_account(account)?;
        let ids = split_ids(ids)?;
        loop {
            let (stored, packs) = self.stored(account, &ids).await?;
            // A pack that was swept since does not count; then what is stored is asked anew.
            if self.note_asked(&packs).await? {
                let missing = ids.iter().filter(|id| !stored.contains(id));
                return Ok(missing.flat_map(|BlockId(id)| *id).collect());
            }
        }
    }

    /// Which of `ids` are stored; the packs that hold them, and when those were asked about.
    async fn stored(
        &self,
        account: &str,
        ids: &[BlockId],
    ) -> Result<(HashSet<BlockId>, HashMap<i64, i64>), Error> {
        let (mut stored, mut packs) = (HashSet::new(), HashMap::new());
        for part in ids.chunks(ROWS) {
            let mut question = QueryBuilder::new(
                "SELECT b.id, b.pack, p.asked_ms FROM sync_blocks b
                 JOIN sync_packs p ON p.seq = b.pack WHERE p.account = ",
            );
            question.push_bind(account).push(" AND b.id IN (");
            let mut list = question.separated(", ");
            for id in part {
                list.push_bind(&id.0[..]);
            }
            question.push(")");
            let rows: Vec<(Vec<u8>, i64, i64)> =
                question.build_query_as().fetch_all(&self.pool).await?;
            for (id, pack, asked) in rows {
                let id = id.try_into().map_err(|_| Error::Stored("block name"))?;
                stored.insert(BlockId(id));
                packs.insert(pack, asked);
            }
        }
        Ok((stored, packs))
    }

    /// Notes that packs were asked about. False where one of them is gone.
    async fn note_asked(&self, packs: &HashMap<i64, i64>) -> Result<bool, Error> {
        let now = self.clock.now().0 as i64;
        let due = packs.iter().filter(|(_, asked)| **asked + ASKED_EVERY_MS < now);
        let due: Vec<i64> = due.map(|(pack, _)| *pack).collect();
        for part in due.chunks(ROWS) {
            let mut update = QueryBuilder::new("UPDATE sync_packs SET asked_ms = ");
            update.push_bind(now).push(" WHERE seq IN (");
            let mut list = update.separated(", ");
            for pack in part {
                list.push_bind(*pack);
            }
            update.push(")");
            let done = update.build().execute(&self.pool).await?;
            if done.rows_affected() < part.len() as u64 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Checks and writes what comes through the queue; what is left of it is dropped on an error.
fn receive(
    mut incoming: Incoming,
    mut pieces: mpsc::Receiver<Result<Bytes, Error>>,
) -> Result<(Incoming, Index), Error> {
    let mut scanner = Scanner::new();
    while let Some(piece) = pieces.blocking_recv() {
        let piece = piece?;
        scanner.push(&piece)?;
        incoming.write(&piece)?;
    }
    Ok((incoming, scanner.finish()?))
}
