//! Blocks go out: as a stream, in the order that was asked for.

use crate::error::Error;
use crate::packs::{PackFolder, check_account};
use crate::{Sync, joined};
use bytes::Bytes;
use futures_util::{Stream, stream};
use snapshot::block::{BlockId, PackId};
use snapshot::fetch::frame_head;
use sqlx::QueryBuilder;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use tokio::sync::mpsc;
use wire::sync::{FETCH_MAGIC, VERSION};

/// Pieces that are ready and not yet sent.
const QUEUE: usize = 4;
/// Small blocks are sent together up to about this.
const PIECE_BYTES: usize = 256 << 10;
/// Names in one question to the database.
const NAMES: usize = 500;
/// Packs that are held open in one answer.
const OPEN_PACKS: usize = 16;

/// A pack that an answer reads from.
struct Pack {
    name: PackId,
    wrapped_key: String,
}

/// Where a block lies.
#[derive(Clone, Copy)]
struct Location {
    pack: i64,
    at: u64,
    length: u32,
}

/// A block and its pack: id, pack, at, length, name, wrapped key.
type Row = (Vec<u8>, i64, i64, i64, Vec<u8>, String);

impl Sync {
    /// The blocks `ids` in their order, as a stream for `snapshot::fetch::FetchReader`. All of
    /// them are known to be stored before the first byte; a stream that then fails ends with an
    /// error.
    pub async fn blocks(
        &self,
        account: &str,
        ids: &[BlockId],
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static + use<>, Error> {
        check_account(account)?;
        let (packs, locations) = self.locate(account, ids).await?;
        let mut order = Vec::with_capacity(ids.len());
        for id in ids {
            order.push((*id, *locations.get(id).ok_or(Error::NoSuchBlock(*id))?));
        }
        // The first pack is opened here, so that a store that lost it answers with an error.
        let mut reader = Reader {
            folder: self.packs.clone(),
            account: account.to_owned(),
            packs,
            open: Vec::new(),
        };
        if let Some((_, first)) = order.first().copied() {
            let opened = tokio::task::spawn_blocking(move || {
                reader.file(first.pack)?;
                Ok(reader)
            });
            reader = joined(opened.await)?;
        }
        let (queue, pieces) = mpsc::channel(QUEUE);
        tokio::task::spawn_blocking(move || reader.send(&order, &queue));
        let next = |mut pieces: mpsc::Receiver<_>| async { Some((pieces.recv().await?, pieces)) };
        Ok(Box::pin(stream::unfold(pieces, next)))
    }

    /// Where each of `ids` that is stored lies; in the pack that was stored last.
    async fn locate(
        &self,
        account: &str,
        ids: &[BlockId],
    ) -> Result<(HashMap<i64, Pack>, HashMap<BlockId, Location>), Error> {
        let (mut packs, mut found) = (HashMap::new(), HashMap::<BlockId, Location>::new());
        for part in ids.chunks(NAMES) {
            let mut question = QueryBuilder::new(
                "SELECT b.id, b.pack, b.at, b.length, p.name, p.wrapped_key FROM sync_blocks b
                 JOIN sync_packs p ON p.seq = b.pack WHERE p.account = ",
            );
            question.push_bind(account).push(" AND b.id IN (");
            let mut list = question.separated(", ");
            for id in part {
                list.push_bind(&id.0[..]);
            }
            question.push(") ORDER BY b.pack");
            let rows: Vec<Row> = question.build_query_as().fetch_all(&self.pool).await?;
            for (id, pack, at, length, name, wrapped_key) in rows {
                let id = id.try_into().map_err(|_| Error::Stored("block name"))?;
                let name = name.try_into().map_err(|_| Error::Stored("pack name"))?;
                let location = (u64::try_from(at), u32::try_from(length));
                let (Ok(at), Ok(length)) = location else {
                    return Err(Error::Stored("place of a block"));
                };
                found.insert(BlockId(id), Location { pack, at, length });
                packs.entry(pack).or_insert_with(|| Pack { name: PackId(name), wrapped_key });
            }
        }
        Ok((packs, found))
    }
}

/// Reads blocks out of packs, in a thread of its own.
struct Reader {
    folder: Arc<PackFolder>,
    account: String,
    packs: HashMap<i64, Pack>,
    /// Packs in use, the last one last.
    open: Vec<(i64, File)>,
}

impl Reader {
    fn send(mut self, order: &[(BlockId, Location)], queue: &mpsc::Sender<io::Result<Bytes>>) {
        let mut piece = [&FETCH_MAGIC[..], &[VERSION]].concat();
        for (id, location) in order {
            if let Err(error) = self.append(&mut piece, id, *location) {
                tracing::error!(%error, "a stored block cannot be read");
                let _ = queue.blocking_send(Err(io::Error::other("a stored block cannot be read")));
                return;
            }
            if piece.len() >= PIECE_BYTES {
                let full = std::mem::take(&mut piece);
                // Nobody listens any more.
                if queue.blocking_send(Ok(full.into())).is_err() {
                    return;
                }
            }
        }
        let _ = queue.blocking_send(Ok(piece.into()));
    }

    fn append(
        &mut self,
        piece: &mut Vec<u8>,
        id: &BlockId,
        location: Location,
    ) -> Result<(), Error> {
        let pack = &self.packs[&location.pack];
        piece.extend(frame_head(id, &pack.wrapped_key, location.length));
        let start = piece.len();
        piece.resize(start + location.length as usize, 0);
        let file = self.file(location.pack)?;
        file.read_exact_at(&mut piece[start..], location.at)
            .map_err(Error::at(std::path::Path::new("a pack")))
    }

    fn file(&mut self, pack: i64) -> Result<&File, Error> {
        match self.open.iter().position(|(open, _)| *open == pack) {
            Some(at) => {
                let used = self.open.remove(at);
                self.open.push(used);
            }
            None => {
                let file = self.folder.open_pack(&self.account, &self.packs[&pack].name)?;
                if self.open.len() == OPEN_PACKS {
                    self.open.remove(0);
                }
                self.open.push((pack, file));
            }
        }
        Ok(&self.open.last().expect("one was just put there").1)
    }
}
