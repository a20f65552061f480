//! Security: who the account is, where it is signed in, what was done with it.

use super::page::{Frame, Moment, PageFault, shortened, show};
use super::session::{Posted, Visitor};
use crate::app::App;
use crate::fault::Fault;
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use cloud_account::SessionKind;
use cloud_account::audit::{Entry, Verdict};
use serde::Deserialize;
use std::time::Duration;
use wire::account::Profile;

/// Lines of each list.
const LINES: u32 = 12;
/// Entries of the audit log that those lines are made from.
const ENTRIES: u32 = 200;
/// How old the check of the audit log's chain may be.
const CHECK_AGE: Duration = Duration::from_secs(60);

pub(super) fn routes() -> Router<App> {
    Router::new().route("/security", get(page)).route("/security/sessions/end", post(end_sessions))
}

struct SessionLine {
    kind: &'static str,
    source: String,
    opened: Moment,
    used: Moment,
    current: bool,
}

struct SignInLine {
    at: Moment,
    source: String,
    succeeded: bool,
}

/// The same thing done several times in a row is one line, with the newest time.
struct AuditLine {
    at: Moment,
    what: String,
    actor: String,
    times: u32,
}

#[derive(Template)]
#[template(path = "security.html")]
struct SecurityPage {
    frame: Frame,
    profile: Profile,
    since: Moment,
    sessions: Vec<SessionLine>,
    sign_ins: Vec<SignInLine>,
    audit: Vec<AuditLine>,
    chain: String,
}

async fn page(State(app): State<App>, visitor: Visitor) -> Result<Response, PageFault> {
    let (caller, now) = (&visitor.caller, app.clock.now());
    let mut profile = app.accounts.profile(&caller.subject).await?;
    (profile.phone, profile.email) = (shortened(&profile.phone), shortened(&profile.email));
    let sessions = app.accounts.sessions(caller).await?;
    let sign_ins = app.accounts.sign_ins(&caller.subject, LINES).await?;
    let audit = app.accounts.audit_of(&caller.subject, ENTRIES).await?;
    let checked = app.audit_verdict().map(|(at, _)| at);
    if checked.is_none_or(|at| now.since(at) >= CHECK_AGE) {
        app.check_audit().await.map_err(|error| Fault::internal(&error))?;
    }
    show(&SecurityPage {
        frame: Frame::new(&visitor, "security", "Security"),
        since: Moment::new(effects::UnixMillis(profile.created_at_ms), now),
        profile,
        sessions: sessions
            .into_iter()
            .map(|session| SessionLine {
                kind: kind(session.kind),
                source: session.source,
                opened: Moment::new(session.created_at, now),
                used: Moment::new(session.last_used, now),
                current: session.current,
            })
            .collect(),
        sign_ins: sign_ins
            .into_iter()
            .map(|line| SignInLine {
                at: Moment::new(line.at, now),
                source: line.source,
                succeeded: line.succeeded,
            })
            .collect(),
        audit: audit_lines(&audit, now),
        chain: chain(&app, now),
    })
}

const fn kind(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::Web => "Browser",
        SessionKind::Api => "Program",
        SessionKind::Device => "Device",
    }
}

fn audit_lines(entries: &[Entry], now: effects::UnixMillis) -> Vec<AuditLine> {
    let runs = entries.chunk_by(|a, b| (&a.action, &a.actor) == (&b.action, &b.actor));
    let line = |run: &[Entry]| AuditLine {
        at: Moment::new(run[0].at, now),
        what: words(&run[0].action),
        actor: run[0].actor.clone(),
        times: run.len() as u32,
    };
    runs.map(line).take(LINES as usize).collect()
}

/// `device_bound` as `Device bound`.
fn words(action: &str) -> String {
    match action {
        "owner_assertion" => return "Vouched for at the Key Center".into(),
        "find_enabled" => return "Find device turned on".into(),
        "find_disabled" => return "Find device turned off".into(),
        _ => {}
    }
    let words = action.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn chain(app: &App, now: effects::UnixMillis) -> String {
    match app.audit_verdict() {
        Some((at, Verdict::Whole(entries))) => {
            format!("Chain checked {}: whole, {entries} entries.", Moment::new(at, now).words)
        }
        Some((at, Verdict::BrokenAt(entry))) => {
            format!("Chain checked {}: broken at entry {entry}.", Moment::new(at, now).words)
        }
        None => "The chain is being checked.".into(),
    }
}

#[derive(Deserialize)]
struct Nothing {}

async fn end_sessions(
    State(app): State<App>,
    posted: Posted<Nothing>,
) -> Result<Response, PageFault> {
    app.accounts.end_other_sessions(&posted.visitor.caller).await?;
    Ok(Redirect::to("/security").into_response())
}
