//! Identities in secure elements: the routes of [`wire::eid`].

use crate::app::App;
use crate::caller::{Body, Clerk};
use crate::fault::Fault;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use cloud_account::Subject;
use http::StatusCode;
use wire::eid::{Authority, Challenge, Document, Element, Open, Opened, Person, Proof, Signed};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/eid/challenge", post(challenge))
        .route("/v1/eid/authority", get(authority))
        .route("/v1/eid/identities", post(open))
        .route("/v1/eid/identities/{identity}/document", post(document))
        .route("/v1/eid/identities/{identity}/deregister", post(deregister))
        .route("/v1/eid/elements", post(enrol))
        .route("/v1/eid/persons", post(register))
}

async fn challenge(State(app): State<App>) -> Result<Json<Challenge>, Fault> {
    Ok(Json(Challenge { challenge: app.eid.challenge().await?.to_vec().into() }))
}

async fn authority(State(app): State<App>) -> Json<Authority> {
    Json(Authority { certificate: app.eid.authority().to_vec().into() })
}

async fn open(
    State(app): State<App>,
    Body(request): Body<Open>,
) -> Result<(StatusCode, Json<Opened>), Fault> {
    let identity = app.eid.open_identity(&request).await?;
    record(&app, &identity, "identity opened").await?;
    Ok((StatusCode::CREATED, Json(Opened { identity })))
}

async fn document(
    State(app): State<App>,
    Path(identity): Path<String>,
    Body(signed): Body<Signed>,
) -> Result<Json<Document>, Fault> {
    let issuer_signed = app.eid.document(&identity, &signed).await?.into();
    Ok(Json(Document { issuer_signed }))
}

async fn deregister(
    State(app): State<App>,
    Path(identity): Path<String>,
    Body(signed): Body<Signed>,
) -> Result<StatusCode, Fault> {
    app.eid.deregister(&identity, &signed).await?;
    record(&app, &identity, "identity given up").await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn enrol(
    State(app): State<App>,
    Clerk(clerk): Clerk,
    Body(element): Body<Element>,
) -> Result<StatusCode, Fault> {
    record(&app, &clerk, "element enrolled").await?;
    app.eid.enrol_element(&element.attester.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn register(
    State(app): State<App>,
    Clerk(clerk): Clerk,
    Body(person): Body<Person>,
) -> Result<(StatusCode, Json<Proof>), Fault> {
    record(&app, &clerk, "person registered").await?;
    let proof = app.eid.register(&person).await?;
    Ok((StatusCode::CREATED, Json(Proof { proof })))
}

/// Into the audit log, before the answer is sent. Who a person is stays out of it.
async fn record(app: &App, actor: &str, action: &str) -> Result<(), Fault> {
    app.accounts.record(actor, action, &Subject("eid".into()), "").await?;
    Ok(())
}
