//! For tests: the cloud's end of updates, with a network that breaks, and who writes slots.

use crate::device::{Installer, Judged, Moved, NotWritten, UpdateParts};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use device_update::state::{Running, Update, Why};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use wire::Refusal;
use wire::update::{Check, Report};

/// The build that the device runs at first.
pub(crate) fn running(build: &str) -> Running {
    Running {
        model: "hf1".into(),
        channel: "stable".into(),
        build: build.into(),
        timestamp: if build == "b2" { 200 } else { 100 },
        security_patch: "2026-11-05".into(),
    }
}

/// What the cloud has, and what became of it.
#[derive(Default)]
pub(crate) struct FakeReleases(Mutex<Data>);

#[derive(Default)]
struct Data {
    answer: Value,
    package: Vec<u8>,
    etag: String,
    /// Each connection breaks after so many bytes; the last number holds for all further ones.
    cuts: VecDeque<usize>,
    refusal: Option<(u16, &'static str)>,
    /// `(Range, If-Range)` of each request.
    asked: Vec<(String, String)>,
    checks: Vec<Check>,
    reports: Vec<Report>,
    refuse_reports: bool,
}

impl FakeReleases {
    /// Offers `package` as build `b2`.
    pub(crate) fn offer(&self, package: &[u8]) {
        let sha256 = device_update::partial::hex(&crypto::digest::sha256(package));
        let mut data = self.lock();
        data.etag = format!("\"{sha256}\"");
        data.package = package.to_vec();
        data.answer = json!({"answer": "update", "release_id": "r1", "build": "b2",
            "timestamp": 200, "security_patch": "2026-11-05", "size": package.len(),
            "sha256": sha256, "url": "/v1/updates/packages/p1"});
    }

    pub(crate) fn answers(&self, answer: Value) {
        self.lock().answer = answer;
    }

    /// Sends these bytes; what was offered stays as it was.
    pub(crate) fn swaps(&self, package: &[u8], etag: bool) {
        let mut data = self.lock();
        data.package = package.to_vec();
        if etag {
            data.etag = "\"another\"".into();
        }
    }

    pub(crate) fn cuts(&self, cuts: &[usize]) {
        self.lock().cuts = cuts.iter().copied().collect();
    }

    pub(crate) fn refuses(&self, refusal: Option<(u16, &'static str)>) {
        self.lock().refusal = refusal;
    }

    pub(crate) fn refuses_reports(&self, refuse: bool) {
        self.lock().refuse_reports = refuse;
    }

    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        self.lock().asked.clone()
    }

    pub(crate) fn checks(&self) -> Vec<Check> {
        self.lock().checks.clone()
    }

    /// `downloaded`, `failed:hash_differs` …
    pub(crate) fn reports(&self) -> Vec<String> {
        let word = |report: &Report| match &report.reason {
            Some(reason) => format!("{}:{reason}", json!(report.stage).as_str().unwrap()),
            None => json!(report.stage).as_str().unwrap().to_owned(),
        };
        self.lock().reports.iter().map(word).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.0.lock().unwrap()
    }
}

type Shared = State<Arc<FakeReleases>>;

pub(crate) fn router(releases: Arc<FakeReleases>) -> Router {
    Router::new()
        .route("/v1/updates/check", post(check))
        .route("/v1/updates/packages/p1", get(package))
        .route("/v1/updates/reports", post(report))
        .with_state(releases)
}

async fn check(State(releases): Shared, Json(check): Json<Check>) -> Json<Value> {
    let mut data = releases.lock();
    data.checks.push(check);
    Json(data.answer.clone())
}

async fn report(State(releases): Shared, Json(report): Json<Report>) -> StatusCode {
    let mut data = releases.lock();
    if data.refuse_reports {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    data.reports.push(report);
    StatusCode::NO_CONTENT
}

async fn package(State(releases): Shared, headers: HeaderMap) -> Response {
    let text = |name: &str| headers.get(name).map_or("", |it| it.to_str().unwrap()).to_owned();
    let (range, if_range) = (text("range"), text("if-range"));
    let mut data = releases.lock();
    data.asked.push((range.clone(), if_range.clone()));
    if let Some((status, word)) = data.refusal {
        let body = Json(Refusal::new(word, "No."));
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    let size = data.package.len();
    let from = range.strip_prefix("bytes=").and_then(|it| it.strip_suffix('-')).unwrap();
    let from: usize = if if_range == data.etag { from.parse().unwrap() } else { 0 };
    if from >= size {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    let cut = if data.cuts.len() > 1 { data.cuts.pop_front() } else { data.cuts.front().copied() };
    let end = cut.map_or(size, |cut| size.min(from + cut));
    let pieces = data.package[from..end].chunks(10_000).map(|it| Ok(Bytes::copy_from_slice(it)));
    let broken = (end < size).then(|| Err(std::io::ErrorKind::ConnectionReset.into()));
    let pieces: Vec<std::io::Result<Bytes>> = pieces.chain(broken).collect();
    let headers = [
        ("etag", data.etag.clone()),
        ("content-length", (size - from).to_string()),
        ("content-range", format!("bytes {from}-{}/{size}", size - 1)),
    ];
    let whole = from == 0 && if_range != data.etag;
    let status = if whole { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
    // What was sent before the connection breaks is on its way.
    let pieces = stream::iter(pieces).then(|piece| async {
        tokio::task::yield_now().await;
        piece
    });
    (status, headers, Body::from_stream(pieces)).into_response()
}

/// Who writes slots: packages that begin with `b2` lead to that build.
#[derive(Default)]
pub(crate) struct FakeInstaller(Mutex<Slots>);

#[derive(Default)]
struct Slots {
    /// What stands in the way of the next installation.
    fails: Option<NotWritten>,
    written: Vec<Vec<u8>>,
    requested: Vec<String>,
    bad_end: Option<Why>,
}

impl FakeInstaller {
    pub(crate) fn parts(self: &Arc<Self>, build: &str) -> UpdateParts {
        UpdateParts { running: running(build), installer: self.clone() }
    }

    pub(crate) fn fails(&self, reason: &str, refused: bool) {
        let why = Why::new(reason, "it does not go in");
        self.0.lock().unwrap().fails = Some(NotWritten { why, refused });
    }

    pub(crate) fn ends_badly(&self, reason: &str) {
        self.0.lock().unwrap().bad_end = Some(Why::new(reason, "it did not come up"));
    }

    pub(crate) fn written(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().written.clone()
    }

    pub(crate) fn requested(&self) -> Vec<String> {
        self.0.lock().unwrap().requested.clone()
    }
}

fn read(mut package: &File) -> Vec<u8> {
    use std::io::Seek as _;
    let mut bytes = Vec::new();
    package.rewind().unwrap();
    package.read_to_end(&mut bytes).unwrap();
    bytes
}

impl Installer for FakeInstaller {
    fn judge(&self, package: &File) -> Result<Judged, Why> {
        if !read(package).starts_with(b"b2") {
            return Err(Why::new("signature", "nobody whom this device trusts signed it"));
        }
        Ok(Judged {
            build: "b2".into(),
            timestamp: 200,
            security_patch: "2026-11-05".into(),
            delta: false,
        })
    }

    fn install(&self, package: &File, update: &Update, moved: Moved<'_>) -> Result<(), NotWritten> {
        assert_eq!(update.build, "b2");
        moved(1, 2);
        let bytes = read(package);
        let mut slots = self.0.lock().unwrap();
        if let Some(fails) = slots.fails.take() {
            return Err(fails);
        }
        slots.written.push(bytes);
        Ok(())
    }

    fn boot_recovery(&self, package: &Path) -> Result<(), String> {
        let name = package.file_name().unwrap().to_str().unwrap().to_owned();
        self.0.lock().unwrap().requested.push(name);
        Ok(())
    }

    fn bad_end(&self) -> Option<Why> {
        self.0.lock().unwrap().bad_end.clone()
    }

    fn forget_end(&self) {
        self.0.lock().unwrap().bad_end = None;
    }
}
