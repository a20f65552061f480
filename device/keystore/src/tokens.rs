//! Hardware auth tokens since power-on, and which one a key takes.

use keymint::{AuthenticatorType, Authorizations, HardwareAuthToken};
use std::collections::VecDeque;
use std::time::Duration;

/// Tokens that are kept; the oldest goes first.
const KEPT: usize = 64;

/// The tokens. Gone with the power, as the key under whose MAC they are.
#[derive(Debug, Default)]
pub(crate) struct Tokens(VecDeque<Held>);

#[derive(Debug)]
struct Held {
    token: HardwareAuthToken,
    since: Duration,
}

impl Tokens {
    /// Takes a token at `now` (monotonic). One for no operation takes the place of the one before
    /// by the same authenticator for the same user.
    pub(crate) fn add(&mut self, token: HardwareAuthToken, now: Duration) {
        let who = |token: &HardwareAuthToken| {
            (token.user_id, token.authenticator_id, token.authenticator_type, token.challenge)
        };
        self.0.retain(|held| who(&held.token) != who(&token));
        self.0.push_back(Held { token, since: now });
        while self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// The token that a key with these rules takes at its beginning: the youngest of the right
    /// user and kind that is young enough. KeyMint checks it again.
    pub(crate) fn at_begin(
        &self,
        rules: &Authorizations,
        now: Duration,
    ) -> Option<HardwareAuthToken> {
        if rules.user_secure_id.is_empty() {
            return self.of_unlock(rules);
        }
        let Some(timeout) = rules.auth_timeout else {
            return self.of_unlock(rules);
        };
        let timeout = Duration::from_secs(u64::from(timeout));
        let fits =
            |held: &Held| is_of(&held.token, rules) && now.saturating_sub(held.since) < timeout;
        self.youngest(fits)
    }

    /// Says that the device was unlocked since it was locked, where the key needs that.
    fn of_unlock(&self, rules: &Authorizations) -> Option<HardwareAuthToken> {
        rules.unlocked_device_required.then(|| self.youngest(|_| true)).flatten()
    }

    /// The token that was given for this one operation.
    pub(crate) fn for_operation(
        &self,
        rules: &Authorizations,
        operation: u64,
    ) -> Option<HardwareAuthToken> {
        let per_operation = !rules.user_secure_id.is_empty() && rules.auth_timeout.is_none();
        let fits = |held: &Held| held.token.challenge == operation && is_of(&held.token, rules);
        per_operation.then(|| self.youngest(fits)).flatten()
    }

    fn youngest(&self, fits: impl Fn(&Held) -> bool) -> Option<HardwareAuthToken> {
        self.0.iter().rev().find(|held| fits(held)).map(|held| held.token)
    }
}

/// The right user, in one of the right ways.
fn is_of(token: &HardwareAuthToken, rules: &Authorizations) -> bool {
    let ids = [token.user_id, token.authenticator_id];
    ids.iter().any(|id| *id != 0 && rules.user_secure_id.contains(id))
        && rules
            .user_auth_type
            .unwrap_or(AuthenticatorType::NONE)
            .intersects(token.authenticator_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(user_id: u64, kind: AuthenticatorType, challenge: u64) -> HardwareAuthToken {
        HardwareAuthToken {
            challenge,
            user_id,
            authenticator_id: 900,
            authenticator_type: kind,
            timestamp_ms: 0,
            mac: [0; 32],
        }
    }

    fn rules(sids: &[u64], timeout: Option<u32>) -> Authorizations {
        Authorizations {
            user_secure_id: sids.iter().copied().collect(),
            user_auth_type: Some(AuthenticatorType::PASSWORD),
            auth_timeout: timeout,
            ..Authorizations::default()
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn user_kind_and_age_must_fit() {
        let mut tokens = Tokens::default();
        tokens.add(token(7, AuthenticatorType::PASSWORD, 0), at(100));
        tokens.add(token(8, AuthenticatorType::FINGERPRINT, 0), at(100));
        let found = |rules, now| tokens.at_begin(&rules, now).is_some();
        assert!(found(rules(&[7], Some(10)), at(109)));
        assert!(!found(rules(&[7], Some(10)), at(110)), "too old");
        assert!(!found(rules(&[8], Some(10)), at(100)), "a fingerprint where a password is due");
        assert!(!found(rules(&[9], Some(10)), at(100)), "another user");
        assert!(found(rules(&[9, 900], Some(10)), at(100)), "one of several, the authenticator's");
        assert!(!found(rules(&[7], None), at(100)), "each operation needs its own");
        assert!(!found(rules(&[], None), at(100)), "no authentication is due");
        let unlocked = |rules| Authorizations { unlocked_device_required: true, ..rules };
        assert!(found(unlocked(rules(&[], None)), at(999)), "it was unlocked");
        assert!(found(unlocked(rules(&[7], None)), at(999)), "that, and each operation its own");
        assert!(!found(unlocked(rules(&[7], Some(10))), at(110)), "too old");
    }

    #[test]
    fn a_token_for_an_operation_is_for_that_one_alone() {
        let mut tokens = Tokens::default();
        tokens.add(token(7, AuthenticatorType::PASSWORD, 55), at(1));
        let per_operation = rules(&[7], None);
        assert!(tokens.for_operation(&per_operation, 55).is_some());
        assert_eq!(tokens.for_operation(&per_operation, 56), None);
        assert_eq!(tokens.for_operation(&rules(&[7], Some(10)), 55), None);
    }

    #[test]
    fn the_youngest_counts_and_their_number_is_bounded() {
        let mut tokens = Tokens::default();
        for challenge in 0..200 {
            tokens.add(token(7, AuthenticatorType::PASSWORD, challenge), at(challenge));
            tokens.add(token(7, AuthenticatorType::PASSWORD, 0), at(challenge));
        }
        assert_eq!(tokens.0.len(), KEPT);
        let now = at(199);
        assert_eq!(tokens.at_begin(&rules(&[7], Some(5)), now).unwrap().challenge, 0);
    }
}
