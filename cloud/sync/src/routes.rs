//! The HTTP interface; `wire::sync` has the table of routes.

use crate::Sync;
use crate::error::Error;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde_json::from_slice;
use snapshot::block::{ID_BYTES, PackId, split_ids};
use std::sync::Arc;
use wire::Refusal;
use wire::sync::{Advance, IDS_AT_ONCE, Root};

/// The longest list of names.
const NAMES_BYTES: usize = IDS_AT_ONCE * ID_BYTES;
/// The longest description of a snapshot: some hundred thousand packs.
const ADVANCE_BYTES: usize = 16 << 20;
/// The longest root.
const ROOT_BYTES: usize = 8 << 10;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account inside the cloud: letters, digits, `-` and `_`.
    pub account: String,
    /// The bound device, where one calls.
    pub device_id: Option<String>,
}

/// Resolves a bearer token; the server has one.
pub trait Authenticator: Send + std::marker::Sync + 'static {
    /// Who carries `token`, or the answer that refuses it.
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Caller, Response>>;
}

/// What handlers work with.
#[derive(Clone)]
struct Service {
    sync: Arc<Sync>,
    authenticator: Arc<dyn Authenticator>,
}

/// The routes of sync.
pub fn routes(sync: Arc<Sync>, authenticator: Arc<dyn Authenticator>) -> Router {
    Router::new()
        .route("/v1/sync/root", get(read_root).put(create_root))
        .route("/v1/sync/head", get(read_head).put(advance))
        .route("/v1/sync/missing", post(missing))
        .route("/v1/sync/packs/{id}", put(put_pack))
        .route("/v1/sync/blocks", post(blocks))
        .with_state(Service { sync, authenticator })
}

/// The account's owner or one of its devices.
struct Member(Caller);

impl FromRequestParts<Service> for Member {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Response> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, token)) = token else {
            let reason = "this needs a session: send Authorization: Bearer with its token";
            return Err(refuse(StatusCode::UNAUTHORIZED, "not_signed_in", reason));
        };
        service.authenticator.authenticate(token.trim()).await.map(Self)
    }
}

/// One of the account's devices.
struct Device {
    account: String,
    id: String,
}

impl FromRequestParts<Service> for Device {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Response> {
        let Member(caller) = Member::from_request_parts(parts, service).await?;
        let Some(id) = caller.device_id else {
            let reason = "this is for a bound device, with a session of its own";
            return Err(refuse(StatusCode::FORBIDDEN, "device_only", reason));
        };
        Ok(Self { account: caller.account, id })
    }
}

type Answer = Result<Response, Response>;

async fn read_root(State(service): State<Service>, Member(caller): Member) -> Answer {
    let root = service.sync.root(&caller.account).await.map_err(failed)?;
    root.map(|root| Json(root).into_response()).ok_or_else(|| nothing("sync root"))
}

async fn create_root(State(service): State<Service>, device: Device, request: Request) -> Answer {
    let root: Root = json(request, ROOT_BYTES).await?;
    service.sync.create_root(&device.account, &root).await.map_err(failed)?;
    Ok(StatusCode::CREATED.into_response())
}

async fn read_head(State(service): State<Service>, Member(caller): Member) -> Answer {
    let head = service.sync.head(&caller.account).await.map_err(failed)?;
    head.map(|head| Json(head).into_response()).ok_or_else(|| nothing("snapshot"))
}

async fn advance(State(service): State<Service>, device: Device, request: Request) -> Answer {
    let advance: Advance = json(request, ADVANCE_BYTES).await?;
    service.sync.advance(&device.account, &device.id, advance).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn missing(State(service): State<Service>, device: Device, request: Request) -> Answer {
    let ids = body(request, NAMES_BYTES).await?;
    let missing = service.sync.missing(&device.account, &ids).await.map_err(failed)?;
    Ok(bytes(missing))
}

async fn put_pack(
    State(service): State<Service>,
    Path(name): Path<String>,
    device: Device,
    request: Request,
) -> Answer {
    let name: PackId = name.parse().map_err(|error| failed(Error::Name(error)))?;
    let pieces = request.into_body().into_data_stream();
    service.sync.put_pack(&device.account, name, pieces).await.map_err(failed)?;
    Ok(StatusCode::CREATED.into_response())
}

async fn blocks(
    State(service): State<Service>,
    Member(caller): Member,
    request: Request,
) -> Answer {
    let ids = body(request, NAMES_BYTES).await?;
    let ids = split_ids(&ids).map_err(|error| failed(error.into()))?;
    let pieces = service.sync.blocks(&caller.account, &ids).await.map_err(failed)?;
    Ok(bytes(Body::from_stream(pieces)))
}

fn bytes(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

async fn body(request: Request, limit: usize) -> Result<bytes::Bytes, Response> {
    to_bytes(request.into_body(), limit).await.map_err(|_| {
        let reason = format!("the body broke off, or has more than {limit} bytes");
        refuse(StatusCode::PAYLOAD_TOO_LARGE, "invalid_body", &reason)
    })
}

async fn json<T: serde::de::DeserializeOwned>(
    request: Request,
    limit: usize,
) -> Result<T, Response> {
    let body = body(request, limit).await?;
    from_slice(&body).map_err(|error| {
        refuse(StatusCode::BAD_REQUEST, "invalid_body", &format!("the body: {error}"))
    })
}

fn refuse(status: StatusCode, error: &str, reason: &str) -> Response {
    (status, Json(Refusal::new(error, reason))).into_response()
}

fn nothing(what: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, "not_found", &format!("the account has no {what} yet"))
}

/// A refusal tells its reason; a failure of ours tells none to the outside.
fn failed(error: Error) -> Response {
    let (status, word) = match &error {
        Error::Pack(_) => (StatusCode::BAD_REQUEST, "malformed_pack"),
        Error::PackName { .. } => (StatusCode::BAD_REQUEST, "wrong_pack_name"),
        Error::CutShort(_) => (StatusCode::BAD_REQUEST, "cut_short"),
        Error::Name(_) | Error::Names(_) => (StatusCode::BAD_REQUEST, "malformed_name"),
        Error::WrappedKey => (StatusCode::BAD_REQUEST, "malformed_key"),
        Error::EmptySnapshot => (StatusCode::BAD_REQUEST, "empty_snapshot"),
        Error::RootExists => (StatusCode::CONFLICT, "root_exists"),
        Error::Conflict { .. } => (StatusCode::CONFLICT, "another_came_first"),
        Error::NoSuchPack(_) => (StatusCode::UNPROCESSABLE_ENTITY, "pack_missing"),
        Error::ManifestBlock(_) => (StatusCode::UNPROCESSABLE_ENTITY, "block_missing"),
        Error::NoSuchBlock(_) => (StatusCode::NOT_FOUND, "block_missing"),
        Error::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        Error::Full => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
        Error::Database(_) | Error::File { .. } | Error::Stored(_) | Error::Account => {
            tracing::error!(%error, "sync failed");
            let reason = "something went wrong on our side; it has been noted, try again later";
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", reason);
        }
    };
    refuse(status, word, &error.to_string())
}
