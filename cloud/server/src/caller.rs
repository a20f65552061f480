//! Who calls: extractors for handlers. Bearer tokens for programs; the browser's cookie is the
//! console's business and opens no door here.

use crate::app::App;
use crate::fault::Fault;
use axum::extract::{FromRequest, FromRequestParts, Request};
use cloud_account::{Caller, SessionKind, Touch};
use http::header::AUTHORIZATION;
use http::{StatusCode, request::Parts};
use http_link::serve::Remote;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, Ipv4Addr};

/// The network address that a request comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source(pub(crate) IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Source {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let remote = parts.extensions.get::<Remote>().map(|remote| remote.0.ip());
        Ok(Self(remote.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical()))
    }
}

/// The token of the `Authorization: Bearer` header (RFC 6750, 2.1).
pub(crate) fn bearer(parts: &Parts) -> Result<&str, Fault> {
    let missing = || {
        let reason = "this needs a session: send Authorization: Bearer with its token";
        Fault::new(StatusCode::UNAUTHORIZED, "not_signed_in", reason)
    };
    let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    header
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(missing)
}

/// A signed-in person's program, or one of the account's devices.
pub(crate) struct Member(pub(crate) Caller);

impl FromRequestParts<App> for Member {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        let caller = app.accounts.authenticate(bearer(parts)?, Touch::Activity).await?;
        if caller.kind == SessionKind::Web {
            return Err(cloud_account::Error::NotSignedIn.into());
        }
        Ok(Self(caller))
    }
}

/// A signed-in person's program.
pub(crate) struct User(pub(crate) Caller);

impl FromRequestParts<App> for User {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        let Member(caller) = Member::from_request_parts(parts, app).await?;
        if caller.device_id.is_some() {
            let reason = "this is for the account's owner, not for a device";
            return Err(Fault::new(StatusCode::FORBIDDEN, "owner_only", reason));
        }
        Ok(Self(caller))
    }
}

/// A bound device.
pub(crate) struct Device {
    pub(crate) caller: Caller,
    pub(crate) id: String,
}

impl FromRequestParts<App> for Device {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        let Member(caller) = Member::from_request_parts(parts, app).await?;
        let Some(id) = caller.device_id.clone() else {
            let reason = "this is for a bound device, with a session of its own";
            return Err(Fault::new(StatusCode::FORBIDDEN, "device_only", reason));
        };
        Ok(Self { caller, id })
    }
}

/// A developer who sends messages.
pub(crate) struct Developer(pub(crate) String);

impl FromRequestParts<App> for Developer {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        Ok(Self(app.push.developer(bearer(parts)?).await?))
    }
}

/// A maker who enrols devices.
pub(crate) struct Maker(pub(crate) String);

impl FromRequestParts<App> for Maker {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        if app.maker.matches(bearer(parts)?) {
            return Ok(Self(app.maker.name.clone()));
        }
        let reason = "no maker has this credential";
        Err(Fault::new(StatusCode::UNAUTHORIZED, "not_a_maker", reason))
    }
}

/// Who admits relying parties to the attestation service.
pub(crate) struct AttestationAdmin(pub(crate) String);

impl FromRequestParts<App> for AttestationAdmin {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        if app.attestation_admin.matches(bearer(parts)?) {
            return Ok(Self(app.attestation_admin.name.clone()));
        }
        let reason = "this is for the attestation service's administrator";
        Err(Fault::new(StatusCode::UNAUTHORIZED, "not_the_administrator", reason))
    }
}

/// Who registers persons and elements for the issuer of identities.
pub(crate) struct Clerk(pub(crate) String);

impl FromRequestParts<App> for Clerk {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        if app.clerk.matches(bearer(parts)?) {
            return Ok(Self(app.clerk.name.clone()));
        }
        let reason = "this is for the issuer's clerk";
        Err(Fault::new(StatusCode::UNAUTHORIZED, "not_the_clerk", reason))
    }
}

/// A relying party that showed its credential, or anyone. A wrong credential is refused.
pub(crate) struct MaybeRelyingParty(pub(crate) Option<String>);

impl FromRequestParts<App> for MaybeRelyingParty {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        if !parts.headers.contains_key(AUTHORIZATION) {
            return Ok(Self(None));
        }
        Ok(Self(Some(app.attest.relying_party(bearer(parts)?).await?)))
    }
}

/// Who may see and change the policies of the relying party in the path: itself and the
/// administrator.
pub(crate) struct PolicyKeeper {
    pub(crate) actor: String,
    pub(crate) party: String,
}

impl FromRequestParts<App> for PolicyKeeper {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        #[derive(serde::Deserialize)]
        struct Place {
            party: String,
        }
        let place = axum::extract::Path::<Place>::from_request_parts(parts, app).await;
        let axum::extract::Path(Place { party }) =
            place.map_err(|_| Fault::not_found("relying party"))?;
        if let Ok(AttestationAdmin(actor)) = AttestationAdmin::from_request_parts(parts, app).await
        {
            return Ok(Self { actor, party });
        }
        let actor = app.attest.relying_party(bearer(parts)?).await?;
        if actor != party {
            // Another's policies are nobody's business, not even that they are there.
            return Err(Fault::not_found("policy"));
        }
        Ok(Self { actor, party })
    }
}

/// A JSON body; one that is not what is due is a refusal that says where.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => {
                Err(Fault::new(rejection.status(), "invalid_body", rejection.body_text()))
            }
        }
    }
}
