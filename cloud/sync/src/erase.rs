//! What is gone: packs that no snapshot needs, and all of an account.

use crate::error::Error;
use crate::packs::check_account;
use crate::{Sync, joined};
use snapshot::block::PackId;
use std::collections::HashSet;
use std::time::Duration;

/// A pack that no recent head names stays this long after it was sent or asked about.
const UNNAMED: Duration = Duration::from_hours(1);
/// A pack newer than the newest head belongs to a snapshot that is not finished: it stays this
/// long, so that a device that was cut off goes on where it stopped.
const UNFINISHED: Duration = Duration::from_hours(7 * 24);

impl Sync {
    /// Removes packs that none of the kept heads names and nobody has asked about for a while.
    /// Says how many.
    pub async fn sweep(&self) -> Result<usize, Error> {
        let _alone = self.removal.write().await;
        let now = self.clock.now().0 as i64;
        // First the rows, then the files: files that a crash leaves are removed by the next start.
        let removed: Vec<(i64, String, Vec<u8>)> = {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            let rows: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
                "SELECT p.seq, p.account, p.name FROM sync_packs p
                 WHERE NOT EXISTS (SELECT 1 FROM sync_head_packs h WHERE h.pack = p.seq)
                   AND p.asked_ms < CASE WHEN p.created_ms >= COALESCE(
                        (SELECT MAX(at_ms) FROM sync_heads s WHERE s.account = p.account), 0)
                       THEN $1 ELSE $2 END",
            )
            .bind(now - UNFINISHED.as_millis() as i64)
            .bind(now - UNNAMED.as_millis() as i64)
            .fetch_all(&mut *transaction)
            .await?;
            for (seq, _, _) in &rows {
                for sql in [
                    "DELETE FROM sync_blocks WHERE pack = $1",
                    "DELETE FROM sync_packs WHERE seq = $1",
                ] {
                    sqlx::query(sql).bind(seq).execute(&mut *transaction).await?;
                }
            }
            transaction.commit().await?;
            rows
        };
        for (_, account, name) in &removed {
            let name = name[..].try_into().map_err(|_| Error::Stored("pack name"))?;
            let (packs, account) = (self.packs.clone(), account.clone());
            let work = tokio::task::spawn_blocking(move || packs.remove(&account, &PackId(name)));
            joined(work.await)?;
        }
        Ok(removed.len())
    }

    /// Removes the files that a crash left without a row. Only before packs come in: one that is
    /// durable and not yet indexed looks the same.
    pub(crate) async fn remove_unknown(&self) -> Result<(), Error> {
        let packs = self.packs.clone();
        let files = joined(tokio::task::spawn_blocking(move || packs.all()).await)?;
        if files.is_empty() {
            return Ok(());
        }
        let rows: Vec<(String, Vec<u8>)> =
            sqlx::query_as("SELECT account, name FROM sync_packs").fetch_all(&self.pool).await?;
        let known: HashSet<(String, Vec<u8>)> = rows.into_iter().collect();
        for (account, name) in files {
            if !known.contains(&(account.clone(), name.0.to_vec())) {
                self.packs.remove(&account, &name)?;
            }
        }
        Ok(())
    }

    /// Deletes everything of an account.
    pub async fn erase(&self, account: &str) -> Result<(), Error> {
        check_account(account)?;
        let _alone = self.removal.write().await;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for sql in [
            "DELETE FROM sync_blocks WHERE pack IN (SELECT seq FROM sync_packs WHERE account = $1)",
            "DELETE FROM sync_packs WHERE account = $1",
            "DELETE FROM sync_head_packs WHERE account = $1",
            "DELETE FROM sync_heads WHERE account = $1",
            "DELETE FROM sync_roots WHERE account = $1",
        ] {
            sqlx::query(sql).bind(account).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        let (packs, account) = (self.packs.clone(), account.to_owned());
        joined(tokio::task::spawn_blocking(move || packs.remove_account(&account)).await)
    }
}
