//! User authentication: auth tokens of the TEE's authenticators, against what a key demands.
//!
//! The MAC key is what the TEE's authenticators agreed on (`ISharedSecret`), another one after each
//! power-on. The trusted OS has it: this TA can check tokens and make none. Times are milliseconds since power-on, of the board's own counter.

use crate::boot_state::{BootState, Locked};
use crate::failure::{Outcome, as_code};
use keymint::{
    AuthenticatorType, Authorizations, ErrorCode, HardwareAuthToken, SharedSecretParameters,
};
use serde_bytes::ByteBuf;
use tee_sdk::engine::Key;
use tee_sdk::{Context, TeeError};

/// What an operation still needs when it is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// A token for this one operation, before its end.
    TokenForOperation,
}

/// Checks tokens.
#[derive(Default)]
pub(crate) struct Authenticators {
    key: Option<Key>,
}

impl Authenticators {
    /// Agrees on the MAC key anew; gives the check that all participants must have.
    pub(crate) fn agree(
        &mut self,
        context: &mut Context<'_>,
        participants: Vec<SharedSecretParameters>,
    ) -> Outcome<ByteBuf> {
        let check = context
            .compute_shared_secret(participants)
            .map_err(|error| as_code(error, ErrorCode::InvalidArgument))?;
        self.key = None;
        Ok(ByteBuf::from(check))
    }

    /// Whether an authenticator of this device made the token since power-on.
    fn is_genuine(
        &mut self,
        context: &mut Context<'_>,
        token: &HardwareAuthToken,
    ) -> Result<bool, TeeError> {
        if self.key.is_none() {
            self.key = Some(context.auth_token_key()?);
        }
        let key = self.key.as_ref().expect("it was fetched above");
        match key.verify_mac(context, &token.signed(), &token.mac) {
            Ok(()) => Ok(true),
            Err(TeeError::Security(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// At the beginning of an operation: who must authenticate did so a short while ago, or will
    /// have to for this operation.
    pub(crate) fn check_begin(
        &mut self,
        context: &mut Context<'_>,
        key: &Authorizations,
        token: Option<&HardwareAuthToken>,
    ) -> Outcome<Due> {
        if key.no_auth_required {
            return Ok(Due::Nothing);
        }
        if key.user_secure_id.is_empty() {
            return Err(ErrorCode::KeyUserNotAuthenticated.into());
        }
        let Some(timeout_s) = key.auth_timeout else { return Ok(Due::TokenForOperation) };
        let token = token.ok_or(ErrorCode::KeyUserNotAuthenticated)?;
        let now_ms = context.uptime()?.as_millis() as u64;
        let age_ms = now_ms.checked_sub(token.timestamp_ms);
        let is_fresh = age_ms.is_some_and(|age_ms| age_ms < u64::from(timeout_s) * 1000);
        self.check_token(context, key, token, is_fresh)?;
        Ok(Due::Nothing)
    }

    /// Before the end of an operation that needs its own token.
    pub(crate) fn check_operation(
        &mut self,
        context: &mut Context<'_>,
        key: &Authorizations,
        operation: u64,
        token: Option<&HardwareAuthToken>,
    ) -> Outcome<()> {
        let token = token.ok_or(ErrorCode::KeyUserNotAuthenticated)?;
        self.check_token(context, key, token, token.challenge == operation)
    }

    fn check_token(
        &mut self,
        context: &mut Context<'_>,
        key: &Authorizations,
        token: &HardwareAuthToken,
        is_in_time: bool,
    ) -> Outcome<()> {
        let ways = key.user_auth_type.unwrap_or(AuthenticatorType::NONE);
        let of_user = [token.user_id, token.authenticator_id]
            .iter()
            .any(|id| *id != 0 && key.user_secure_id.contains(id));
        let fits = is_in_time && of_user && ways.intersects(token.authenticator_type);
        if fits && self.is_genuine(context, token)? {
            return Ok(());
        }
        Err(ErrorCode::KeyUserNotAuthenticated.into())
    }

    /// For keys that need the device unlocked: it is, or the token proves that somebody unlocked
    /// it since.
    pub(crate) fn check_unlocked(
        &mut self,
        context: &mut Context<'_>,
        state: &mut BootState,
        token: Option<&HardwareAuthToken>,
    ) -> Outcome<()> {
        let Some(locked) = state.locked else { return Ok(()) };
        match token {
            Some(token) if unlocks(token, locked) && self.is_genuine(context, token)? => {
                Ok(state.change(context, |state| state.locked = None)?)
            }
            _ => Err(ErrorCode::DeviceLocked.into()),
        }
    }
}

/// Whether a genuine token of these times and this kind ends the lock.
const fn unlocks(token: &HardwareAuthToken, locked: Locked) -> bool {
    let by_password = token.authenticator_type.intersects(AuthenticatorType::PASSWORD);
    token.timestamp_ms > locked.at_ms && (by_password || !locked.password_only)
}
