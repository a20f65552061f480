//! The userdata partition: which content of it is the newest.
//!
//! Replacing the partition takes two steps, so that power may go at any moment: the digest of
//! what is about to be written, then the word that it is durable. In between, both pass.

use serde::{Deserialize, Serialize};
use tee_api::gatekeeper::USERDATA_BYTES;
use tee_sdk::{Batch, Context, TeeError};

const OBJECT: &str = "userdata";
/// The most contents that may be on their way; with more, the oldest does not pass any more.
const MAX_PENDING: usize = 8;

type Digest = [u8; 32];

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Userdata {
    /// What was committed last; `None`: nothing yet, the partition is all zero.
    committed: Option<Digest>,
    /// What was begun and not committed, oldest first.
    pending: Vec<Digest>,
}

fn load(context: &mut Context<'_>) -> Result<Userdata, TeeError> {
    Ok(context.record_get(OBJECT)?.unwrap_or_default())
}

/// Passes for what was committed last, and for what was begun since.
pub(crate) fn check(context: &mut Context<'_>, digest: &Digest) -> Result<(), TeeError> {
    let userdata = load(context)?;
    let committed = userdata.committed.unwrap_or_else(zero_digest);
    if committed == *digest || userdata.pending.contains(digest) {
        return Ok(());
    }
    let reason = "the userdata partition is not what this device last wrote: it was altered, or \
                  an older copy was put back";
    Err(TeeError::Security(reason.into()))
}

/// The partition is about to become `digest`.
pub(crate) fn begin(context: &mut Context<'_>, digest: Digest) -> Result<(), TeeError> {
    let mut userdata = load(context)?;
    userdata.add_pending(digest);
    context.record_put(OBJECT, &userdata)
}

/// What was begun last is durable: nothing else passes any more.
pub(crate) fn commit(context: &mut Context<'_>) -> Result<(), TeeError> {
    let mut userdata = load(context)?;
    let digest = userdata.pending.pop();
    let digest = digest.ok_or_else(|| TeeError::BadState("nothing was begun".into()))?;
    let committed = Userdata { committed: Some(digest), pending: Vec::new() };
    context.record_put(OBJECT, &committed)
}

/// After an erasure the partition may be zeroed; until that is done, what it holds now passes
/// too (no key opens it any more).
pub(crate) fn forget(context: &mut Context<'_>, batch: Batch) -> Result<Batch, TeeError> {
    let mut userdata = load(context)?;
    userdata.add_pending(zero_digest());
    batch.put_record(OBJECT, &userdata)
}

impl Userdata {
    fn add_pending(&mut self, digest: Digest) {
        self.pending.retain(|pending| *pending != digest);
        if self.pending.len() == MAX_PENDING {
            self.pending.remove(0);
        }
        self.pending.push(digest);
    }
}

/// SHA-256 of an empty partition.
pub(crate) fn zero_digest() -> Digest {
    let mut hash = crypto::digest::Sha256::new();
    (0..USERDATA_BYTES / 4096).for_each(|_| hash.update(&[0; 4096]));
    hash.finish()
}
