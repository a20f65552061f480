//! Attestation: the routes of [`wire::attest`].

use crate::app::App;
use crate::caller::{Body, Maker};
use crate::fault::Fault;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use cloud_attest::DeviceStatement;
use http::StatusCode;
use wire::Base64;
use wire::attest::{Challenge, Enrolled, Enrolment, Evidence, Statement, TimeQuery, TimeToken};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/attest/challenge", post(challenge))
        .route("/v1/attest", post(attest))
        .route("/v1/attest/time", post(time))
        .route("/v1/makers/devices", post(enrol))
}

pub(super) async fn challenge(State(app): State<App>) -> Result<Json<Challenge>, Fault> {
    Ok(Json(app.attest.challenge().await?.into()))
}

async fn attest(
    State(app): State<App>,
    Body(evidence): Body<Evidence>,
) -> Result<Json<Statement>, Fault> {
    let proved = verify(&app, &evidence.chain).await?;
    Ok(Json(Statement::from(&proved)))
}

async fn time(
    State(app): State<App>,
    Body(query): Body<TimeQuery>,
) -> Result<Json<TimeToken>, Fault> {
    let proved = verify(&app, &query.chain).await?;
    Ok(Json(app.find.time_token(&proved.serial, &query.nonce.0)?))
}

/// What a chain proves, noted with the device where it is bound.
pub(super) async fn verify(app: &App, chain: &[Base64]) -> Result<DeviceStatement, Fault> {
    let proved = app.attest.verify(&ders(chain)).await?;
    app.accounts.note_attestation(&Statement::from(&proved)).await?;
    Ok(proved)
}

pub(super) fn ders(chain: &[Base64]) -> Vec<&[u8]> {
    chain.iter().map(|certificate| &certificate.0[..]).collect()
}

/// A maker's credential stands for its root: the first device that it enrols brings it.
async fn enrol(
    State(app): State<App>,
    Maker(maker): Maker,
    Body(request): Body<Enrolment>,
) -> Result<(StatusCode, Json<Enrolled>), Fault> {
    let chain = ders(&request.chain);
    let Some(root) = chain.last() else {
        let reason = "chain: the device's certificate first, the root last";
        return Err(Fault::new(StatusCode::BAD_REQUEST, "invalid", reason));
    };
    app.attest.register_maker(&maker, root).await?;
    app.attest.enrol_device(&chain).await?;
    let ticket_key = app.find.ticket_public_key()?.into();
    let keycenter_url = app.key_center.url.clone();
    Ok((StatusCode::CREATED, Json(Enrolled { ticket_key, keycenter_url })))
}
