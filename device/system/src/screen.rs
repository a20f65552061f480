//! The phone's screen: pages for whoever holds the phone. No sign-in, so nothing of the user's
//! files while it is locked.
//!
//! | route | does |
//! |---|---|
//! | `GET /` | the page for the state that the device is in |
//! | `GET /files?path=` | a folder, open devices only |
//! | `GET /files/content?path=` | a file as a download, open devices only |
//! | `GET /update` | the system's update, open devices only |
//! | `GET /events` | `text/event-stream`: `{"revision", "state", "asking", "job"}` at every change |
//! | `POST /unlock` `/lock` `/enrol` | the screen lock; the PIN is typed on the trusted screen |
//! | `POST /alarm/dismiss` | silences the alarm |
//! | `POST /activation` `/lost-mode/end` `/sign-in` `/find/enable` | the account |
//! | `POST /notifications/clear` | one (`id`) or all |
//! | `POST /update/check` `/update/download` `/update/apply` `/update/restart` `/update/discard` | the system's update, open devices only |
//!
//! Every POST answers 303 to its page (`/` or `/update`), which shows what came of it. Against other sites: the host
//! must be a loopback name (DNS rebinding), and a POST must come from a page of this origin.

mod guard;
mod pages;
mod update;

use crate::device::{Device, EntryKind, View, blocking};
use crate::error::Error;
use crate::percent;
use axum::Router;
use axum::body::Body;
use axum::extract::{Form, RawQuery, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION,
};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tee_api::TeeError;
use tee_api::gatekeeper::LockKind;
use tokio::sync::watch;

/// What the pages need.
#[derive(Clone)]
pub(crate) struct Screen {
    device: Arc<Device>,
    /// The file in which the board says where the trusted screen is.
    trusted_url: Arc<PathBuf>,
}

/// The pages of `device`.
pub fn router(device: Arc<Device>, trusted_url: PathBuf) -> Router {
    let screen = Screen { device, trusted_url: Arc::new(trusted_url) };
    Router::new()
        .route("/", get(home))
        .route("/files", get(folder))
        .route("/files/content", get(content))
        .route("/events", get(events))
        .route("/unlock", post(unlock))
        .route("/enrol", post(enrol))
        .route("/lock", post(lock))
        .route("/alarm/dismiss", post(dismiss))
        .route("/activation", post(activate))
        .route("/lost-mode/end", post(end_lost_mode))
        .route("/sign-in", post(sign_in))
        .route("/find/enable", post(enable_find))
        .route("/notifications/clear", post(clear))
        .merge(update::routes())
        .route("/phone.css", get(|| asset("text/css; charset=utf-8", CSS)))
        .route("/phone.js", get(|| asset("text/javascript; charset=utf-8", JS)))
        .route("/icon.svg", get(|| asset("image/svg+xml", ICON)))
        .fallback(|| async { (StatusCode::NOT_FOUND, "There is no such page.\n") })
        .layer(middleware::from_fn(guard::guard))
        .with_state(screen)
}

const CSS: &str = include_str!("../assets/phone.css");
const JS: &str = include_str!("../assets/phone.js");
const ICON: &str = include_str!("../assets/icon.svg");

async fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}

async fn home(State(screen): State<Screen>) -> Response {
    page(&screen, |screen| pages::home(screen).map_err(|error| Error::Internal(error.to_string())))
        .await
}

async fn folder(State(screen): State<Screen>, RawQuery(query): RawQuery) -> Response {
    if screen.device.view() != View::Open {
        return to_home();
    }
    let Some(path) = percent::query_value(query.as_deref(), "path") else {
        return malformed();
    };
    page(&screen, move |screen| {
        let listing = screen.device.list(&path)?;
        pages::files(screen, &path, &listing).map_err(|error| Error::Internal(error.to_string()))
    })
    .await
}

/// Renders on a thread that may block: the area is on the disk.
async fn page(
    screen: &Screen,
    render: impl FnOnce(&Screen) -> Result<String, Error> + Send + 'static,
) -> Response {
    let mine = screen.clone();
    match blocking(&screen.device, move |_| render(&mine)).await {
        Ok(html) => ([(CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response(),
        Err(error) => refused(&error),
    }
}

async fn content(State(screen): State<Screen>, RawQuery(query): RawQuery) -> Response {
    if screen.device.view() != View::Open {
        return to_home();
    }
    let Some(path) = percent::query_value(query.as_deref(), "path") else {
        return malformed();
    };
    match crate::api::file_body(&screen.device, path.clone()).await {
        Ok((size, body)) => download(&path, size, body),
        Err(error) => refused(&error),
    }
}

/// Never shown inside this origin: what a file holds may be hostile.
fn download(path: &[u8], size: u64, body: Body) -> Response {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._ ()".contains(&byte);
    let ascii: String =
        name.iter().map(|&byte| if plain(byte) { char::from(byte) } else { '_' }).collect();
    let full = percent::encode(name).replace('/', "%2F");
    let disposition = format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{full}");
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DISPOSITION, disposition),
        (CONTENT_LENGTH, size.to_string()),
    ];
    (headers, body).into_response()
}

/// Between two events about how far a job of the update is.
const PACE: Duration = Duration::from_millis(250);

/// One event now, and one at every change, until the reader goes.
async fn events(State(screen): State<Screen>) -> Response {
    let mut revision = screen.device.revision();
    revision.mark_changed();
    let course = screen.device.update_course();
    let state = (screen, revision, course);
    let pieces = stream::unfold(state, |(screen, mut revision, mut course)| async move {
        tokio::select! {
            changed = revision.changed() => changed.ok()?,
            () = update::moves(course.as_mut()) => {}
        }
        let piece = event(&screen, &mut revision);
        Some((Ok::<_, std::convert::Infallible>(piece), (screen, revision, course)))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(pieces)).into_response()
}

fn event(screen: &Screen, revision: &mut watch::Receiver<u64>) -> String {
    let revision = *revision.borrow_and_update();
    let asking = screen.device.prompt().is_some();
    let (state, job) = (pages::state(&screen.device), screen.device.update_job());
    let event =
        serde_json::json!({"revision": revision, "state": state, "asking": asking, "job": job});
    format!("data: {event}\n\n")
}

/// The prompt may stand for minutes: the page shows it meanwhile.
async fn unlock(State(screen): State<Screen>) -> Response {
    prompt(screen, Device::unlock).await
}

async fn enrol(State(screen): State<Screen>) -> Response {
    prompt(screen, |device| device.enrol(LockKind::Pin)).await
}

async fn prompt(screen: Screen, ask: fn(&Device) -> Result<(), Error>) -> Response {
    let mut revision = screen.device.revision();
    let device = screen.device.clone();
    let mut answer = tokio::spawn(async move { blocking(&device, ask).await });
    loop {
        tokio::select! {
            answered = &mut answer => {
                // What was typed wrong is told by the device; this is about what came before.
                let refused = answered.ok().and_then(Result::err);
                let turned_away = |error: &Error| matches!(error, Error::Tee(TeeError::Cancelled));
                if let Some(error) = refused.filter(|error| !turned_away(error)) {
                    screen.device.set_notice(Some(error.to_string()));
                }
                return to_home();
            }
            changed = revision.changed() => {
                if changed.is_err() || screen.device.prompt().is_some() {
                    return to_home();
                }
            }
        }
    }
}

async fn lock(State(screen): State<Screen>) -> Response {
    screen.device.lock();
    to_home()
}

async fn dismiss(State(screen): State<Screen>) -> Response {
    screen.device.dismiss_alarm();
    to_home()
}

#[derive(Deserialize)]
struct Credentials {
    login: String,
    password: String,
}

#[derive(Deserialize)]
struct Password {
    password: String,
}

#[derive(Deserialize)]
struct Which {
    id: Option<u64>,
}

async fn activate(State(screen): State<Screen>, Form(form): Form<Credentials>) -> Response {
    done(&screen, screen.device.activate(&form.login, &form.password).await)
}

async fn end_lost_mode(State(screen): State<Screen>, Form(form): Form<Password>) -> Response {
    done(&screen, screen.device.end_lost_mode(&form.password).await)
}

async fn sign_in(State(screen): State<Screen>, Form(form): Form<Credentials>) -> Response {
    if !matches!(screen.device.view(), View::Open | View::SetUp) {
        return to_home();
    }
    done(&screen, screen.device.sign_in(&form.login, &form.password).await)
}

async fn enable_find(State(screen): State<Screen>) -> Response {
    if screen.device.view() != View::Open {
        return to_home();
    }
    done(&screen, screen.device.enable_find().await)
}

async fn clear(State(screen): State<Screen>, Form(which): Form<Which>) -> Response {
    if screen.device.view() != View::Open {
        return to_home();
    }
    done(
        &screen,
        blocking(&screen.device, move |device| device.clear_notifications(which.id)).await,
    )
}

/// Back to the page, which says what was in the way.
fn done<T>(screen: &Screen, result: Result<T, Error>) -> Response {
    screen.device.set_notice(result.err().map(|error| error.to_string()));
    to_home()
}

fn to_home() -> Response {
    to("/")
}

fn to(page: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, page)]).into_response()
}

fn malformed() -> Response {
    (StatusCode::BAD_REQUEST, "That address is malformed.\n").into_response()
}

fn refused(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, "text/plain; charset=utf-8".parse().expect("it is ASCII"));
    (status, headers, format!("{error}\n")).into_response()
}

/// Whether an entry can be opened from the list.
const fn is_link(kind: EntryKind) -> bool {
    matches!(kind, EntryKind::File | EntryKind::Folder)
}

#[cfg(test)]
mod tests;
