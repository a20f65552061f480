//! The page about the system's update, and its buttons.

use super::pages::{self, Frame};
use super::{PACE, Screen, page, to, to_home};
use crate::device::{Course, Device, Kind, UpdateView, View, blocking};
use crate::error::Error;
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::watch;

const PAGE: &str = "/update";

pub(super) fn routes() -> Router<Screen> {
    Router::new()
        .route(PAGE, get(shown))
        .route("/update/check", post(check))
        .route("/update/download", post(download))
        .route("/update/apply", post(apply))
        .route("/update/restart", post(restart))
        .route("/update/discard", post(discard))
}

#[derive(Template)]
#[template(path = "update.html")]
struct UpdatePage {
    frame: Frame,
    view: UpdateView,
    size: String,
    bytes: String,
    job: Option<Bar>,
}

/// What runs, as a bar.
struct Bar {
    kind: &'static str,
    title: &'static str,
    done: u64,
    of: u64,
}

async fn shown(State(screen): State<Screen>) -> Response {
    if screen.device.view() != View::Open {
        return to_home();
    }
    page(&screen, |screen| {
        let view = screen.device.update()?;
        let job = view.job.map(|job| {
            let (kind, title) = match job.kind {
                Kind::Download => ("download", "Downloading"),
                Kind::Copy => ("copy", "Copying"),
                Kind::Check => ("check", "Checking the package"),
                Kind::Apply => ("apply", "Installing"),
            };
            Bar { kind, title, done: job.done, of: job.of.max(1) }
        });
        let size = pages::size_in_words(view.update.as_ref().map_or(0, |update| update.size));
        let bytes = pages::size_in_words(view.bytes);
        let frame = pages::frame(screen);
        let page = UpdatePage { frame, view, size, bytes, job };
        page.render().map_err(|error| Error::Internal(error.to_string()))
    })
    .await
}

/// Ready when a job of the update moved; not too often.
pub(super) async fn moves(course: Option<&mut watch::Receiver<Course>>) {
    let changed = match course {
        Some(course) => course.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(PACE).await;
}

async fn check(State(screen): State<Screen>) -> Response {
    if screen.device.view() != View::Open {
        return to_home();
    }
    done(&screen, screen.device.check_update().await)
}

async fn download(State(screen): State<Screen>) -> Response {
    if screen.device.view() != View::Open {
        return to_home();
    }
    done(&screen, screen.device.download_update())
}

async fn apply(State(screen): State<Screen>) -> Response {
    if screen.device.view() != View::Open {
        return to_home();
    }
    done(&screen, screen.device.apply_update())
}

async fn restart(State(screen): State<Screen>) -> Response {
    if screen.device.view() != View::Open {
        return to_home();
    }
    let ready = blocking(&screen.device, Device::restart_into_update).await;
    if ready.is_ok() {
        screen.device.restart();
    }
    done(&screen, ready)
}

async fn discard(State(screen): State<Screen>) -> Response {
    if screen.device.view() != View::Open {
        return to_home();
    }
    done(&screen, screen.device.discard_update().await)
}

/// Back to the page, which says what was in the way.
fn done<T>(screen: &Screen, result: Result<T, Error>) -> Response {
    screen.device.set_notice(result.err().map(|error| error.to_string()));
    to(PAGE)
}
