//! The real programs, over TLS: from sign-up to a device that is found, and the hostile ways.

mod attestation;
mod console;
mod maker;
mod person;
mod processes;
mod snapshot_upload;
mod update;

use effects::{Clock as _, SystemClock};
use futures_util::StreamExt as _;
use http_link::Error;
use keyattest::VerifiedBootState;
use maker::Device;
use person::{EMAIL, PASSWORD, PHONE, Person, code_of, enrol, fresh_challenge};
use processes::Clouds;
use serde_json::{Value, json};
use wire::attest::{TimeQuery, TimeToken};
use wire::find::{Command, Outcome, Position, Report, Ticket};
use wire::push::{Delivery, Event, Message, Register, Registration, Send, Sent};

#[tokio::test(flavor = "multi_thread")]
async fn from_sign_up_to_a_device_that_is_lost_and_activated_again() {
    let mut clouds = Clouds::start();
    let client = clouds.cloud.client();
    let anna = Person::sign_up(&client, PHONE, EMAIL).await;
    let device = Device::made("HF-0042-0007");
    let ticket_key = enrol(&clouds, &client, &device).await;

    let chain = device.attest(&fresh_challenge(&client).await);
    let said: Value =
        client.post("/v1/attest").json(&json!({"chain": chain})).send_json().await.unwrap();
    assert_eq!((&said["serial"], &said["boot_state"]), (&json!("HF-0042-0007"), &json!("green")));
    let replay = client.post("/v1/attest").json(&json!({"chain": chain})).send().await;
    assert_eq!(code_of(replay), "challenge_replayed");

    // S2.1.1: an enrolled device gets the time, signed for its own nonce.
    let ask = async |nonce: Vec<u8>| {
        let chain = device.attest(&fresh_challenge(&client).await);
        let query = TimeQuery { chain, nonce: wire::Base64(nonce) };
        client.post("/v1/attest/time").json(&query).send_json::<TimeToken>().await
    };
    let token = ask(vec![5; 32]).await.unwrap();
    let claims: Value = jws::verify(&token.token, &ticket_key).unwrap();
    let now_ms = SystemClock::default().now().0;
    assert!(claims["time_ms"].as_u64().unwrap().abs_diff(now_ms) < 60_000);
    let nonce = "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU";
    let said = json!(["set_time", "HF-0042-0007", nonce]);
    assert_eq!(json!([claims["purpose"], claims["serial"], claims["nonce"]]), said);
    assert_eq!(code_of(ask(vec![5; 31]).await), "invalid");
    let query = TimeQuery { chain, nonce: wire::Base64(vec![5; 32]) };
    let replay = client.post("/v1/attest/time").json(&query).send().await;
    assert_eq!(code_of(replay), "challenge_replayed");
    let stranger = Device::made("HF-0042-0666");
    let chain = stranger.attest(&fresh_challenge(&client).await);
    let query = TimeQuery { chain, ..query };
    let refused = client.post("/v1/attest/time").json(&query).send().await;
    assert_eq!(code_of(refused), "attestation_refused");

    let orange = device.attest_as(&fresh_challenge(&client).await, VerifiedBootState::Unverified);
    assert_eq!(code_of(anna.bind(orange).await.map(drop)), "device_not_trusted");
    let bound = anna.bind(device.attest(&fresh_challenge(&client).await)).await.unwrap();
    let link = person::Link::open(&client, &bound.device_id, &device).await;

    // Push: a developer's message comes down the link, sealed.
    let register = Register { app: "org.example.mail".into(), hashed_ids: vec!["ab".repeat(32)] };
    let registration: Registration =
        link.post("/v1/push/registrations").json(&register).send_json().await.unwrap();
    let message = Message { title: "Canary title".into(), body: "canary-message-body".into() };
    let send = Send { registration_id: registration.registration_id.clone(), message };
    let developer = clouds.credential("developer.json");
    let sent: Sent =
        client.post("/v1/push/messages").bearer(&developer).json(&send).send_json().await.unwrap();
    let mut events = link.events().await;
    let (event_id, event) = events.next().await.unwrap();
    let Event::Push { registration_id, sealed } = event else { panic!("a message") };
    let key = crypto::aead::Key::aes_128_gcm(registration.content_key.0[..].try_into().unwrap());
    let opened = key.open(registration_id.as_bytes(), &sealed.0).unwrap();
    assert!(String::from_utf8(opened).unwrap().contains("canary-message-body"));
    link.post("/v1/devices/self/ack").json(&json!({"ids": [event_id]})).send().await.unwrap();
    let path = format!("/v1/push/messages/{}", sent.message_id);
    let delivery: Delivery = client.get(&path).bearer(&developer).send_json().await.unwrap();
    assert_eq!(delivery.state, "delivered");

    // Find: off at first; then the owner locates it, and sets lost mode.
    assert_eq!(
        code_of(anna.command(&bound.device_id, &Command::Locate).await.map(drop)),
        "find_disabled"
    );
    link.post("/v1/devices/self/find").json(&json!({"enabled": true})).send().await.unwrap();
    let locate = anna.command(&bound.device_id, &Command::Locate).await.unwrap();
    let (_, event) = events.next().await.unwrap();
    assert_eq!(event, Event::Command { command_id: locate, command: Command::Locate });
    let position = Position { lat: 53.55, lon: 9.99, accuracy_m: 20.0, at_ms: 1 };
    let report = Report { command_id: Some(locate), failed: None, position: Some(position) };
    link.post("/v1/devices/self/reports").json(&report).send().await.unwrap();
    let outcome = anna.outcome(&bound.device_id, locate).await;
    assert_eq!(outcome, Outcome::Done { position: Some(position) });
    let lost = Command::Lost { message: "canary-lost-message".into() };
    anna.command(&bound.device_id, &lost).await.unwrap();

    // A crash: nothing acknowledged is lost, and the link goes on where it was.
    clouds.cloud.kill();
    clouds.restart_cloud();
    let client = clouds.cloud.client();
    let link = person::Link::open(&client, &bound.device_id, &device).await;
    let (_, event) = link.events().await.next().await.unwrap();
    assert!(matches!(event, Event::Command { .. }), "what was not acknowledged comes again");

    // S2.5.2: a thief with the e-mail resets the password; only the old one ends lost mode.
    client.post("/v1/password/forgot").json(&json!({"login": EMAIL})).send().await.unwrap();
    let code = person::newest_code(&clouds.state().join("outbox"));
    let reset = json!({"login": EMAIL, "code": code, "new_password": "d1eb-neu-pw"});
    client.post("/v1/password/reset").json(&reset).send().await.unwrap();
    let end = |password: &str| json!({"nonce": wire::Base64(vec![7; 32]), "password": password});
    let path = "/v1/devices/self/lost-mode/end";
    let thief = link.post(path).json(&end("d1eb-neu-pw")).send().await;
    assert_eq!(code_of(thief), "password_reset_after_loss");

    // Activation after a reset: a stranger's account is refused, the owner's is not.
    let stranger = Person::sign_up(&client, "+4915111111111", "berta@example.org").await;
    let activate = async |login: &str, password: &str| {
        let chain = device.attest(&fresh_challenge(&client).await);
        let nonce = wire::Base64(vec![7; 32]);
        let body = json!({"chain": chain, "nonce": nonce, "login": login, "password": password});
        client.post("/v1/activation").json(&body).send_json::<Ticket>().await
    };
    let chain = device.attest(&fresh_challenge(&client).await);
    let state: Value = client
        .post("/v1/activation/state")
        .json(&json!({"chain": chain}))
        .send_json()
        .await
        .unwrap();
    assert_eq!(state, json!({"locked": true, "owner_hint": "a***@example.org"}));
    assert_eq!(code_of(activate(&stranger.account_id, PASSWORD).await), "activation_locked");
    assert_eq!(code_of(activate(EMAIL, "d1eb-neu-pw").await), "password_reset_after_loss");
    let ticket = activate(EMAIL, PASSWORD).await.unwrap();
    let claims: Value = jws::verify(&ticket.ticket, &ticket_key).unwrap();
    assert_eq!(
        (&claims["serial"], &claims["purpose"]),
        (&json!("HF-0042-0007"), &json!("activate"))
    );

    assert!(clouds.cloud.resident_kib() < 65 * 1024, "{} KiB", clouds.cloud.resident_kib());
    assert!(clouds.cloud.stop().success());
    nothing_personal_is_left(&clouds);
}

/// Database, its log and the program's log: no canary, not even half of one.
fn nothing_personal_is_left(clouds: &Clouds) {
    let canaries = [
        PHONE,
        "15123456789",
        EMAIL,
        "anna.blum",
        PASSWORD,
        "d1eb-neu-pw",
        "canary",
        "$argon2id$",
        "Annas Telefon",
        "53.55",
    ];
    let mut files = vec![clouds.folder.path().join("cloud.log")];
    for entry in std::fs::read_dir(clouds.state()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("cloud.db") {
            files.push(path);
        }
    }
    assert!(files.len() >= 2);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        for canary in canaries {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} is in {}", file.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_input_is_refused_and_strangers_see_nothing() {
    let clouds = Clouds::start();
    let client = clouds.cloud.client();
    let anna = Person::sign_up(&client, PHONE, EMAIL).await;
    let device = Device::made("HF-0042-0008");
    enrol(&clouds, &client, &device).await;
    let bound = anna.bind(device.attest(&fresh_challenge(&client).await)).await.unwrap();
    let berta = Person::sign_up(&client, "+4915111111111", "berta@example.org").await;

    // Another's device does not exist.
    for id in [&*bound.device_id, "' OR '1'='1", "..%2f..", "x"] {
        let path = format!("/v1/devices/{}/commands", id.replace(' ', "%20"));
        let refused = berta.client.post(&path).bearer(&berta.token).json(&Command::Erase).send();
        assert_eq!(refused.await.err().and_then(|error| error.status()), Some(404), "{id}");
    }
    let bertas = device.attest(&fresh_challenge(&client).await);
    assert!(berta.bind(bertas).await.is_ok(), "not held by find-device: it may change hands");

    // Tokens that are none.
    for token in ["", "x", &"A".repeat(43), "' OR 1=1 --", &"x".repeat(8000)] {
        let refused = client.get("/v1/account").bearer(token).send().await;
        assert_eq!(refused.err().and_then(|error| error.status()), Some(401), "{token:.10}");
    }
    assert_eq!(client.get("/v1/account").send().await.err().unwrap().status(), Some(401));

    // SQL in every field that reaches a query.
    let sql = "'; DROP TABLE account_accounts; --";
    let login = json!({"login": sql, "password": sql});
    assert_eq!(code_of(client.post("/v1/sessions").json(&login).send().await), "wrong_password");
    let forgot = client.post("/v1/password/forgot").json(&json!({"login": sql})).send().await;
    assert_eq!(forgot.unwrap().status(), 202);
    assert!(client.get("/v1/account").bearer(&anna.token).send().await.is_ok());

    // Bodies that are too large, and bodies that are none.
    // On a connection of its own: the server hangs up on whoever sends so much.
    let own = clouds.cloud.client();
    let huge = own.post("/v1/sessions").header("content-type", "application/json");
    let huge = huge.bytes(vec![b' '; 1 << 20]).send().await;
    assert_eq!(huge.err().and_then(|error| error.status()), Some(413));
    for body in ["", "{", "[]", "null", "{\"login\": 1}", "\u{0}"] {
        let request = client.post("/v1/sessions").header("content-type", "application/json");
        let status = request.bytes(body.as_bytes().to_vec()).send().await.err().unwrap().status();
        assert!(matches!(status, Some(400 | 422)), "{body:?}: {status:?}");
    }
    let chains = [json!([]), json!(["AAAA"]), json!(["!"]), json!([bound.device_id])];
    for chain in chains {
        let refused = client.post("/v1/attest").json(&json!({"chain": chain})).send().await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{chain}");
    }

    // Each credential opens its own doors only.
    let maker = clouds.credential("maker.json");
    for path in ["/v1/account", "/v1/devices", "/v1/push/messages/1"] {
        let refused = client.get(path).bearer(&maker).send().await;
        assert_eq!(refused.err().and_then(|error| error.status()), Some(401), "{path}");
    }
    let chain = json!({"chain": device.chain()});
    let refused = client.post("/v1/makers/devices").bearer(&anna.token).json(&chain).send().await;
    assert_eq!(code_of(refused), "not_a_maker");
    let refused = client.post("/v1/devices/self/ack").bearer(&anna.token).json(&json!({"ids": []}));
    assert_eq!(code_of(refused.send().await), "device_only");

    // Closing: the account and its key are gone.
    let close = json!({"password": PASSWORD});
    client.post("/v1/account/close").bearer(&anna.token).json(&close).send().await.unwrap();
    let again = json!({"login": EMAIL, "password": PASSWORD});
    assert_eq!(code_of(client.post("/v1/sessions").json(&again).send().await), "wrong_password");
}
