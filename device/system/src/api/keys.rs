//! Keys over the local API (docs/keys.md): for every user of the device, each with keys of their
//! own. Messages are [`keystore_client::api`]'s.

use super::{Body, Shared, is_system};
use crate::device::{Device, blocking};
use crate::error::Error;
use axum::body::to_bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_link::serve::PeerCredentials;
use keystore::{Caller, Keystore};
use keystore_client::KeystoreCode;
use keystore_client::api::{
    AddToken, Begin, Change, Finish, Grant, Import, ImportWrapped, KeyRef, MAX_DATA_BYTES,
    MAX_PAGE, Move, NewKey, Open, OperationId, Output, Ungrant, Use,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The longest JSON: all data of a request as base64, and what goes with it.
const MAX_JSON_BYTES: usize = 2 * MAX_DATA_BYTES + (256 << 10);

pub(super) fn router() -> Router<Arc<Device>> {
    Router::new()
        .route("/v1/keys", get(list).delete(delete))
        .route("/v1/keys/details", get(details))
        .route("/v1/keys/show", get(show))
        .route("/v1/keys/generate", post(generate))
        .route("/v1/keys/import", post(import))
        .route("/v1/keys/import-wrapped", post(import_wrapped))
        .route("/v1/keys/provision", post(provision))
        .route("/v1/keys/update", post(change))
        .route("/v1/keys/move", post(move_key))
        .route("/v1/keys/grant", post(grant))
        .route("/v1/keys/ungrant", post(ungrant))
        .route("/v1/keys/grants", get(grants))
        .route("/v1/keys/use", post(use_key))
        .route("/v1/keys/open", post(open))
        .route("/v1/keys/auth-tokens", post(add_token))
        .route("/v1/keys/audit", get(audit))
        .route("/v1/keys/operations", post(begin))
        .route("/v1/keys/operations/{id}", axum::routing::delete(abort))
        .route("/v1/keys/operations/{id}/aad", post(update_aad))
        .route("/v1/keys/operations/{id}/update", post(update))
        .route("/v1/keys/operations/{id}/finish", post(finish))
        .route("/v1/keys/operations/{id}/authenticate", post(authenticate))
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES))
}

type Answer<T> = Result<Json<T>, Error>;

/// Who asks, as the kernel says.
struct Asker(Caller);

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let peer = parts.extensions.get::<PeerCredentials>();
        let peer = peer.ok_or_else(|| Error::Internal("nobody knows who asks".into()))?;
        if !board::users::is_known(peer.uid) {
            return Err(nobody());
        }
        let label = peer.label.as_deref().map(str::to_owned);
        Ok(Self(Caller::new(peer.uid, label, is_system(peer))))
    }
}

/// All users whom the kernel does not name here would share their keys.
fn nobody() -> Error {
    let code = KeystoreCode::PermissionDenied.into();
    let reason = "the kernel does not tell the device who you are; the user who runs the board may";
    keystore::Error::Refused { code, reason: reason.into() }.into()
}

fn malformed(reason: impl Into<String>) -> Error {
    let code = KeystoreCode::InvalidArgument.into();
    keystore::Error::Refused { code, reason: reason.into() }.into()
}

/// Runs `work` of the keystore on a thread that may block.
async fn run<T: Send + 'static>(
    device: &Arc<Device>,
    work: impl FnOnce(&Keystore) -> Result<T, keystore::Error> + Send + 'static,
) -> Result<T, Error> {
    blocking(device, move |device| Ok(work(&*device.keystore()?)?)).await
}

async fn told<T: Serialize + Send + 'static>(
    device: &Arc<Device>,
    work: impl FnOnce(&Keystore) -> Result<T, keystore::Error> + Send + 'static,
) -> Answer<T> {
    run(device, work).await.map(Json)
}

async fn done(
    device: &Arc<Device>,
    work: impl FnOnce(&Keystore) -> Result<(), keystore::Error> + Send + 'static,
) -> Result<StatusCode, Error> {
    run(device, work).await.map(|()| StatusCode::NO_CONTENT)
}

type Asked<T> = Result<Query<T>, QueryRejection>;

fn query<T>(asked: Asked<T>) -> Result<T, Error> {
    asked.map(|Query(query)| query).map_err(|rejection| malformed(rejection.body_text()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyQuery {
    key: KeyRef,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    after: String,
    #[serde(default = "most")]
    limit: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    #[serde(default)]
    after: u64,
    #[serde(default = "most")]
    limit: usize,
}

const fn most() -> usize {
    MAX_PAGE
}

async fn list(
    State(device): Shared,
    Asker(by): Asker,
    asked: Asked<ListQuery>,
) -> Result<Response, Error> {
    let ListQuery { prefix, after, limit } = query(asked)?;
    let page = told(&device, move |it| it.list(&by, &prefix, &after, limit)).await?;
    Ok(page.into_response())
}

async fn details(
    State(device): Shared,
    Asker(by): Asker,
    asked: Asked<ListQuery>,
) -> Result<Response, Error> {
    let ListQuery { prefix, after, limit } = query(asked)?;
    let page = told(&device, move |it| it.details(&by, &prefix, &after, limit)).await?;
    Ok(page.into_response())
}

async fn delete(
    State(device): Shared,
    Asker(by): Asker,
    asked: Asked<KeyQuery>,
) -> Result<StatusCode, Error> {
    let KeyQuery { key } = query(asked)?;
    done(&device, move |it| it.delete(&by, &key)).await
}

async fn show(
    State(device): Shared,
    Asker(by): Asker,
    asked: Asked<KeyQuery>,
) -> Result<Response, Error> {
    let KeyQuery { key } = query(asked)?;
    Ok(told(&device, move |it| it.show(&by, &key)).await?.into_response())
}

async fn grants(
    State(device): Shared,
    Asker(by): Asker,
    asked: Asked<KeyQuery>,
) -> Result<Response, Error> {
    let KeyQuery { key } = query(asked)?;
    Ok(told(&device, move |it| it.grants(&by, &key)).await?.into_response())
}

async fn audit(
    State(device): Shared,
    Asker(by): Asker,
    asked: Asked<AuditQuery>,
) -> Result<Response, Error> {
    let AuditQuery { after, limit } = query(asked)?;
    Ok(told(&device, move |it| it.audit(&by, after, limit)).await?.into_response())
}

/// A route with a JSON body and a JSON answer, and what the keystore does for it.
macro_rules! asks {
    ($($name:ident($body:ident) => $method:ident;)*) => {$(
        async fn $name(
            State(device): Shared,
            Asker(by): Asker,
            Asking(body): Asking<$body>,
        ) -> Result<Response, Error> {
            Ok(told(&device, move |it| it.$method(&by, body)).await?.into_response())
        }
    )*};
}

asks! {
    import_wrapped(ImportWrapped) => import_wrapped;
    change(Change) => change;
    move_key(Move) => move_key;
    grant(Grant) => grant;
    use_key(Use) => use_key;
    open(Open) => open_key;
    begin(Begin) => begin;
}

async fn generate(
    State(device): Shared,
    Asker(by): Asker,
    Asking(key): Asking<NewKey>,
) -> Result<Response, Error> {
    device.provision_for(key.key_source).await;
    Ok(told(&device, move |it| it.generate(&by, key)).await?.into_response())
}

async fn import(
    State(device): Shared,
    Asker(by): Asker,
    Asking(import): Asking<Import>,
) -> Result<Response, Error> {
    device.provision_for(import.key.key_source).await;
    Ok(told(&device, move |it| it.import(&by, import)).await?.into_response())
}

async fn provision(State(device): Shared, Asker(by): Asker) -> Result<Response, Error> {
    by.must_be_system()?;
    Ok(Json(device.provision().await?).into_response())
}

/// A JSON body; what is malformed is refused with the keystore's code.
struct Asking<T>(T);

impl<T: serde::de::DeserializeOwned> axum::extract::FromRequest<Arc<Device>> for Asking<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &Arc<Device>) -> Result<Self, Error> {
        match Body::<T>::from_request(request, state).await {
            Ok(Body(body)) => Ok(Self(body)),
            Err(Error::BadRequest(reason)) => Err(malformed(reason)),
            Err(other) => Err(other),
        }
    }
}

async fn ungrant(
    State(device): Shared,
    Asker(by): Asker,
    Asking(body): Asking<Ungrant>,
) -> Result<StatusCode, Error> {
    done(&device, move |it| it.ungrant(&by, body)).await
}

async fn add_token(
    State(device): Shared,
    Asker(by): Asker,
    Asking(body): Asking<AddToken>,
) -> Result<StatusCode, Error> {
    done(&device, move |it| it.add_token(&by, &body.token)).await
}

/// The number of an operation in a path.
fn operation(text: &str) -> Result<OperationId, Error> {
    text.parse().map_err(|_| malformed("an operation is 16 hexadecimal digits"))
}

/// The bytes of a body.
async fn data(request: Request) -> Result<Vec<u8>, Error> {
    let body = to_bytes(request.into_body(), MAX_DATA_BYTES).await;
    body.map(Vec::from).map_err(|error| {
        let reason = format!("at most {MAX_DATA_BYTES} bytes at a time; send several: {error}");
        keystore::Error::Refused { code: KeystoreCode::TooMuchData.into(), reason }.into()
    })
}

async fn abort(
    State(device): Shared,
    Asker(by): Asker,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let id = operation(&id)?;
    done(&device, move |it| it.abort(&by, id)).await
}

async fn update_aad(
    State(device): Shared,
    Asker(by): Asker,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, Error> {
    let (id, data) = (operation(&id)?, data(request).await?);
    done(&device, move |it| it.update_aad(&by, id, &data)).await
}

async fn update(
    State(device): Shared,
    Asker(by): Asker,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Error> {
    let (id, data) = (operation(&id)?, data(request).await?);
    let output = run(&device, move |it| it.update(&by, id, &data)).await?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], output).into_response())
}

async fn finish(
    State(device): Shared,
    Asker(by): Asker,
    Path(id): Path<String>,
    Asking(last): Asking<Finish>,
) -> Result<Response, Error> {
    let id = operation(&id)?;
    let output = run(&device, move |it| it.finish(&by, id, last)).await?;
    Ok(Json(Output { output, ..Output::default() }).into_response())
}

/// Blocks for as long as the person takes.
async fn authenticate(
    State(device): Shared,
    Asker(by): Asker,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let id = operation(&id)?;
    blocking(&device, move |device| device.authenticate_for(&by, id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests;
