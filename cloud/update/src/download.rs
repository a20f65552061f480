//! Packages go out: to devices that may have them, a piece in memory at a time.

use crate::check::Standing;
use crate::error::Error;
use crate::{Update, form, joined, releases};
use bytes::Bytes;
use futures_util::{Stream, stream};
use sqlx::Row as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// What is read and sent at once.
const PIECE_BYTES: u64 = 256 << 10;

/// A package that a device may have.
pub struct Download {
    /// Its strong entity tag: its SHA-256, in quotes.
    pub etag: String,
    /// Its bytes.
    pub size: u64,
    file: Arc<File>,
}

impl Update {
    /// A package, for a device of its maker that is in order, while its release is not stopped.
    pub async fn download(&self, standing: &Standing, package_id: &str) -> Result<Download, Error> {
        let maker = standing.maker().map_err(|_| {
            Error::Untrusted("lock its bootloader, start the official system, and attest again")
        })?;
        let row = sqlx::query(
            "SELECT p.size, p.sha256, r.stopped FROM update_packages p
             JOIN update_releases r ON r.release_id = p.release_id
             WHERE p.package_id = $1 AND r.maker = $2 AND p.uploaded_at_ms IS NOT NULL",
        )
        .bind(package_id)
        .bind(maker)
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::NotFound("package"))?;
        if releases::stopped(&row)?.is_some() {
            return Err(Error::Stopped);
        }
        let size = row.get::<i64, _>("size") as u64;
        let (folder, name) = (self.packages.clone(), package_id.to_owned());
        let file = joined(tokio::task::spawn_blocking(move || folder.open_package(&name)).await)?;
        // One that was damaged behind our back is an error here, not a short answer.
        match file.metadata() {
            Ok(metadata) if metadata.len() == size => {}
            _ => return Err(Error::Stored("package")),
        }
        let etag = format!("\"{}\"", form::hex(row.get("sha256")));
        Ok(Download { etag, size, file: Arc::new(file) })
    }
}

impl Download {
    /// `length` bytes from `first`. An answer that cannot be finished breaks off with an error.
    pub fn stream(
        &self,
        first: u64,
        length: u64,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static + use<> {
        let file = self.file.clone();
        Box::pin(stream::try_unfold((first, length), move |(at, left)| {
            let file = file.clone();
            async move {
                let now = left.min(PIECE_BYTES);
                if now == 0 {
                    return Ok(None);
                }
                let read = tokio::task::spawn_blocking(move || piece(&file, at, now));
                let bytes = read.await.map_err(io::Error::other)??;
                Ok(Some((bytes, (at + now, left - now))))
            }
        }))
    }
}

fn piece(file: &File, at: u64, length: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; length as usize];
    file.read_exact_at(&mut piece, at)?;
    Ok(piece.into())
}
