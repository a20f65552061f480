//! Packages come in: checked while they pass, durable before they count.
//!
//! Memory is bounded: pieces go through a queue of [`QUEUE`] to a thread that hashes and writes
//! them; a full queue slows the sender down.

use crate::error::Error;
use crate::packages::Incoming;
use crate::{Update, joined};
use bytes::Bytes;
use crypto::digest::Sha256;
use futures_util::{Stream, StreamExt as _};
use std::collections::HashSet;
use tokio::sync::mpsc;
use wire::update::Release;

/// Pieces between the network and the disk.
const QUEUE: usize = 32;

/// What a package has to be.
#[derive(Clone, Copy)]
struct Due {
    size: u64,
    sha256: [u8; 32],
}

impl Update {
    /// Takes the bytes of a package that was announced. Once it returns, a power cut takes nothing
    /// back; whatever fails before leaves nothing. The same package again is no error.
    pub async fn upload<E: std::fmt::Display>(
        &self,
        maker: &str,
        package_id: &str,
        pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Release, Error> {
        let (release_id, due) = self.due(maker, package_id).await?;
        let _turn = self.uploads.acquire().await.expect("the semaphore is never closed");
        let folder = self.packages.clone();
        let begun = tokio::task::spawn_blocking(move || folder.begin(due.size));
        let incoming = receive(joined(begun.await)?, due, pieces).await?;
        self.audit.record("maker", "package_uploaded", package_id).await?;
        let (folder, name) = (self.packages.clone(), package_id.to_owned());
        joined(tokio::task::spawn_blocking(move || folder.keep(incoming, &name)).await)?;
        self.note_uploaded(package_id).await?;
        self.release(maker, &release_id).await
    }

    /// The release that a package belongs to, and what was announced of it.
    async fn due(&self, maker: &str, package_id: &str) -> Result<(String, Due), Error> {
        let row: Option<(String, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT p.release_id, p.size, p.sha256 FROM update_packages p
             JOIN update_releases r ON r.release_id = p.release_id
             WHERE p.package_id = $1 AND r.maker = $2",
        )
        .bind(package_id)
        .bind(maker)
        .fetch_optional(&self.pool)
        .await?;
        let (release_id, size, sha256) = row.ok_or(Error::NotFound("package"))?;
        let size = u64::try_from(size).map_err(|_| Error::Stored("package size"))?;
        let sha256 = sha256.try_into().map_err(|_| Error::Stored("package hash"))?;
        Ok((release_id, Due { size, sha256 }))
    }

    async fn note_uploaded(&self, package_id: &str) -> Result<(), Error> {
        let noted = sqlx::query(
            "UPDATE update_packages SET uploaded_at_ms = COALESCE(uploaded_at_ms, $2)
             WHERE package_id = $1",
        )
        .bind(package_id)
        .bind(self.now_ms())
        .execute(&self.pool)
        .await?;
        if noted.rows_affected() == 0 {
            // Its release was deleted while it came.
            self.packages.remove(package_id)?;
            return Err(Error::NotFound("package"));
        }
        Ok(())
    }

    /// Removes the files that a crash left without a row that counts them. Only before packages
    /// come in: one that is durable and not yet noted looks the same.
    pub(crate) async fn remove_unknown(&self) -> Result<(), Error> {
        let known: Vec<String> = sqlx::query_scalar(
            "SELECT package_id FROM update_packages WHERE uploaded_at_ms IS NOT NULL",
        )
        .fetch_all(&self.pool)
        .await?;
        let known: HashSet<String> = known.into_iter().collect();
        for name in self.packages.all()?.into_iter().filter(|name| !known.contains(name)) {
            self.packages.remove(&name)?;
        }
        Ok(())
    }
}

/// Brings the pieces to the thread that writes them; what comes back is whole and right.
async fn receive<E: std::fmt::Display>(
    incoming: Incoming,
    due: Due,
    mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<Incoming, Error> {
    let (queue, received) = mpsc::channel(QUEUE);
    let writer = tokio::task::spawn_blocking(move || write(incoming, due, received));
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Error::CutShort(error.to_string()));
        let failed = piece.is_err();
        // A queue that is closed has a writer that gave up; it says why.
        if queue.send(piece).await.is_err() || failed {
            break;
        }
    }
    drop(queue);
    joined(writer.await)
}

/// Writes what comes through the queue and checks it; on an error nothing of it stays.
fn write(
    mut incoming: Incoming,
    due: Due,
    mut pieces: mpsc::Receiver<Result<Bytes, Error>>,
) -> Result<Incoming, Error> {
    let mut digest = Sha256::new();
    let mut sent = 0_u64;
    while let Some(piece) = pieces.blocking_recv() {
        let piece = piece?;
        sent = sent.saturating_add(piece.len() as u64);
        if sent > due.size {
            break;
        }
        digest.update(&piece);
        incoming.write(&piece)?;
    }
    if sent != due.size {
        return Err(Error::Size { announced: due.size, sent });
    }
    if digest.finish() != due.sha256 {
        return Err(Error::Hash);
    }
    Ok(incoming)
}
