//! The authority and the server certificate over their lives.

use effects::{Clock, ManualClock, SystemClock, UnixMillis};
use http_link::tls::{Error, Identity, RENEW_BEFORE, SERVER_VALIDITY};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(UnixMillis(1_800_000_000_000)))
}

fn load(folder: &Path, clock: &Arc<ManualClock>) -> Result<Identity, Error> {
    Identity::load_or_make(folder, &["cloud.example".into()], clock.clone())
}

fn content(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn a_second_start_uses_what_the_first_made() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["ca.pem", "ca.key", "server.pem", "server.key"];
    load(folder.path(), &clock()).unwrap();
    let first = files.map(|file| content(folder.path(), file));
    load(folder.path(), &clock()).unwrap();
    assert_eq!(files.map(|file| content(folder.path(), file)), first);
}

#[test]
fn keys_are_their_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    load(folder.path(), &clock()).unwrap();
    for key in ["ca.key", "server.key"] {
        let mode = fs::metadata(folder.path().join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn a_running_service_renews_its_certificate_before_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let identity = load(folder.path(), &clock).unwrap();
    let (authority, first) =
        (content(folder.path(), "ca.pem"), content(folder.path(), "server.pem"));
    clock.advance(SERVER_VALIDITY - RENEW_BEFORE - Duration::from_secs(2));
    identity.renew_if_due().unwrap();
    assert_eq!(content(folder.path(), "server.pem"), first);
    clock.advance(Duration::from_secs(3));
    identity.renew_if_due().unwrap();
    assert_ne!(content(folder.path(), "server.pem"), first);
    assert_eq!(content(folder.path(), "ca.pem"), authority);
}

#[test]
fn a_start_renews_a_certificate_that_is_about_to_expire_or_lacks_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    load(folder.path(), &clock).unwrap();
    let first = content(folder.path(), "server.pem");
    Identity::load_or_make(folder.path(), &["other.example".into()], clock.clone()).unwrap();
    let renamed = content(folder.path(), "server.pem");
    assert_ne!(renamed, first);
    clock.advance(SERVER_VALIDITY);
    load(folder.path(), &clock).unwrap();
    assert_ne!(content(folder.path(), "server.pem"), renamed);
}

#[test]
fn a_start_after_a_crash_at_any_write_comes_up() {
    for (kept, missing) in [
        (&["ca.key"][..], &["ca.pem", "server.pem", "server.key"][..]),
        (&["ca.key", "ca.pem"], &["server.pem", "server.key"]),
        (&["ca.key", "ca.pem", "server.key"], &["server.pem"]),
        (&["ca.key", "ca.pem", "server.pem"], &["server.key"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), &clock()).unwrap();
        let before: Vec<_> = kept.iter().map(|name| content(folder.path(), name)).collect();
        for name in missing {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        load(folder.path(), &clock()).unwrap();
        assert_eq!(content(folder.path(), "ca.key"), before[0]);
        assert!(missing.iter().all(|name| folder.path().join(name).exists()));
    }
}

#[test]
fn a_server_certificate_that_does_not_fit_its_key_is_replaced() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    load(one.path(), &clock()).unwrap();
    load(other.path(), &clock()).unwrap();
    let strange = content(other.path(), "server.pem");
    fs::write(one.path().join("server.pem"), &strange).unwrap();
    load(one.path(), &clock()).unwrap();
    assert_ne!(content(one.path(), "server.pem"), strange);
}

#[test]
fn refuses_an_authority_whose_parts_do_not_belong_together() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    load(one.path(), &clock()).unwrap();
    load(other.path(), &clock()).unwrap();
    fs::copy(other.path().join("ca.pem"), one.path().join("ca.pem")).unwrap();
    let text = load(one.path(), &clock()).err().unwrap().to_string();
    assert!(text.contains("ca.pem") && text.contains("does not belong"), "{text}");
    fs::remove_file(one.path().join("ca.key")).unwrap();
    let text = load(one.path(), &clock()).err().unwrap().to_string();
    assert!(text.contains("ca.key") && text.contains("missing"), "{text}");
}

#[test]
fn refuses_what_is_no_host_name() {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let refused = Identity::load_or_make(folder.path(), &["not a name".into()], clock);
    assert!(matches!(refused, Err(Error::Name(_))));
}
