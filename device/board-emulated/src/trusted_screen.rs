//! The trusted screen in a browser, on an origin of its own: loopback only.
//!
//! `GET /` is the page, `GET /state?seen=N` answers as soon as the prompt is another than number
//! N, `POST /entered` and `POST /cancelled` answer the prompt. A request must name this very
//! origin: other pages in the same browser can't type here, nor can a name that was re-bound to
//! the loopback address.

use crate::screen::{NotTaken, Screen, Standing};
use crate::status::Board;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use board::ui::Input;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a question about the state waits for news.
const PATIENCE: Duration = Duration::from_secs(25);

/// What the page's routes share.
struct Page {
    screen: Arc<Screen>,
    board: Arc<Board>,
    /// `host:port` values that name this origin.
    hosts: [String; 2],
    security_policy: HeaderValue,
}

/// What stands there while the system on the flash is known to be corrupt.
const CORRUPT: &str = "The system on this phone is corrupt and may not work properly. Flash a good \
                       image, or update it.";

/// The routes. `own` is where they are served; `framed_by` is the origin that may show the page
/// in a frame: the phone's screen, by address and by name.
pub fn routes(screen: Arc<Screen>, board: Arc<Board>, own: SocketAddr, framed_by: &str) -> Router {
    let by_name = framed_by.replace("127.0.0.1", "localhost");
    let security_policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors {framed_by} {by_name}; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    );
    let page = Arc::new(Page {
        screen,
        board,
        hosts: [own.to_string(), format!("localhost:{}", own.port())],
        security_policy: HeaderValue::from_str(&security_policy)
            .expect("an origin is made of visible characters"),
    });
    Router::new()
        .route("/", get(html))
        .route("/style.css", get(css))
        .route("/script.js", get(javascript))
        .route("/state", get(state))
        .route("/entered", post(entered))
        .route("/cancelled", post(cancelled))
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
    add_headers(response.headers_mut(), &page);
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

fn add_headers(headers: &mut HeaderMap, page: &Page) {
    headers.insert(CONTENT_SECURITY_POLICY, page.security_policy.clone());
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
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
    /// What everybody who looks at it must know.
    warning: Option<&'static str>,
}

/// A prompt as JSON, for the page and the control socket. It has no secret in it.
#[derive(Serialize)]
pub struct ShownPrompt {
    id: u32,
    title: String,
    detail: String,
    input: Input,
}

impl From<Standing> for ShownPrompt {
    fn from(Standing { id, prompt }: Standing) -> Self {
        Self { id, title: prompt.title, detail: prompt.detail, input: prompt.input }
    }
}

async fn state(State(page): State<Arc<Page>>, Query(Seen { seen }): Query<Seen>) -> Json<Shown> {
    let mut changes = page.screen.changes();
    // Nothing new in that time is an answer too.
    let _ = tokio::time::timeout(PATIENCE, changes.wait_for(|now| Some(*now) != seen)).await;
    let change = *changes.borrow();
    let warning = page.board.is_corrupt().then_some(CORRUPT);
    Json(Shown { change, prompt: page.screen.standing().map(Into::into), warning })
}

#[derive(Deserialize)]
struct Entered {
    id: u32,
    text: zeroize::Zeroizing<String>,
}

async fn entered(State(page): State<Arc<Page>>, Json(body): Json<Entered>) -> Response {
    outcome(page.screen.enter(body.id, &body.text))
}

#[derive(Deserialize)]
struct Cancelled {
    id: u32,
}

async fn cancelled(State(page): State<Arc<Page>>, Json(body): Json<Cancelled>) -> Response {
    outcome(page.screen.turn_away(body.id))
}

fn outcome(result: Result<(), NotTaken>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(NotTaken::Gone) => (StatusCode::GONE, NotTaken::Gone.to_string()).into_response(),
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
        let routes = routes(screen, Arc::default(), OWN.parse().unwrap(), "http://127.0.0.1:4001");
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
        assert!(policy.contains("frame-ancestors http://127.0.0.1:4001 http://localhost:4001;"));
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
        }
        let stranger = ("origin", "http://elsewhere.example");
        let response = ask("GET", "/state", &[("host", OWN), stranger], "").await;
        assert_eq!(response.status(), 403);
    }
}
