//! System updates over the local API. Downloading and applying are jobs whose progress comes as
//! NDJSON: `{"job", "done", "of"}`, at most five a second. The last line says how it ended:
//! `{"done": true}`, or `{"done": false, "error", "reason"}` with the words of a refusal, and with
//! both the fields of `GET /v1/update` in `"update"`. Whoever hangs up does not stop the job, and a
//! second call follows the one that runs. What is done already ends at once, well.

use super::{Answer, Shared, answer};
use crate::device::{Course, Device, blocking};
use crate::error::Error;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http_link::pipe;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between two lines of progress.
const PACE: Duration = Duration::from_millis(200);

/// `GET /v1/update`
pub(super) async fn view(State(device): Shared) -> Answer {
    answer(blocking(&device, Device::update).await?)
}

/// `POST /v1/update/check`
pub(super) async fn check(State(device): Shared) -> Answer {
    device.check_update().await?;
    view(State(device)).await
}

/// `POST /v1/update/download`
pub(super) async fn download(State(device): Shared) -> Result<Response, Error> {
    let course = device.download_update()?;
    Ok(follow(device, course))
}

/// `POST /v1/update/apply`
pub(super) async fn apply(State(device): Shared) -> Result<Response, Error> {
    let course = device.apply_update()?;
    Ok(follow(device, course))
}

/// `POST /v1/update/restart`
pub(super) async fn restart(State(device): Shared) -> Answer {
    blocking(&device, Device::restart_into_update).await?;
    device.restart();
    answer(json!({"restarting": true}))
}

/// `PUT /v1/update/file`
pub(super) async fn copy(State(device): Shared, request: Request) -> Answer {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let mut from = pipe::reader(request.into_body().into_data_stream());
    blocking(&device, move |device| device.copy_update(&mut from, length)).await?;
    view(State(device)).await
}

/// `DELETE /v1/update`
pub(super) async fn discard(State(device): Shared) -> Answer {
    device.discard_update().await?;
    view(State(device)).await
}

/// The lines of a job that runs.
fn follow(device: Arc<Device>, mut course: watch::Receiver<Course>) -> Response {
    course.mark_changed();
    let lines = stream::unfold(Some((device, course)), |state| async move {
        let (device, mut course) = state?;
        // An end that nobody told would be the daemon's.
        course.changed().await.ok()?;
        let now = course.borrow_and_update().clone();
        match now {
            Course::Runs(job) => {
                tokio::time::sleep(PACE).await;
                let line = json!({"job": job.kind, "done": job.done, "of": job.of});
                Some((text(&line), Some((device, course))))
            }
            Course::Ended(why) => {
                let update = blocking(&device, Device::update).await.ok();
                let line = match why {
                    None => json!({"done": true, "update": update}),
                    Some(why) => json!({"done": false, "error": why.reason,
                        "reason": why.explanation, "update": update}),
                };
                Some((text(&line), None))
            }
        }
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

fn text(line: &Value) -> Result<String, Infallible> {
    Ok(format!("{line}\n"))
}
