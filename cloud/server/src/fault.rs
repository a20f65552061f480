//! Refusals and failures of the services as HTTP answers: a status and a [`Refusal`].
//!
//! A refusal tells its reason. A failure of ours tells none to the outside; the log has it.

use axum::Json;
use axum::response::{IntoResponse, Response};
use cloud_account::Error as AccountError;
use cloud_attest::Error as AttestError;
use cloud_eid::Error as EidError;
use cloud_find::Error as FindError;
use cloud_push::Error as PushError;
use cloud_sync::Error as SyncError;
use cloud_update::Error as UpdateError;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use std::time::Duration;
use wire::Refusal;

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) refusal: Refusal,
    retry_after: Option<Duration>,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, error: &str, reason: impl std::fmt::Display) -> Self {
        Self { status, refusal: Refusal::new(error, reason.to_string()), retry_after: None }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format_args!("there is no such {what}"))
    }

    /// A failure of ours: the log has the reason, the answer has none.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        let reason = "something went wrong on our side; it has been noted, try again later";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", reason)
    }

    fn key_center(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "the Key Center did not do it");
        let reason = "the Key Center is not available at this moment; try again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "key_center_unavailable", reason)
    }

    fn after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.refusal)).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_millis().div_ceil(1000) as u64;
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<AccountError> for Fault {
    fn from(error: AccountError) -> Self {
        let answer = |status, code| Self::new(status, code, &error);
        match &error {
            AccountError::Invalid { .. } => answer(StatusCode::BAD_REQUEST, "invalid"),
            AccountError::WeakPassword(_) => answer(StatusCode::BAD_REQUEST, "weak_password"),
            AccountError::Exists => answer(StatusCode::CONFLICT, "account_exists"),
            AccountError::WrongPassword => answer(StatusCode::FORBIDDEN, "wrong_password"),
            AccountError::ResetAroundLoss { .. } => {
                answer(StatusCode::FORBIDDEN, "password_reset_after_loss")
            }
            AccountError::Throttled { retry_after } => {
                answer(StatusCode::TOO_MANY_REQUESTS, "throttled").after(*retry_after)
            }
            AccountError::Busy => {
                answer(StatusCode::SERVICE_UNAVAILABLE, "busy").after(Duration::from_secs(2))
            }
            AccountError::WrongCode => answer(StatusCode::FORBIDDEN, "wrong_code"),
            AccountError::NotSignedIn => answer(StatusCode::UNAUTHORIZED, "not_signed_in"),
            AccountError::NotFound(_) => answer(StatusCode::NOT_FOUND, "not_found"),
            AccountError::Assertion(_) => answer(StatusCode::UNAUTHORIZED, "invalid_assertion"),
            AccountError::ActivationLocked => answer(StatusCode::FORBIDDEN, "activation_locked"),
            AccountError::KeyCenter(_) => Self::key_center(&error),
            _ => Self::internal(&error),
        }
    }
}

impl From<FindError> for Fault {
    fn from(error: FindError) -> Self {
        let answer = |status, code| Self::new(status, code, &error);
        match &error {
            FindError::Invalid { .. } => answer(StatusCode::BAD_REQUEST, "invalid"),
            FindError::Disabled => answer(StatusCode::CONFLICT, "find_disabled"),
            FindError::Lost => answer(StatusCode::CONFLICT, "lost_mode"),
            FindError::ActivationLocked => answer(StatusCode::FORBIDDEN, "activation_locked"),
            FindError::WrongPassword => answer(StatusCode::FORBIDDEN, "wrong_password"),
            FindError::ResetAroundLoss { .. } => {
                answer(StatusCode::FORBIDDEN, "password_reset_after_loss")
            }
            FindError::Throttled { retry_after } => {
                answer(StatusCode::TOO_MANY_REQUESTS, "throttled").after(*retry_after)
            }
            FindError::NotFound(_) => answer(StatusCode::NOT_FOUND, "not_found"),
            FindError::Accounts(_) => Self::key_center(&error),
            _ => Self::internal(&error),
        }
    }
}

impl From<PushError> for Fault {
    fn from(error: PushError) -> Self {
        let answer = |status, code| Self::new(status, code, &error);
        match &error {
            PushError::Invalid { .. } => answer(StatusCode::BAD_REQUEST, "invalid"),
            PushError::NotADeveloper => answer(StatusCode::UNAUTHORIZED, "not_a_developer"),
            PushError::NotFound(_) => answer(StatusCode::NOT_FOUND, "not_found"),
            PushError::Full => answer(StatusCode::TOO_MANY_REQUESTS, "queue_full"),
            _ => Self::internal(&error),
        }
    }
}

impl From<AttestError> for Fault {
    fn from(error: AttestError) -> Self {
        match &error {
            AttestError::Refused(refusal @ cloud_attest::Refusal::TooManyChallenges) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, refusal.code(), refusal)
                    .after(Duration::from_secs(60))
            }
            AttestError::Refused(refusal) => {
                use cloud_attest::Refusal::{Invalid, NotARelyingParty, NotFound};
                let status = match refusal {
                    NotFound(_) => StatusCode::NOT_FOUND,
                    Invalid { .. } => StatusCode::BAD_REQUEST,
                    NotARelyingParty => StatusCode::UNAUTHORIZED,
                    _ => StatusCode::FORBIDDEN,
                };
                Self::new(status, refusal.code(), refusal)
            }
            _ => Self::internal(&error),
        }
    }
}

impl From<EidError> for Fault {
    fn from(error: EidError) -> Self {
        let EidError::Refused(refusal) = error else { return Self::internal(&error) };
        let status = match refusal {
            cloud_eid::Refusal::NoIdentity => StatusCode::NOT_FOUND,
            cloud_eid::Refusal::KeyInUse => StatusCode::CONFLICT,
            cloud_eid::Refusal::Value => StatusCode::BAD_REQUEST,
            _ => StatusCode::FORBIDDEN,
        };
        Self::new(status, refusal.code(), refusal)
    }
}

/// Only what a page asks of sync comes here; devices talk to its own routes.
impl From<SyncError> for Fault {
    fn from(error: SyncError) -> Self {
        Self::internal(&error)
    }
}

impl From<UpdateError> for Fault {
    fn from(error: UpdateError) -> Self {
        let answer = |status, code| Self::new(status, code, &error);
        match &error {
            UpdateError::Invalid { .. } => answer(StatusCode::BAD_REQUEST, "invalid"),
            UpdateError::NotFound(_) => answer(StatusCode::NOT_FOUND, "not_found"),
            UpdateError::ReleaseExists { .. } => answer(StatusCode::CONFLICT, "release_exists"),
            UpdateError::PackageExists => answer(StatusCode::CONFLICT, "package_exists"),
            UpdateError::RollsOut => answer(StatusCode::CONFLICT, "rolls_out"),
            UpdateError::Stopped => answer(StatusCode::CONFLICT, "release_stopped"),
            UpdateError::Untrusted(_) => answer(StatusCode::FORBIDDEN, "device_not_trusted"),
            UpdateError::Size { .. } => answer(StatusCode::BAD_REQUEST, "size_differs"),
            UpdateError::Hash => answer(StatusCode::BAD_REQUEST, "hash_differs"),
            UpdateError::CutShort(_) => answer(StatusCode::BAD_REQUEST, "cut_short"),
            UpdateError::Full => answer(StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
            UpdateError::Stopping => answer(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            _ => Self::internal(&error),
        }
    }
}
