//! The rules of find-device (S2.5.1, S2.5.2), on a real database, with a clock that the tests
//! move and an account service that is a list.

use cloud_find::{Answer, Bound, Carrier, Error, Find, Foundation, Owners, Sealer};
use crypto::aead::Key;
use effects::{ManualClock, UnixMillis};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wire::find::{Command, Enable, EndLost, Outcome, Position, Report};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HERE: Position = Position { lat: 53.55, lon: 9.99, accuracy_m: 12.0, at_ms: 1 };

struct OneKey(Key);

impl Sealer for OneKey {
    fn seal(&self, table: &str, column: &str, row: &str, plaintext: &[u8]) -> Vec<u8> {
        self.0.seal([table, column, row].join("/").as_bytes(), plaintext)
    }

    fn open(&self, table: &str, column: &str, row: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open([table, column, row].join("/").as_bytes(), sealed).ok()
    }
}

/// What was carried, and a switch that makes the way fail.
#[derive(Default)]
struct Way {
    carried: Mutex<Vec<(u64, Command)>>,
    broken: AtomicBool,
}

impl Carrier for Way {
    fn carry<'a>(&'a self, _: &'a str, id: u64, command: &'a Command) -> Answer<'a, ()> {
        Box::pin(async move {
            if self.broken.load(Ordering::SeqCst) {
                return Err(Error::Link("broken".into()));
            }
            self.carried.lock().unwrap().push((id, command.clone()));
            Ok(())
        })
    }

    fn withdraw<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        self.carried.lock().unwrap().clear();
        Box::pin(async { Ok(()) })
    }
}

/// anna holds device d1 with serial HF1; berta has an account; each login is also the password.
#[derive(Default)]
struct List {
    asked_with_loss: Mutex<Vec<Option<UnixMillis>>>,
    audit: Mutex<Vec<String>>,
}

impl Owners for List {
    fn bound<'a>(&'a self, serial: &'a str) -> Answer<'a, Option<Bound>> {
        let bound = Bound { device_id: "d1".into(), owner: "anna".into(), hint: "a***@b".into() };
        Box::pin(async move { Ok((serial == "HF1").then_some(bound)) })
    }

    fn names<'a>(&'a self, login: &'a str, owner: &'a str) -> Answer<'a, bool> {
        Box::pin(async move { Ok(login == owner) })
    }

    fn verify<'a>(
        &'a self,
        owner: &'a str,
        password: &'a str,
        lost_at: Option<UnixMillis>,
        _: IpAddr,
    ) -> Answer<'a, ()> {
        self.asked_with_loss.lock().unwrap().push(lost_at);
        Box::pin(async move { if owner == password { Ok(()) } else { Err(Error::WrongPassword) } })
    }

    fn verify_login<'a>(&'a self, login: &'a str, password: &'a str, _: IpAddr) -> Answer<'a, ()> {
        let right = ["anna", "berta"].contains(&login) && login == password;
        Box::pin(async move { if right { Ok(()) } else { Err(Error::WrongPassword) } })
    }

    fn record<'a>(&'a self, _: &'a str, _: &'a str, action: &'a str, _: &'a str) -> Answer<'a, ()> {
        self.audit.lock().unwrap().push(action.into());
        Box::pin(async { Ok(()) })
    }
}

struct World {
    find: Find,
    way: Arc<Way>,
    owners: Arc<List>,
    clock: Arc<ManualClock>,
    pool: SqlitePool,
    folder: tempfile::TempDir,
}

async fn open(
    pool: &SqlitePool,
    way: &Arc<Way>,
    owners: &Arc<List>,
    clock: &Arc<ManualClock>,
) -> Find {
    let foundation = Foundation {
        pool: pool.clone(),
        sealer: Arc::new(OneKey(Key::aes_128_gcm(&[7; 16]))),
        carrier: way.clone(),
        owners: owners.clone(),
        clock: clock.clone(),
    };
    Find::open(foundation).await.unwrap()
}

impl World {
    async fn enabled() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options =
            SqliteConnectOptions::new().filename(folder.path().join("db")).create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let clock = Arc::new(ManualClock::new(UnixMillis(1_800_000_000_000)));
        let (way, owners) = (Arc::new(Way::default()), Arc::new(List::default()));
        let find = open(&pool, &way, &owners, &clock).await;
        let world = Self { find, way, owners, clock, pool, folder };
        assert!(matches!(world.issue(Command::Sound).await, Err(Error::Disabled)));
        world.enable(true, None).await.unwrap();
        world
    }

    async fn issue(&self, command: Command) -> Result<u64, Error> {
        self.find.issue("d1", "anna", &command).await.map(|issued| issued.command_id)
    }

    async fn enable(&self, enabled: bool, password: Option<&str>) -> Result<(), Error> {
        let request = Enable { enabled, password: password.map(Into::into) };
        self.find.enable("d1", "anna", &request, HOME).await
    }

    async fn report(&self, command_id: Option<u64>, position: Option<Position>) {
        let report = Report { command_id, failed: None, position };
        self.find.report("d1", &report).await.unwrap();
    }

    async fn activate(&self, login: &str, password: &str) -> Result<String, Error> {
        let ticket = self.find.activate("HF1", &[5; 32], login, password, HOME).await;
        ticket.map(|ticket| ticket.ticket)
    }
}

fn lost() -> Command {
    Command::Lost { message: "Please call +49 151".into() }
}

#[tokio::test]
async fn s2_5_1_a_command_is_audited_carried_and_its_outcome_told() {
    let world = World::enabled().await;
    let id = world.issue(Command::Locate).await.unwrap();
    assert_eq!(*world.way.carried.lock().unwrap(), [(id, Command::Locate)]);
    assert!(world.owners.audit.lock().unwrap().contains(&"device_locate".to_owned()));
    assert_eq!(world.find.outcome("d1", id).await.unwrap(), Outcome::Pending);
    world.report(Some(id), Some(HERE)).await;
    let done = Outcome::Done { position: Some(HERE) };
    assert_eq!(world.find.outcome("d1", id).await.unwrap(), done);
    assert_eq!(world.find.state("d1").await.unwrap().position, Some(HERE));
    assert!(matches!(world.find.outcome("d2", id).await, Err(Error::NotFound(_))));
    let anothers = Report { command_id: Some(id), failed: None, position: None };
    assert!(world.find.report("d2", &anothers).await.is_err());
}

#[tokio::test]
async fn positions_and_messages_are_not_in_the_database_in_the_clear() {
    let world = World::enabled().await;
    world.issue(lost()).await.unwrap();
    world.report(None, Some(HERE)).await;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&world.pool).await.unwrap();
    let database = std::fs::read(world.folder.path().join("db")).unwrap();
    for canary in ["Please call", "53.55"] {
        let found = database.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!found, "{canary}");
    }
}

#[tokio::test]
async fn a_command_that_a_crash_kept_from_the_link_goes_out_at_the_next_start() {
    let world = World::enabled().await;
    world.way.broken.store(true, Ordering::SeqCst);
    assert!(world.issue(Command::Sound).await.is_err());
    world.way.broken.store(false, Ordering::SeqCst);
    open(&world.pool, &world.way, &world.owners, &world.clock).await;
    assert_eq!(world.way.carried.lock().unwrap().len(), 1);
    open(&world.pool, &world.way, &world.owners, &world.clock).await;
    assert_eq!(world.way.carried.lock().unwrap().len(), 1, "once");
}

#[tokio::test]
async fn find_device_is_turned_off_with_the_password_and_not_while_lost() {
    let world = World::enabled().await;
    assert!(matches!(world.enable(false, None).await, Err(Error::WrongPassword)));
    world.issue(lost()).await.unwrap();
    assert!(matches!(world.enable(false, Some("anna")).await, Err(Error::Lost)));
    let request = EndLost { nonce: vec![5; 32].into(), password: "anna".into() };
    world.find.end_lost("d1", "anna", "HF1", &request, HOME).await.unwrap();
    world.enable(false, Some("anna")).await.unwrap();
    assert!(!world.find.state("d1").await.unwrap().enabled);
}

#[tokio::test]
async fn s2_5_2_lost_mode_ends_by_a_ticket_and_the_password_is_weighed_by_the_moment_of_the_loss() {
    let world = World::enabled().await;
    world.issue(lost()).await.unwrap();
    let lost_at = world.find.state("d1").await.unwrap().lost_at.unwrap();
    world.clock.advance(Duration::from_secs(3600));
    world.issue(lost()).await.unwrap();
    let state = world.find.state("d1").await.unwrap();
    assert_eq!(state.lost_at, Some(lost_at), "a second message does not move the loss");
    assert_eq!(world.find.earliest_loss("anna").await.unwrap(), Some(lost_at));
    let end = async |nonce: usize, password: &str| {
        let request = EndLost { nonce: vec![5; nonce].into(), password: password.into() };
        world.find.end_lost("d1", "anna", "HF1", &request, HOME).await
    };
    assert!(matches!(end(31, "anna").await, Err(Error::Invalid { .. })));
    assert!(matches!(end(32, "wrong").await, Err(Error::WrongPassword)));
    assert!(world.find.state("d1").await.unwrap().lost.is_some());
    let ticket = end(32, "anna").await.unwrap().ticket;
    assert_eq!(*world.owners.asked_with_loss.lock().unwrap(), [Some(lost_at), Some(lost_at)]);
    let claims: serde_json::Value =
        jws::verify(&ticket, &world.find.ticket_public_key().unwrap()).unwrap();
    assert_eq!(claims["serial"], "HF1");
    assert_eq!(claims["purpose"], "end_lost_mode");
    assert_eq!(claims["nonce"], "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU");
    assert!(world.find.state("d1").await.unwrap().lost.is_none());
}

#[tokio::test]
async fn s2_5_2_after_a_reset_only_the_bound_account_activates() {
    let world = World::enabled().await;
    let erase = world.issue(Command::Erase).await.unwrap();
    let state = world.find.activation_state("HF1").await.unwrap();
    assert_eq!((state.locked, state.owner_hint.as_deref()), (true, Some("a***@b")));
    assert!(world.find.state("d1").await.unwrap().erased);
    let done = Outcome::Done { position: None };
    assert_eq!(world.find.outcome("d1", erase).await.unwrap(), done, "the reset proves it");

    assert!(matches!(world.activate("berta", "berta").await, Err(Error::ActivationLocked)));
    assert!(matches!(world.activate("berta", "anna").await, Err(Error::WrongPassword)));
    assert!(matches!(world.activate("anna", "berta").await, Err(Error::WrongPassword)));
    assert!(world.activate("anna", "anna").await.is_ok());
    let state = world.find.state("d1").await.unwrap();
    assert!(!state.erased && state.enabled, "back with its owner, and still protected");
    assert!(world.way.carried.lock().unwrap().is_empty(), "no erasure arrives afterwards");
}

#[tokio::test]
async fn a_device_that_nobody_holds_takes_any_account() {
    let world = World::enabled().await;
    assert!(!world.find.activation_state("HF2").await.unwrap().locked);
    assert!(world.find.activate("HF2", &[5; 32], "berta", "berta", HOME).await.is_ok());
    assert!(world.find.activate("HF2", &[5; 32], "berta", "wrong", HOME).await.is_err());
    world.enable(false, Some("anna")).await.unwrap();
    assert!(!world.find.activation_state("HF1").await.unwrap().locked);
    assert!(world.activate("berta", "berta").await.is_ok());
}

#[tokio::test]
async fn refuses_positions_off_the_globe_and_messages_too_long() {
    let world = World::enabled().await;
    for bad in [
        Position { lat: 90.1, ..HERE },
        Position { lon: -180.1, ..HERE },
        Position { lat: f64::NAN, ..HERE },
        Position { accuracy_m: -1.0, ..HERE },
    ] {
        let report = Report { command_id: None, failed: None, position: Some(bad) };
        assert!(matches!(world.find.report("d1", &report).await, Err(Error::Invalid { .. })));
    }
    for bad in ["", "  ", &"x".repeat(501)] {
        let command = Command::Lost { message: bad.into() };
        assert!(matches!(world.issue(command).await, Err(Error::Invalid { .. })));
    }
}

#[tokio::test]
async fn the_ticket_key_survives_a_restart() {
    let world = World::enabled().await;
    let again = open(&world.pool, &world.way, &world.owners, &world.clock).await;
    assert_eq!(again.ticket_public_key().unwrap(), world.find.ticket_public_key().unwrap());
}
