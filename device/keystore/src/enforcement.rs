//! Rules that KeyMint leaves to the keystore: validity in time, and how often a key is used.
//!
//! The secure clock decides. Where it is not trusted (no signed time came in since power-on) it is
//! still a lower bound of the time: a key whose first moment it has not reached is not yet valid;
//! and a key has expired if either the secure clock or the system's says so. So a clock that
//! somebody sets can end a key early, never lengthen its life beyond what the secure clock knows.

use crate::error::Error;
use keymint::{Authorizations, ErrorCode, KeyPurpose};
use tee_api::clock::SecureTime;
use tee_api::keymint::KeyCharacteristics;

/// What the clocks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time {
    /// `None`: the TEE gives no time.
    pub(crate) secure: Option<SecureTime>,
    /// The system's clock, milliseconds since 1970.
    pub(crate) system_ms: u64,
}

impl Time {
    fn is_trusted(&self) -> bool {
        self.secure.is_some_and(|time| time.trust.is_some())
    }

    /// No earlier than this.
    fn at_least_ms(&self) -> u64 {
        self.secure.map_or(0, |time| time.unix_ms)
    }

    /// What expiry goes by.
    pub(crate) fn latest_ms(&self) -> u64 {
        if self.is_trusted() { self.at_least_ms() } else { self.at_least_ms().max(self.system_ms) }
    }
}

/// Everything that a key obeys, whoever enforces it.
pub(crate) fn all(characteristics: &KeyCharacteristics) -> Authorizations {
    let KeyCharacteristics { hardware_enforced, software_enforced } = characteristics;
    software_enforced.clone().with(hardware_enforced)
}

/// Whether a key has dates, so that each use asks for the time.
pub(crate) const fn has_dates(rules: &Authorizations) -> bool {
    rules.active_datetime.is_some()
        || rules.origination_expire_datetime.is_some()
        || rules.usage_expire_datetime.is_some()
}

/// How often a key may be used, where the keystore counts: the TEE counts a single use itself.
pub(crate) fn counted(characteristics: &KeyCharacteristics) -> Option<u32> {
    let by_tee = characteristics.hardware_enforced.usage_count_limit == Some(1);
    all(characteristics).usage_count_limit.filter(|_| !by_tee)
}

/// Refuses what is too early or too late for `purpose`.
pub(crate) fn check_dates(
    rules: &Authorizations,
    purpose: KeyPurpose,
    time: Time,
) -> Result<(), Error> {
    if rules.active_datetime.is_some_and(|from| time.at_least_ms() < from) {
        return Err(not_yet(time));
    }
    let makes = matches!(purpose, KeyPurpose::Sign | KeyPurpose::Encrypt);
    let takes = matches!(purpose, KeyPurpose::Verify | KeyPurpose::Decrypt);
    let over = |end: Option<u64>| end.is_some_and(|end| time.latest_ms() > end);
    let expired = (makes && over(rules.origination_expire_datetime))
        || (takes && over(rules.usage_expire_datetime));
    if expired { Err(ErrorCode::KeyExpired.into()) } else { Ok(()) }
}

fn not_yet(time: Time) -> Error {
    if time.is_trusted() {
        return ErrorCode::KeyNotYetValid.into();
    }
    let reason = "KEY_NOT_YET_VALID: the secure clock has not been set since power-on, so nobody \
                  knows that the key's time has come; let the device reach its cloud";
    Error::refused(ErrorCode::KeyNotYetValid, reason)
}

pub(crate) fn used_up() -> Error {
    let reason = "KEY_MAX_OPS_EXCEEDED: this key was used as often as it may be for its whole \
                  life; make another one";
    Error::refused(ErrorCode::KeyMaxOpsExceeded, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tee_api::clock::TimeTrust;

    fn time(secure: u64, trusted: bool, system_ms: u64) -> Time {
        let trust = trusted.then_some(TimeTrust { error_ms: 1, age_ms: 0 });
        Time { secure: Some(SecureTime { unix_ms: secure, tick: 0, trust }), system_ms }
    }

    fn judged(rules: &Authorizations, purpose: KeyPurpose, time: Time) -> Option<ErrorCode> {
        match check_dates(rules, purpose, time).err()?.code()? {
            keystore_client::Code::KeyMint(code) => Some(code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn s3_2_a_trusted_clock_alone_decides() {
        let rules = Authorizations {
            active_datetime: Some(100),
            origination_expire_datetime: Some(200),
            usage_expire_datetime: Some(300),
            ..Authorizations::default()
        };
        use KeyPurpose::{Decrypt, Encrypt, Sign, Verify};
        for (purpose, secure, said) in [
            (Sign, 99, Some(ErrorCode::KeyNotYetValid)),
            (Sign, 100, None),
            (Sign, 200, None),
            (Sign, 201, Some(ErrorCode::KeyExpired)),
            (Encrypt, 201, Some(ErrorCode::KeyExpired)),
            (Verify, 201, None),
            (Decrypt, 300, None),
            (Decrypt, 301, Some(ErrorCode::KeyExpired)),
            (Verify, 301, Some(ErrorCode::KeyExpired)),
            (KeyPurpose::AgreeKey, 301, None),
        ] {
            for system in [0, 150, u64::MAX] {
                assert_eq!(judged(&rules, purpose, time(secure, true, system)), said, "{secure}");
            }
        }
    }

    #[test]
    fn s3_2_a_clock_that_nobody_vouches_for_opens_nothing_and_lengthens_nothing() {
        let rules = Authorizations {
            active_datetime: Some(100),
            origination_expire_datetime: Some(200),
            ..Authorizations::default()
        };
        let sign = |secure, system| judged(&rules, KeyPurpose::Sign, time(secure, false, system));
        assert_eq!(sign(50, 150), Some(ErrorCode::KeyNotYetValid), "the system's clock alone");
        assert_eq!(sign(150, 0), None);
        assert_eq!(sign(150, 201), Some(ErrorCode::KeyExpired));
        assert_eq!(sign(201, 0), Some(ErrorCode::KeyExpired), "set back");
        let none = Time { secure: None, system_ms: 150 };
        assert_eq!(judged(&rules, KeyPurpose::Sign, none), Some(ErrorCode::KeyNotYetValid));
    }
}
