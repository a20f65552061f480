//! Security: who the account is, where it is signed in, what was done with it.

use super::page::{Frame, Moment, PageFault, show};
use super::session::{Posted, Visitor};
use crate::app::App;
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use cloud_account::SessionKind;
use cloud_account::audit::{Entry, Verdict};
use serde::Deserialize;
use wire::account::Profile;

/// Lines of each list.
const LINES: u32 = 12;

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

struct AuditLine {
    at: Moment,
    what: String,
    actor: String,
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
    let profile = app.accounts.profile(&caller.subject).await?;
    let sessions = app.accounts.sessions(caller).await?;
    let sign_ins = app.accounts.sign_ins(&caller.subject, LINES).await?;
    let audit = app.accounts.audit_of(&caller.subject, LINES).await?;
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
        audit: audit.iter().map(|entry| audit_line(entry, now)).collect(),
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

fn audit_line(entry: &Entry, now: effects::UnixMillis) -> AuditLine {
    let words = entry.action.replace('_', " ");
    let mut letters = words.chars();
    let what = letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect());
    AuditLine { at: Moment::new(entry.at, now), what, actor: entry.actor.clone() }
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
