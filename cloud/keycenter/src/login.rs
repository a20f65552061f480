//! The ways to sign in: AppRole for services, owner assertions (JWT, RFC 7519) for the owners
//! of accounts.

use crate::answer::Refusal;
use crate::store::{Error, Kind, Store};
use crate::token::{Grant, random_text};
use crate::wiped::Text;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use effects::{Entropy, UnixMillis, durable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use wire::account::OwnerClaims;

/// A service's token lasts this long, and is renewed up to a day.
const SERVICE_TTL: Duration = Duration::from_hours(1);
const SERVICE_LONGEST: Duration = Duration::from_hours(24);
/// An owner's token lasts as long as a web session without activity (S5.2.2); it is not renewed.
const OWNER_TTL: Duration = Duration::from_mins(15);
/// An assertion is good for no longer than this.
const ASSERTION_LIFE_S: u64 = 300;
/// The issuer's clock may be ahead by this much.
const CLOCK_TOLERANCE_S: u64 = 60;
/// For whom assertions are made out.
const AUDIENCE: &str = "keycenter";
/// The only use of an assertion.
const PURPOSE: &str = "owner";
/// The policy of owners.
const OWNER_POLICY: &str = "owner";
/// The longest `sub` and `jti`.
const MAX_CLAIM_BYTES: usize = 128;

/// A service's role. Its secret is stored as a fingerprint.
#[derive(Serialize, Deserialize)]
struct Role {
    name: String,
    policy: String,
    #[serde(with = "serde_bytes")]
    secret: Vec<u8>,
}

/// The credential file of a service, 0600.
#[derive(Serialize, Deserialize)]
struct CredentialFile {
    role_id: String,
    secret_id: Text,
}

/// Makes the role of the cloud's services, with its credential in `path`. The file is written
/// first: a crash in between is mended by the next start. Once the role is known the file is
/// needed by the service alone and may be moved to it.
pub(crate) async fn ensure_cloud_role(
    store: &Store,
    entropy: &dyn Entropy,
    path: &Path,
) -> Result<(), crate::Error> {
    if !store.names(Kind::Role).await?.is_empty() {
        return Ok(());
    }
    let at = |source| crate::Error::File { path: path.to_path_buf(), source };
    let file = match std::fs::read(path) {
        Ok(json) => serde_json::from_slice(&json).map_err(|error| at(error.into()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let file = CredentialFile {
                role_id: random_text::<16>(entropy),
                secret_id: random_text::<32>(entropy).into(),
            };
            let json = serde_json::to_vec_pretty(&file).map_err(|error| at(error.into()))?;
            durable::replace(path, &json, 0o600).map_err(at)?;
            file
        }
        Err(error) => return Err(at(error)),
    };
    let secret = store.seal.fingerprint("secret-id", file.secret_id.as_str());
    let role = Role { name: "cloud".to_owned(), policy: "cloud".to_owned(), secret };
    store.save(Kind::Role, &file.role_id, &role).await?;
    Ok(())
}

/// The body of `auth/approle/login`.
#[derive(Deserialize)]
pub(crate) struct AppRoleLogin {
    role_id: String,
    secret_id: Text,
}

/// What the holder of the role's secret gets.
pub(crate) async fn app_role(store: &Store, login: AppRoleLogin) -> Result<Grant, Refusal> {
    let wrong = || Refusal::bad("invalid role or secret ID");
    let given = store.seal.fingerprint("secret-id", login.secret_id.as_str());
    let role: Option<Role> = store.load(Kind::Role, &login.role_id).await?;
    // The comparison is made either way, so that its time tells nothing about the role.
    let stored = role.as_ref().map_or(&[0; 32][..], |role| &role.secret);
    let equal = crypto::constant_time_eq(&given, stored);
    let role = role.filter(|_| equal).ok_or_else(wrong)?;
    let mut meta = BTreeMap::new();
    meta.insert("role_name".to_owned(), role.name);
    Ok(Grant {
        display_name: "approle".to_owned(),
        path: "auth/approle/login",
        policy: role.policy,
        subject: None,
        meta,
        ttl: SERVICE_TTL,
        longest: SERVICE_LONGEST,
    })
}

/// Whose assertions are believed: the body of `auth/jwt/config`, and what is stored of it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct JwtConfig {
    jwt_validation_pubkeys: Vec<String>,
    #[serde(default = "es256_only")]
    jwt_supported_algs: Vec<String>,
    bound_issuer: String,
}

fn es256_only() -> Vec<String> {
    vec!["ES256".to_owned()]
}

impl JwtConfig {
    const NAME: &'static str = "jwt";

    pub(crate) async fn load(store: &Store) -> Result<Option<Self>, Error> {
        store.load(Kind::Config, Self::NAME).await
    }

    /// Stores it, if all of it is understood.
    pub(crate) async fn save(&self, store: &Store) -> Result<(), Refusal> {
        if self.jwt_supported_algs != es256_only() {
            return Err(Refusal::bad("unsupported signing algorithm: only ES256 is understood"));
        }
        if self.bound_issuer.is_empty() {
            return Err(Refusal::bad("bound_issuer is missing"));
        }
        let keys = self.jwt_validation_pubkeys.iter();
        if !keys.clone().all(|pem| public_key(pem).is_some()) || keys.len() == 0 {
            return Err(Refusal::bad("error parsing public key: not a P-256 public key in PEM"));
        }
        Ok(store.save(Kind::Config, Self::NAME, self).await?)
    }
}

/// SubjectPublicKeyInfo DER from PEM, if it is a P-256 key.
fn public_key(pem: &str) -> Option<Vec<u8>> {
    const P256_SPKI_BYTES: usize = 91;
    let body = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
    let body = body.strip_suffix("-----END PUBLIC KEY-----")?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(body).ok()?;
    let parses = crypto::sign::es256_verify(&der, b"", &[0; 64]);
    let good = parses != Err(crypto::Error::MalformedKey) && der.len() == P256_SPKI_BYTES;
    good.then_some(der)
}

/// The body of `auth/jwt/login`.
#[derive(Deserialize)]
pub(crate) struct JwtLogin {
    jwt: Text,
    #[serde(default)]
    role: Option<String>,
}

/// What the bearer of a fresh owner assertion gets: once, and for its own account.
pub(crate) async fn owner(
    store: &Store,
    login: JwtLogin,
    now: UnixMillis,
) -> Result<Grant, Refusal> {
    if login.role.is_some_and(|role| role != OWNER_POLICY) {
        return Err(Refusal::bad("role could not be found"));
    }
    let config = JwtConfig::load(store).await?;
    let config = config.ok_or_else(|| Refusal::bad("could not load configuration"))?;
    let keys = config.jwt_validation_pubkeys.iter().filter_map(|pem| public_key(pem));
    let claims: OwnerClaims = keys
        .map(|key| jws::verify(login.jwt.as_str(), &key))
        .reduce(Result::or)
        .unwrap_or(Err(jws::Error::Signature))
        .map_err(|error| Refusal::bad(format!("error validating token: {error}")))?;
    check(&claims, &config.bound_issuer, now)
        .map_err(|reason| Refusal::bad(format!("error validating token: {reason}")))?;
    let id = store.seal.fingerprint("assertion", &claims.jti);
    if !store.spend(&id, UnixMillis((claims.exp + 1) * 1000)).await? {
        return Err(Refusal::bad("error validating token: it has been used before"));
    }
    let mut meta = BTreeMap::new();
    meta.insert("role".to_owned(), OWNER_POLICY.to_owned());
    Ok(Grant {
        display_name: format!("jwt-{}", claims.sub),
        path: "auth/jwt/login",
        policy: OWNER_POLICY.to_owned(),
        subject: Some(claims.sub),
        meta,
        ttl: OWNER_TTL,
        longest: OWNER_TTL,
    })
}

fn check(claims: &OwnerClaims, issuer: &str, now: UnixMillis) -> Result<(), &'static str> {
    let now_s = now.seconds();
    let plain = |text: &str| {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !text.is_empty() && text.len() <= MAX_CLAIM_BYTES && text.bytes().all(good)
    };
    match claims {
        c if c.iss != issuer => Err("invalid issuer (iss) claim"),
        c if c.aud != AUDIENCE => Err("invalid audience (aud) claim"),
        c if c.purpose != PURPOSE => Err("invalid purpose claim"),
        c if c.exp <= now_s => Err("token is expired"),
        c if c.iat > now_s + CLOCK_TOLERANCE_S => Err("token was issued in the future"),
        c if c.exp.saturating_sub(c.iat) > ASSERTION_LIFE_S || c.exp < c.iat => {
            Err("token is good for longer than five minutes")
        }
        c if !plain(&c.sub) => Err("invalid subject (sub) claim"),
        c if !plain(&c.jti) => Err("invalid jti claim"),
        _ => Ok(()),
    }
}
