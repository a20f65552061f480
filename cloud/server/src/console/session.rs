//! The browser's session: a cookie that only this origin's pages send, and a token in each form.

use super::page::{PageFault, show};
use crate::app::App;
use crate::caller::Source;
use crate::fault::Fault;
use askama::Template;
use axum::extract::{Form, FromRequest, FromRequestParts, Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloud_account::{Caller, SessionKind, Touch};
use crypto::mac::hmac_sha256;
use http::header::{COOKIE, HOST, ORIGIN, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wire::account::SignIn;

/// `__Host-`: only over TLS, for this host alone, for every path (RFC 6265bis, 4.1.3.2).
const COOKIE_NAME: &str = "__Host-holdfast";

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/sign-in", get(sign_in_page).post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/live", get(alive))
}

/// Who is signed in with this browser.
pub(super) struct Visitor {
    pub(super) caller: Caller,
    pub(super) csrf: String,
}

impl Visitor {
    async fn of(headers: &HeaderMap, app: &App, touch: Touch) -> Result<Self, Fault> {
        let token = cookie(headers).ok_or(cloud_account::Error::NotSignedIn)?;
        let caller = app.accounts.authenticate(token, touch).await?;
        if caller.kind != SessionKind::Web {
            return Err(cloud_account::Error::NotSignedIn.into());
        }
        let csrf = URL_SAFE_NO_PAD.encode(hmac_sha256(token.as_bytes(), &[b"form"]));
        Ok(Self { caller, csrf })
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = PageFault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, PageFault> {
        Ok(Self::of(&parts.headers, app, Touch::Activity).await?)
    }
}

/// The same for what a page asks by itself: it does not keep the session alive, and without one
/// the answer is a refusal, not a page.
pub(super) struct Background(pub(super) Visitor);

impl FromRequestParts<App> for Background {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        Visitor::of(&parts.headers, app, Touch::Background).await.map(Self)
    }
}

/// A form that a page of ours sent for who is signed in.
pub(super) struct Posted<T> {
    pub(super) visitor: Visitor,
    pub(super) form: T,
}

#[derive(Deserialize)]
struct Guarded<T> {
    csrf: String,
    #[serde(flatten)]
    form: T,
}

impl<T: DeserializeOwned> FromRequest<App> for Posted<T> {
    type Rejection = PageFault;

    async fn from_request(request: Request, app: &App) -> Result<Self, PageFault> {
        check_origin(request.headers())?;
        let visitor = Visitor::of(request.headers(), app, Touch::Activity).await?;
        let form = Form::<Guarded<T>>::from_request(request, app).await;
        let Form(Guarded { csrf, form }) = form.map_err(|rejection| {
            Fault::new(
                rejection.status(),
                "invalid_form",
                "the form is not complete; go back and try again",
            )
        })?;
        if !crypto::constant_time_eq(csrf.as_bytes(), visitor.csrf.as_bytes()) {
            return Err(foreign().into());
        }
        Ok(Self { visitor, form })
    }
}

fn foreign() -> Fault {
    let reason = "this form does not come from this console, or is too old; go back and try again";
    Fault::new(StatusCode::FORBIDDEN, "foreign_form", reason)
}

/// Browsers tell where a form comes from; another site's is refused.
fn check_origin(headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return if site == "same-origin" { Ok(()) } else { Err(foreign()) };
    }
    let origin = text(ORIGIN.as_str()).and_then(|origin| origin.strip_prefix("https://"));
    if origin.is_some() && origin == text(HOST.as_str()) { Ok(()) } else { Err(foreign()) }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, value)| value)
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    title: &'static str,
    notice: &'static str,
    error: String,
    login: String,
}

#[derive(Deserialize)]
struct Arrival {
    ended: Option<String>,
}

async fn sign_in_page(
    State(app): State<App>,
    Query(arrival): Query<Arrival>,
    headers: HeaderMap,
) -> Result<Response, PageFault> {
    if Visitor::of(&headers, &app, Touch::Background).await.is_ok() {
        return Ok(Redirect::to("/devices").into_response());
    }
    let ended = arrival.ended.is_some() && cookie(&headers).is_some();
    let notice = if ended { "Your session has ended. Sign in again to go on." } else { "" };
    show(&SignInPage { title: "Sign in", notice, error: String::new(), login: String::new() })
}

async fn sign_in(
    State(app): State<App>,
    Source(source): Source,
    headers: HeaderMap,
    Form(request): Form<SignIn>,
) -> Result<Response, PageFault> {
    check_origin(&headers)?;
    match app.accounts.sign_in(&request, SessionKind::Web, source).await {
        Ok(session) => {
            let mut response = Redirect::to("/devices").into_response();
            set_cookie(&mut response, &session.token, None)?;
            Ok(response)
        }
        Err(error) => {
            let fault = Fault::from(error);
            let (status, error) = (fault.status, fault.refusal.reason);
            let login = request.login.chars().take(200).collect();
            let page = SignInPage { title: "Sign in", notice: "", error, login };
            let mut response = show(&page)?;
            *response.status_mut() = status;
            Ok(response)
        }
    }
}

#[derive(Deserialize)]
struct Nothing {}

async fn sign_out(
    State(app): State<App>,
    Posted { visitor, form: Nothing {} }: Posted<Nothing>,
) -> Result<Response, PageFault> {
    app.accounts.end_session(&visitor.caller.session_id).await?;
    let mut response = Redirect::to("/sign-in").into_response();
    set_cookie(&mut response, "", Some(0))?;
    Ok(response)
}

fn set_cookie(response: &mut Response, token: &str, max_age: Option<u32>) -> Result<(), Fault> {
    let age = max_age.map_or_else(String::new, |age| format!("; Max-Age={age}"));
    let cookie = format!("{COOKIE_NAME}={token}; Path=/; Secure; HttpOnly; SameSite=Strict{age}");
    let value = HeaderValue::from_str(&cookie).map_err(|error| Fault::internal(&error))?;
    response.headers_mut().append(SET_COOKIE, value);
    Ok(())
}

/// For pages without news of their own: whether the session still holds.
async fn alive(Background(_): Background) -> Json<serde_json::Value> {
    Json(serde_json::json!({}))
}
