//! Time tokens: gatekeeper holds the cloud's key, so it checks their signature; the rest is for
//! the trusted OS, which keeps the secure clock (SPEC S2.1.1).

use crate::policy;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tee_api::clock::TimeClaims;
use tee_sdk::{Context, SecureTime, TeeError};

/// Sets the clock to what `token` says.
pub(crate) fn set(context: &mut Context<'_>, token: &str) -> Result<SecureTime, TeeError> {
    let refused =
        |reason: &str| TeeError::Security(format!("the time token was refused: {reason}"));
    let claims: TimeClaims =
        policy::load(context)?.verify(token).map_err(|error| refused(&error.to_string()))?;
    if claims.serial != context.serial()? {
        return Err(refused("it is for another device"));
    }
    let nonce = URL_SAFE_NO_PAD.decode(&claims.nonce).ok();
    let nonce = nonce.and_then(|nonce| nonce.try_into().ok());
    context.set_time(nonce.ok_or_else(|| refused("malformed nonce"))?, claims.time_ms)
}
