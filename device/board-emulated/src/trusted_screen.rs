//! The trusted screen in a browser, on an origin of its own: loopback only.
//!
//! `GET /` is the page, `GET /state?seen=N` answers as soon as the prompt is another than number
//! N, `POST /entered` and `POST /cancelled` answer the prompt, `POST /mark` asks for another
//! mark. A request must name this very origin: other pages in the same browser can't type here,
//! nor can a name that was re-bound to the loopback address. No page frames this one: what lies
//! over a frame, the person would not see.

use crate::screen::{GRACE, NotTaken, Screen, Standing};
use crate::status::Board;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use board::ui::{Input, Mark, Typed};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a question about the state waits for news.
const PATIENCE: Duration = Duration::from_secs(25);

/// What the page's routes share.
struct Page {
    screen: Arc<Screen>,
    board: Arc<Board>,
    /// `host:port` values that name this origin.
    hosts: [String; 2],
}

/// What stands there while the system on the flash is known to be corrupt.
const CORRUPT: &str = "The system on this phone is corrupt and may not work properly. Flash a good \
                       image, or update it.";

const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// The routes. `own` is where they are served.
pub fn routes(screen: Arc<Screen>, board: Arc<Board>, own: SocketAddr) -> Router {
    let hosts = [own.to_string(), format!("localhost:{}", own.port())];
    let page = Arc::new(Page { screen, board, hosts });
    Router::new()
        .route("/", get(html))
        .route("/style.css", get(css))
        .route("/script.js", get(javascript))
        .route("/state", get(state))
        .route("/entered", post(entered))
        .route("/cancelled", post(cancelled))
        .route("/mark", post(mark))
        .layer(from_fn_with_state(page.clone(), same_origin))
        .with_state(page)
}

/// Refuses what does not name this origin, and adds the security headers.
async fn same_origin(State(page): State<Arc<Page>>, request: Request, next: Next) -> Response {
    let mut response = if page.is_named_by(&request) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "this is not the trusted screen's own page\n").into_response()
    };
    add_headers(response.headers_mut());
    response
}

impl Page {
    /// Whether the request was made to this origin and, where it says from where, by it.
    fn is_named_by(&self, request: &Request) -> bool {
        let text = |name: &HeaderName| request.headers().get(name).and_then(|v| v.to_str().ok());
        let host = text(&HOST).unwrap_or_default();
        let from_here = match text(&ORIGIN) {
            Some(origin) => origin.strip_prefix("http://") == Some(host),
            None => request.method() == Method::GET,
        };
        from_here && self.hosts.iter().any(|known| known == host)
    }
}

fn add_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, SECURITY_POLICY),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Whoever opened this window keeps no hold of it.
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

async fn html() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], include_str!("assets/screen.html"))
}

async fn css() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("assets/screen.css"))
}

async fn javascript() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("assets/screen.js"))
}

#[derive(Deserialize)]
struct Seen {
    seen: Option<u64>,
}

/// What the page shows.
#[derive(Serialize)]
struct Shown {
    change: u64,
    prompt: Option<ShownPrompt>,
    /// What tells this page from a fake, while it asks.
    mark: Option<Mark>,
    /// For so long after it appeared a prompt takes no answer.
    grace_ms: u64,
    /// What everybody who looks at it must know.
    warning: Option<&'static str>,
}

/// A prompt as JSON, for the page and the control socket. It has no secret in it, and not the
/// mark.
#[derive(Serialize)]
pub struct ShownPrompt {
    id: u64,
    title: String,
    detail: String,
    input: Input,
}

impl From<Standing> for ShownPrompt {
    fn from(Standing { id, prompt, .. }: Standing) -> Self {
        Self { id, title: prompt.title, detail: prompt.detail, input: prompt.input }
    }
}

async fn state(State(page): State<Arc<Page>>, Query(Seen { seen }): Query<Seen>) -> Json<Shown> {
    let mut changes = page.screen.changes();
    // Nothing new in that time is an answer too.
    let _ = tokio::time::timeout(PATIENCE, changes.wait_for(|now| Some(*now) != seen)).await;
    let change = *changes.borrow();
    let warning = page.board.is_corrupt().then_some(CORRUPT);
    let standing = page.screen.standing();
    let mark = standing.as_ref().and_then(|standing| standing.mark.clone());
    let grace_ms = GRACE.as_millis() as u64;
    Json(Shown { change, prompt: standing.map(Into::into), mark, grace_ms, warning })
}

#[derive(Deserialize)]
struct Entered {
    id: u64,
    text: Typed,
}

async fn entered(State(page): State<Arc<Page>>, Json(body): Json<Entered>) -> Response {
    outcome(page.screen.enter(body.id, &body.text, Instant::now()))
}

#[derive(Deserialize)]
struct Cancelled {
    id: u64,
}

async fn cancelled(State(page): State<Arc<Page>>, Json(body): Json<Cancelled>) -> Response {
    outcome(page.screen.turn_away(body.id, Instant::now()))
}

async fn mark(State(page): State<Arc<Page>>) -> Response {
    outcome(page.screen.change_mark())
}

fn outcome(result: Result<(), NotTaken>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(NotTaken::Gone) => (StatusCode::GONE, NotTaken::Gone.to_string()).into_response(),
        Err(why @ (NotTaken::TooSoon | NotTaken::Busy | NotTaken::NoTee)) => {
            (StatusCode::CONFLICT, why.to_string()).into_response()
        }
        Err(why) => (StatusCode::UNPROCESSABLE_ENTITY, why.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use tower::ServiceExt;

    const OWN: &str = "127.0.0.1:4000";

    async fn ask(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let screen = Arc::default();
        let routes = routes(screen, Arc::default(), OWN.parse().unwrap());
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
        routes.oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn serves_its_page_under_its_own_name_only() {
        for (host, status) in
            [(OWN, 200), ("localhost:4000", 200), ("evil.example:4000", 403), ("127.0.0.1", 403)]
        {
            assert_eq!(ask("GET", "/", &[("host", host)], "").await.status(), status, "{host}");
        }
        let page = ask("GET", "/", &[("host", OWN)], "").await;
        let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';"));
        assert!(policy.contains("frame-ancestors 'none';"), "nothing lies over this page");
        assert_eq!(page.headers()["cross-origin-opener-policy"], "same-origin");
        assert!(policy.contains("require-trusted-types-for 'script'"));
    }

    #[tokio::test]
    async fn s2_1_1_another_page_can_not_type() {
        let json = ("content-type", "application/json");
        let body = r#"{"id":1,"text":"1234"}"#;
        for (origin, status) in [
            (Some("http://127.0.0.1:4000"), 410),
            (Some("http://127.0.0.1:4001"), 403),
            (Some("null"), 403),
            (None, 403),
        ] {
            let mut headers = vec![("host", OWN), json];
            headers.extend(origin.map(|origin| ("origin", origin)));
            let response = ask("POST", "/entered", &headers, body).await;
            assert_eq!(response.status(), status, "{origin:?}");
            let response = ask("POST", "/mark", &headers, "").await;
            assert_eq!(response.status() == 403, status == 403, "{origin:?}");
        }
        let stranger = ("origin", "http://elsewhere.example");
        let response = ask("GET", "/state", &[("host", OWN), stranger], "").await;
        assert_eq!(response.status(), 403);
    }
}
