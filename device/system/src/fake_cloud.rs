//! For tests: a cloud on a Unix socket that keeps the rules of `wire` as far as a device sees
//! them, and a modem on another.

use crate::fake_updates::{self, FakeReleases};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::sign::{Curve, EcdsaKey};
use futures_util::stream;
use http_link::serve::{Limits, bind_unix, serve_unix};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tee_api::clock::{TimeClaims, TimePurpose};
use tee_api::gatekeeper::{TicketClaims, TicketPurpose};
use tokio::sync::watch;
use wire::attest::{Challenge, Statement, TimeQuery, TimeToken};
use wire::device::{Ack, Bind, Bound, DeviceClaims, Token, TokenRequest};
use wire::find::{Activate, ActivationState, Command, EndLost, Report, Ticket};
use wire::push::{Event, Message, Register, Registration};
use wire::{Base64, Refusal};

pub(crate) const LOGIN: &str = "owner@example.org";
pub(crate) const PASSWORD: &str = "correct-horse-1";
const CONTENT_KEY: [u8; 16] = [9; 16];

/// The fake.
pub(crate) struct FakeCloud {
    pub(crate) releases: Arc<FakeReleases>,
    state: Mutex<Data>,
    tickets: EcdsaKey,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Data {
    now_ms: u64,
    challenges: Vec<Vec<u8>>,
    /// The key that the device is bound by.
    bound: Option<Vec<u8>>,
    tokens: u64,
    next_event: u64,
    events: Vec<(u64, Event)>,
    acknowledged: Vec<u64>,
    reports: Vec<Report>,
    find_enabled: bool,
    serial: String,
    refuse_reports: bool,
    logins: Vec<(Option<String>, u64)>,
}

type Shared = State<Arc<FakeCloud>>;
type Refused = (StatusCode, Json<Refusal>);

impl FakeCloud {
    /// A cloud at `socket` whose clock says `now_ms`, for the device with this serial number.
    pub(crate) fn start(socket: &Path, now_ms: u64, serial: &str) -> Arc<Self> {
        let data = Data { now_ms, serial: serial.into(), next_event: 1, ..Data::default() };
        let tickets = EcdsaKey::generate(Curve::P256).unwrap();
        let cloud = Arc::new(Self {
            releases: Arc::default(),
            state: Mutex::new(data),
            tickets,
            changed: watch::Sender::new(0),
        });
        let app = Router::new()
            .route("/v1/attest/challenge", post(challenge))
            .route("/v1/attest/time", post(time))
            .route("/v1/sessions", post(sign_in))
            .route("/v1/sessions/current", delete(|| async { StatusCode::NO_CONTENT }))
            .route("/v1/account", get(profile))
            .route("/v1/devices", post(bind))
            .route("/v1/devices/token", post(token))
            .route("/v1/devices/self/link", get(link))
            .route("/v1/devices/self/ack", post(acknowledge))
            .route("/v1/devices/self/find", post(enable_find))
            .route("/v1/devices/self/reports", post(report))
            .route("/v1/devices/self/lost-mode/end", post(end_lost_mode))
            .route("/v1/push/registrations", post(register))
            .route("/v1/activation/state", post(activation_state))
            .route("/v1/activation", post(activate))
            .with_state(cloud.clone())
            .merge(fake_updates::router(cloud.releases.clone()));
        let listener = bind_unix(socket, 0o600).unwrap();
        tokio::spawn(serve_unix(listener, app, Limits::default(), std::future::pending()));
        cloud
    }

    /// The key that its tickets verify with.
    pub(crate) fn ticket_key(&self) -> Vec<u8> {
        self.tickets.public_key_spki().unwrap()
    }

    /// Puts an event into the device's queue; gives its id.
    pub(crate) fn send(&self, event: Event) -> u64 {
        let mut data = self.lock();
        let id = data.next_event;
        data.next_event += 1;
        data.events.push((id, event));
        drop(data);
        self.changed.send_modify(|version| *version += 1);
        id
    }

    /// Puts a command into the device's queue; its command id is its event id plus 100.
    pub(crate) fn command(&self, command: Command) -> u64 {
        let command_id = self.lock().next_event + 100;
        self.send(Event::Command { command_id, command });
        command_id
    }

    /// A push message for `registration_id`.
    pub(crate) fn message(registration_id: &str, title: &str, body: &str) -> Event {
        let message = Message { title: title.into(), body: body.into() };
        let json = serde_json::to_vec(&message).unwrap();
        let key = crypto::aead::Key::aes_128_gcm(&CONTENT_KEY);
        let sealed = Base64(key.seal(registration_id.as_bytes(), &json));
        Event::Push { registration_id: registration_id.into(), sealed }
    }

    pub(crate) fn reports(&self) -> Vec<Report> {
        self.lock().reports.clone()
    }

    pub(crate) fn acknowledged(&self) -> Vec<u64> {
        self.lock().acknowledged.clone()
    }

    pub(crate) fn find_enabled(&self) -> bool {
        self.lock().find_enabled
    }

    /// `(Last-Event-ID, events waiting)` of each link that came up.
    pub(crate) fn links(&self) -> Vec<(Option<String>, u64)> {
        self.lock().logins.clone()
    }

    pub(crate) fn refuse_reports(&self, refuse: bool) {
        self.lock().refuse_reports = refuse;
    }

    fn ticket(&self, purpose: TicketPurpose, nonce: &Base64) -> Ticket {
        let serial = self.lock().serial.clone();
        let claims = TicketClaims { serial, purpose, nonce: URL_SAFE_NO_PAD.encode(&nonce.0) };
        Ticket { ticket: jws::sign(&claims, |m| self.tickets.sign_fixed(m)).unwrap() }
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.state.lock().unwrap()
    }
}

fn refuse<T>(status: u16, error: &str, reason: &str) -> Result<T, Refused> {
    Err((StatusCode::from_u16(status).unwrap(), Json(Refusal::new(error, reason))))
}

fn device_only(headers: &HeaderMap) -> Result<(), Refused> {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    if bearer.is_some_and(|bearer| bearer.starts_with("Bearer device-")) {
        return Ok(());
    }
    refuse(401, "unauthorised", "sign in")
}

async fn challenge(State(cloud): Shared) -> Json<Challenge> {
    let challenge = crypto::random_array::<32>().to_vec();
    cloud.lock().challenges.push(challenge.clone());
    Json(Challenge { challenge: Base64(challenge), expires_at_ms: 0 })
}

async fn time(State(cloud): Shared, Json(query): Json<TimeQuery>) -> Json<TimeToken> {
    let serial = cloud.lock().serial.clone();
    let time_ms = cloud.lock().now_ms;
    let nonce = URL_SAFE_NO_PAD.encode(&query.nonce.0);
    let claims = TimeClaims { purpose: TimePurpose::SetTime, serial, nonce, time_ms };
    Json(TimeToken { token: jws::sign(&claims, |m| cloud.tickets.sign_fixed(m)).unwrap() })
}

async fn sign_in(Json(body): Json<Value>) -> Result<Json<Value>, Refused> {
    match (body["login"].as_str(), body["password"].as_str()) {
        (Some(LOGIN), Some(PASSWORD)) => {
            Ok(Json(json!({"account_id": "a1", "token": "user-a1", "expires_at_ms": 0})))
        }
        _ => refuse(401, "wrong_password", "That password is wrong."),
    }
}

async fn profile(headers: HeaderMap) -> Result<Json<Value>, Refused> {
    let account = match headers["authorization"].to_str().unwrap() {
        "Bearer user-a1" => "a1",
        "Bearer user-b2" => "b2",
        _ => return refuse(401, "unauthorised", "sign in"),
    };
    Ok(Json(json!({
        "account_id": account, "phone": "+49*12", "email": "o***@example.org", "country": "DE",
        "created_at_ms": 0
    })))
}

async fn bind(State(cloud): Shared, Json(body): Json<Bind>) -> Json<Bound> {
    cloud.lock().bound = Some(body.chain[0].0.clone());
    let statement = Statement {
        serial: cloud.lock().serial.clone(),
        security_level: "trusted_environment".into(),
        locked: true,
        boot_state: "green".into(),
        verified_boot_key: String::new(),
        verified_boot_hash: String::new(),
        os_patch_level: 202_611,
    };
    Json(Bound { device_id: "d1".into(), account_id: "a1".into(), statement })
}

async fn token(
    State(cloud): Shared,
    Json(body): Json<TokenRequest>,
) -> Result<Json<Token>, Refused> {
    let mut data = cloud.lock();
    let Some(key) = data.bound.clone() else { return refuse(401, "unknown_device", "bind first") };
    let Ok(claims) = jws::verify::<DeviceClaims>(&body.assertion, &key) else {
        return refuse(401, "bad_assertion", "another key");
    };
    let now = data.now_ms / 1000;
    if claims.iat > now + 60 || claims.exp < now || claims.aud != "holdfast-cloud" {
        return refuse(401, "stale_assertion", "the device's clock is wrong");
    }
    data.tokens += 1;
    let token = format!("device-{}", data.tokens);
    Ok(Json(Token { token, expires_at_ms: data.now_ms + 3_600_000, now_ms: data.now_ms }))
}

async fn link(State(cloud): Shared, headers: HeaderMap) -> Result<Response, Refused> {
    device_only(&headers)?;
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap().to_owned());
    {
        let mut data = cloud.lock();
        let waiting = data.events.len() as u64;
        data.logins.push((last, waiting));
    }
    let mut changed = cloud.changed.subscribe();
    changed.mark_changed();
    let pieces = stream::unfold((cloud, changed, 0), |(cloud, mut changed, sent)| async move {
        loop {
            changed.changed().await.ok()?;
            let events = cloud.lock().events.clone();
            let new: Vec<_> = events.into_iter().filter(|(id, _)| *id > sent).collect();
            let Some(last) = new.last().map(|(id, _)| *id) else { continue };
            let text: String = new
                .iter()
                .map(|(id, event)| format!("id: {id}\ndata: {}\n\n", json!(event)))
                .collect();
            return Some((Ok::<_, std::convert::Infallible>(text), (cloud, changed, last)));
        }
    });
    Ok(([("content-type", "text/event-stream")], Body::from_stream(pieces)).into_response())
}

async fn acknowledge(
    State(cloud): Shared,
    headers: HeaderMap,
    Json(ack): Json<Ack>,
) -> Result<StatusCode, Refused> {
    device_only(&headers)?;
    let mut data = cloud.lock();
    data.events.retain(|(id, _)| !ack.ids.contains(id));
    data.acknowledged.extend(ack.ids);
    Ok(StatusCode::NO_CONTENT)
}

async fn enable_find(State(cloud): Shared, headers: HeaderMap) -> Result<StatusCode, Refused> {
    device_only(&headers)?;
    cloud.lock().find_enabled = true;
    Ok(StatusCode::NO_CONTENT)
}

async fn report(
    State(cloud): Shared,
    headers: HeaderMap,
    Json(report): Json<Report>,
) -> Result<StatusCode, Refused> {
    device_only(&headers)?;
    if cloud.lock().refuse_reports {
        return refuse(503, "busy", "later");
    }
    cloud.lock().reports.push(report);
    Ok(StatusCode::NO_CONTENT)
}

async fn end_lost_mode(
    State(cloud): Shared,
    headers: HeaderMap,
    Json(body): Json<EndLost>,
) -> Result<Json<Ticket>, Refused> {
    device_only(&headers)?;
    if body.password != PASSWORD {
        return refuse(403, "wrong_password", "That password is wrong.");
    }
    Ok(Json(cloud.ticket(TicketPurpose::EndLostMode, &body.nonce)))
}

async fn register(
    headers: HeaderMap,
    Json(body): Json<Register>,
) -> Result<Json<Registration>, Refused> {
    device_only(&headers)?;
    assert_eq!(body.hashed_ids.len(), 3);
    let registration_id = format!("r-{}", body.app);
    Ok(Json(Registration { registration_id, content_key: Base64(CONTENT_KEY.to_vec()) }))
}

async fn activation_state(State(cloud): Shared) -> Json<ActivationState> {
    let locked = cloud.lock().find_enabled;
    Json(ActivationState { locked, owner_hint: Some("o***@example.org".into()) })
}

async fn activate(
    State(cloud): Shared,
    Json(body): Json<Activate>,
) -> Result<Json<Ticket>, Refused> {
    if body.login != LOGIN {
        let reason = "This device is locked to another account.";
        return refuse(403, "activation_locked", reason);
    }
    if body.password != PASSWORD {
        return refuse(403, "wrong_password", "That password is wrong.");
    }
    Ok(Json(cloud.ticket(TicketPurpose::Activate, &body.nonce)))
}

/// A modem at `socket` that knows one position.
pub(crate) fn start_modem(socket: &Path) {
    let position = || async { Json(json!({"lat": 53.55, "lon": 9.99, "accuracy_m": 12.0})) };
    let app = Router::new().route("/position", get(position));
    let listener = bind_unix(socket, 0o600).unwrap();
    tokio::spawn(serve_unix(listener, app, Limits::default(), std::future::pending()));
}
