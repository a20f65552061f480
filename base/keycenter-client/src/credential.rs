//! What a caller signs in with, and the token that it gets.

use crate::error::Error;
use crate::message::{LoginAnswer, Wiped};
use futures_util::future::BoxFuture;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// Gives a fresh owner's assertion each time it is asked: each is good for one login.
pub trait Assertions: Send + Sync {
    /// A compact JWS, or the reason why there is none.
    fn assertion(&self) -> BoxFuture<'_, Result<String, String>>;
}

/// What a caller signs in with.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credential {
    /// A service's role and its secret.
    AppRole {
        /// Which role.
        role_id: String,
        /// Its secret.
        secret_id: Zeroizing<String>,
    },
    /// The owner of an account, who shows the account service's assertion.
    Owner(Arc<dyn Assertions>),
}

impl Credential {
    /// A service's role and its secret.
    #[must_use]
    pub fn app_role(role_id: &str, secret_id: &str) -> Self {
        let secret_id = Zeroizing::new(secret_id.to_owned());
        Self::AppRole { role_id: role_id.to_owned(), secret_id }
    }

    /// From the Key Center's credential file: JSON with `role_id` and `secret_id`.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(serde::Deserialize)]
        struct File {
            role_id: String,
            secret_id: Wiped,
        }
        let file: File = serde_json::from_slice(json)?;
        Ok(Self::AppRole { role_id: file.role_id, secret_id: file.secret_id.into_text() })
    }

    /// An owner with the one assertion at hand: good until the token that it brings ends.
    #[must_use]
    pub fn owner_once(jwt: String) -> Self {
        Self::Owner(Arc::new(Once(Mutex::new(Some(jwt)))))
    }

    /// Whether a second login can be tried.
    pub(crate) const fn can_repeat(&self) -> bool {
        matches!(self, Self::AppRole { .. })
    }

    /// Where to sign in, and with what.
    pub(crate) async fn login(&self) -> Result<(&'static str, Login), Error> {
        Ok(match self {
            Self::AppRole { role_id, secret_id } => {
                let login =
                    Login::AppRole { role_id: role_id.clone(), secret_id: Wiped::text(secret_id) };
                ("auth/approle/login", login)
            }
            Self::Owner(source) => {
                let jwt = source.assertion().await.map_err(Error::Assertion)?;
                ("auth/jwt/login", Login::Jwt { role: "owner", jwt: Wiped::text(&jwt) })
            }
        })
    }
}

struct Once(Mutex<Option<String>>);

impl Assertions for Once {
    fn assertion(&self) -> BoxFuture<'_, Result<String, String>> {
        let jwt = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let jwt =
            jwt.ok_or_else(|| "the one that was given is used up; ask for another".to_owned());
        Box::pin(std::future::ready(jwt))
    }
}

/// The body of a login.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Login {
    AppRole { role_id: String, secret_id: Wiped },
    Jwt { role: &'static str, jwt: Wiped },
}

/// A token and when to fetch the next one (monotonic).
pub(crate) struct Token {
    pub(crate) value: Arc<Zeroizing<String>>,
    pub(crate) renew_at: Duration,
}

impl Token {
    /// Renewed after nine tenths of its life.
    pub(crate) fn new(answer: LoginAnswer, now: Duration) -> Self {
        let life = match answer.auth.lease_duration {
            0 => Duration::MAX,
            seconds => Duration::from_secs(seconds) / 10 * 9,
        };
        let value = Arc::new(answer.auth.client_token.into_text());
        Self { value, renew_at: now.saturating_add(life) }
    }
}
