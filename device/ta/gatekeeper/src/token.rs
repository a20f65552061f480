//! Android's hardware auth token: who proved themselves, how and when.

use keymint::{AuthenticatorType, HardwareAuthToken};
use tee_sdk::{Context, TeeError};

/// A token that the user `sid` gave the right PIN just now, for the operation `challenge` (0: for
/// none).
pub(crate) fn password_token(
    context: &mut Context<'_>,
    sid: u64,
    challenge: u64,
) -> Result<Vec<u8>, TeeError> {
    let mut token = HardwareAuthToken {
        challenge,
        user_id: sid,
        authenticator_id: 0,
        authenticator_type: AuthenticatorType::PASSWORD,
        timestamp_ms: context.uptime()?.as_millis() as u64,
        mac: [0; 32],
    };
    let mac = context.auth_token_key()?.mac(context, &token.signed())?;
    token.mac =
        mac[..].try_into().map_err(|_| TeeError::Communication("a MAC without 32 bytes".into()))?;
    Ok(token.to_bytes().to_vec())
}
