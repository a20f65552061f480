//! The rules of accounts, on a real database, with a clock that the tests move.

mod key_center;

use cloud_account::audit::Verdict;
use cloud_account::outbox::Outbox;
use cloud_account::{
    Accounts, Attested, Caller, Error, Foundation, SessionKind, Subject, Touch, Who,
};
use crypto::sign::{Curve, EcdsaKey};
use effects::{Clock, ManualClock, SystemEntropy, UnixMillis};
use key_center::{Held, InMemory};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use wire::account::{Change, Forgot, OwnerClaims, Reset, SignIn, SignUp};
use wire::attest::Statement;
use wire::device::{DeviceClaims, TokenRequest};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const PASSWORD: &str = "tr4ut-es-sich";
const EMAIL: &str = "anna.blum@example.org";
const PHONE: &str = "+49 151 23456789";
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

struct World {
    accounts: Accounts,
    clock: Arc<ManualClock>,
    key_center: Arc<InMemory>,
    held: Held,
    pool: SqlitePool,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options =
            SqliteConnectOptions::new().filename(folder.path().join("db")).create_if_missing(true);
        let pool = SqlitePool::connect_with(options.foreign_keys(true)).await.unwrap();
        let clock = Arc::new(ManualClock::new(UnixMillis(1_800_000_000_000)));
        let key_center = Arc::new(InMemory::default());
        let held = Held::default();
        let outbox = folder.path().join("outbox");
        let accounts = Accounts::open(Foundation {
            pool: pool.clone(),
            key_center: key_center.clone(),
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
            post: Arc::new(Outbox::open(outbox, clock.clone(), Arc::new(SystemEntropy)).unwrap()),
            lock: Arc::new(held.clone()),
            cores: 2,
        });
        Self { accounts: accounts.await.unwrap(), clock, key_center, held, pool, folder }
    }

    async fn with_anna() -> (Self, Caller) {
        let world = Self::new().await;
        let session = world.accounts.sign_up(&anna(), HOME).await.unwrap();
        let caller = world.accounts.authenticate(&session.token, Touch::Activity).await.unwrap();
        (world, caller)
    }

    async fn sign_in(&self, login: &str, password: &str) -> Result<String, Error> {
        let request = SignIn { login: login.into(), password: password.into() };
        self.accounts.sign_in(&request, SessionKind::Web, HOME).await.map(|session| session.token)
    }

    async fn on_lost_device(&self, anna: &Subject, password: &str, lost: UnixMillis) -> bool {
        let who = Who::Account(anna);
        self.accounts.verify_owner(who, password, Some(lost), HOME).await.is_ok()
    }

    /// The newest code in the outbox.
    fn code(&self) -> String {
        let mut letters: Vec<_> = std::fs::read_dir(self.folder.path().join("outbox"))
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .filter(|letter| letter.contains("Your code"))
            .collect();
        letters.sort_by_key(|letter| letter.split("Date:").nth(1).map(str::to_owned));
        let letter = letters.pop().expect("a letter with a code");
        letter.split("password: ").nth(1).unwrap()[..6].to_owned()
    }

    async fn reset(&self, new: &str) -> Result<(), Error> {
        self.accounts.forgot(&Forgot { login: EMAIL.into() }).await.unwrap();
        self.reset_with(&self.code(), new).await
    }

    async fn reset_with(&self, code: &str, new: &str) -> Result<(), Error> {
        let request = Reset { login: EMAIL.into(), code: code.into(), new_password: new.into() };
        self.accounts.reset_password(&request, HOME).await
    }
}

fn anna() -> SignUp {
    SignUp {
        password: PASSWORD.into(),
        phone: PHONE.into(),
        email: EMAIL.into(),
        country: "de".into(),
    }
}

fn attested(serial: &str, key: &EcdsaKey) -> Attested {
    let statement = Statement {
        serial: serial.into(),
        security_level: "trusted_environment".into(),
        locked: true,
        boot_state: "green".into(),
        verified_boot_key: "00".into(),
        verified_boot_hash: "11".into(),
        os_patch_level: 202_611,
    };
    Attested { statement, leaf_key: key.public_key_spki().unwrap() }
}

#[tokio::test]
async fn s5_1_1_an_account_signs_in_by_phone_email_or_id() {
    let (world, caller) = World::with_anna().await;
    for login in [EMAIL, "ANNA.blum@Example.org", PHONE, "0049151-23456789", &caller.account_id] {
        assert!(world.sign_in(login, PASSWORD).await.is_ok(), "{login}");
        assert!(matches!(world.sign_in(login, "wr0ng-one").await, Err(Error::WrongPassword)));
    }
    let unknown = world.sign_in("nobody@example.org", PASSWORD).await;
    assert!(matches!(unknown, Err(Error::WrongPassword)), "unknown and wrong look the same");
    let profile = world.accounts.profile(&caller.subject).await.unwrap();
    assert_eq!(profile.phone, "+49*********89");
    assert_eq!(profile.email, "a***@example.org");
}

#[tokio::test]
async fn s5_1_1_refuses_weak_passwords_and_taken_contacts() {
    let (world, _) = World::with_anna().await;
    let weak = SignUp { password: "short-1".into(), email: "b@example.org".into(), ..anna() };
    assert!(matches!(world.accounts.sign_up(&weak, HOME).await, Err(Error::WeakPassword(_))));
    for taken in [
        SignUp { email: "b@example.org".into(), ..anna() },
        SignUp { phone: "+4915199999999".into(), ..anna() },
    ] {
        assert!(matches!(world.accounts.sign_up(&taken, HOME).await, Err(Error::Exists)));
    }
    let keys = world.key_center.user_keys.lock().unwrap().len();
    assert_eq!(keys, 1, "a refused sign-up leaves no key behind");
}

#[tokio::test]
async fn s5_1_3_the_database_holds_no_personal_data_and_no_password() {
    let (world, caller) = World::with_anna().await;
    let key = EcdsaKey::generate(Curve::P256).unwrap();
    world
        .accounts
        .bind(&caller, &attested("HF00SERIAL", &key), "Annas Telefon", HOME)
        .await
        .unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&world.pool).await.unwrap();
    let database = std::fs::read(world.folder.path().join("db")).unwrap();
    for secret in [
        "4915123456789",
        "anna.blum",
        "Anna.Blum",
        PASSWORD,
        "$argon2id$",
        &caller.account_id,
        "HF00SERIAL",
        "Annas Telefon",
    ] {
        let found = database.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in the database");
    }
}

#[tokio::test]
async fn s5_2_2_a_web_session_ends_after_15_minutes_without_activity() {
    let (world, _) = World::with_anna().await;
    let token = world.sign_in(EMAIL, PASSWORD).await.unwrap();
    let alive = |touch| world.accounts.authenticate(&token, touch);
    world.clock.advance(14 * MINUTE);
    assert!(alive(Touch::Activity).await.is_ok());
    world.clock.advance(14 * MINUTE);
    assert!(alive(Touch::Background).await.is_ok(), "activity has moved the end");
    world.clock.advance(MINUTE);
    assert!(alive(Touch::Background).await.is_err(), "a page that refreshes itself has not");
    assert!(alive(Touch::Activity).await.is_err(), "an ended session stays ended");
}

#[tokio::test]
async fn guesses_are_slowed_down_and_an_unknown_login_looks_the_same() {
    let (world, _) = World::with_anna().await;
    for login in [EMAIL, "nobody@example.org"] {
        for _ in 0..10 {
            assert!(matches!(world.sign_in(login, "wr0ng-one").await, Err(Error::WrongPassword)));
        }
        let refused = world.sign_in(login, PASSWORD).await;
        assert!(matches!(refused, Err(Error::Throttled { .. })), "{login}");
    }
    world.clock.advance(Duration::from_secs(1));
    assert!(world.sign_in(EMAIL, PASSWORD).await.is_ok(), "the delay ends");
    assert!(world.sign_in(EMAIL, PASSWORD).await.is_ok(), "and the count with it");
}

#[tokio::test]
async fn a_reset_code_has_ten_minutes_and_five_tries() {
    let (world, _) = World::with_anna().await;
    world.accounts.forgot(&Forgot { login: EMAIL.into() }).await.unwrap();
    let code = world.code();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        assert!(matches!(world.reset_with(wrong, "n3ues-pass").await, Err(Error::WrongCode)));
    }
    assert!(matches!(world.reset_with(&code, "n3ues-pass").await, Err(Error::WrongCode)));
    world.clock.advance(MINUTE);
    world.accounts.forgot(&Forgot { login: EMAIL.into() }).await.unwrap();
    world.clock.advance(10 * MINUTE);
    let late = world.reset_with(&world.code(), "n3ues-pass").await;
    assert!(matches!(late, Err(Error::WrongCode)));
    assert!(world.accounts.forgot(&Forgot { login: "x@example.org".into() }).await.is_ok());
}

#[tokio::test]
async fn a_reset_ends_every_session_and_a_change_every_other() {
    let (world, anna) = World::with_anna().await;
    let other = world.sign_in(EMAIL, PASSWORD).await.unwrap();
    let change = Change { old_password: PASSWORD.into(), new_password: "n3ues-pass".into() };
    world.accounts.change_password(&anna, &change, HOME).await.unwrap();
    assert!(world.accounts.authenticate(&other, Touch::Activity).await.is_err());
    assert_eq!(world.accounts.sessions(&anna).await.unwrap().len(), 1);
    world.reset("noch-3in-pass").await.unwrap();
    assert!(world.accounts.sessions(&anna).await.unwrap().is_empty());
    assert!(world.sign_in(EMAIL, "n3ues-pass").await.is_err());
    assert!(world.sign_in(EMAIL, "noch-3in-pass").await.is_ok());
}

#[tokio::test]
async fn s2_5_2_a_password_reset_after_the_loss_counts_three_days_later_the_old_one_at_once() {
    let (world, caller) = World::with_anna().await;
    let anna = &caller.subject;
    let lost = world.clock.now();
    world.clock.advance(60 * MINUTE);
    world.reset("d1eb-pass!").await.unwrap();
    world.accounts.forget_retired(anna, Some(lost)).await.unwrap();
    let who = Who::Account(anna);
    let refused = world.accounts.verify_owner(who, "d1eb-pass!", Some(lost), HOME).await;
    assert!(
        matches!(refused, Err(Error::ResetAroundLoss { until }) if until == lost.plus(3 * DAY))
    );
    assert!(world.on_lost_device(anna, PASSWORD, lost).await, "the old, unreset password");
    assert!(world.sign_in(EMAIL, PASSWORD).await.is_err(), "which signs in nowhere else");

    let change = Change { old_password: "d1eb-pass!".into(), new_password: "g3wechselt!".into() };
    world.accounts.change_password(&caller, &change, HOME).await.unwrap();
    let washed = world.on_lost_device(anna, "g3wechselt!", lost).await;
    assert!(!washed, "a change does not wash the reset off");

    world.clock.advance(3 * DAY - 60 * MINUTE - Duration::from_millis(1));
    assert!(!world.on_lost_device(anna, "g3wechselt!", lost).await);
    world.clock.advance(Duration::from_millis(1));
    assert!(world.on_lost_device(anna, "g3wechselt!", lost).await);
    world.accounts.forget_retired(anna, Some(lost)).await.unwrap();
    assert!(world.on_lost_device(anna, PASSWORD, lost).await, "kept while the device is lost");
}

#[tokio::test]
async fn s2_5_2_a_reset_within_three_days_before_the_loss_is_suspicious_an_earlier_one_is_not() {
    for (ahead, suspicious) in [(3 * DAY, true), (3 * DAY + Duration::from_millis(1), false)] {
        let (world, caller) = World::with_anna().await;
        world.reset("zur4ck-gesetzt").await.unwrap();
        world.clock.advance(ahead);
        let lost = world.clock.now();
        let accepted = world.on_lost_device(&caller.subject, "zur4ck-gesetzt", lost).await;
        assert_eq!(accepted, !suspicious);
        assert_eq!(world.on_lost_device(&caller.subject, PASSWORD, lost).await, suspicious);
    }
}

#[tokio::test]
async fn a_retired_password_is_forgotten_after_three_days_without_a_loss() {
    let (world, caller) = World::with_anna().await;
    world.reset("zur4ck-gesetzt").await.unwrap();
    let retired = world.accounts.with_retired_passwords().await.unwrap();
    assert_eq!(retired, std::slice::from_ref(&caller.subject));
    world.clock.advance(3 * DAY + Duration::from_millis(1));
    world.accounts.forget_retired(&caller.subject, None).await.unwrap();
    assert!(world.accounts.with_retired_passwords().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_device_signs_in_with_its_key_once_per_assertion() {
    let (world, caller) = World::with_anna().await;
    let key = EcdsaKey::generate(Curve::P256).unwrap();
    let bound =
        world.accounts.bind(&caller, &attested("HF1", &key), "Telefon", HOME).await.unwrap();
    let now = world.clock.now().seconds();
    let claims = DeviceClaims {
        iss: bound.device_id.clone(),
        sub: bound.device_id.clone(),
        aud: "holdfast-cloud".into(),
        iat: now,
        exp: now + 300,
        jti: "one".into(),
    };
    let ask = async |claims: &DeviceClaims, key: &EcdsaKey| {
        let assertion = jws::sign(claims, |message| key.sign_fixed(message)).unwrap();
        world.accounts.device_token(&TokenRequest { assertion }, HOME).await
    };
    let token = ask(&claims, &key).await.unwrap();
    let device = world.accounts.authenticate(&token.token, Touch::Activity).await.unwrap();
    assert_eq!(device.device_id.as_deref(), Some(&*bound.device_id));
    assert_eq!(device.account_id, caller.account_id);

    assert!(ask(&claims, &key).await.is_err(), "used before");
    let fresh = |jti: &str| DeviceClaims { jti: jti.into(), ..claims.clone() };
    let stranger = EcdsaKey::generate(Curve::P256).unwrap();
    assert!(ask(&fresh("2"), &stranger).await.is_err(), "another key");
    for bad in [
        DeviceClaims { aud: "elsewhere".into(), ..fresh("3") },
        DeviceClaims { exp: now + 301, ..fresh("4") },
        DeviceClaims { exp: now, ..fresh("5") },
        DeviceClaims { iat: now + 61, exp: now + 120, ..fresh("6") },
        DeviceClaims { iss: "' OR 1=1 --".into(), sub: "' OR 1=1 --".into(), ..fresh("7") },
    ] {
        assert!(ask(&bad, &key).await.is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn s2_5_2_a_held_device_does_not_change_hands_and_a_free_one_does() {
    let (world, anna) = World::with_anna().await;
    let bertas = SignUp {
        phone: "+4915199999999".into(),
        email: "berta@example.org".into(),
        ..self::anna()
    };
    let session = world.accounts.sign_up(&bertas, HOME).await.unwrap();
    let berta = world.accounts.authenticate(&session.token, Touch::Activity).await.unwrap();
    let key = EcdsaKey::generate(Curve::P256).unwrap();
    let device = attested("HF1", &key);
    let bound = world.accounts.bind(&anna, &device, "Telefon", HOME).await.unwrap();
    world.held.0.lock().unwrap().insert(bound.device_id.clone());
    let refused = world.accounts.bind(&berta, &device, "Meins", HOME).await;
    assert!(matches!(refused, Err(Error::ActivationLocked)));
    let again = world.accounts.bind(&anna, &device, "Telefon", HOME).await.unwrap();
    assert_eq!(again.device_id, bound.device_id, "the owner's device keeps its id");
    assert!(matches!(
        world.accounts.device(&berta.subject, &bound.device_id).await,
        Err(Error::NotFound(_))
    ));
    world.held.0.lock().unwrap().clear();
    let bound = world.accounts.bind(&berta, &device, "Meins", HOME).await.unwrap();
    assert_ne!(again.device_id, bound.device_id);
    assert!(world.accounts.devices(&anna.subject).await.unwrap().is_empty());
}

#[tokio::test]
async fn s5_1_3_an_owner_assertion_verifies_under_the_key_that_the_key_center_trusts() {
    let (world, caller) = World::with_anna().await;
    let jwt = world.accounts.owner_assertion(&caller).await.unwrap();
    let trusted = world.key_center.trusted.lock().unwrap().clone().unwrap();
    let claims: OwnerClaims = jws::verify(&jwt, &trusted).unwrap();
    assert_eq!(
        (&*claims.iss, &*claims.aud, &*claims.purpose),
        ("holdfast-account", "keycenter", "owner")
    );
    assert_eq!(claims.sub, caller.account_id);
    assert_eq!(claims.exp - claims.iat, 300);
}

#[tokio::test]
async fn the_audit_log_shows_every_alteration() {
    let (world, caller) = World::with_anna().await;
    world.accounts.record("owner", "device_erase", &caller.subject, "d1").await.unwrap();
    world.accounts.record("owner", "device_sound", &caller.subject, "d1").await.unwrap();
    let Verdict::Whole(entries) = world.accounts.verify_audit().await.unwrap() else {
        panic!("a fresh log is whole");
    };
    for (sql, undo) in [
        (
            "UPDATE account_audit SET action = 'device_locate' WHERE action = 'device_erase'",
            "UPDATE account_audit SET action = 'device_erase' WHERE action = 'device_locate'",
        ),
        (
            "UPDATE account_audit SET at_ms = at_ms + 1 WHERE sequence = 2",
            "UPDATE account_audit SET at_ms = at_ms - 1 WHERE sequence = 2",
        ),
        ("DELETE FROM account_audit WHERE sequence = 2", ""),
    ] {
        sqlx::query(sql).execute(&world.pool).await.unwrap();
        let verdict = world.accounts.verify_audit().await.unwrap();
        assert!(matches!(verdict, Verdict::BrokenAt(at) if at <= entries), "{sql}: {verdict:?}");
        if !undo.is_empty() {
            sqlx::query(undo).execute(&world.pool).await.unwrap();
            assert_eq!(world.accounts.verify_audit().await.unwrap(), Verdict::Whole(entries));
        }
    }
}

#[tokio::test]
async fn closing_an_account_deletes_everything_of_it_and_its_key() {
    let (world, caller) = World::with_anna().await;
    assert!(world.accounts.close(&caller, "wr0ng-one", HOME).await.is_err());
    world.accounts.close(&caller, PASSWORD, HOME).await.unwrap();
    assert!(world.key_center.user_keys.lock().unwrap().is_empty());
    assert!(world.sign_in(EMAIL, PASSWORD).await.is_err());
    for table in ["accounts", "passwords", "sessions", "sign_ins", "devices"] {
        let sql = format!("SELECT COUNT(*) FROM account_{table}");
        let rows: i64 = sqlx::query_scalar(&sql).fetch_one(&world.pool).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}
