//! The screen lock over the local API.
//!
//! What changes something answers once the person has typed what the trusted screen asked for, and
//! refuses as `POST /v1/lock/unlock` does. Those in the table are of the main space.
//!
//! | call | does | refuses besides |
//! |---|---|---|
//! | `GET /v1/lock` | → [`crate::device::LockView`] | |
//! | `POST /v1/lock/change?kind=` | another PIN, password or pattern; all keys stay → `{"changed": true}` | 400 `tee_bad_parameters` (the two differ), 403 `tee_denied` (it can't be used) |
//! | `PUT /v1/lock/settings` | `{"erase_after_last_guess": bool, "restart_when_idle_min": number\|null}` → the same as `GET` | |
//! | `POST /v1/lock/recovery-key` | a key of 40 digits, shown once on the trusted screen → `{"made": true}` | |
//! | `POST /v1/lock/recover?kind=` | a new PIN for who types the recovery key → `{"changed": true}` | 403 `tee_denied` (the wrong key), 409 `tee_bad_state` (there is none) |
//! | `PUT /v1/lock/escrow` | `{"organisation", "public_key": base64 DER, P-256}` → `{"jwe"}`: the organisation's secret, for it alone | 400 `tee_bad_parameters` |
//! | `DELETE /v1/lock/escrow` | nobody else opens the device any more → 204 | 409 `tee_bad_state` |
//! | `POST /v1/lock/escrow/redeem?kind=` | `{"secret": base64}`: a new PIN for who has the organisation's secret, which is used up → `{"changed": true}` | 403 `tee_denied`, 409 `tee_bad_state` |

use super::{Answer, Body, Shared, answer};
use crate::device::{Device, LockChange, blocking};
use crate::error::Error;
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tee_api::gatekeeper::{LockKind, LockSettings};
use wire::Base64;

/// All routes of the lock.
pub(super) fn router() -> Router<Arc<Device>> {
    Router::new()
        .route("/v1/lock", get(view))
        .route("/v1/lock/enrol", post(enrol))
        .route("/v1/lock/unlock", post(unlock))
        .route("/v1/lock/lock", post(lock))
        .route("/v1/lock/change", post(change))
        .route("/v1/lock/settings", put(settings))
        .route("/v1/lock/recovery-key", post(recovery_key))
        .route("/v1/lock/recover", post(recover))
        .route("/v1/lock/escrow", put(escrow).delete(end_escrow))
        .route("/v1/lock/escrow/redeem", post(redeem_escrow))
}

#[derive(Deserialize)]
struct KindQuery {
    #[serde(default)]
    kind: LockKind,
}

type Kind = Result<Query<KindQuery>, QueryRejection>;

fn kind(query: Kind) -> Result<LockKind, Error> {
    let query = query.map_err(|rejection| Error::BadRequest(rejection.body_text()))?;
    Ok(query.kind)
}

async fn view(State(device): Shared) -> Answer {
    answer(blocking(&device, Device::lock_view).await?)
}

async fn enrol(State(device): Shared, query: Kind) -> Answer {
    let kind = kind(query)?;
    blocking(&device, move |device| device.enrol(kind)).await?;
    answer(json!({"enrolled": true}))
}

async fn unlock(State(device): Shared) -> Answer {
    blocking(&device, Device::unlock).await?;
    answer(json!({"unlocked": true}))
}

async fn lock(State(device): Shared) -> Answer {
    let lock = |device: &Device| {
        device.lock();
        Ok(())
    };
    blocking(&device, lock).await?;
    answer(json!({"locked": device.is_locked()}))
}

async fn do_change(device: &Arc<Device>, change: LockChange) -> Result<Option<String>, Error> {
    blocking(device, move |device| device.change_lock(change)).await
}

async fn change(State(device): Shared, query: Kind) -> Answer {
    do_change(&device, LockChange::Kind(kind(query)?)).await?;
    answer(json!({"changed": true}))
}

async fn settings(State(device): Shared, Body(settings): Body<LockSettings>) -> Answer {
    do_change(&device, LockChange::Settings(settings)).await?;
    view(State(device)).await
}

async fn recovery_key(State(device): Shared) -> Answer {
    do_change(&device, LockChange::RecoveryKey).await?;
    answer(json!({"made": true}))
}

async fn recover(State(device): Shared, query: Kind) -> Answer {
    do_change(&device, LockChange::Recover(kind(query)?)).await?;
    answer(json!({"changed": true}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EscrowBody {
    organisation: String,
    public_key: Base64,
}

async fn escrow(State(device): Shared, Body(body): Body<EscrowBody>) -> Answer {
    let change = LockChange::Escrow(body.organisation, body.public_key.0);
    let jwe = do_change(&device, change).await?;
    answer(json!({ "jwe": jwe }))
}

async fn end_escrow(State(device): Shared) -> Result<StatusCode, Error> {
    do_change(&device, LockChange::EndEscrow).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretBody {
    secret: Base64,
}

async fn redeem_escrow(State(device): Shared, query: Kind, Body(body): Body<SecretBody>) -> Answer {
    do_change(&device, LockChange::RedeemEscrow(body.secret.0, kind(query)?)).await?;
    answer(json!({"changed": true}))
}
