//! Who may look and press: browsers on this machine, on pages of this origin.

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::path::Path;

/// Checks host and origin, and adds the headers that every answer carries.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match refusal(request.method(), request.headers()) {
        Some(words) => (StatusCode::FORBIDDEN, words).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // `no-referrer` would make browsers say `Origin: null` on the forms.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    headers.insert(opener, HeaderValue::from_static("same-origin"));
    let resource = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(resource, HeaderValue::from_static("same-origin"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Why a request is not answered.
fn refusal(method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(host) = text(HOST).filter(|host| is_loopback(host)) else {
        return Some("This screen answers to localhost only.\n");
    };
    if method == Method::GET || method == Method::HEAD {
        return None;
    }
    let same = text(ORIGIN).and_then(|origin| origin.strip_prefix("http://")) == Some(host);
    (!same).then_some("This came from a page of another site.\n")
}

/// `localhost`, `127.0.0.1` or `[::1]`, with any port.
fn is_loopback(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        let rest = host.strip_prefix(name);
        let port =
            rest.and_then(|rest| rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("0")));
        port.is_some_and(|port| port.parse::<u16>().is_ok())
    })
}

/// The trusted screen's origin, as the board wrote it; only `http://` and a loopback host with a
/// port, for it goes into a link.
pub(super) fn trusted_origin(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let origin = text.trim().trim_end_matches('/');
    origin.strip_prefix("http://").filter(|host| is_loopback(host)).map(|_| origin.to_owned())
}

/// No frames: this system draws nothing over the trusted screen, and nobody over this one.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                      connect-src 'self'; img-src 'self'; frame-src 'none'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_hosts() {
        for good in ["localhost", "localhost:80", "127.0.0.1:5000", "[::1]:1"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil", "localhost:x", "[::2]"]
        {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[test]
    fn a_post_must_come_from_this_origin() {
        let headers = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:5000".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            headers
        };
        let post = |origin| refusal(&Method::POST, &headers(origin));
        assert_eq!(post(Some("http://127.0.0.1:5000")), None);
        for foreign in [
            None,
            Some("null"),
            Some("http://127.0.0.1:5001"),
            Some("https://127.0.0.1:5000"),
            Some("http://evil.example"),
        ] {
            assert!(post(foreign).is_some(), "{foreign:?}");
        }
        assert_eq!(refusal(&Method::GET, &headers(None)), None);
    }

    #[test]
    fn the_trusted_origin_cannot_smuggle_a_policy_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trusted-screen.url");
        assert_eq!(trusted_origin(&file), None);
        for (text, origin) in [
            ("http://127.0.0.1:4000/\n", Some("http://127.0.0.1:4000")),
            ("http://127.0.0.1:4000; script-src *", None),
            ("http://evil.example", None),
            ("javascript:alert(1)", None),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(trusted_origin(&file).as_deref(), origin, "{text}");
        }
    }
}
