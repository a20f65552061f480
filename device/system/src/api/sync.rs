//! Sync over the local API: a run whose progress comes as NDJSON.
//!
//! Each line is an object. While it runs, at most five a second:
//! `{"files", "bytes", "blocks", "moved_blocks", "moved_bytes"}`. The last one says how it
//! ended: `{"done": true, "files", "bytes", "blocks", "uploaded_blocks"` (upload) or
//! `"fetched_blocks"` (restore)`, "ms", "generation"}`, or `{"done": false, "error", "reason"}`
//! with the words of a refusal. A stream that ends without such a line broke off.
//!
//! `POST /v1/sync/upload?replace=true` follows a snapshot that this device has not seen with
//! its own state; without it such an upload ends with `unseen_snapshot`. Refusals before the
//! first line: 423 `locked`, 409 `not_bound`, 409 `sync_runs`.

use super::Shared;
use crate::device::{Device, Direction};
use crate::error::Error;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use device_link::sync::{Outcome, Progress, Unseen};
use http_link::pipe::{self, PipeWriter};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// Between two lines of progress.
const PACE: Duration = Duration::from_millis(200);

/// `POST /v1/sync/upload`
pub(super) async fn upload(
    State(device): Shared,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let replace = query.as_deref() == Some("replace=true");
    let unseen = if replace { Unseen::Replace } else { Unseen::Refuse };
    start(device, Direction::Upload(unseen))
}

/// `POST /v1/sync/restore`
pub(super) async fn restore(State(device): Shared) -> Result<Response, Error> {
    start(device, Direction::Restore)
}

fn start(device: Arc<Device>, direction: Direction) -> Result<Response, Error> {
    // Refused before the first line, where it can be.
    drop(device.prepare_sync()?);
    let (writer, body) = pipe::writer();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        // A reader that hung up does not stop the run; what it has done stays.
        let _ = run(&device, direction, &runtime, writer);
    });
    let headers = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn run(
    device: &Device,
    direction: Direction,
    runtime: &Handle,
    writer: PipeWriter,
) -> io::Result<()> {
    let clock = device.clock();
    let began = clock.monotonic();
    let lines = Mutex::new((writer, began));
    let listener = |progress: Progress| {
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.monotonic();
        if now.saturating_sub(lines.1) >= PACE {
            lines.1 = now;
            let _ = line(&mut lines.0, &figures(&progress));
        }
    };
    let ended = device.prepare_sync().and_then(|run| run.go(direction, runtime, &listener));
    let ms = clock.monotonic().saturating_sub(began).as_millis() as u64;
    let last = match ended {
        Ok(outcome) => done(direction, outcome, ms),
        Err(error) => json!({"done": false, "error": error.code(), "reason": error.to_string()}),
    };
    let (mut writer, _) = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
    line(&mut writer, &last)?;
    writer.finish()
}

fn line(writer: &mut PipeWriter, line: &Value) -> io::Result<()> {
    writeln!(writer, "{line}")?;
    writer.flush()
}

fn figures(progress: &Progress) -> Value {
    json!({
        "files": progress.files,
        "bytes": progress.bytes,
        "blocks": progress.blocks,
        "moved_blocks": progress.moved_blocks,
        "moved_bytes": progress.moved_bytes,
    })
}

fn done(direction: Direction, outcome: Outcome, ms: u64) -> Value {
    let Outcome { progress, generation } = outcome;
    let moved = match direction {
        Direction::Upload(_) => "uploaded_blocks",
        Direction::Restore => "fetched_blocks",
    };
    json!({
        "done": true,
        "files": progress.files,
        "bytes": progress.bytes,
        "blocks": progress.blocks,
        moved: progress.moved_blocks,
        "ms": ms,
        "generation": generation,
    })
}
