//! Who the device is at the cloud, and what time it is there.
//!
//! A bound device signs in with an RFC 7523 assertion: a compact JWS that only its TEE can
//! make. The token that comes back is kept in memory alone and renewed shortly before it ends.
//! Server time decides: once the cloud told its clock, claims are dated by it
//! ([`ServerTime`]).

use effects::{Clock, Entropy, UnixMillis, random_array};
use http_link::{Client, Request, Response};
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wire::account::{OwnerAssertion, Profile, Session, SignIn};
use wire::attest::Challenge;
use wire::device::{Bind, Bound, DeviceClaims, Token, TokenRequest};

/// How long an assertion is good for.
const ASSERTION_LIFE: Duration = Duration::from_secs(120);
/// A token is renewed this long before it ends.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// Observations that differ by less are the same clock, seen through whole seconds.
const COARSE: Duration = Duration::from_secs(2);

/// Why the cloud did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No answer, or a refusal (`http_link::Error::Refused`).
    #[error(transparent)]
    Http(#[from] http_link::Error),
    /// The TEE did not sign.
    #[error("the device key did not sign: {0}")]
    Signer(String),
    /// What the cloud said breaks its own rules.
    #[error("the cloud's answer: {0}")]
    Answer(&'static str),
}

impl Error {
    /// The refusal, where the cloud answered with one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&http_link::Refusal> {
        match self {
            Self::Http(http_link::Error::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    }

    fn is_unauthorised(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.status == 401)
    }
}

/// Signs for the device: a key that does not leave the TEE.
pub trait Signer: Send + Sync {
    /// An ES256 signature (`r || s`) over `message`. May block.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String>;
}

/// The cloud's clock, carried on by the device's monotonic one.
pub struct ServerTime {
    clock: Arc<dyn Clock>,
    seen: Mutex<Option<(UnixMillis, Duration)>>,
}

impl ServerTime {
    /// Knows only the device's own clock so far.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, seen: Mutex::new(None) }
    }

    /// The cloud said that it is `now` there.
    pub fn observe(&self, now: UnixMillis) {
        *self.lock() = Some((now, self.clock.monotonic()));
    }

    /// As [`ServerTime::observe`], from a source that counts whole seconds.
    pub fn observe_coarse(&self, now: UnixMillis) {
        let believed = self.told();
        let differs = believed.is_none_or(|told| told.since(now).max(now.since(told)) >= COARSE);
        if differs {
            self.observe(now);
        }
    }

    /// The cloud's time; the device's own before the cloud told it.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.told().unwrap_or_else(|| self.clock.now())
    }

    /// Whether the cloud told its time.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.lock().is_some()
    }

    fn told(&self) -> Option<UnixMillis> {
        let (at, monotonic) = (*self.lock())?;
        Some(at.plus(self.clock.monotonic().saturating_sub(monotonic)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(UnixMillis, Duration)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cloud, as a device without a session uses it. Clones share connections and clock.
#[derive(Clone)]
pub struct Cloud {
    client: Client,
    time: Arc<ServerTime>,
}

impl Cloud {
    /// The cloud behind `client`.
    #[must_use]
    pub const fn new(client: Client, time: Arc<ServerTime>) -> Self {
        Self { client, time }
    }

    /// The connections to it.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Its clock.
    #[must_use]
    pub fn time(&self) -> &ServerTime {
        &self.time
    }

    /// Sends `request`; an answer other than 2xx is an error.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let response = request.send().await?;
        let date = response.header(&http::header::DATE).and_then(|date| date.parse().ok());
        if let Some(date) = date.map(|date: httpdate::HttpDate| date.into()) {
            self.time.observe_coarse(since_1970(date));
        }
        Ok(response)
    }

    /// Sends `request` and reads the JSON answer.
    pub async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        Ok(self.send(request).await?.json().await?)
    }

    /// A fresh challenge for an attestation.
    pub async fn challenge(&self) -> Result<Vec<u8>, Error> {
        let answer: Challenge = self.ask(self.client.post("/v1/attest/challenge")).await?;
        match answer.challenge.0.len() {
            1..=128 => Ok(answer.challenge.0),
            _ => Err(Error::Answer("the challenge has an odd length")),
        }
    }

    /// A session of a person.
    pub async fn sign_in(&self, login: &str, password: &str) -> Result<Session, Error> {
        let body = SignIn { login: login.to_owned(), password: password.to_owned() };
        self.ask(self.client.post("/v1/sessions").json(&body)).await
    }

    /// Ends a session of a person.
    pub async fn sign_out(&self, token: &str) -> Result<(), Error> {
        self.send(self.client.delete("/v1/sessions/current").bearer(token)).await.map(drop)
    }

    /// What the account behind `token` shows of itself.
    pub async fn profile(&self, token: &str) -> Result<Profile, Error> {
        self.ask(self.client.get("/v1/account").bearer(token)).await
    }

    /// Binds the device to the account behind `token`.
    pub async fn bind(&self, token: &str, bind: &Bind) -> Result<Bound, Error> {
        self.ask(self.client.post("/v1/devices").bearer(token).json(bind)).await
    }
}

/// A bound device's session. It signs in when it first needs to.
pub struct DeviceSession {
    cloud: Cloud,
    device_id: String,
    signer: Arc<dyn Signer>,
    entropy: Arc<dyn Entropy>,
    token: tokio::sync::Mutex<Option<Token>>,
}

impl DeviceSession {
    /// A session of `device_id`, whose key `signer` holds.
    #[must_use]
    pub fn new(
        cloud: Cloud,
        device_id: String,
        signer: Arc<dyn Signer>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { cloud, device_id, signer, entropy, token: tokio::sync::Mutex::new(None) }
    }

    /// The cloud.
    #[must_use]
    pub const fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// The device's id at the cloud.
    #[must_use]
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// A bearer token that is good for a while.
    pub async fn token(&self) -> Result<String, Error> {
        let mut held = self.token.lock().await;
        let now = self.cloud.time.now();
        if let Some(token) = held.as_ref()
            && now.plus(RENEW_BEFORE) < UnixMillis(token.expires_at_ms)
        {
            return Ok(token.token.clone());
        }
        let fresh = self.sign_in().await?;
        Ok(held.insert(fresh).token.clone())
    }

    /// Sends the request that `build` makes, signed in; once more with a new token where the
    /// cloud has forgotten the old one.
    pub async fn send(&self, build: impl Fn(&Client) -> Request) -> Result<Response, Error> {
        let token = self.token().await?;
        match self.cloud.send(build(&self.cloud.client).bearer(&token)).await {
            Err(error) if error.is_unauthorised() => {}
            answer => return answer,
        }
        self.forget(&token).await;
        let token = self.token().await?;
        self.cloud.send(build(&self.cloud.client).bearer(&token)).await
    }

    /// As [`DeviceSession::send`], and reads the JSON answer.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        build: impl Fn(&Client) -> Request,
    ) -> Result<T, Error> {
        Ok(self.send(build).await?.json().await?)
    }

    /// What the Key Center wants to see before it uses the account's keys.
    pub async fn owner_assertion(&self) -> Result<OwnerAssertion, Error> {
        self.ask(|client| client.post("/v1/owner-assertion")).await
    }

    async fn forget(&self, token: &str) {
        let mut held = self.token.lock().await;
        if held.as_ref().is_some_and(|held| held.token == token) {
            *held = None;
        }
    }

    /// A wrong clock may be why the cloud refuses an assertion: its time is asked for then.
    async fn sign_in(&self) -> Result<Token, Error> {
        let knew_the_time = self.cloud.time.is_told();
        match self.present_assertion().await {
            Err(error) if error.refusal().is_some() && !knew_the_time => {
                self.cloud.challenge().await?;
                self.present_assertion().await
            }
            answer => answer,
        }
    }

    async fn present_assertion(&self) -> Result<Token, Error> {
        let assertion = self.assertion().await?;
        let request = self.cloud.client.post("/v1/devices/token").json(&TokenRequest { assertion });
        let token: Token = self.cloud.ask(request).await?;
        self.cloud.time.observe(UnixMillis(token.now_ms));
        Ok(token)
    }

    async fn assertion(&self) -> Result<String, Error> {
        let now = self.cloud.time.now();
        let jti: [u8; 16] = random_array(&*self.entropy);
        let claims = DeviceClaims {
            iss: self.device_id.clone(),
            sub: self.device_id.clone(),
            aud: "holdfast-cloud".into(),
            iat: now.seconds(),
            exp: now.plus(ASSERTION_LIFE).seconds(),
            jti: jti.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let signer = self.signer.clone();
        tokio::task::spawn_blocking(move || jws::sign(&claims, |message| signer.sign(message)))
            .await
            .map_err(|error| Error::Signer(error.to_string()))?
            .map_err(|error| Error::Signer(error.to_string()))
    }
}

fn since_1970(time: std::time::SystemTime) -> UnixMillis {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(since.as_millis().try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use effects::ManualClock;

    #[test]
    fn server_time_decides_and_moves_on_with_the_monotonic_clock() {
        let clock = Arc::new(ManualClock::new(UnixMillis(1_000)));
        let time = ServerTime::new(clock.clone());
        assert_eq!(time.now(), UnixMillis(1_000));
        time.observe(UnixMillis(9_000_500));
        clock.advance(Duration::from_secs(3));
        clock.set_wall(UnixMillis(5));
        assert_eq!(time.now(), UnixMillis(9_003_500));
    }

    #[test]
    fn a_date_header_does_not_blur_a_precise_time() {
        let time = ServerTime::new(Arc::new(ManualClock::new(UnixMillis(0))));
        time.observe(UnixMillis(50_700));
        time.observe_coarse(UnixMillis(50_000));
        assert_eq!(time.now(), UnixMillis(50_700));
        time.observe_coarse(UnixMillis(90_000));
        assert_eq!(time.now(), UnixMillis(90_000));
    }
}
