//! Answers in Vault's envelopes.

use crate::store;
use crate::token::Token;
use crate::wiped::Text;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use effects::UnixMillis;
use http::{StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// An answer that is not a refusal.
pub(crate) struct Answer {
    pub(crate) status: u16,
    content: Content,
}

enum Content {
    Nothing,
    /// As it is, without an envelope.
    Bare(Value),
    /// The `data` of the envelope.
    Data(Zeroizing<Vec<u8>>),
    /// The `auth` of the envelope.
    Auth(Zeroizing<Vec<u8>>),
}

/// A refusal: `{"errors": […]}`.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) errors: Vec<String>,
}

impl Answer {
    pub(crate) const fn nothing() -> Self {
        Self { status: 204, content: Content::Nothing }
    }

    pub(crate) const fn bare(value: Value) -> Self {
        Self { status: 200, content: Content::Bare(value) }
    }

    pub(crate) fn data(data: &impl Serialize) -> Self {
        Self { status: 200, content: Content::Data(to_json(data)) }
    }

    /// What a login gives.
    pub(crate) fn auth(secret: &Text, token: &Token, now: UnixMillis) -> Self {
        let auth = Auth {
            client_token: secret,
            accessor: &token.accessor,
            policies: &token.policies,
            token_policies: &token.policies,
            metadata: &token.meta,
            lease_duration: token.remaining_s(now),
            renewable: token.renewable(),
            entity_id: "",
            token_type: "service",
            orphan: true,
            mfa_requirement: None,
            num_uses: 0,
        };
        Self { status: 200, content: Content::Auth(to_json(&auth)) }
    }

    pub(crate) const fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The HTTP answer; `request` is its number.
    pub(crate) fn into_response(self, request: &str) -> Response {
        let body = match self.content {
            Content::Nothing => Zeroizing::default(),
            Content::Bare(value) => to_json(&value),
            Content::Data(data) => envelope(request, &data, b"null"),
            Content::Auth(auth) => envelope(request, b"null", &auth),
        };
        response(self.status, body)
    }
}

#[derive(Serialize)]
struct Auth<'a> {
    client_token: &'a Text,
    accessor: &'a str,
    policies: &'a [String],
    token_policies: &'a [String],
    metadata: &'a BTreeMap<String, String>,
    lease_duration: u64,
    renewable: bool,
    entity_id: &'static str,
    token_type: &'static str,
    orphan: bool,
    mfa_requirement: Option<()>,
    num_uses: u64,
}

impl Refusal {
    /// 400: the request is wrong.
    pub(crate) fn bad(reason: impl Into<String>) -> Self {
        Self { status: 400, errors: vec![reason.into()] }
    }

    /// 403, which tells nothing more.
    pub(crate) fn denied() -> Self {
        Self { status: 403, errors: vec!["permission denied".to_owned()] }
    }

    /// 404: there is no such thing. Vault gives no reason.
    pub(crate) const fn not_found() -> Self {
        Self { status: 404, errors: Vec::new() }
    }

    /// 500: what cannot be logged is not done.
    pub(crate) fn unlogged() -> Self {
        Self::new(500, "the audit log cannot be written")
    }

    /// Another status.
    pub(crate) fn new(status: u16, reason: impl Into<String>) -> Self {
        Self { status, errors: vec![reason.into()] }
    }

    /// The HTTP answer.
    pub(crate) fn into_response(self) -> Response {
        response(self.status, to_json(&json!({"errors": self.errors})))
    }
}

/// The details are the operator's, not the caller's.
impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        tracing::error!(%error, "the store failed");
        Self::new(500, "internal error")
    }
}

fn envelope(request: &str, data: &[u8], auth: &[u8]) -> Zeroizing<Vec<u8>> {
    let parts: [&[u8]; 7] = [
        br#"{"request_id":""#,
        request.as_bytes(),
        br#"","lease_id":"","renewable":false,"lease_duration":0,"data":"#,
        data,
        br#","wrap_info":null,"warnings":null,"auth":"#,
        auth,
        b"}",
    ];
    let mut out = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

fn to_json(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(1024));
    serde_json::to_writer(&mut *out, value).expect("our own types can be written as JSON");
    out
}

fn response(status: u16, body: Zeroizing<Vec<u8>>) -> Response {
    let mut response = Response::new(if body.is_empty() {
        Body::empty()
    } else {
        Body::from(Bytes::from_owner(body))
    });
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
