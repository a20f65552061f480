//! The caller's own rules, against a Key Center made of a table.

use super::*;
use effects::{ManualClock, UnixMillis};
use std::collections::VecDeque;
use std::sync::Mutex as Lock;
use std::time::Duration;

/// Answers what it was told, in order, and notes the questions.
#[derive(Default)]
struct Script {
    answers: Lock<VecDeque<(u16, serde_json::Value)>>,
    questions: Lock<Vec<String>>,
}

impl Transport for Arc<Script> {
    async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        _body: Zeroizing<Vec<u8>>,
    ) -> Result<Answer, http_link::Error> {
        let question = format!("{method} {path} {}", token.unwrap_or("-"));
        self.questions.lock().unwrap().push(question);
        let (status, body) = self.answers.lock().unwrap().pop_front().expect("a scripted answer");
        Ok(Answer { status, body: Zeroizing::new(body.to_string().into_bytes()) })
    }
}

struct Set {
    script: Arc<Script>,
    clock: Arc<ManualClock>,
    keys: KeyCenter<Arc<Script>>,
}

fn set(credential: Credential, answers: &[(u16, serde_json::Value)]) -> Set {
    let script = Arc::new(Script::default());
    script.answers.lock().unwrap().extend(answers.iter().cloned());
    let clock = Arc::new(ManualClock::new(UnixMillis(0)));
    let keys = KeyCenter::with_clock(script.clone(), credential, clock.clone());
    Set { script, clock, keys }
}

fn role() -> Credential {
    Credential::app_role("role", "secret")
}

fn login(token: &str) -> (u16, serde_json::Value) {
    (200, json!({"auth": {"client_token": token, "lease_duration": 1000}}))
}

fn policy() -> (u16, serde_json::Value) {
    (200, json!({"data": {"policy": "text"}}))
}

const LOGIN: &str = "POST /v1/auth/approle/login -";

#[tokio::test]
async fn signs_in_once_and_again_before_the_token_ends() {
    let set = set(role(), &[login("a"), policy(), policy(), login("b"), policy()]);
    set.keys.policy("p").await.unwrap();
    set.clock.advance(Duration::from_secs(899));
    set.keys.policy("p").await.unwrap();
    set.clock.advance(Duration::from_secs(2));
    set.keys.policy("p").await.unwrap();
    let asked = |token| format!("GET /v1/sys/policies/acl/p {token}");
    let expected = [LOGIN.to_owned(), asked("a"), asked("a"), LOGIN.to_owned(), asked("b")];
    assert_eq!(*set.script.questions.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once() {
    let denied = || (403, json!({"errors": ["permission denied"]}));
    let good = set(role(), &[login("a"), policy(), denied(), login("b"), policy()]);
    good.keys.policy("p").await.unwrap();
    good.keys.policy("p").await.unwrap();
    let bad = set(role(), &[login("a"), policy(), denied(), login("b"), denied()]);
    bad.keys.policy("p").await.unwrap();
    assert_eq!(bad.keys.policy("p").await.unwrap_err().status(), Some(403));
    let fresh = set(role(), &[login("a"), denied()]);
    assert_eq!(fresh.keys.policy("p").await.unwrap_err().status(), Some(403));
}

#[tokio::test]
async fn an_assertion_is_shown_once() {
    let set = set(Credential::owner_once("jwt".into()), &[login("a"), policy()]);
    set.keys.policy("p").await.unwrap();
    set.clock.advance(Duration::from_secs(901));
    let refused = set.keys.policy("p").await;
    assert!(matches!(refused, Err(Error::Assertion(_))));
    assert_eq!(set.script.questions.lock().unwrap()[0], "POST /v1/auth/jwt/login -");
}

#[tokio::test]
async fn names_that_would_need_escaping_are_refused_before_anything_is_sent() {
    let set = set(role(), &[]);
    for name in ["", "../sys", "a/b", "a b", "a%2f", "ä", "..", "a?list=true"] {
        assert!(matches!(set.keys.data_key(name).await, Err(Error::Name(_))), "{name}");
    }
}

#[tokio::test]
async fn a_batch_with_refused_items_gives_all_results() {
    let results = json!([{"ciphertext": "vault:v1:x"}, {"error": "bad"}]);
    let set = set(role(), &[login("a"), (400, json!({"data": {"batch_results": results}}))]);
    let sealed = set.keys.encrypt_batch("k", &[(b"1", b""), (b"2", b"")]).await.unwrap();
    assert_eq!(sealed, [Ok("vault:v1:x".to_owned()), Err(ItemRefused("bad".into()))]);
}

#[tokio::test]
async fn a_batch_that_lost_items_is_an_error() {
    let results = json!([{"ciphertext": "vault:v1:x"}]);
    let set = set(role(), &[login("a"), (200, json!({"data": {"batch_results": results}}))]);
    let sealed = set.keys.encrypt_batch("k", &[(b"1", b""), (b"2", b"")]).await;
    assert!(matches!(sealed, Err(Error::Answer(_))));
}

#[tokio::test]
async fn a_data_key_of_another_length_is_refused() {
    let short =
        json!({"data": {"plaintext": STANDARD.encode([0; 16]), "ciphertext": "vault:v1:x"}});
    let set = set(role(), &[login("a"), (200, short)]);
    assert!(matches!(set.keys.data_key("k").await, Err(Error::Answer(_))));
}

#[tokio::test]
async fn deleting_what_is_gone_is_no_error() {
    let gone = (400, json!({"errors": ["no existing key named k could be found"]}));
    let set = set(role(), &[login("a"), gone, (404, json!({"errors": []}))]);
    set.keys.delete_key("k").await.unwrap();
}

#[test]
fn a_printed_error_names_the_reason() {
    let errors = message::errors(br#"{"errors":["permission denied"]}"#);
    let error = Error::Refused { status: 403, path: "transit/keys/k".into(), errors };
    let text = error.to_string();
    assert_eq!(text, "the Key Center refused transit/keys/k (403): permission denied");
}
