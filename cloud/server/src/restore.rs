//! Reading a snapshot for its signed-in owner. The cloud's own credential cannot open anything
//! here: each key is unwrapped by the Key Center for an owner's assertion, and audited there.

use crate::app::App;
use crate::fault::Fault;
use bytes::Bytes;
use cloud_account::{Caller, Subject, keycenter::user_key};
use futures_util::{Stream, TryStreamExt as _};
use http::StatusCode;
use keycenter_client::{KeyCenter, KeyInfo};
use snapshot::block::{BlockId, DataKey};
use snapshot::fetch::{FetchReader, Fetched};
use snapshot::manifest::{Kind, Manifest, Piece};
use snapshot::path::TreePath;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use wire::sync::{BLOCK_BYTES, Head};

/// Blocks in memory at once.
const WINDOW: usize = 4;
/// The largest manifest that a web page is made from.
const MANIFEST_BYTES: usize = 64 << 20;

/// The owner's way into the account's blocks.
pub(crate) struct Opener {
    app: App,
    subject: Subject,
    account_id: String,
    keys: Arc<KeyCenter>,
    key_name: String,
    /// By their wrapped form; a snapshot has one for each upload that it grew from.
    data_keys: HashMap<String, DataKey>,
}

/// What the Key Center says about the owner's key, asked with the owner's assertion.
pub(crate) struct KeyPolicy {
    /// The key.
    pub(crate) key: Option<KeyInfo>,
    /// What its holder may do, in the Key Center's language.
    pub(crate) policy: String,
}

/// The Key Center as this owner: one assertion, good for five minutes of questions.
pub(crate) async fn owner_keys(app: &App, caller: &Caller) -> Result<Arc<KeyCenter>, Fault> {
    Ok(Arc::new(app.key_center.as_owner(app.accounts.owner_assertion(caller).await?)))
}

/// What unwrapping needs of the Key Center.
pub(crate) async fn key_policy(keys: &KeyCenter, caller: &Caller) -> Result<KeyPolicy, Fault> {
    let key = keys.key(&user_key(&caller.account_id)).await.map_err(key_center)?;
    let policy = keys.policy("owner").await.map_err(key_center)?;
    Ok(KeyPolicy { key, policy })
}

fn key_center(error: keycenter_client::Error) -> Fault {
    cloud_account::Error::KeyCenter(error.to_string()).into()
}

fn damaged(what: impl std::fmt::Display) -> Fault {
    Fault::internal(&format_args!("a snapshot cannot be read: {what}"))
}

impl Opener {
    /// `None` where nothing was synced yet.
    pub(crate) async fn new(
        app: &App,
        caller: &Caller,
        keys: Arc<KeyCenter>,
    ) -> Result<Option<Self>, Fault> {
        if app.sync.root(&caller.subject.0).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            app: app.clone(),
            subject: caller.subject.clone(),
            account_id: caller.account_id.clone(),
            keys,
            key_name: user_key(&caller.account_id),
            data_keys: HashMap::new(),
        }))
    }

    /// The manifest of a snapshot.
    pub(crate) async fn manifest(&mut self, head: &Head) -> Result<Manifest, Fault> {
        let ids: Result<Vec<BlockId>, _> = head.manifest.iter().map(|id| id.parse()).collect();
        let ids = ids.map_err(damaged)?;
        if ids.len() * BLOCK_BYTES > MANIFEST_BYTES {
            let reason = "this snapshot has too many files for the web; restore it on a device";
            return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_files", reason));
        }
        let mut bytes = Vec::new();
        for window in ids.chunks(WINDOW) {
            for block in self.blocks(window).await? {
                bytes.extend_from_slice(&block);
            }
        }
        Manifest::decode(&bytes).map_err(damaged)
    }

    /// The plaintexts of blocks, in order.
    async fn blocks(&mut self, ids: &[BlockId]) -> Result<Vec<Vec<u8>>, Fault> {
        let fetched = fetch(&self.app, &self.subject, ids).await?;
        if !fetched.iter().map(|block| &block.id).eq(ids) {
            return Err(damaged("blocks are missing"));
        }
        let mut plain = Vec::with_capacity(fetched.len());
        for block in fetched {
            plain.push(self.open(block).await?);
        }
        Ok(plain)
    }

    async fn open(&mut self, block: Fetched) -> Result<Vec<u8>, Fault> {
        let Fetched { id, wrapped_key, mut sealed } = block;
        if !self.data_keys.contains_key(&wrapped_key) {
            let key = self.keys.unwrap_data_key(&self.key_name, &wrapped_key).await;
            let key = DataKey::new(key.map_err(key_center)?.plaintext.expose(), &self.account_id);
            self.data_keys.insert(wrapped_key.clone(), key);
        }
        let key = self.data_keys.get(&wrapped_key).ok_or_else(|| damaged("a key is missing"))?;
        key.open(&id, &mut sealed).map(<[u8]>::to_vec).map_err(damaged)
    }

    /// A file's content, a few blocks in memory at a time. An answer that cannot be finished
    /// breaks off, so that nobody takes a part for the whole.
    pub(crate) fn download(
        self,
        size: u64,
        pieces: Vec<Piece>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let run =
            Download { opener: self, left: size, pieces: pieces.into(), ready: VecDeque::new() };
        futures_util::stream::try_unfold(run, |mut run| async move {
            let next = run.next().await.map_err(|fault| io::Error::other(fault.refusal.reason))?;
            Ok(next.map(|bytes| (bytes, run)))
        })
    }
}

/// The sealed blocks, in order.
async fn fetch(app: &App, subject: &Subject, ids: &[BlockId]) -> Result<Vec<Fetched>, Fault> {
    let mut pieces = app.sync.blocks(&subject.0, ids).await?;
    let mut stream = Vec::new();
    while let Some(piece) = pieces.try_next().await.map_err(damaged)? {
        stream.extend_from_slice(&piece);
    }
    let mut reader = FetchReader::new(&stream[..]).map_err(damaged)?;
    let mut blocks = Vec::with_capacity(ids.len());
    while let Some(block) = reader.next_block().map_err(damaged)? {
        blocks.push(block);
    }
    Ok(blocks)
}

/// A download under way.
struct Download {
    opener: Opener,
    left: u64,
    pieces: VecDeque<Piece>,
    ready: VecDeque<Bytes>,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            if let Some(bytes) = self.ready.pop_front() {
                return self.take(bytes).map(Some);
            }
            match self.pieces.pop_front() {
                None => return Err(damaged("a file is shorter than it says")),
                Some(Piece::Hole(blocks)) => return Ok(Some(self.zeros(blocks))),
                Some(Piece::Block { id, .. }) => self.load(id).await?,
            }
        }
    }

    fn take(&mut self, bytes: Bytes) -> Result<Bytes, Fault> {
        let expected = self.left.min(BLOCK_BYTES as u64);
        if bytes.len() as u64 != expected {
            return Err(damaged("a block has another length than it should"));
        }
        self.left -= expected;
        Ok(bytes)
    }

    /// The first block of a hole; the rest of the hole comes next.
    fn zeros(&mut self, blocks: u64) -> Bytes {
        let hole = blocks.saturating_mul(BLOCK_BYTES as u64).min(self.left);
        let now = hole.min(BLOCK_BYTES as u64);
        if blocks > 1 {
            self.pieces.push_front(Piece::Hole(blocks - 1));
        }
        self.left -= now;
        Bytes::from(vec![0; now as usize])
    }

    async fn load(&mut self, first: BlockId) -> Result<(), Fault> {
        let mut ids = vec![first];
        while let (Some(Piece::Block { id, .. }), true) = (self.pieces.front(), ids.len() < WINDOW)
        {
            // The same block twice in one question would come once.
            if ids.contains(id) {
                break;
            }
            ids.push(*id);
            self.pieces.pop_front();
        }
        self.ready = self.opener.blocks(&ids).await?.into_iter().map(Bytes::from).collect();
        Ok(())
    }
}

/// The file at `path`, hard links followed.
pub(crate) fn file<'m>(manifest: &'m Manifest, path: &TreePath) -> Option<(u64, &'m [Piece])> {
    let at = manifest.entries.binary_search_by(|entry| entry.path.cmp(path)).ok()?;
    match &manifest.entries[at].kind {
        Kind::File { size, pieces } => Some((*size, pieces)),
        Kind::Hardlink { target } => file(manifest, target),
        _ => None,
    }
}
