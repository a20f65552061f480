//! What every page has: the frame, the headers, words for times and sizes.

use super::session::Visitor;
use crate::fault::Fault;
use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use cloud_account::outbox::civil_date;
use effects::UnixMillis;
use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderValue, StatusCode};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// The frame of a page for who is signed in.
pub(super) struct Frame {
    /// The browser's title.
    pub(super) title: String,
    /// Which place of the navigation is here.
    pub(super) here: &'static str,
    /// Proves that a form is from a page of ours.
    pub(super) csrf: String,
    /// Where the script asks for news; empty where there are none.
    pub(super) live: String,
}

impl Frame {
    pub(super) fn new(visitor: &Visitor, here: &'static str, title: impl Into<String>) -> Self {
        Self { title: title.into(), here, csrf: visitor.csrf.clone(), live: "/live".into() }
    }
}

/// A page as an answer.
pub(super) fn show(template: &impl Template) -> Result<Response, PageFault> {
    let html = template.render().map_err(|error| Fault::internal(&error))?;
    let mut response = Html(html).into_response();
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

/// A refusal or a failure as a page.
#[derive(Debug)]
pub(super) enum PageFault {
    /// Not signed in, or not any more.
    SignIn,
    /// Anything else.
    Other(Fault),
}

impl<E: Into<Fault>> From<E> for PageFault {
    fn from(error: E) -> Self {
        let fault = error.into();
        if fault.status == StatusCode::UNAUTHORIZED { Self::SignIn } else { Self::Other(fault) }
    }
}

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage {
    title: &'static str,
    reason: String,
}

impl IntoResponse for PageFault {
    fn into_response(self) -> Response {
        let fault = match self {
            Self::SignIn => {
                return axum::response::Redirect::to("/sign-in?ended=1").into_response();
            }
            Self::Other(fault) => fault,
        };
        let title = match fault.status {
            StatusCode::NOT_FOUND => "Not found",
            status if status.is_server_error() => "Something went wrong",
            _ => "That did not work",
        };
        let status = fault.status;
        match show(&FaultPage { title, reason: fault.refusal.reason.clone() }) {
            Ok(mut response) => {
                *response.status_mut() = status;
                response
            }
            Err(_) => fault.into_response(),
        }
    }
}

/// A moment in words, and exactly.
pub(super) struct Moment {
    /// `3 minutes ago`.
    pub(super) words: String,
    /// `2026-11-22 03:04 UTC`.
    pub(super) exact: String,
}

impl Moment {
    pub(super) fn new(at: UnixMillis, now: UnixMillis) -> Self {
        let seconds = now.since(at).as_secs();
        let words = match seconds {
            0..10 => "just now".into(),
            10..60 => format!("{seconds} seconds ago"),
            60..120 => "a minute ago".into(),
            120..3600 => format!("{} minutes ago", seconds / 60),
            3600..7200 => "an hour ago".into(),
            7200..86_400 => format!("{} hours ago", seconds / 3600),
            86_400..172_800 => "yesterday".into(),
            _ => format!("{} days ago", seconds / 86_400),
        };
        Self { words, exact: exact(at) }
    }
}

pub(super) fn exact(at: UnixMillis) -> String {
    let (year, month, day) = civil_date(at.seconds() / 86_400);
    let time = at.seconds() % 86_400;
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", time / 3600, time / 60 % 60)
}

/// `1.5 MiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = 0;
    value /= 1024.0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Masked personal data, as short as people like it: `HF•••E4` for `HF***************E4`.
pub(super) fn shortened(masked: &str) -> String {
    let (start, end) = (masked.find('*'), masked.rfind('*'));
    let (Some(start), Some(end)) = (start, end) else { return masked.to_owned() };
    format!("{}•••{}", &masked[..start], &masked[end + 1..])
}

/// `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers_are_readable() {
        assert_eq!(
            (size(0), size(1023), size(1024)),
            ("0 B".into(), "1023 B".into(), "1.0 KiB".into())
        );
        assert_eq!(size(1_610_612_736), "1.5 GiB");
        assert_eq!(size(u64::MAX), "16384.0 PiB");
        assert_eq!(
            (grouped(7), grouped(1000), grouped(1_234_567)),
            ("7".into(), "1,000".into(), "1,234,567".into())
        );
    }

    #[test]
    fn what_is_masked_stays_masked() {
        assert_eq!(shortened("HF***************E4"), "HF•••E4");
        assert_eq!(shortened("o***@example.org"), "o•••@example.org");
        assert_eq!(shortened("127.0.*.*"), "127.0.•••");
        assert_eq!(shortened("plain"), "plain");
    }

    #[test]
    fn moments_are_told_in_words_and_exactly() {
        let at = UnixMillis(784_111_777_000);
        let moment = Moment::new(at, UnixMillis(at.0 + 3 * 60_000));
        assert_eq!((&*moment.words, &*moment.exact), ("3 minutes ago", "1994-11-06 08:49 UTC"));
    }
}
