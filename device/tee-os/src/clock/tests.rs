//! The clock's rules: time moves because the test says so.

use super::*;
use proptest::prelude::*;

const NOON: u64 = 1_790_000_000_000;
const NONCE: [u8; 32] = [7; 32];

/// A board's counter, its storage, and the world's true time.
struct World {
    clock: SecureClock,
    stored: Option<Record>,
    writes: u32,
    uptime_ms: u64,
    true_ms: u64,
}

impl World {
    fn new() -> Self {
        let clock = SecureClock::new(Record::default());
        Self { clock, stored: None, writes: 0, uptime_ms: 900, true_ms: NOON }
    }

    fn pass(&mut self, ms: u64) {
        self.uptime_ms += ms;
        self.true_ms += ms;
    }

    /// Off for `ms`, then on again, 900 ms ago.
    fn power_cycle(&mut self, ms: u64) {
        self.true_ms += ms + 900;
        self.uptime_ms = 900;
        self.clock = SecureClock::new(self.stored.unwrap_or_default());
    }

    fn now(&mut self) -> SecureTime {
        let store = |record: &Record| {
            (self.stored, self.writes) = (Some(*record), self.writes + 1);
            Ok(())
        };
        self.clock.now(self.uptime_ms, store).unwrap()
    }

    fn set(&mut self, nonce: [u8; 32], token_ms: u64) -> Result<(), String> {
        let store = |record: &Record| {
            self.stored = Some(*record);
            Ok(())
        };
        let set = self.clock.set(&nonce, token_ms, self.uptime_ms, store);
        set.map_err(|error| error.to_string())
    }

    /// A token that the server signs after `there` and that is back after `back` ms more.
    fn fetch(&mut self, there: u64, back: u64) -> Result<(), String> {
        self.clock.expect(NONCE, self.uptime_ms);
        self.pass(there);
        let token_ms = self.true_ms;
        self.pass(back);
        self.set(NONCE, token_ms)
    }
}

#[test]
fn s2_1_1_a_clock_without_a_token_rises_and_is_not_trusted() {
    let mut world = World::new();
    let first = world.now();
    assert_eq!((first.unix_ms, first.trust), (EARLIEST_MS + 1 + 900, None));
    world.pass(5_000);
    assert_eq!(world.now().unix_ms, first.unix_ms + 5_000);
    // Two readings in one millisecond differ, too.
    let (one, other) = (world.now(), world.now());
    assert_eq!(one.unix_ms, other.unix_ms);
    assert!(one < other);
}

#[test]
fn s2_1_1_a_token_makes_it_trusted_and_its_round_trip_bounds_the_error() {
    let mut world = World::new();
    world.now();
    world.fetch(100, 300).unwrap();
    let now = world.now();
    let trust = now.trust.unwrap();
    assert_eq!((trust.error_ms, trust.age_ms), (201, 0));
    assert!(now.unix_ms.abs_diff(world.true_ms) <= trust.error_ms);
    // A day later the board's counter may have drifted by 8.64 seconds.
    world.pass(86_400_000);
    let trust = world.now().trust.unwrap();
    assert_eq!((trust.error_ms, trust.age_ms), (201 + 8_640, 86_400_000));
}

#[test]
fn s2_1_1_power_off_ends_the_trust_and_never_turns_it_back() {
    let mut world = World::new();
    world.fetch(10, 10).unwrap();
    let before = world.now();
    world.power_cycle(3_600_000);
    let after = world.now();
    assert!(after > before);
    assert_eq!(after.trust, None);
    world.fetch(10, 10).unwrap();
    let again = world.now();
    assert!(again > after && again.trust.is_some());
    assert!(again.unix_ms.abs_diff(world.true_ms) <= again.trust.unwrap().error_ms);
}

#[test]
fn s2_1_1_a_clock_that_ran_ahead_stands_until_time_has_caught_up() {
    let mut world = World::new();
    world.fetch(0, 0).unwrap();
    world.pass(600_000);
    world.now();
    // Ten minutes of lease, and only one second off: the new clock begins ahead of true time.
    world.power_cycle(1_000);
    let ahead = world.now();
    assert!(ahead.unix_ms > world.true_ms + 500_000);
    world.fetch(0, 0).unwrap();
    let held = world.now();
    assert!(held > ahead && held.unix_ms == ahead.unix_ms);
    assert!(held.unix_ms - world.true_ms <= held.trust.unwrap().error_ms);
    world.pass(600_000);
    let exact = world.now();
    assert!(exact > held && exact.unix_ms == world.true_ms);
    assert!(exact.trust.unwrap().error_ms < 100);
}

#[test]
fn restarts_one_after_the_other_push_it_no_further_than_twice_their_time() {
    let mut world = World::new();
    world.fetch(0, 0).unwrap();
    let begun = world.true_ms;
    world.now();
    for _ in 0..1_000 {
        world.power_cycle(0);
        world.pass(4_000);
        world.now();
    }
    let ahead = world.now().unix_ms - world.true_ms;
    // And a millisecond for each restart: the clock begins behind its lease.
    assert!(ahead <= world.true_ms - begun + 1_001, "{ahead} ms ahead");
    world.fetch(0, 0).unwrap();
    assert!(world.now().trust.unwrap().error_ms >= ahead);
}

#[test]
fn a_token_counts_once_for_its_nonce_and_in_time() {
    let mut world = World::new();
    assert!(world.set(NONCE, NOON).unwrap_err().contains("nonce"));
    world.clock.expect(NONCE, world.uptime_ms);
    assert!(world.set([8; 32], NOON).unwrap_err().contains("nonce"));
    assert_eq!(world.set(NONCE, NOON), Ok(()));
    assert!(world.set(NONCE, NOON).unwrap_err().contains("nonce"), "a replay");
    world.clock.expect(NONCE, world.uptime_ms);
    world.clock.expect([9; 32], world.uptime_ms);
    assert!(world.set(NONCE, NOON).unwrap_err().contains("nonce"), "an older nonce");
    assert!(world.fetch(30_000, 30_001).unwrap_err().contains("60 seconds"));
    assert!(world.fetch(30_000, 30_000).is_ok());
    world.clock.expect(NONCE, world.uptime_ms);
    world.power_cycle(0);
    assert!(world.set(NONCE, NOON).unwrap_err().contains("nonce"), "a nonce ends with power");
    assert_eq!(world.now().trust, None);
}

#[test]
fn a_server_whose_clock_is_behind_or_beyond_reason_is_refused() {
    let mut world = World::new();
    let mut told = |token_ms| {
        world.clock.expect(NONCE, world.uptime_ms);
        world.set(NONCE, token_ms)
    };
    assert!(told(0).unwrap_err().contains("behind"));
    assert!(told(EARLIEST_MS - 1).unwrap_err().contains("1 ms behind"));
    for beyond in [LATEST_MS + 1, u64::MAX] {
        assert!(told(beyond).unwrap_err().contains("2199"));
    }
    assert_eq!(told(NOON), Ok(()));
    assert!(told(NOON - 1).unwrap_err().contains("1 ms behind"));
    world.pass(100_000);
    world.clock.expect(NONCE, world.uptime_ms);
    // Elapsed time counts, less what the counter may have drifted.
    assert!(world.set(NONCE, NOON + 99_980).unwrap_err().contains("10 ms behind"));
    world.power_cycle(0);
    world.clock.expect(NONCE, world.uptime_ms);
    assert!(world.set(NONCE, NOON - 1).unwrap_err().contains("behind"), "it outlives power-off");
}

#[test]
fn a_record_that_can_not_be_stored_gives_no_answer() {
    let mut clock = SecureClock::new(Record::default());
    let fails = |_: &Record| Err(TeeError::Communication("power is gone".into()));
    assert!(clock.now(900, fails).is_err());
    clock.expect(NONCE, 900);
    assert!(clock.set(&NONCE, NOON, 900, fails).is_err());
    assert_eq!(clock.now(900, |_| Ok(())).unwrap().trust, None);
}

#[test]
fn storage_is_written_seldom() {
    let mut world = World::new();
    for _ in 0..600 {
        world.now();
        world.pass(1_000);
    }
    assert!((8..=12).contains(&world.writes), "{} writes in ten minutes", world.writes);
    let before = world.writes;
    for _ in 0..24 * 60 {
        world.now();
        world.pass(60_000);
    }
    assert!(world.writes - before <= 144, "{} writes in a day", world.writes - before);
}

#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Ask,
    PowerCycle(u64),
    Token { there: u64, back: u64 },
    Hostile { nonce: bool, token_ms: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..2_000_000_u64).prop_map(Event::Pass),
        Just(Event::Ask),
        (0..10_000_000_u64).prop_map(Event::PowerCycle),
        (0..40_000_u64, 0..40_000_u64).prop_map(|(there, back)| Event::Token { there, back }),
        (any::<bool>(), any::<u64>())
            .prop_map(|(nonce, token_ms)| Event::Hostile { nonce, token_ms }),
    ]
}

proptest! {
    /// A token with the right nonce and signature is the server's own word: a hostile one has
    /// neither, or comes from a server whose clock is wrong; then only order is promised.
    #[test]
    fn s2_1_1_it_never_goes_back_and_true_time_is_within_its_error(
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new();
        let mut last = world.now();
        let mut honest = true;
        for event in events {
            match event {
                Event::Pass(ms) => world.pass(ms),
                Event::Ask => {}
                Event::PowerCycle(ms) => world.power_cycle(ms),
                Event::Token { there, back } => {
                    let fetched = world.fetch(there, back);
                    prop_assert!(fetched.is_ok() == (there + back <= 60_000) || !honest);
                }
                Event::Hostile { nonce: true, token_ms } => {
                    world.clock.expect(NONCE, world.uptime_ms);
                    honest &= world.set(NONCE, token_ms).is_err();
                }
                Event::Hostile { nonce: false, token_ms } => {
                    prop_assert!(world.set([0; 32], token_ms).is_err());
                }
            }
            let now = world.now();
            prop_assert!(now > last, "{now:?} after {last:?}");
            if let (Some(trust), true) = (now.trust, honest) {
                prop_assert!(now.unix_ms.abs_diff(world.true_ms) <= trust.error_ms);
            }
            last = now;
        }
    }
}
