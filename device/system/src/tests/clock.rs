//! The secure clock: the daemon fetches its time, the API shows what the TEE says.

use super::Bench;
use effects::{Clock as _, SystemClock, UnixMillis};

async fn set(bench: &Bench) {
    let trusted = |device: &crate::device::Device| {
        device.status().is_ok_and(|status| status.time.is_some_and(|time| time.trusted))
    };
    bench.until("the secure clock is set", trusted).await;
}

#[tokio::test]
async fn s2_1_1_the_secure_clock_is_set_after_each_start() {
    let mut bench = Bench::new().await;
    for _ in 0..2 {
        set(&bench).await;
        // Whatever the system's own clock says.
        bench.clock.set_wall(UnixMillis(5));
        let time = bench.status().await["time"].clone();
        let real = SystemClock::default().now().0;
        assert!(time["unix_ms"].as_u64().unwrap().abs_diff(real) < 3_600_000, "{time}");
        assert_eq!((&time["error_ms"], &time["set_ms_ago"]), (&5.into(), &0.into()));
        bench.reboot().await;
    }
}

#[tokio::test]
async fn s2_1_1_a_refused_token_leaves_the_clock_as_it_was() {
    let bench = Bench::new().await;
    set(&bench).await;
    // A cloud with another key: this device was never enrolled there.
    let stranger = crypto::sign::EcdsaKey::generate(crypto::sign::Curve::P256).unwrap();
    bench.tee.trusts(stranger.public_key_spki().unwrap());
    bench.tee.reboot();
    let refused = bench.device.set_secure_clock().await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(bench.status().await["time"]["trusted"], false);
}
