//! Files over the local API: streams of bounded memory between HTTP and the area's blocking
//! readers and writers.

use super::{Answer, Shared, answer};
use crate::device::{Device, Entry, Others, blocking};
use crate::error::Error;
use crate::percent;
use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use http_link::pipe;
use serde_json::json;
use std::io::Read as _;
use std::sync::Arc;
use wire::Base64;

/// `PUT /v1/files`
pub(super) async fn import(
    State(device): Shared,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer {
    let others = match query.as_deref() {
        Some("replace=true") => Others::Go,
        None | Some("" | "replace=false") => Others::Stay,
        Some(_) => return Err(Error::BadRequest("the query is replace=true or nothing".into())),
    };
    let mut from = pipe::reader(request.into_body().into_data_stream());
    let transfer = blocking(&device, move |device| {
        let transfer = device.import(&mut from, others)?;
        // What follows the archive's end is padding; the sender may finish in peace.
        let mut rest = from.take(1 << 20);
        let _ = std::io::copy(&mut rest, &mut std::io::sink());
        Ok(transfer)
    });
    answer(transfer.await?)
}

/// `GET /v1/files/tar`
pub(super) async fn export(State(device): Shared) -> Result<Response, Error> {
    // The refusal comes before the first byte; later failures break the stream off.
    device.refuse_if_closed()?;
    let (mut writer, body) = pipe::writer();
    tokio::task::spawn_blocking(move || match device.export(&mut writer) {
        Ok(_) => drop(writer.finish()),
        Err(error) => tracing::warn!(code = error.code(), "an export broke off"),
    });
    let headers = [(CONTENT_TYPE, "application/x-tar")];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// `GET /v1/files?path=`
pub(super) async fn list(State(device): Shared, RawQuery(query): RawQuery) -> Answer {
    let path = path_of(query.as_deref())?;
    let listing = blocking(&device, move |device| device.list(&path)).await?;
    let entries: Vec<_> = listing.entries.into_iter().map(entry).collect();
    answer(json!({"entries": entries}))
}

fn entry(entry: Entry) -> serde_json::Value {
    json!({
        "display": String::from_utf8_lossy(&entry.name),
        "name": Base64(entry.name),
        "kind": entry.kind,
        "size": entry.size,
        "mode": entry.mode,
        "mtime_ms": entry.mtime_ms,
        "target": entry.target.map(Base64),
    })
}

/// `GET /v1/files/content?path=`
pub(super) async fn content(
    State(device): Shared,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let (size, body) = file_body(&device, path_of(query.as_deref())?).await?;
    let headers =
        [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_LENGTH, size.to_string())];
    Ok((headers, body).into_response())
}

/// A file's size, and its content as a body.
pub(crate) async fn file_body(device: &Arc<Device>, path: Vec<u8>) -> Result<(u64, Body), Error> {
    let content = blocking(device, move |device| device.content(&path)).await?;
    let size = content.size();
    let (mut writer, body) = pipe::writer();
    tokio::task::spawn_blocking(move || {
        if content.write_to(&mut writer).is_ok() {
            // A reader that hung up is no failure of ours.
            let _ = writer.finish();
        }
    });
    Ok((size, Body::from_stream(body)))
}

fn path_of(query: Option<&str>) -> Result<Vec<u8>, Error> {
    percent::query_value(query, "path")
        .ok_or_else(|| Error::BadRequest("path is percent-encoded (RFC 3986)".into()))
}
