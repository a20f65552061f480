//! The time for the TEE's secure clock (SPEC S2.1.1): the cloud signs it over the TEE's nonce.
//! What the token says is for the TEE to judge; nothing here believes it.

use crate::activation::Chain;
use crate::session::{Cloud, Error};
use std::time::Duration;
use wire::Base64;
use wire::attest::{TimeQuery, TimeToken};

/// How long a clock that was set is left alone.
const DAILY: Duration = Duration::from_secs(24 * 3600);
/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// A time token for the device that `chain` proves, over `nonce`.
pub async fn token(cloud: &Cloud, chain: Chain, nonce: [u8; 32]) -> Result<String, Error> {
    let body = TimeQuery { chain, nonce: Base64(nonce.to_vec()) };
    let answer: TimeToken = cloud.ask(cloud.client().post("/v1/attest/time").json(&body)).await?;
    Ok(answer.token)
}

/// When to ask again, after so many failures in a row.
#[must_use]
pub fn pause(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => DAILY,
        Some(before) => FIRST_PAUSE.saturating_mul(1 << before.min(10)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_daily_and_after_failures_ever_more_seldom() {
        let seconds = |failures| pause(failures).as_secs();
        assert_eq!([0, 1, 2, 3, 9, 10, u32::MAX].map(seconds), [86_400, 2, 4, 8, 512, 900, 900]);
    }
}
