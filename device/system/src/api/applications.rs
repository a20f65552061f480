//! Trusted applications over the local API.

use super::{Answer, Body, Shared, answer};
use crate::device::{ApplicationId, Device, blocking};
use crate::error::Error;
use axum::body::to_bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tee_api::ree::MAX_IMAGE_BYTES;

#[derive(Deserialize)]
pub(super) struct SignerQuery {
    signer: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct CommandBody {
    command: Value,
}

/// `GET /v1/ta`
pub(super) async fn list(State(device): Shared) -> Answer {
    let applications = blocking(&device, Device::applications).await?;
    answer(json!({ "applications": applications }))
}

/// `PUT /v1/ta`
pub(super) async fn install(State(device): Shared, request: Request) -> Answer {
    let most = usize::try_from(MAX_IMAGE_BYTES).unwrap_or(usize::MAX);
    let image = to_bytes(request.into_body(), most).await;
    let image = image.map_err(|error| Error::BadRequest(format!("the image: {error}")))?;
    answer(blocking(&device, move |device| device.install_application(&image)).await?)
}

/// `DELETE /v1/ta/{uuid}`
pub(super) async fn remove(
    State(device): Shared,
    Path(uuid): Path<String>,
    Query(query): Query<SignerQuery>,
) -> Result<StatusCode, Error> {
    let id = ApplicationId::parse(&uuid, query.signer.as_deref())?;
    blocking(&device, move |device| device.remove_application(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/ta/{uuid}/call`
pub(super) async fn call(
    State(device): Shared,
    Path(uuid): Path<String>,
    Query(query): Query<SignerQuery>,
    Body(body): Body<CommandBody>,
) -> Answer {
    let id = ApplicationId::parse(&uuid, query.signer.as_deref())?;
    let call = move |device: &Device| device.call_application(id, &body.command);
    let reply = blocking(&device, call).await?;
    answer(json!({ "reply": reply }))
}
