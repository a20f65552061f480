//! Accounts: the routes of [`wire::account`].

use crate::app::App;
use crate::caller::{Body, Member, Source, User};
use crate::fault::Fault;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use cloud_account::{Caller, SessionKind, Who};
use http::StatusCode;
use std::net::IpAddr;
use wire::account::{
    Change, Close, Forgot, OwnerAssertion, Profile, Reset, Session, SignIn, SignUp,
};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/accounts", post(sign_up))
        .route("/v1/sessions", post(sign_in))
        .route("/v1/sessions/current", axum::routing::delete(sign_out))
        .route("/v1/account", get(profile))
        .route("/v1/account/close", post(close))
        .route("/v1/password/forgot", post(forgot))
        .route("/v1/password/reset", post(reset))
        .route("/v1/password", post(change))
        .route("/v1/owner-assertion", post(owner_assertion))
}

async fn sign_up(
    State(app): State<App>,
    Source(source): Source,
    Body(request): Body<SignUp>,
) -> Result<(StatusCode, Json<Session>), Fault> {
    Ok((StatusCode::CREATED, Json(app.accounts.sign_up(&request, source).await?)))
}

async fn sign_in(
    State(app): State<App>,
    Source(source): Source,
    Body(request): Body<SignIn>,
) -> Result<Json<Session>, Fault> {
    Ok(Json(app.accounts.sign_in(&request, SessionKind::Api, source).await?))
}

async fn sign_out(State(app): State<App>, User(user): User) -> Result<StatusCode, Fault> {
    app.accounts.end_session(&user.session_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn profile(State(app): State<App>, Member(member): Member) -> Result<Json<Profile>, Fault> {
    Ok(Json(app.accounts.profile(&member.subject).await?))
}

async fn forgot(State(app): State<App>, Body(request): Body<Forgot>) -> Result<StatusCode, Fault> {
    app.accounts.forgot(&request).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn reset(
    State(app): State<App>,
    Source(source): Source,
    Body(request): Body<Reset>,
) -> Result<StatusCode, Fault> {
    app.accounts.reset_password(&request, source).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change(
    State(app): State<App>,
    User(user): User,
    Source(source): Source,
    Body(request): Body<Change>,
) -> Result<StatusCode, Fault> {
    app.accounts.change_password(&user, &request, source).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn owner_assertion(
    State(app): State<App>,
    Member(member): Member,
) -> Result<Json<OwnerAssertion>, Fault> {
    let jwt = app.accounts.owner_assertion(&member).await?;
    let keycenter_url = app.key_center.url.clone();
    Ok(Json(OwnerAssertion { jwt, keycenter_url, keycenter_ca: app.key_center.ca_pem.clone() }))
}

async fn close(
    State(app): State<App>,
    User(user): User,
    Source(source): Source,
    Body(request): Body<Close>,
) -> Result<StatusCode, Fault> {
    close_account(&app, &user, &request.password, source).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What other services hold goes first: after a crash in between, the account is still there to
/// be closed. A thief who reset the password cannot free a lost device by closing its account.
async fn close_account(
    app: &App,
    user: &Caller,
    password: &str,
    source: IpAddr,
) -> Result<(), Fault> {
    let lost = app.find.earliest_loss(&user.subject.0).await?;
    app.accounts.verify_owner(Who::Account(&user.subject), password, lost, source).await?;
    for device in app.accounts.devices(&user.subject).await? {
        app.push.forget_device(&device.device_id).await?;
        app.find.forget_device(&device.device_id).await?;
        app.update.forget_device(&device.device_id).await?;
    }
    app.sync.erase(&user.subject.0).await?;
    Ok(app.accounts.close(user, password, source).await?)
}
