//! A key out of its blob, with what it obeys.

use crate::blob::{self, Header};
use crate::failure::Outcome;
use crate::secrets::Secrets;
use crate::versions;
use crypto::digest::sha256;
use keymint::{Authorizations, ErrorCode, Tag};
use tee_sdk::Context;
use tee_sdk::engine::Key;

/// An opened key. Its bytes are in the trusted OS.
pub(crate) struct OpenKey {
    pub(crate) key: Key,
    pub(crate) header: Header,
    /// Names the blob: what a confirmation is bound to.
    pub(crate) digest: [u8; 32],
}

/// Application id and data, out of what a caller gives.
pub(crate) fn hidden(params: &Authorizations) -> Authorizations {
    params.filtered(|tag| matches!(tag, Tag::ApplicationId | Tag::ApplicationData))
}

/// Opens a blob whatever software it was made under.
pub(crate) fn open_any(
    context: &mut Context<'_>,
    secrets: &mut Secrets,
    blob: &[u8],
    params: &Authorizations,
) -> Outcome<OpenKey> {
    let (key, header) = blob::open(context, secrets, blob, &hidden(params))?;
    Ok(OpenKey { key, header, digest: sha256(blob) })
}

/// Opens a blob that was made under what runs now.
pub(crate) fn open(
    context: &mut Context<'_>,
    secrets: &mut Secrets,
    blob: &[u8],
    params: &Authorizations,
) -> Outcome<OpenKey> {
    let opened = open_any(context, secrets, blob, params)?;
    let boot = blob::boot_info(context)?;
    if versions::are_current(&opened.header.hardware, &boot) {
        Ok(opened)
    } else {
        Err(ErrorCode::KeyRequiresUpgrade.into())
    }
}
