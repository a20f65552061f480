//! Push: the routes of [`wire::push`].

use crate::app::App;
use crate::caller::{Body, Developer, Device};
use crate::fault::Fault;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use wire::push::{Delivery, Register, Registration, Send, Sent};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/push/registrations", post(register))
        .route("/v1/push/messages", post(send))
        .route("/v1/push/messages/{message}", get(delivery))
}

async fn register(
    State(app): State<App>,
    device: Device,
    Body(request): Body<Register>,
) -> Result<(StatusCode, Json<Registration>), Fault> {
    Ok((StatusCode::CREATED, Json(app.push.register(&device.id, &request).await?)))
}

async fn send(
    State(app): State<App>,
    Developer(developer): Developer,
    Body(request): Body<Send>,
) -> Result<(StatusCode, Json<Sent>), Fault> {
    Ok((StatusCode::ACCEPTED, Json(app.push.send(&developer, &request).await?)))
}

async fn delivery(
    State(app): State<App>,
    Developer(developer): Developer,
    Path(message): Path<String>,
) -> Result<Json<Delivery>, Fault> {
    let message = message.parse().map_err(|_| Fault::not_found("message"))?;
    Ok(Json(app.push.delivery(&developer, message).await?))
}
