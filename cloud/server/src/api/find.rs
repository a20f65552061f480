//! Find-device and activation: the routes of [`wire::find`].

use super::attest;
use crate::app::App;
use crate::caller::{Body, Device, Source, User};
use crate::fault::Fault;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use wire::find::{
    Activate, ActivationQuery, ActivationState, Command, Enable, EndLost, Issued, Outcome, Report,
    Ticket,
};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/devices/self/find", post(enable))
        .route("/v1/devices/self/reports", post(report))
        .route("/v1/devices/self/lost-mode/end", post(end_lost))
        .route("/v1/devices/{device}/commands", post(issue))
        .route("/v1/devices/{device}/commands/{command}", get(outcome))
        .route("/v1/activation/state", post(activation_state))
        .route("/v1/activation", post(activate))
}

async fn enable(
    State(app): State<App>,
    device: Device,
    Source(source): Source,
    Body(request): Body<Enable>,
) -> Result<StatusCode, Fault> {
    app.find.enable(&device.id, &device.caller.subject.0, &request, source).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn issue(
    State(app): State<App>,
    User(user): User,
    Path(device): Path<String>,
    Body(command): Body<Command>,
) -> Result<(StatusCode, Json<Issued>), Fault> {
    let record = app.accounts.device(&user.subject, &device).await?;
    let issued = app.find.issue(&record.device_id, &user.subject.0, &command).await?;
    Ok((StatusCode::ACCEPTED, Json(issued)))
}

async fn outcome(
    State(app): State<App>,
    User(user): User,
    Path((device, command)): Path<(String, String)>,
) -> Result<Json<Outcome>, Fault> {
    let record = app.accounts.device(&user.subject, &device).await?;
    let command = command.parse().map_err(|_| Fault::not_found("command"))?;
    Ok(Json(app.find.outcome(&record.device_id, command).await?))
}

async fn report(
    State(app): State<App>,
    device: Device,
    Body(report): Body<Report>,
) -> Result<StatusCode, Fault> {
    app.find.report(&device.id, &report).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_lost(
    State(app): State<App>,
    device: Device,
    Source(source): Source,
    Body(request): Body<EndLost>,
) -> Result<Json<Ticket>, Fault> {
    let subject = &device.caller.subject;
    let serial = app.accounts.device(subject, &device.id).await?.statement.serial;
    Ok(Json(app.find.end_lost(&device.id, &subject.0, &serial, &request, source).await?))
}

async fn activation_state(
    State(app): State<App>,
    Body(request): Body<ActivationQuery>,
) -> Result<Json<ActivationState>, Fault> {
    let proved = attest::verify(&app, &request.chain).await?;
    Ok(Json(app.find.activation_state(&proved.serial).await?))
}

async fn activate(
    State(app): State<App>,
    Source(source): Source,
    Body(request): Body<Activate>,
) -> Result<Json<Ticket>, Fault> {
    let proved = attest::verify(&app, &request.chain).await?;
    let Activate { nonce, login, password, .. } = &request;
    Ok(Json(app.find.activate(&proved.serial, &nonce.0, login, password, source).await?))
}
