//! The two rules of a staged roll-out, without a database: whom it has come to, and when it stops
//! by itself.

use crypto::mac::HmacSha256;
use wire::update::Rollout;

/// Draws the lots of devices.
pub struct RolloutKey(HmacSha256);

impl RolloutKey {
    /// With this key; another key draws other lots.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self(HmacSha256::new(&key))
    }

    /// Whether a roll-out to `percentage` of the devices has come to this one. A device's lot
    /// depends on the release and the device alone: a higher percentage keeps everyone and adds
    /// some, and nobody is the first of every release.
    #[must_use]
    pub fn admits(&self, release_id: &str, device_id: &str, percentage: u8) -> bool {
        // A NUL is in neither name.
        let tag = self.0.tag(&[release_id.as_bytes(), &[0], device_id.as_bytes()]);
        let (first, _) = tag.split_at(8);
        let lot = first.iter().fold(0_u64, |lot, byte| (lot << 8) | u64::from(*byte)) % 100;
        lot < u64::from(percentage)
    }
}

/// Whether so many outcomes stop a release: enough devices have told theirs, and more than the
/// share that is allowed failed.
#[must_use]
pub fn failures_stop(rollout: &Rollout, booted: u64, failed: u64) -> bool {
    let outcomes = booted.saturating_add(failed);
    let enough = outcomes >= u64::from(rollout.minimum_outcomes).max(1);
    let allowed = u128::from(outcomes) * u128::from(rollout.failure_percentage);
    enough && u128::from(failed) * 100 > allowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn s2_6_a_roll_out_comes_to_about_the_share_that_it_says_and_differs_by_release() {
        let key = RolloutKey::new([7; 32]);
        let among = |release: &str, percentage| {
            (0..10_000).filter(|d| key.admits(release, &format!("d{d}"), percentage)).count()
        };
        assert_eq!((among("r1", 0), among("r1", 100)), (0, 10_000));
        for percentage in [1, 10, 50] {
            let expected = usize::from(percentage) * 100;
            assert!(among("r1", percentage).abs_diff(expected) < 150, "{percentage} %");
        }
        let both = (0..10_000).map(|d| format!("d{d}"));
        let both = both.filter(|d| key.admits("r1", d, 10) && key.admits("r2", d, 10)).count();
        assert!((50..150).contains(&both), "one device in ten is first twice: {both}");
        let other = RolloutKey::new([8; 32]);
        assert!((0..100).any(|d| {
            let device = format!("d{d}");
            key.admits("r1", &device, 50) != other.admits("r1", &device, 50)
        }));
    }

    proptest! {
        #[test]
        fn s2_6_raising_the_percentage_only_adds_devices(
            release: String, device: String, low in 0_u8..=100, high in 0_u8..=100,
        ) {
            let key = RolloutKey::new([7; 32]);
            prop_assume!(low <= high);
            prop_assert!(!key.admits(&release, &device, low) || key.admits(&release, &device, high));
            prop_assert!(key.admits(&release, &device, 100));
        }
    }

    #[test]
    fn s2_6_enough_failures_stop_a_release_and_fewer_do_not() {
        let rollout = |failure_percentage, minimum_outcomes| Rollout {
            percentage: 100,
            failure_percentage,
            minimum_outcomes,
        };
        for (rule, booted, failed, stops) in [
            (rollout(5, 20), 0, 19, false),
            (rollout(5, 20), 0, 20, true),
            (rollout(5, 20), 19, 1, false),
            (rollout(5, 20), 18, 2, true),
            (rollout(0, 1), 1_000_000, 1, true),
            (rollout(0, 0), 0, 0, false),
            (rollout(100, 0), 0, 50, false),
            (rollout(5, 20), u64::MAX, u64::MAX, true),
        ] {
            assert_eq!(failures_stop(&rule, booted, failed), stops, "{rule:?} {booted} {failed}");
        }
    }
}
