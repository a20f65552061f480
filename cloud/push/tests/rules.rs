//! The rules of push (S5.4), on a real database, with a clock that the tests move.

use cloud_push::{Error, Push, Sealer};
use crypto::aead::Key;
use effects::{ManualClock, SystemEntropy, UnixMillis};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use std::sync::Arc;
use std::time::Duration;
use wire::find::Command;
use wire::push::{Event, Message, Register, Registration, Send};

const DAY: Duration = Duration::from_secs(24 * 3600);

struct OneKey(Key);

impl Sealer for OneKey {
    fn seal(&self, table: &str, column: &str, row: &str, plaintext: &[u8]) -> Vec<u8> {
        self.0.seal([table, column, row].join("/").as_bytes(), plaintext)
    }

    fn open(&self, table: &str, column: &str, row: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open([table, column, row].join("/").as_bytes(), sealed).ok()
    }
}

struct World {
    push: Arc<Push>,
    clock: Arc<ManualClock>,
    pool: SqlitePool,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options =
            SqliteConnectOptions::new().filename(folder.path().join("db")).create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let clock = Arc::new(ManualClock::new(UnixMillis(1_800_000_000_000)));
        let sealer = Arc::new(OneKey(Key::aes_128_gcm(&[7; 16])));
        let push = Push::open(pool.clone(), sealer, clock.clone(), Arc::new(SystemEntropy));
        let push = Arc::new(push.await.unwrap());
        push.admit_developer("dev", "credential").await.unwrap();
        Self { push, clock, pool, folder }
    }

    async fn register(&self, device_id: &str) -> Registration {
        self.push.register(device_id, &registration("org.example.app", 'a')).await.unwrap()
    }

    async fn send(&self, to: &Registration, body: &str) -> u64 {
        let message = Message { title: "Title".into(), body: body.into() };
        let request = Send { registration_id: to.registration_id.clone(), message };
        self.push.send("dev", &request).await.unwrap().message_id
    }

    async fn state(&self, message_id: u64) -> String {
        self.push.delivery("dev", message_id).await.unwrap().state
    }

    async fn waiting(&self, device_id: &str) -> usize {
        self.push.waiting(device_id, 0).await.unwrap().len()
    }
}

fn registration(app: &str, id: char) -> Register {
    Register { app: app.into(), hashed_ids: vec![id.to_string().repeat(64)] }
}

#[tokio::test]
async fn s5_4_a_message_is_sealed_delivered_and_deleted_when_acknowledged() {
    let world = World::new().await;
    let to = world.register("device").await;
    let message_id = world.send(&to, "canary-of-the-message").await;
    assert_eq!(world.state(message_id).await, "pending");

    let mut link = world.push.link("device", None).await.unwrap();
    assert!(world.push.connected("device"));
    let queued = link.next().await.unwrap();
    let Event::Push { registration_id, sealed } = &queued.event else { panic!("a message") };
    let key = Key::aes_128_gcm(to.content_key.0[..].try_into().unwrap());
    let json = key.open(registration_id.as_bytes(), &sealed.0).unwrap();
    let message: Message = serde_json::from_slice(&json).unwrap();
    assert_eq!(message.body, "canary-of-the-message");

    world.clock.advance(Duration::from_millis(250));
    world.push.acknowledge("stranger", &[queued.id]).await.unwrap();
    assert_eq!(world.state(message_id).await, "pending", "only its device acknowledges it");
    world.push.acknowledge("device", &[queued.id]).await.unwrap();
    let delivery = world.push.delivery("dev", message_id).await.unwrap();
    assert_eq!((&*delivery.state, delivery.latency_ms), ("delivered", Some(250)));
    assert_eq!(world.waiting("device").await, 0);

    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&world.pool).await.unwrap();
    let database = std::fs::read(world.folder.path().join("db")).unwrap();
    assert!(!database.windows(6).any(|window| window == b"canary"), "plaintext in the database");
    drop(link);
    assert!(!world.push.connected("device"));
}

#[tokio::test]
async fn s5_4_an_undelivered_message_is_deleted_after_seven_days() {
    let world = World::new().await;
    let to = world.register("device").await;
    let message_id = world.send(&to, "x").await;
    world.clock.advance(7 * DAY - Duration::from_millis(1));
    world.push.sweep().await.unwrap();
    assert_eq!((&*world.state(message_id).await, world.waiting("device").await), ("pending", 1));
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.waiting("device").await, 0, "it is not delivered even before the sweep");
    world.push.sweep().await.unwrap();
    assert_eq!(world.state(message_id).await, "expired");
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM push_events")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn s5_4_a_device_absent_for_90_days_loses_what_waits() {
    let world = World::new().await;
    world.register("device").await;
    let command = Event::Command { command_id: 1, command: Command::Sound };
    world.push.deliver("device", &command).await.unwrap();
    world.clock.advance(90 * DAY - Duration::from_millis(1));
    world.push.sweep().await.unwrap();
    assert_eq!(world.waiting("device").await, 1);
    world.push.note_seen("device").await.unwrap();
    world.clock.advance(Duration::from_millis(1));
    world.push.sweep().await.unwrap();
    assert_eq!(world.waiting("device").await, 1, "it was there yesterday");
    world.clock.advance(90 * DAY);
    world.push.sweep().await.unwrap();
    assert_eq!(world.waiting("device").await, 0);
}

#[tokio::test]
async fn a_link_resumes_after_the_last_event_and_wakes_on_news() {
    let world = World::new().await;
    let to = world.register("device").await;
    for body in ["1", "2", "3"] {
        world.send(&to, body).await;
    }
    let mut link = world.push.link("device", None).await.unwrap();
    let first = link.next().await.unwrap().id;
    drop(link);
    let mut link = world.push.link("device", Some(first)).await.unwrap();
    assert_eq!(link.next().await.unwrap().id, first + 1);
    assert_eq!(link.next().await.unwrap().id, first + 2);
    let waiting = tokio::spawn(async move { link.next().await.unwrap().id });
    tokio::task::yield_now().await;
    world.send(&to, "4").await;
    assert_eq!(waiting.await.unwrap(), first + 3);
    let mut anew = world.push.link("device", None).await.unwrap();
    assert_eq!(anew.next().await.unwrap().id, first + 1, "what was not acknowledged comes again");
}

#[tokio::test]
async fn s5_4_hashed_ids_map_to_one_random_id_and_a_registration_is_stable() {
    let world = World::new().await;
    let one = world.register("device").await;
    let again = world.register("device").await;
    assert_eq!(one.registration_id, again.registration_id);
    assert_eq!(one.content_key, again.content_key);
    let other =
        world.push.register("device", &registration("org.example.other", 'a')).await.unwrap();
    assert_ne!(one.registration_id, other.registration_id);
    assert!(!one.registration_id.contains("aaaa"));
    let moved = world.register("device-after-a-sale").await;
    assert_ne!(one.registration_id, moved.registration_id, "a new owner gets a new one");
}

#[tokio::test]
async fn refuses_bad_registrations_messages_and_credentials() {
    let world = World::new().await;
    for bad in [
        registration("", 'a'),
        registration("' OR 1=1 --", 'a'),
        registration("org.example.app", 'x'),
        Register { app: "a".into(), hashed_ids: vec![] },
        Register { app: "a".into(), hashed_ids: vec!["a".repeat(64); 4] },
    ] {
        assert!(
            matches!(world.push.register("d", &bad).await, Err(Error::Invalid { .. })),
            "{bad:?}"
        );
    }
    let to = world.register("device").await;
    let message = Message { title: "T".into(), body: "x".repeat(4097) };
    let long = Send { registration_id: to.registration_id, message };
    assert!(matches!(world.push.send("dev", &long).await, Err(Error::Invalid { .. })));
    let message = Message { title: "T".into(), body: "x".repeat(4096) };
    let nowhere = Send { registration_id: "' OR '1'='1".into(), message };
    assert!(matches!(world.push.send("dev", &nowhere).await, Err(Error::NotFound(_))));
    assert!(world.push.developer("credential").await.is_ok());
    assert!(matches!(world.push.developer("guess").await, Err(Error::NotADeveloper)));
    assert!(world.push.delivery("another", 1).await.is_err());
}

#[tokio::test]
async fn a_forgotten_device_leaves_nothing() {
    let world = World::new().await;
    let to = world.register("device").await;
    world.send(&to, "x").await;
    world.push.forget_device("device").await.unwrap();
    for table in ["identities", "devices", "registrations", "events"] {
        let sql = format!("SELECT COUNT(*) FROM push_{table}");
        let rows: i64 = sqlx::query_scalar(&sql).fetch_one(&world.pool).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}
