//! What a method and a path ask for, and which capability it takes.

use crate::policy::Capability;
use crate::transit::Verb;
use http::Method;

/// The longest name of a key or policy.
const MAX_NAME_BYTES: usize = 128;

/// Something that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Health,
    SealStatus,
    Initialised,
    LoginAppRole,
    LoginJwt,
    JwtConfigRead,
    JwtConfigWrite,
    TokenLookup,
    TokenRenew,
    TokenRevoke,
    PolicyRead(String),
    KeyList,
    KeyCreate(String),
    KeyRead(String),
    KeyDelete(String),
    KeyConfig(String),
    KeyRotate(String),
    Crypto(Verb, String),
    DataKey { plaintext: bool, key: String },
    Random { bytes: Option<usize> },
}

/// Why there is nothing to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// There is no such path.
    Path,
    /// Nothing is done there with this method.
    Method,
}

/// How a route is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verbs {
    Read,
    Write,
    List,
    Delete,
}

impl Route {
    /// From the method, the path behind `/v1/`, and whether the query says `list=true`.
    pub(crate) fn parse(method: &Method, path: &str, list: bool) -> Result<Self, NoRoute> {
        let verb = match method.as_str() {
            "GET" if list => Verbs::List,
            "GET" => Verbs::Read,
            "LIST" => Verbs::List,
            "POST" | "PUT" => Verbs::Write,
            "DELETE" => Verbs::Delete,
            _ => return Err(NoRoute::Method),
        };
        let segments: Vec<_> = path.trim_end_matches('/').split('/').collect();
        match segments.split_first() {
            Some((&"sys", rest)) => system(verb, rest),
            Some((&"auth", rest)) => auth(verb, rest),
            Some((&"transit", rest)) => transit(verb, rest),
            _ => Err(NoRoute::Path),
        }
    }

    /// What a policy must grant; `None` for what everybody may do. `exists` says whether the
    /// thing to be written is there already.
    pub(crate) const fn capability(&self, exists: bool) -> Option<Capability> {
        Some(match self {
            Self::Health
            | Self::SealStatus
            | Self::Initialised
            | Self::LoginAppRole
            | Self::LoginJwt => return None,
            Self::KeyCreate(_) | Self::JwtConfigWrite if !exists => Capability::Create,
            Self::KeyCreate(_)
            | Self::JwtConfigWrite
            | Self::KeyConfig(_)
            | Self::KeyRotate(_)
            | Self::TokenRenew
            | Self::TokenRevoke
            | Self::Crypto(..)
            | Self::DataKey { .. }
            | Self::Random { .. } => Capability::Update,
            Self::JwtConfigRead | Self::TokenLookup | Self::PolicyRead(_) | Self::KeyRead(_) => {
                Capability::Read
            }
            Self::KeyList => Capability::List,
            Self::KeyDelete(_) => Capability::Delete,
        })
    }

    /// Whether it changes what is stored; then it is in the log before it is done.
    pub(crate) const fn changes(&self) -> bool {
        matches!(
            self,
            Self::JwtConfigWrite
                | Self::KeyCreate(_)
                | Self::KeyDelete(_)
                | Self::KeyConfig(_)
                | Self::KeyRotate(_)
                | Self::TokenRevoke
        )
    }

    /// Whether anybody may ask, and no secret is touched: not logged.
    pub(crate) const fn is_status(&self) -> bool {
        matches!(self, Self::Health | Self::SealStatus | Self::Initialised)
    }
}

fn system(verb: Verbs, path: &[&str]) -> Result<Route, NoRoute> {
    match (path, verb) {
        (["health"], Verbs::Read) => Ok(Route::Health),
        (["seal-status"], Verbs::Read) => Ok(Route::SealStatus),
        (["init"], Verbs::Read) => Ok(Route::Initialised),
        (["policies", "acl", name], Verbs::Read) => Ok(Route::PolicyRead(named(name)?)),
        (["health" | "seal-status" | "init"] | ["policies", "acl", _], _) => Err(NoRoute::Method),
        _ => Err(NoRoute::Path),
    }
}

fn auth(verb: Verbs, path: &[&str]) -> Result<Route, NoRoute> {
    match (path, verb) {
        (["approle", "login"], Verbs::Write) => Ok(Route::LoginAppRole),
        (["jwt", "login"], Verbs::Write) => Ok(Route::LoginJwt),
        (["jwt", "config"], Verbs::Read) => Ok(Route::JwtConfigRead),
        (["jwt", "config"], Verbs::Write) => Ok(Route::JwtConfigWrite),
        (["token", "lookup-self"], Verbs::Read) => Ok(Route::TokenLookup),
        (["token", "renew-self"], Verbs::Write) => Ok(Route::TokenRenew),
        (["token", "revoke-self"], Verbs::Write) => Ok(Route::TokenRevoke),
        (
            ["approle" | "jwt", "login"]
            | ["jwt", "config"]
            | ["token", "lookup-self" | "renew-self" | "revoke-self"],
            _,
        ) => Err(NoRoute::Method),
        _ => Err(NoRoute::Path),
    }
}

fn transit(verb: Verbs, path: &[&str]) -> Result<Route, NoRoute> {
    match path {
        ["keys"] if verb == Verbs::List => return Ok(Route::KeyList),
        ["keys", name] => return key(verb, named(name)?),
        ["keys", ..] | ["random", ..] | ["datakey", _, _] => {}
        [operation, _] | [operation, _, _] if crypto_verb(operation).is_some() => {}
        _ => return Err(NoRoute::Path),
    }
    if verb != Verbs::Write {
        return Err(NoRoute::Method);
    }
    match path {
        ["keys", name, "config"] => Ok(Route::KeyConfig(named(name)?)),
        ["keys", name, "rotate"] => Ok(Route::KeyRotate(named(name)?)),
        ["datakey", "plaintext", name] => Ok(Route::DataKey { plaintext: true, key: named(name)? }),
        ["datakey", "wrapped", name] => Ok(Route::DataKey { plaintext: false, key: named(name)? }),
        ["random"] | ["random", "platform"] => Ok(Route::Random { bytes: None }),
        ["random", bytes] | ["random", "platform", bytes] => {
            Ok(Route::Random { bytes: Some(bytes.parse().map_err(|_| NoRoute::Path)?) })
        }
        [operation, name] | [operation @ ("hmac" | "verify"), name, "sha2-256"] => {
            let verb = crypto_verb(operation).ok_or(NoRoute::Path)?;
            Ok(Route::Crypto(verb, named(name)?))
        }
        _ => Err(NoRoute::Path),
    }
}

fn key(verb: Verbs, name: String) -> Result<Route, NoRoute> {
    match verb {
        Verbs::Read => Ok(Route::KeyRead(name)),
        Verbs::Write => Ok(Route::KeyCreate(name)),
        Verbs::Delete => Ok(Route::KeyDelete(name)),
        Verbs::List => Err(NoRoute::Method),
    }
}

fn crypto_verb(operation: &str) -> Option<Verb> {
    Some(match operation {
        "encrypt" => Verb::Encrypt,
        "decrypt" => Verb::Decrypt,
        "rewrap" => Verb::Rewrap,
        "hmac" => Verb::Hmac,
        "verify" => Verb::Verify,
        _ => return None,
    })
}

/// A name that means itself, in paths and in policies alike.
fn named(name: &str) -> Result<String, NoRoute> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fits = !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.starts_with('.');
    (fits && name.bytes().all(good)).then(|| name.to_owned()).ok_or(NoRoute::Path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, path: &str) -> Result<Route, NoRoute> {
        Route::parse(&Method::from_bytes(method.as_bytes()).unwrap(), path, false)
    }

    #[test]
    fn names_that_mean_more_than_themselves_have_no_route() {
        for name in ["..", "a%2fb", "a*", "+", "a b", "{{identity.sub}}", ".a", &"x".repeat(129)] {
            assert_eq!(parse("POST", &format!("transit/encrypt/{name}")), Err(NoRoute::Path));
            assert_eq!(parse("POST", &format!("transit/keys/{name}")), Err(NoRoute::Path));
        }
    }

    #[test]
    fn listing_is_a_verb_or_a_query() {
        assert_eq!(parse("LIST", "transit/keys"), Ok(Route::KeyList));
        assert_eq!(Route::parse(&Method::GET, "transit/keys", true), Ok(Route::KeyList));
        assert_eq!(parse("GET", "transit/keys"), Err(NoRoute::Method));
    }

    #[test]
    fn a_wrong_method_is_told_from_a_wrong_path() {
        assert_eq!(parse("GET", "transit/encrypt/k"), Err(NoRoute::Method));
        assert_eq!(parse("DELETE", "auth/jwt/config"), Err(NoRoute::Method));
        for path in ["", "transit", "transit/export/k", "sys/raw", "transit/hmac/k/sha1"] {
            assert_eq!(parse("POST", path), Err(NoRoute::Path), "{path}");
        }
    }
}
