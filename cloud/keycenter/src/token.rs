//! Tokens: who carries one may do what its policies allow, until it ends.

use crate::store::{Error, Store};
use crate::wiped::Text;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use effects::{Entropy, UnixMillis, random_array};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of a token, but for the token itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    /// Names the token without being it.
    pub(crate) accessor: String,
    pub(crate) display_name: String,
    /// The login that gave it.
    pub(crate) path: String,
    pub(crate) policies: Vec<String>,
    /// The account, where its owner signed in.
    pub(crate) subject: Option<String>,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) created_ms: u64,
    pub(crate) expires_ms: u64,
    pub(crate) ttl_s: u64,
    /// Never renewed beyond this; equal to `expires_ms` where it cannot be renewed.
    pub(crate) last_ms: u64,
}

/// What a login grants.
pub(crate) struct Grant {
    pub(crate) display_name: String,
    pub(crate) path: &'static str,
    pub(crate) policy: String,
    pub(crate) subject: Option<String>,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) ttl: Duration,
    pub(crate) longest: Duration,
}

impl Token {
    /// Makes a token and stores what is known of it.
    pub(crate) async fn issue(
        store: &Store,
        entropy: &dyn Entropy,
        grant: Grant,
        now: UnixMillis,
    ) -> Result<(Text, Self), Error> {
        let secret = Text::from(format!("hvs.{}", random_text::<32>(entropy)));
        let token = Self {
            accessor: random_text::<18>(entropy),
            display_name: grant.display_name,
            path: grant.path.to_owned(),
            policies: vec!["default".to_owned(), grant.policy],
            subject: grant.subject,
            meta: grant.meta,
            created_ms: now.0,
            expires_ms: now.plus(grant.ttl).0,
            ttl_s: grant.ttl.as_secs(),
            last_ms: now.plus(grant.longest).0,
        };
        store.sweep(now).await?;
        token.save(store, secret.as_str()).await?;
        Ok((secret, token))
    }

    /// The token that `secret` is, if it has not ended.
    pub(crate) async fn find(
        store: &Store,
        secret: &str,
        now: UnixMillis,
    ) -> Result<Option<Self>, Error> {
        let token: Option<Self> = store.token(&fingerprint(store, secret)).await?;
        Ok(token.filter(|token| now.0 < token.expires_ms))
    }

    /// Gives it its full time again, or what remains of its longest.
    pub(crate) async fn renew(
        mut self,
        store: &Store,
        secret: &str,
        now: UnixMillis,
    ) -> Result<Self, Error> {
        self.expires_ms = now.plus(Duration::from_secs(self.ttl_s)).0.min(self.last_ms);
        self.save(store, secret).await?;
        Ok(self)
    }

    pub(crate) async fn revoke(store: &Store, secret: &str) -> Result<(), Error> {
        store.remove_token(&fingerprint(store, secret)).await
    }

    pub(crate) const fn renewable(&self) -> bool {
        self.last_ms > self.expires_ms
    }

    /// Whole seconds that it has left.
    pub(crate) const fn remaining_s(&self, now: UnixMillis) -> u64 {
        UnixMillis(self.expires_ms).since(now).as_secs()
    }

    async fn save(&self, store: &Store, secret: &str) -> Result<(), Error> {
        let expires = UnixMillis(self.expires_ms);
        store.put_token(&fingerprint(store, secret), expires, self).await
    }
}

fn fingerprint(store: &Store, secret: &str) -> Vec<u8> {
    store.seal.fingerprint("token", secret)
}

/// `N` random bytes as text that needs no escaping.
pub(crate) fn random_text<const N: usize>(entropy: &dyn Entropy) -> String {
    URL_SAFE_NO_PAD.encode(random_array::<N>(entropy))
}
