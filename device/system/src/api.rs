//! The local API: HTTP+JSON on a Unix socket (`/run/holdfast.sock`), for programs of the same
//! user or of the system's root; everyone else gets 403 `not_allowed`. Only `/v1/keys…`
//! ([`keys`], docs/keys.md) is for every user: each has keys of their own.
//!
//! A refusal is a status with `{"error": word, "reason": sentence}`, and `Retry-After` (seconds)
//! where it is known when to try again. What the cloud refuses keeps the cloud's status, word
//! and reason; a cloud that cannot be reached is 502 `cloud_unreachable`. Common to all: 400
//! `bad_request`, 410 `erased`, 507 `disk_full`, 503 `tee_unavailable`.
//!
//! | route | body → answer | refusals of its own |
//! |---|---|---|
//! | `GET /v1/status` | → [`crate::device::Status`] | |
//! | `POST /v1/lock/enrol?kind=` | `pin` (as without), `password` or `pattern` → `{"enrolled": true}` after the person chose picture and word and entered it twice, all on the trusted screen | 403 `cancelled`, 400 `tee_bad_parameters` (the two differ), 409 `tee_bad_state` (one is set), `prompt_open`; 423 `activation_due`, `lost_mode` |
//! | `POST /v1/lock/unlock` | → `{"unlocked": true}` after the PIN was typed | 403 `wrong_pin`, `cancelled`; 429 `throttled`; 409 `prompt_open`; 423 `activation_due`, `lost_mode` |
//! | `POST /v1/lock/lock` | → `{"locked": bool}` | |
//! | `/v1/lock/…` | what can be changed about the screen lock: see [`lock`] | |
//! | `POST /v1/account/bind` | `{"token"}` → `{"device_id", "account_id", "attestation"}` ([`wire::attest::Statement`]) | 409 `bound_to_another`, 423 `activation_due` |
//! | `POST /v1/account/sign-in` | `{"login", "password"}` → as bind | as bind |
//! | `POST /v1/attest` | `{"challenge": base64}` → `{"chain": [base64 DER, leaf first]}` | |
//! | `PUT /v1/files` | tar (pax) → `{"files", "dirs", "links", "bytes", "removed", "skipped": [{"path", "why"}]}`, durable; merges | 423 `locked`; 400 `bad_archive` |
//! | `PUT /v1/files?replace=true` | the same; what the archive does not name is removed once all of it came (`removed` says how many names), also what is of another kind under its name | the same |
//! | `GET /v1/files/tar` | → the whole area as tar; breaks off where it fails | 423 `locked` |
//! | `GET /v1/files?path=` | percent-encoded bytes → `{"entries": [{"name": base64, "display", "kind": "file"\|"folder"\|"symlink", "size", "mode", "mtime_ms", "target": base64\|null}]}` | 423 `locked`, 404 `not_found` |
//! | `GET /v1/files/content?path=` | → the bytes | 423 `locked`, 404 `not_found` |
//! | `POST /v1/sync/upload` | → NDJSON, see [`sync`] | 423 `locked`, 409 `not_bound` |
//! | `POST /v1/sync/restore` | → NDJSON, see [`sync`] | 423 `locked`, 409 `not_bound` |
//! | `POST /v1/confirm` | `{"text", "extra": base64}` → [`crate::device::Confirmed`], after the person confirmed exactly that text on the trusted screen | 403 `cancelled`; 400 `tee_bad_parameters` (it can't be shown in full); 409 `prompt_open`, `tee_bad_state` (they said no too often) |
//! | `GET /v1/find` | → `{"enabled", "lost", "alarm_ms"}` | |
//! | `POST /v1/find/enable` | → `{"enabled": true}` | 409 `not_bound` |
//! | `POST /v1/lost-mode/end` | `{"password"}` → `{"lost": null}` | 409 `not_lost`; the cloud's `wrong_password`, `password_reset_after_loss` |
//! | `GET /v1/activation` | → `{"due": bool, "owner_hint": text\|null}` | |
//! | `POST /v1/activation` | `{"login", "password"}` → `{"activated": true}` | 409 `activation_not_due`; the cloud's `activation_locked`, `wrong_password`, `password_reset_after_loss` |
//! | `GET /v1/notifications` | → `{"notifications": [{"id", "app", "title", "body", "at_ms"}]}`, newest first | |
//! | `DELETE /v1/notifications` | → 204 | |
//! | `GET /v1/push/registrations` | → `{"registrations": [{"app", "registration_id"}]}` | |
//! | `POST /v1/push/registrations` | `{"app"}` → `{"app", "registration_id"}` | 409 `not_bound` |
//! | `GET /v1/bootloader` | → [`crate::device::Bootloader`] | |
//! | `POST /v1/bootloader/unlock` | → `{"erased": true, "erasures"}` after the person agreed on the trusted screen; the daemon then ends | 403 `cancelled`, `tee_denied` (find-device is on, lost mode); 409 `tee_bad_state` (it is), `prompt_open` |
//! | `POST /v1/bootloader/lock` | the same | the same; 409 `would_not_boot` |
//! | `PUT /v1/bootloader/custom-key` | `{"key": base64 AVB public-key blob\|null}` → `{"custom_key": hex\|null}` | 409 `tee_bad_state` while the bootloader is locked |
//! | `GET /v1/update` | → [`crate::device::UpdateView`] | 503 `no_updates` |
//! | `POST /v1/update/check` | asks the cloud → the same | 409 `not_bound`, `update_busy`; 502 `bad_offer` |
//! | `POST /v1/update/download` | → NDJSON, see [`update`] | 409 `nothing_offered`, `not_bound`, `update_busy` |
//! | `POST /v1/update/apply` | → NDJSON, see [`update`] | 409 `nothing_downloaded`, `update_busy` |
//! | `POST /v1/update/restart` | → `{"restarting": true}`; the device then restarts into recovery | 409 `nothing_applied`, `update_busy` |
//! | `PUT /v1/update/file` | an OTA zip → as `GET`, once it was judged | 400 `truncated`, 413 `too_large`, 422 with the reason, 409 `update_busy`, `restarting` |
//! | `DELETE /v1/update` | stops a download, throws the update and its package away → as `GET` | 409 `update_busy`, `restarting` |
//! | `GET /v1/ta` | → `{"applications": [`[`crate::device::Application`]`]}` | |
//! | `PUT /v1/ta` | a signed image of a trusted application → that application; kept, and loaded again at each start | 403 `tee_security` with the verdict, `tee_denied` (part of the system); 507 `tee_resources` |
//! | `DELETE /v1/ta/UUID?signer=` | removes one that was installed → 204 | 404 `not_found`, 403 `tee_denied` (part of the system) |
//! | `POST /v1/ta/UUID/call?signer=` | `{"command": JSON of the command}` → `{"reply": JSON}` | 404 `tee_not_found`; what the application refuses, as `tee_bad_parameters` |
//! | `POST /v1/factory/csr` | → `{"public_key": base64 DER}` | 403 `tee_denied` outside the factory |
//! | `POST /v1/factory/install` | `{"chain": [base64 DER], "ticket_key": base64 DER\|null, "ids"?: {"brand", "device", "product", "manufacturer", "model", "imei", "second_imei", "meid"}}` → `{"serial"}` | 403 `tee_denied` outside the factory |
//! | `POST /v1/erase` | → `{"erased": true, "erasures"}`; the daemon then ends | |

mod applications;
mod files;
mod keys;
pub mod lock;
pub mod sync;
pub mod update;

pub(crate) use files::file_body;

use crate::device::{Device, Identifiers, blocking};
use crate::error::Error;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use http_link::serve::PeerCredentials;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use wire::{Base64, Refusal};

type Shared = State<Arc<Device>>;
type Answer = Result<Json<Value>, Error>;

/// The routes of `device`.
pub fn router(device: Arc<Device>) -> Router {
    let system = system().route_layer(middleware::from_fn(check_peer));
    keys::router()
        .merge(system)
        .fallback(|| async { Error::NotFound("this route".into()) })
        .with_state(device)
}

/// What is for the device's own user and its root.
fn system() -> Router<Arc<Device>> {
    Router::new()
        .route("/v1/status", get(status))
        .merge(lock::router())
        .route("/v1/account/bind", post(bind))
        .route("/v1/account/sign-in", post(sign_in))
        .route("/v1/attest", post(attest))
        .route("/v1/files", put(files::import).get(files::list))
        .route("/v1/files/tar", get(files::export))
        .route("/v1/files/content", get(files::content))
        .route("/v1/sync/upload", post(sync::upload))
        .route("/v1/sync/restore", post(sync::restore))
        .route("/v1/confirm", post(confirm))
        .route("/v1/find", get(find))
        .route("/v1/find/enable", post(enable_find))
        .route("/v1/lost-mode/end", post(end_lost_mode))
        .route("/v1/activation", get(activation).post(activate))
        .route("/v1/notifications", get(notifications).delete(clear_notifications))
        .route("/v1/push/registrations", get(registrations).post(register))
        .route("/v1/bootloader", get(bootloader))
        .route("/v1/bootloader/unlock", post(unlock_bootloader))
        .route("/v1/bootloader/lock", post(lock_bootloader))
        .route("/v1/bootloader/custom-key", put(set_custom_key))
        .route("/v1/update", get(update::view).delete(update::discard))
        .route("/v1/update/check", post(update::check))
        .route("/v1/update/download", post(update::download))
        .route("/v1/update/apply", post(update::apply))
        .route("/v1/update/restart", post(update::restart))
        .route("/v1/update/file", put(update::copy))
        .route("/v1/ta", get(applications::list).put(applications::install))
        .route("/v1/ta/{uuid}", delete(applications::remove))
        .route("/v1/ta/{uuid}/call", post(applications::call))
        .route("/v1/factory/csr", post(factory_csr))
        .route("/v1/factory/install", post(factory_install))
        .route("/v1/erase", post(erase))
}

/// The system's root, or the user that the daemon runs as.
fn is_system(peer: &PeerCredentials) -> bool {
    peer.uid == 0 || peer.uid == rustix::process::geteuid().as_raw()
}

async fn check_peer(request: Request, next: Next) -> Response {
    match request.extensions().get::<PeerCredentials>() {
        Some(peer) if is_system(peer) => next.run(request).await,
        _ => {
            let reason = "this API is for the device's own user and its root";
            (StatusCode::FORBIDDEN, Json(Refusal::new("not_allowed", reason))).into_response()
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (error, reason) = (self.code().to_owned(), self.to_string());
        let body = Json(keystore_client::Refusal { error, code: self.key_code(), reason });
        match self.retry_after_ms() {
            Some(wait) => {
                let seconds = wait.div_ceil(1000).to_string();
                (status, [(RETRY_AFTER, seconds)], body).into_response()
            }
            None => (status, body).into_response(),
        }
    }
}

/// A JSON body; a malformed one is refused like everything else.
struct Body<T>(T);

impl<T, S> FromRequest<S> for Body<T>
where
    Json<T>: FromRequest<S, Rejection = JsonRejection>,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(Error::BadRequest(rejection.body_text())),
        }
    }
}

fn answer(value: impl serde::Serialize) -> Answer {
    serde_json::to_value(value).map(Json).map_err(|error| Error::Internal(error.to_string()))
}

async fn status(State(device): Shared) -> Answer {
    answer(blocking(&device, Device::status).await?)
}

#[derive(Deserialize)]
struct TokenBody {
    token: String,
}

async fn bind(State(device): Shared, Body(body): Body<TokenBody>) -> Answer {
    answer(device.bind(&body.token).await?)
}

#[derive(Deserialize)]
struct Credentials {
    login: String,
    password: String,
}

async fn sign_in(State(device): Shared, Body(body): Body<Credentials>) -> Answer {
    answer(device.sign_in(&body.login, &body.password).await?)
}

#[derive(Deserialize)]
struct ChallengeBody {
    challenge: Base64,
}

async fn attest(State(device): Shared, Body(body): Body<ChallengeBody>) -> Answer {
    let chain = blocking(&device, move |device| device.attest(&body.challenge.0)).await?;
    answer(json!({"chain": chain}))
}

#[derive(Deserialize)]
struct ConfirmBody {
    text: String,
    extra: Base64,
}

async fn confirm(State(device): Shared, Body(body): Body<ConfirmBody>) -> Answer {
    answer(blocking(&device, move |device| device.confirm(&body.text, &body.extra.0)).await?)
}

async fn find(State(device): Shared) -> Answer {
    answer(device.find())
}

async fn enable_find(State(device): Shared) -> Answer {
    device.enable_find().await?;
    answer(json!({"enabled": true}))
}

#[derive(Deserialize)]
struct PasswordBody {
    password: String,
}

async fn end_lost_mode(State(device): Shared, Body(body): Body<PasswordBody>) -> Answer {
    device.end_lost_mode(&body.password).await?;
    answer(json!({"lost": null}))
}

async fn activation(State(device): Shared) -> Answer {
    let status = blocking(&device, Device::status).await?;
    let due = status.lock.activation_due;
    if due && device.owner_hint().is_none() {
        // The hint is a courtesy: without the cloud the question stays open.
        let _ = device.ask_whose().await;
    }
    answer(json!({"due": due, "owner_hint": device.owner_hint()}))
}

async fn activate(State(device): Shared, Body(body): Body<Credentials>) -> Answer {
    device.activate(&body.login, &body.password).await?;
    answer(json!({"activated": true}))
}

async fn notifications(State(device): Shared) -> Answer {
    answer(json!({"notifications": device.notifications()}))
}

async fn clear_notifications(State(device): Shared) -> Result<StatusCode, Error> {
    blocking(&device, |device| device.clear_notifications(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn registrations(State(device): Shared) -> Answer {
    answer(json!({"registrations": device.registrations()}))
}

#[derive(Deserialize)]
struct AppBody {
    app: String,
}

async fn register(State(device): Shared, Body(body): Body<AppBody>) -> Answer {
    answer(device.register_app(&body.app).await?)
}

async fn bootloader(State(device): Shared) -> Answer {
    answer(blocking(&device, Device::bootloader).await?)
}

async fn unlock_bootloader(State(device): Shared) -> Answer {
    erased(&device, blocking(&device, Device::unlock_bootloader).await?)
}

async fn lock_bootloader(State(device): Shared) -> Answer {
    erased(&device, blocking(&device, Device::lock_bootloader).await?)
}

#[derive(Deserialize)]
struct CustomKeyBody {
    key: Option<Base64>,
}

async fn set_custom_key(State(device): Shared, Body(body): Body<CustomKeyBody>) -> Answer {
    let set =
        move |device: &Device| device.set_custom_key(body.key.as_ref().map(|key| key.0.as_slice()));
    let key = blocking(&device, set).await?;
    answer(json!({"custom_key": key.map(|key| board::argument::hex(&key))}))
}

async fn factory_csr(State(device): Shared) -> Answer {
    let key = blocking(&device, Device::factory_key).await?;
    answer(json!({"public_key": Base64(key)}))
}

#[derive(Deserialize)]
struct InstallBody {
    chain: Vec<Base64>,
    ticket_key: Option<Base64>,
    #[serde(default)]
    ids: Option<Identifiers>,
}

async fn factory_install(State(device): Shared, Body(body): Body<InstallBody>) -> Answer {
    let chain = body.chain.into_iter().map(|der| der.0).collect();
    let ticket_key = body.ticket_key.map(|key| key.0);
    let install = move |device: &Device| device.factory_install(chain, ticket_key, body.ids);
    blocking(&device, install).await?;
    answer(json!({"serial": device.summary().serial}))
}

async fn erase(State(device): Shared) -> Answer {
    erased(&device, blocking(&device, Device::erase).await?)
}

fn erased(device: &Device, erasures: u64) -> Answer {
    device.end_after_erasure();
    answer(json!({"erased": true, "erasures": erasures}))
}

#[cfg(test)]
mod tests;
