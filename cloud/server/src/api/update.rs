//! System updates: the routes of [`wire::update`].

use crate::app::App;
use crate::caller::{Body, Device, Maker};
use crate::connect;
use crate::fault::Fault;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use cloud_update::Download;
use cloud_update::range::{Selection, select};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use wire::update::{Announcement, Answer, Check, NewPackage, Release, Report, RolloutChange};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/makers/releases", post(announce).get(list))
        .route("/v1/makers/releases/{release}", get(read).delete(delete))
        .route("/v1/makers/releases/{release}/packages", post(add_package))
        .route("/v1/makers/releases/{release}/rollout", put(roll_out))
        .route("/v1/makers/releases/{release}/stop", post(stop))
        .route("/v1/makers/releases/{release}/resume", post(resume))
        .route("/v1/makers/packages/{package}", put(upload))
        .route("/v1/updates/check", post(check))
        .route("/v1/updates/packages/{package}", get(download))
        .route("/v1/updates/reports", post(report))
}

async fn announce(
    State(app): State<App>,
    Maker(maker): Maker,
    Body(request): Body<Announcement>,
) -> Result<(StatusCode, Json<Release>), Fault> {
    Ok((StatusCode::CREATED, Json(app.update.announce(&maker, &request).await?)))
}

async fn list(State(app): State<App>, Maker(maker): Maker) -> Result<Json<Vec<Release>>, Fault> {
    Ok(Json(app.update.releases(&maker).await?))
}

async fn read(
    State(app): State<App>,
    Maker(maker): Maker,
    Path(release): Path<String>,
) -> Result<Json<Release>, Fault> {
    Ok(Json(app.update.release(&maker, &release).await?))
}

async fn delete(
    State(app): State<App>,
    Maker(maker): Maker,
    Path(release): Path<String>,
) -> Result<StatusCode, Fault> {
    app.update.delete(&maker, &release).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn add_package(
    State(app): State<App>,
    Maker(maker): Maker,
    Path(release): Path<String>,
    Body(package): Body<NewPackage>,
) -> Result<(StatusCode, Json<Release>), Fault> {
    Ok((StatusCode::CREATED, Json(app.update.add_package(&maker, &release, &package).await?)))
}

async fn roll_out(
    State(app): State<App>,
    Maker(maker): Maker,
    Path(release): Path<String>,
    Body(change): Body<RolloutChange>,
) -> Result<Json<Release>, Fault> {
    Ok(Json(app.update.roll_out(&maker, &release, &change).await?))
}

async fn stop(
    State(app): State<App>,
    Maker(maker): Maker,
    Path(release): Path<String>,
) -> Result<Json<Release>, Fault> {
    Ok(Json(app.update.stop(&maker, &release).await?))
}

async fn resume(
    State(app): State<App>,
    Maker(maker): Maker,
    Path(release): Path<String>,
) -> Result<Json<Release>, Fault> {
    Ok(Json(app.update.resume(&maker, &release).await?))
}

/// The body is a stream: no limit of other bodies holds, the announced size does.
async fn upload(
    State(app): State<App>,
    Maker(maker): Maker,
    Path(package): Path<String>,
    request: Request,
) -> Result<Json<Release>, Fault> {
    let pieces = request.into_body().into_data_stream();
    Ok(Json(app.update.upload(&maker, &package, pieces).await?))
}

async fn check(
    State(app): State<App>,
    device: Device,
    Body(check): Body<Check>,
) -> Result<Json<Answer>, Fault> {
    let standing = connect::standing(&app, &device).await?;
    Ok(Json(app.update.check(&device.id, &standing, &check).await?))
}

async fn report(
    State(app): State<App>,
    device: Device,
    Body(report): Body<Report>,
) -> Result<StatusCode, Fault> {
    app.update.report(&device.id, &report).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn download(
    State(app): State<App>,
    device: Device,
    Path(package): Path<String>,
    method: Method,
    mut headers: HeaderMap,
) -> Result<Response, Fault> {
    // Ranges are for GET alone; HEAD tells of the whole (RFC 9110, 14.2).
    if method != Method::GET {
        headers.remove(RANGE);
    }
    let standing = connect::standing(&app, &device).await?;
    let download = app.update.download(&standing, &package).await?;
    let size = download.size;
    let mut response = match select(&headers, &download.etag, size) {
        Selection::Whole => content(&download, StatusCode::OK, 0, size),
        Selection::Part { first, length } => {
            let mut part = content(&download, StatusCode::PARTIAL_CONTENT, first, length);
            let range = format!("bytes {first}-{}/{size}", first + length - 1);
            set(&mut part, CONTENT_RANGE, &range);
            part
        }
        Selection::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Selection::PreconditionFailed => {
            let reason = "the package is another one than If-Match names; check again";
            Fault::new(StatusCode::PRECONDITION_FAILED, "another_package", reason).into_response()
        }
        Selection::NotSatisfiable => {
            let reason = format_args!("the package has {size} bytes");
            let mut refusal =
                Fault::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", reason)
                    .into_response();
            set(&mut refusal, CONTENT_RANGE, &format!("bytes */{size}"));
            refusal
        }
    };
    set(&mut response, ETAG, &download.etag);
    set(&mut response, ACCEPT_RANGES, "bytes");
    // The device's to keep, nobody's on the way.
    set(&mut response, CACHE_CONTROL, "private");
    Ok(response)
}

fn content(download: &Download, status: StatusCode, first: u64, length: u64) -> Response {
    let body = axum::body::Body::from_stream(download.stream(first, length));
    let mut response = (status, body).into_response();
    set(&mut response, CONTENT_TYPE, "application/zip");
    set(&mut response, CONTENT_LENGTH, &length.to_string());
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("digits, hexadecimal and words of ours");
    response.headers_mut().insert(name, value);
}
