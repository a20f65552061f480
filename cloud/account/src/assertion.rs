//! Owner assertions: what a signed-in owner shows to the Key Center to use the account's keys.
//! This credential of the cloud can make and delete those keys, never use them.

use crate::{Accounts, Caller, Error, audit};
use std::time::Duration;
use wire::account::OwnerClaims;

/// How long an assertion is good.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

impl Accounts {
    /// An assertion that `caller` is the owner (compact JWS, ES256).
    pub async fn owner_assertion(&self, caller: &Caller) -> Result<String, Error> {
        let now = self.clock.now();
        let claims = OwnerClaims {
            iss: "holdfast-account".into(),
            aud: "keycenter".into(),
            sub: caller.account_id.clone(),
            purpose: "owner".into(),
            iat: now.seconds(),
            exp: now.plus(LIFETIME).seconds(),
            jti: self.random_id(),
        };
        let mut transaction = self.begin().await?;
        let actor = if caller.device_id.is_some() { "device" } else { "owner" };
        let entry = self.entry(actor, "owner_assertion", &caller.subject, &claims.jti);
        audit::append(&mut transaction, &self.pii, &entry).await?;
        transaction.commit().await?;
        jws::sign(&claims, |message| self.assertion_key.sign_fixed(message))
            .map_err(|_| Error::Damaged("the assertion key"))
    }

    /// The key that assertions verify under: SubjectPublicKeyInfo DER.
    pub fn assertion_public_key(&self) -> Result<Vec<u8>, Error> {
        Ok(self.assertion_key.public_key_spki()?)
    }
}
