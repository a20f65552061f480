//! System updates (SPEC S2.6): what a device asks the cloud, and a package in ranges.

use crate::session::{DeviceSession, Error};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};
use http::StatusCode;
use http::header::{CONTENT_RANGE, ETAG};
use http_link::Response;
use std::time::Duration;
use wire::update::{Answer, Check, Report};

/// The longest silence in the middle of a package.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is there for a device that has this?
pub async fn check(session: &DeviceSession, has: &Check) -> Result<Answer, Error> {
    session.ask(|client| client.post("/v1/updates/check").json(has)).await
}

/// Says how far an update came.
pub async fn report(session: &DeviceSession, report: &Report) -> Result<(), Error> {
    session.send(|client| client.post("/v1/updates/reports").json(report)).await.map(drop)
}

/// The bytes of a package from some byte on, or why there are none.
pub enum Rest {
    /// These.
    Bytes(BoxStream<'static, Result<Bytes, http_link::Error>>),
    /// The server has another package under this address.
    Swapped,
}

/// Asks for a package of `size` bytes whose SHA-256 is `sha256` (hexadecimal), from byte `from`
/// on. Only bytes of that very package come: its hash is its entity tag, and a range of another
/// one would be answered with the whole of it (RFC 9110, 13.1.5), which is not taken.
pub async fn package(
    session: &DeviceSession,
    path: &str,
    (size, sha256): (u64, &str),
    from: u64,
) -> Result<Rest, Error> {
    let (range, etag) = (format!("bytes={from}-"), format!("\"{sha256}\""));
    let answer = session.send(|client| {
        let request = client.get(path).patience(PATIENCE);
        request.header("range", &range).header("if-range", &etag)
    });
    let answer = match answer.await {
        // There is no such byte: the package there is shorter.
        Err(error) if error.refusal().is_some_and(|refusal| refusal.status == 416) => {
            return Ok(Rest::Swapped);
        }
        answer => answer?,
    };
    if answer.header(&ETAG) != Some(&etag) {
        return Ok(Rest::Swapped);
    }
    match answer.status() {
        // A server that knows no ranges, or does not believe this one: from the first byte on.
        StatusCode::OK if from == 0 => Ok(Rest::Bytes(answer.stream().boxed())),
        StatusCode::PARTIAL_CONTENT if begins_at(&answer, from, size) => {
            Ok(Rest::Bytes(answer.stream().boxed()))
        }
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            Err(Error::Answer("another part of the package than was asked for"))
        }
        _ => Err(Error::Answer("neither a package nor a refusal")),
    }
}

/// `bytes FROM-LAST/SIZE`.
fn begins_at(answer: &Response, from: u64, size: u64) -> bool {
    let range = answer.header(&CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes "));
    let parts = range.and_then(|range| range.split_once('/'));
    parts.is_some_and(|(range, of)| {
        let first = range.split_once('-').map(|(first, _)| first);
        first == Some(&*from.to_string()) && of == size.to_string()
    })
}
