//! Android's hardware auth token: 69 bytes that say who proved themselves, how and when.

use tee_sdk::{Context, TeeError};

/// Bytes of a token.
pub(crate) const TOKEN_BYTES: usize = 69;
/// `HardwareAuthenticatorType::PASSWORD`.
const PASSWORD: u32 = 1;

/// A token for the user `sid` at `uptime_ms`: `version u8 | challenge u64 | user id u64 |
/// authenticator id u64 | type u32 BE | time u64 BE | HMAC-SHA-256`. The three 64-bit numbers
/// in front are in the machine's own order, as Android packs them.
pub(crate) fn password_token(
    context: &mut Context<'_>,
    sid: u64,
    uptime_ms: u64,
) -> Result<Vec<u8>, TeeError> {
    let mut token = Vec::with_capacity(TOKEN_BYTES);
    token.push(0);
    token.extend(0_u64.to_ne_bytes());
    token.extend(sid.to_ne_bytes());
    token.extend(0_u64.to_ne_bytes());
    token.extend(PASSWORD.to_be_bytes());
    token.extend(uptime_ms.to_be_bytes());
    let mac = context.auth_token_key()?.mac(context, &token)?;
    token.extend(mac);
    Ok(token)
}
