//! The web console: plain pages, drawn by the server, that work without scripts. A script of a
//! kilobyte keeps them fresh. No inline style or script; nothing from elsewhere.

mod devices;
mod files;
mod map;
mod page;
mod security;
mod session;

use crate::app::App;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use page::PageFault;

/// The largest form.
const FORM_BYTES: usize = 16 * 1024;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(|| async { Redirect::to("/devices") }))
        .merge(session::routes())
        .merge(devices::routes())
        .merge(files::routes())
        .merge(security::routes())
        .layer(DefaultBodyLimit::max(FORM_BYTES))
        .route("/assets/console.css", get(|| asset("text/css; charset=utf-8", CSS)))
        .route("/assets/console.js", get(|| asset("text/javascript; charset=utf-8", JS)))
        .route("/assets/mark.svg", get(|| asset("image/svg+xml", MARK)))
        .fallback(not_found)
}

const CSS: &[u8] = include_bytes!("../../assets/console.css");
const JS: &[u8] = include_bytes!("../../assets/console.js");
const MARK: &[u8] = include_bytes!("../../assets/mark.svg");

async fn asset(kind: &'static str, bytes: &'static [u8]) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], bytes).into_response()
}

/// Programs get a refusal, people a page.
async fn not_found(uri: http::Uri) -> Response {
    if uri.path().starts_with("/v1/") {
        return crate::fault::Fault::not_found("route").into_response();
    }
    PageFault::from(crate::fault::Fault::not_found("page")).into_response()
}
