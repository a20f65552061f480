//! The Key Center at work: who asks, may they, do it, log it, answer.

use crate::answer::{Answer, Refusal};
use crate::audit::{Audit, BrokenChain, Entry, Stage};
use crate::login::{self, JwtConfig};
use crate::policy::{self, Policy};
use crate::route::{NoRoute, Route};
use crate::store::{self, Kind, Store};
use crate::token::{Token, random_text};
use crate::transit::{self, ConfigBody, CreateBody, CryptoBody, DataKeyBody, KeyRing, RandomBody};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use effects::{Clock, Entropy};
use http_link::serve::Remote;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// The largest body of a request with a token: as Vault's.
const MAX_BODY_BYTES: usize = 32 << 20;
/// The largest body of a login, which anybody may send.
const MAX_LOGIN_BYTES: usize = 32 << 10;
/// The version of Vault whose API this is a subset of.
const API_VERSION: &str = "1.15.0";

/// Why the Key Center cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What is kept cannot be opened.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The audit log was tampered with.
    #[error(transparent)]
    Audit(#[from] BrokenChain),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stored policy is not of the language.
    #[error("the policy {name}: {source}")]
    Policy {
        /// Which.
        name: String,
        /// Where.
        source: policy::SyntaxError,
    },
}

/// A Key Center that is unsealed and ready.
pub struct Center {
    store: Arc<Store>,
    /// By name; they change with a restart only.
    policies: HashMap<String, Arc<Policy>>,
    audit: Audit,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Held while something is looked up, changed and written back.
    changing: Mutex<()>,
}

impl Center {
    /// Opens the Key Center in `folder`; on first start makes its root key, its policies and
    /// the credential of the cloud's services.
    pub async fn open(
        folder: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>, Error> {
        let bootstrap = folder.join("bootstrap");
        std::fs::create_dir_all(&bootstrap)
            .map_err(|source| Error::File { path: bootstrap.clone(), source })?;
        let store = Arc::new(Store::open(folder).await?);
        let mut policies = HashMap::new();
        for (name, text) in
            [("cloud", policy::CLOUD), ("owner", policy::OWNER), ("default", policy::DEFAULT)]
        {
            let policy = load_or_make_policy(&store, name, text).await?;
            policies.insert(name.to_owned(), Arc::new(policy));
        }
        login::ensure_cloud_role(&store, &*entropy, &bootstrap.join("cloud.json")).await?;
        let audit = Audit::start(&store).await?;
        let changing = Mutex::new(());
        Ok(Arc::new(Self { store, policies, audit, clock, entropy, changing }))
    }

    /// Its HTTP interface.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(answer).with_state(self)
    }
}

async fn load_or_make_policy(store: &Store, name: &str, text: &str) -> Result<Policy, Error> {
    let stored: Option<String> = store.load(Kind::Policy, name).await?;
    if stored.is_none() {
        store.save(Kind::Policy, name, &text).await?;
    }
    let broken = |source| Error::Policy { name: name.to_owned(), source };
    Policy::parse(stored.as_deref().unwrap_or(text)).map_err(broken)
}

/// Each request runs to its end even where its sender hangs up: nothing is done unlogged.
async fn answer(State(center): State<Arc<Center>>, request: Request) -> Response {
    let work = tokio::spawn(async move { center.answer(request).await });
    let failed = |_| Refusal::new(500, "internal error").into_response();
    work.await.unwrap_or_else(failed)
}

/// Who asks.
struct Caller {
    secret: Zeroizing<String>,
    token: Token,
    policies: Vec<Arc<Policy>>,
}

impl Center {
    async fn answer(&self, request: Request) -> Response {
        let mut entry = self.entry(&request);
        let outcome = self.attempt(request, &mut entry).await;
        let number = entry.request.clone();
        if !matches!(&outcome, Ok((_, route)) if route.is_status()) {
            entry.stage = Stage::End;
            (entry.status, entry.errors) = match &outcome {
                Ok((answer, _)) => (Some(answer.status), Vec::new()),
                Err(refusal) => (Some(refusal.status), refusal.errors.clone()),
            };
            if self.audit.write(entry).await.is_err() {
                return Refusal::unlogged().into_response();
            }
        }
        match outcome {
            Ok((answer, _)) => answer.into_response(&number),
            Err(refusal) => refusal.into_response(),
        }
    }

    fn entry(&self, request: &Request) -> Entry {
        let remote = request.extensions().get::<Remote>();
        Entry {
            at_ms: self.clock.now().0,
            request: random_text::<16>(&*self.entropy),
            stage: Stage::Begin,
            remote: remote.map_or_else(String::new, |remote| remote.0.ip().to_string()),
            accessor: None,
            subject: None,
            method: request.method().as_str().chars().take(16).collect(),
            path: request.uri().path().chars().take(256).collect(),
            items: 1,
            status: None,
            errors: Vec::new(),
        }
    }

    /// First who asks and whether they may, only then what they sent.
    async fn attempt(
        &self,
        request: Request,
        entry: &mut Entry,
    ) -> Result<(Answer, Route), Refusal> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().strip_prefix("/v1/").unwrap_or_default();
        let list =
            parts.uri.query().is_some_and(|query| query.split('&').any(|q| q == "list=true"));
        let route = Route::parse(&parts.method, path, list);
        let open = matches!(&route, Ok(route) if route.capability(true).is_none());
        if open {
            let route = route.map_err(|_| Refusal::not_found())?;
            let body = read(body, MAX_LOGIN_BYTES).await?;
            return Ok((self.open_door(&route, &body, entry).await?, route));
        }
        let caller = self.caller(&parts.headers).await?;
        entry.accessor = Some(caller.token.accessor.clone());
        entry.subject.clone_from(&caller.token.subject);
        let route = route.map_err(|missing| match missing {
            NoRoute::Path => Refusal::new(404, format!("no handler for route \"{path}\"")),
            NoRoute::Method => Refusal::new(405, "unsupported operation"),
        })?;
        let path = path.trim_end_matches('/');
        self.authorise(&caller, &route, path).await?;
        let body = read(body, MAX_BODY_BYTES).await?;
        if !route.changes() {
            return Ok((self.perform(&route, &body, &caller, entry).await?, route));
        }
        let _changing = self.changing.lock().await;
        // What is there may have changed while the body came in.
        self.authorise(&caller, &route, path).await?;
        self.audit.write(entry.clone()).await.map_err(|_| Refusal::unlogged())?;
        Ok((self.perform(&route, &body, &caller, entry).await?, route))
    }

    async fn authorise(&self, caller: &Caller, route: &Route, path: &str) -> Result<(), Refusal> {
        let wanted = route.capability(self.exists(route).await?).ok_or_else(Refusal::denied)?;
        let subject = caller.token.subject.as_deref();
        let allowed =
            policy::allows(caller.policies.iter().map(Arc::as_ref), subject, path, wanted);
        allowed.then_some(()).ok_or_else(Refusal::denied)
    }

    async fn caller(&self, headers: &http::HeaderMap) -> Result<Caller, Refusal> {
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
        let header = headers.get("x-vault-token").and_then(|value| value.to_str().ok());
        let secret = header.or(bearer).ok_or_else(Refusal::denied)?;
        let found = Token::find(&self.store, secret, self.clock.now()).await?;
        let token = found.ok_or_else(Refusal::denied)?;
        // A policy that is gone must not leave its denials out.
        let policies = token.policies.iter().map(|name| self.policies.get(name).cloned());
        let policies = policies.collect::<Option<_>>().ok_or_else(Refusal::denied)?;
        Ok(Caller { secret: Zeroizing::new(secret.to_owned()), token, policies })
    }

    async fn exists(&self, route: &Route) -> Result<bool, Refusal> {
        Ok(match route {
            Route::KeyCreate(name) => self.load_key(name).await?.is_some(),
            Route::JwtConfigWrite => JwtConfig::load(&self.store).await?.is_some(),
            _ => true,
        })
    }

    async fn open_door(
        &self,
        route: &Route,
        body: &[u8],
        entry: &mut Entry,
    ) -> Result<Answer, Refusal> {
        let now = self.clock.now();
        let grant = match route {
            Route::LoginAppRole => login::app_role(&self.store, parse(body)?).await?,
            Route::LoginJwt => login::owner(&self.store, parse(body)?, now).await?,
            Route::Health => return Ok(Answer::bare(self.health())),
            Route::SealStatus => return Ok(Answer::bare(seal_status())),
            Route::Initialised => return Ok(Answer::bare(json!({"initialized": true}))),
            _ => return Err(Refusal::denied()),
        };
        let (secret, token) = Token::issue(&self.store, &*self.entropy, grant, now).await?;
        entry.accessor = Some(token.accessor.clone());
        entry.subject.clone_from(&token.subject);
        Ok(Answer::auth(&secret, &token, now))
    }

    async fn perform(
        &self,
        route: &Route,
        body: &[u8],
        caller: &Caller,
        entry: &mut Entry,
    ) -> Result<Answer, Refusal> {
        match route {
            Route::Crypto(verb, name) => {
                let body: CryptoBody = parse(body)?;
                entry.items = body.items();
                transit::run(&self.key_for_use(name).await?, *verb, body)
            }
            Route::DataKey { plaintext, key } => {
                let ring = self.key_for_use(key).await?;
                transit::data_key(&ring, *plaintext, parse::<DataKeyBody>(body)?, &*self.entropy)
            }
            Route::Random { bytes } => {
                transit::random(*bytes, parse::<RandomBody>(body)?, &*self.entropy)
            }
            Route::KeyList => self.key_list().await,
            Route::KeyRead(name) => match self.load_key(name).await? {
                Some(ring) => Ok(Answer::data(&key_info(name, &ring))),
                None => Err(Refusal::not_found()),
            },
            Route::KeyCreate(_)
            | Route::KeyDelete(_)
            | Route::KeyConfig(_)
            | Route::KeyRotate(_) => self.change_key(route, body).await,
            Route::PolicyRead(name) => {
                let text: Option<String> = self.store.load(Kind::Policy, name).await?;
                let text = text.ok_or_else(Refusal::not_found)?;
                Ok(Answer::data(&json!({"name": name, "policy": text})))
            }
            Route::JwtConfigRead => {
                let config = JwtConfig::load(&self.store).await?;
                Ok(Answer::data(&config.ok_or_else(Refusal::not_found)?))
            }
            Route::JwtConfigWrite => {
                let config: JwtConfig = parse(body)?;
                config.save(&self.store).await?;
                Ok(Answer::nothing())
            }
            _ => self.own_token(route, caller).await,
        }
    }

    async fn own_token(&self, route: &Route, caller: &Caller) -> Result<Answer, Refusal> {
        let now = self.clock.now();
        match route {
            Route::TokenLookup => Ok(Answer::data(&token_info(caller, now))),
            Route::TokenRenew if !caller.token.renewable() => {
                Err(Refusal::bad("lease is not renewable"))
            }
            Route::TokenRenew => {
                let token = caller.token.clone().renew(&self.store, &caller.secret, now).await?;
                Ok(Answer::auth(&caller.secret.to_string().into(), &token, now))
            }
            Route::TokenRevoke => {
                Token::revoke(&self.store, &caller.secret).await?;
                Ok(Answer::nothing())
            }
            _ => Err(Refusal::denied()),
        }
    }

    async fn key_list(&self) -> Result<Answer, Refusal> {
        let names = self.store.names(Kind::Key).await?;
        if names.is_empty() {
            return Err(Refusal::not_found());
        }
        Ok(Answer::data(&json!({"keys": names})))
    }

    async fn change_key(&self, route: &Route, body: &[u8]) -> Result<Answer, Refusal> {
        match route {
            Route::KeyCreate(name) => {
                let kind = parse::<CreateBody>(body)?.kind()?;
                let ring = match self.load_key(name).await? {
                    // As Vault: one that is there stays as it is.
                    Some(ring) => ring,
                    None => {
                        let ring = KeyRing::new(kind, &*self.entropy, self.clock.now());
                        self.store.save(Kind::Key, name, &ring).await?;
                        ring
                    }
                };
                Ok(Answer::data(&key_info(name, &ring)))
            }
            Route::KeyConfig(name) => {
                let mut ring = self.existing(name).await?;
                parse::<ConfigBody>(body)?.apply(&mut ring)?;
                self.store.save(Kind::Key, name, &ring).await?;
                Ok(Answer::data(&key_info(name, &ring)))
            }
            Route::KeyRotate(name) => {
                let mut ring = self.existing(name).await?;
                if !ring.rotate(&*self.entropy, self.clock.now()) {
                    return Err(Refusal::bad("the key has as many versions as a key can have"));
                }
                self.store.save(Kind::Key, name, &ring).await?;
                Ok(Answer::data(&key_info(name, &ring)))
            }
            Route::KeyDelete(name) => {
                let ring = self.load_key(name).await?;
                let ring = ring.ok_or_else(|| Refusal::bad("could not delete key; not found"))?;
                if !ring.deletion_allowed {
                    let text = "deletion is not allowed for this key";
                    return Err(Refusal::bad(format!("error deleting policy {name}: {text}")));
                }
                self.store.destroy(Kind::Key, name).await?;
                Ok(Answer::nothing())
            }
            _ => Err(Refusal::denied()),
        }
    }

    async fn load_key(&self, name: &str) -> Result<Option<KeyRing>, Refusal> {
        Ok(self.store.load(Kind::Key, name).await?)
    }

    async fn existing(&self, name: &str) -> Result<KeyRing, Refusal> {
        let missing = || Refusal::bad(format!("no existing key named {name} could be found"));
        self.load_key(name).await?.ok_or_else(missing)
    }

    async fn key_for_use(&self, name: &str) -> Result<KeyRing, Refusal> {
        self.load_key(name).await?.ok_or_else(|| Refusal::bad("encryption key not found"))
    }

    fn health(&self) -> Value {
        json!({
            "initialized": true,
            "sealed": false,
            "standby": false,
            "performance_standby": false,
            "server_time_utc": self.clock.now().seconds(),
            "version": API_VERSION,
        })
    }
}

fn seal_status() -> Value {
    json!({
        "type": "rsa-oaep",
        "initialized": true,
        "sealed": false,
        "t": 1,
        "n": 1,
        "progress": 0,
        "nonce": "",
        "version": API_VERSION,
        "migration": false,
        "recovery_seal": false,
        "storage_type": "sqlite",
    })
}

fn key_info(name: &str, ring: &KeyRing) -> Value {
    json!({
        "name": name,
        "type": ring.kind,
        "keys": ring.history(),
        "latest_version": ring.latest(),
        "min_available_version": 0,
        "min_decryption_version": ring.min_decryption_version,
        "min_encryption_version": ring.min_encryption_version,
        "deletion_allowed": ring.deletion_allowed,
        "derived": false,
        "exportable": false,
        "allow_plaintext_backup": false,
        "auto_rotate_period": 0,
        "imported_key": false,
        "supports_encryption": ring.kind.encrypts(),
        "supports_decryption": ring.kind.encrypts(),
        "supports_derivation": false,
        "supports_signing": false,
    })
}

fn token_info(caller: &Caller, now: effects::UnixMillis) -> Value {
    let token = &caller.token;
    json!({
        "accessor": token.accessor,
        "creation_time": token.created_ms / 1000,
        "creation_ttl": token.ttl_s,
        "display_name": token.display_name,
        "entity_id": "",
        "explicit_max_ttl": 0,
        "id": caller.secret.as_str(),
        "meta": token.meta,
        "num_uses": 0,
        "orphan": true,
        "path": token.path,
        "policies": token.policies,
        "renewable": token.renewable(),
        "ttl": token.remaining_s(now),
        "type": "service",
    })
}

async fn read(body: Body, limit: usize) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let bytes = to_bytes(body, limit).await.map_err(|error| {
        let too_large = std::error::Error::source(&error)
            .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        match too_large {
            true => Refusal::new(413, "http: request body too large"),
            false => Refusal::bad("failed to read the request body"),
        }
    })?;
    Ok(Zeroizing::new(bytes.into()))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("failed to parse JSON input: {}", mistake(&error))))
}

/// Where and of what kind the mistake is, without the text around it, which may be secret.
fn mistake(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => {
            format!("a field is missing or of a wrong type, line {line} column {column}")
        }
        _ => format!("invalid JSON at line {line} column {column}"),
    }
}
