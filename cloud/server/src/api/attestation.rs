//! What a relying party uses: the routes of [`wire::attest`] below `/v1/attestation`.

use super::attest::{challenge, ders};
use crate::app::App;
use crate::caller::{AttestationAdmin, Body, MaybeRelyingParty, PolicyKeeper};
use crate::fault::Fault;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use cloud_attest::{Asked, Policy, SignedVerdict};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use wire::Base64;
use wire::attest::{
    Admitted, PolicyName, ProvisionRequest, Provisioned, RelyingParty, Root, Roots, Rotated,
    StoredPolicy,
};

/// How long others may keep our revocation list and our keys.
const PUBLIC: HeaderValue = HeaderValue::from_static("public, max-age=300");

pub(super) fn routes() -> Router<App> {
    let party = "/v1/attestation/relying-parties/{party}";
    Router::new()
        .route("/v1/attestation/challenge", post(challenge))
        .route("/v1/attestation/verify", post(verify))
        .route("/v1/attestation/jwks.json", get(jwks))
        .route("/v1/attestation/status", get(status))
        .route("/v1/attestation/roots", get(roots))
        .route("/v1/attestation/provision", post(provision))
        .route("/v1/attestation/keys/rotate", post(rotate))
        .route("/v1/attestation/relying-parties", get(parties))
        .route(party, put(admit).delete(dismiss))
        .route(&format!("{party}/policies"), get(policies))
        .route(&format!("{party}/policies/{{policy}}"), get(policy).put(store).delete(delete))
}

/// A refusal is a verdict too: it comes with 200 and is signed.
async fn verify(
    State(app): State<App>,
    MaybeRelyingParty(party): MaybeRelyingParty,
    Body(query): Body<wire::attest::Query>,
) -> Result<Json<SignedVerdict>, Fault> {
    let asked = Asked {
        party: party.as_deref(),
        challenge: query.challenge.as_ref().map(|challenge| &challenge.0[..]),
        policy: query.policy.as_deref(),
    };
    Ok(Json(app.attest.verdict(&ders(&query.chain), asked).await?))
}

async fn jwks(State(app): State<App>) -> Result<Response, Fault> {
    Ok(public(app.attest.jwks().await?))
}

async fn status(State(app): State<App>) -> Result<Response, Fault> {
    Ok(public(app.attest.status_list().await?))
}

fn public(value: Value) -> Response {
    ([(CACHE_CONTROL, PUBLIC)], Json(value)).into_response()
}

async fn roots(State(app): State<App>) -> Result<Json<Roots>, Fault> {
    let roots = app.attest.roots().await?;
    let root = |(owner, key): (cloud_attest::RootOwner, keyattest::x509::Spki)| Root {
        owner: owner.word().to_owned(),
        public_key: key.as_der().to_vec().into(),
    };
    Ok(Json(Roots { roots: roots.into_iter().map(root).collect() }))
}

async fn provision(
    State(app): State<App>,
    Body(asked): Body<ProvisionRequest>,
) -> Result<Json<Provisioned>, Fault> {
    let provisioned = app.attest.provision(&asked.request.0).await?;
    let wire = |chain: Vec<Vec<u8>>| chain.into_iter().map(Base64::from).collect();
    Ok(Json(Provisioned {
        chains: provisioned.chains.into_iter().map(wire).collect(),
        expires_at_ms: provisioned.expires_at.0,
    }))
}

async fn rotate(
    State(app): State<App>,
    AttestationAdmin(admin): AttestationAdmin,
) -> Result<Json<Rotated>, Fault> {
    Ok(Json(Rotated { kid: app.attest.rotate_signing_key(&admin).await? }))
}

async fn parties(
    State(app): State<App>,
    AttestationAdmin(_): AttestationAdmin,
) -> Result<Json<Vec<RelyingParty>>, Fault> {
    let parties = app.attest.relying_parties().await?;
    let shown = |party: cloud_attest::RelyingParty| RelyingParty {
        name: party.name,
        created_at_ms: party.created_at.0,
    };
    Ok(Json(parties.into_iter().map(shown).collect()))
}

async fn admit(
    State(app): State<App>,
    AttestationAdmin(admin): AttestationAdmin,
    Path(name): Path<String>,
) -> Result<Json<Admitted>, Fault> {
    let credential = app.attest.admit(&admin, &name).await?;
    Ok(Json(Admitted { name, credential }))
}

async fn dismiss(
    State(app): State<App>,
    AttestationAdmin(admin): AttestationAdmin,
    Path(name): Path<String>,
) -> Result<StatusCode, Fault> {
    app.attest.dismiss(&admin, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn policies(
    State(app): State<App>,
    keeper: PolicyKeeper,
) -> Result<Json<Vec<PolicyName>>, Fault> {
    let policies = app.attest.policies(&keeper.party).await?;
    let named = |(name, version)| PolicyName { name, version };
    Ok(Json(policies.into_iter().map(named).collect()))
}

#[derive(Deserialize)]
struct Place {
    policy: String,
}

#[derive(Deserialize)]
struct Which {
    version: Option<u32>,
}

async fn policy(
    State(app): State<App>,
    keeper: PolicyKeeper,
    Path(place): Path<Place>,
    Query(which): Query<Which>,
) -> Result<Json<StoredPolicy<Policy>>, Fault> {
    let stored = app.attest.policy(&keeper.party, &place.policy, which.version).await?;
    Ok(Json(shown(stored)))
}

async fn store(
    State(app): State<App>,
    keeper: PolicyKeeper,
    Path(place): Path<Place>,
    Body(policy): Body<Policy>,
) -> Result<Json<StoredPolicy<Policy>>, Fault> {
    let PolicyKeeper { actor, party } = keeper;
    Ok(Json(shown(app.attest.store_policy(&actor, &party, &place.policy, &policy).await?)))
}

async fn delete(
    State(app): State<App>,
    keeper: PolicyKeeper,
    Path(place): Path<Place>,
) -> Result<StatusCode, Fault> {
    app.attest.delete_policy(&keeper.actor, &keeper.party, &place.policy).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(stored: cloud_attest::StoredPolicy) -> StoredPolicy<Policy> {
    StoredPolicy {
        name: stored.name,
        version: stored.version,
        stored_at_ms: stored.stored_at.0,
        policy: stored.policy,
    }
}
