//! What services need of each other and of the Key Center, connected.

use crate::app::App;
use crate::caller::Device;
use crate::fault::Fault;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cloud_account::keycenter::{Answer, DataKey, PASSWORD, PII, PII_INDEX};
use cloud_account::pii::{Pii, Place};
use cloud_account::{
    Accounts, ActivationLock, Error as AccountError, SessionKind, Subject, Touch, Who,
};
use cloud_find::{Bound, Carrier, Error as FindError, Find, Owners};
use cloud_push::Push;
use cloud_update::{Error as UpdateError, Standing};
use effects::UnixMillis;
use futures_util::future::BoxFuture;
use keycenter_client::{KeyCenter, KeyType};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use wire::find::Command;
use wire::push::Event;
use zeroize::Zeroizing;

/// Who issues owner assertions.
const ISSUER: &str = "holdfast-account";

/// The Key Center, with the account service's credential.
pub(crate) struct Keys(pub(crate) KeyCenter);

impl Keys {
    /// Makes the keys that the services use, where they are missing.
    pub(crate) async fn prepare(&self) -> Result<(), keycenter_client::Error> {
        for (name, kind) in [
            (PII, KeyType::Aes128Gcm96),
            (PASSWORD, KeyType::Aes128Gcm96),
            (PII_INDEX, KeyType::Hmac),
        ] {
            if self.0.key(name).await?.is_none() {
                self.0.create_key(name, kind).await?;
            }
        }
        Ok(())
    }
}

fn unavailable(error: keycenter_client::Error) -> AccountError {
    AccountError::KeyCenter(error.to_string())
}

impl cloud_account::KeyCenter for Keys {
    fn data_key<'a>(&'a self, key: &'a str) -> Answer<'a, DataKey> {
        Box::pin(async move {
            let keycenter_client::DataKey { plaintext, wrapped } =
                self.0.data_key(key).await.map_err(unavailable)?;
            Ok(DataKey { plaintext, wrapped })
        })
    }

    fn encrypt<'a>(
        &'a self,
        key: &'a str,
        context: &'a [u8],
        plaintext: &'a [u8],
    ) -> Answer<'a, String> {
        Box::pin(async move { self.0.encrypt(key, plaintext, context).await.map_err(unavailable) })
    }

    fn decrypt<'a>(
        &'a self,
        key: &'a str,
        context: &'a [u8],
        sealed: &'a str,
    ) -> Answer<'a, Zeroizing<Vec<u8>>> {
        Box::pin(async move { self.0.decrypt(key, sealed, context).await.map_err(unavailable) })
    }

    fn hmac<'a>(&'a self, key: &'a str, input: &'a [u8]) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            let tag = self.0.hmac(key, input).await.map_err(unavailable)?;
            tag.strip_prefix("vault:v1:")
                .and_then(|tag| STANDARD.decode(tag).ok())
                .ok_or_else(|| AccountError::KeyCenter("the index key was rotated".into()))
        })
    }

    fn create_key<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(
            async move { self.0.create_key(key, KeyType::Aes256Gcm96).await.map_err(unavailable) },
        )
    }

    fn delete_key<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.0.delete_key(key).await.map_err(unavailable) })
    }

    fn trust_assertions<'a>(&'a self, public_key: &'a [u8]) -> Answer<'a, ()> {
        Box::pin(async move { self.0.configure_jwt(public_key, ISSUER).await.map_err(unavailable) })
    }
}

/// Who calls sync. Inside the cloud an account is its subject; sync never learns another name.
pub(crate) struct Tokens(pub(crate) App);

impl cloud_sync::Authenticator for Tokens {
    fn authenticate<'a>(
        &'a self,
        token: &'a str,
    ) -> BoxFuture<'a, Result<cloud_sync::Caller, Response>> {
        Box::pin(async move {
            let caller = self.0.accounts.authenticate(token, Touch::Activity).await;
            let caller = caller.map_err(|error| Fault::from(error).into_response())?;
            if caller.kind == SessionKind::Web {
                return Err(Fault::from(AccountError::NotSignedIn).into_response());
            }
            Ok(cloud_sync::Caller { account: caller.subject.0, device_id: caller.device_id })
        })
    }
}

/// Seals for the services that keep personal data of their own.
pub(crate) struct Sealer(pub(crate) Arc<Pii>);

impl cloud_push::Sealer for Sealer {
    fn seal(&self, table: &str, column: &str, row: &str, plaintext: &[u8]) -> Vec<u8> {
        self.0.seal(Place::new(table, column, row), plaintext)
    }

    fn open(&self, table: &str, column: &str, row: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open(Place::new(table, column, row), sealed).ok()
    }
}

impl cloud_eid::Sealer for Sealer {
    fn seal(&self, table: &str, column: &str, row: &str, plaintext: &[u8]) -> Vec<u8> {
        self.0.seal(Place::new(table, column, row), plaintext)
    }

    fn open(&self, table: &str, column: &str, row: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open(Place::new(table, column, row), sealed).ok()
    }
}

impl cloud_find::Sealer for Sealer {
    fn seal(&self, table: &str, column: &str, row: &str, plaintext: &[u8]) -> Vec<u8> {
        self.0.seal(Place::new(table, column, row), plaintext)
    }

    fn open(&self, table: &str, column: &str, row: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open(Place::new(table, column, row), sealed).ok()
    }
}

impl cloud_attest::Sealer for Sealer {
    fn seal(&self, table: &str, column: &str, row: &str, plaintext: &[u8]) -> Vec<u8> {
        self.0.seal(Place::new(table, column, row), plaintext)
    }

    fn open(&self, table: &str, column: &str, row: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open(Place::new(table, column, row), sealed).ok()
    }
}

/// Find-device's say on who may bind a device. Find-device needs accounts and opens after them,
/// so it is filled in then.
#[derive(Default)]
pub(crate) struct Lock(pub(crate) OnceLock<Arc<Find>>);

impl ActivationLock for Lock {
    fn holds<'a>(&'a self, device_id: &'a str) -> BoxFuture<'a, Result<bool, AccountError>> {
        Box::pin(async move {
            let find = self.0.get().ok_or(AccountError::Damaged("find-device is not up yet"))?;
            let state = find.state(device_id).await;
            Ok(state.map_err(|_| AccountError::Damaged("find-device's state"))?.enabled)
        })
    }
}

/// Commands go down the device's link.
pub(crate) struct ByLink(pub(crate) Arc<Push>);

impl Carrier for ByLink {
    fn carry<'a>(
        &'a self,
        device_id: &'a str,
        command_id: u64,
        command: &'a Command,
    ) -> cloud_find::Answer<'a, ()> {
        Box::pin(async move {
            let event = Event::Command { command_id, command: command.clone() };
            self.0
                .deliver(device_id, &event)
                .await
                .map_err(|error| FindError::Link(error.to_string()))
        })
    }

    fn withdraw<'a>(&'a self, device_id: &'a str) -> cloud_find::Answer<'a, ()> {
        Box::pin(async move {
            self.0
                .withdraw_commands(device_id)
                .await
                .map_err(|error| FindError::Link(error.to_string()))
        })
    }
}

/// The account service, as find-device needs it.
pub(crate) struct AccountOwners(pub(crate) Arc<Accounts>);

fn refused(error: AccountError) -> FindError {
    match error {
        AccountError::WrongPassword => FindError::WrongPassword,
        AccountError::ResetAroundLoss { until } => FindError::ResetAroundLoss { until },
        AccountError::Throttled { retry_after } => FindError::Throttled { retry_after },
        other => FindError::Accounts(other.to_string()),
    }
}

impl Owners for AccountOwners {
    fn bound<'a>(&'a self, serial: &'a str) -> cloud_find::Answer<'a, Option<Bound>> {
        Box::pin(async move {
            let Some(record) = self.0.device_by_serial(serial).await.map_err(refused)? else {
                return Ok(None);
            };
            let hint = self.0.owner_hint(&record.subject).await.map_err(refused)?;
            Ok(Some(Bound { device_id: record.device_id, owner: record.subject.0, hint }))
        })
    }

    fn names<'a>(&'a self, login: &'a str, owner: &'a str) -> cloud_find::Answer<'a, bool> {
        Box::pin(async move {
            self.0.is_login_of(login, &Subject(owner.to_owned())).await.map_err(refused)
        })
    }

    fn verify<'a>(
        &'a self,
        owner: &'a str,
        password: &'a str,
        lost_at: Option<UnixMillis>,
        source: IpAddr,
    ) -> cloud_find::Answer<'a, ()> {
        Box::pin(async move {
            let subject = Subject(owner.to_owned());
            let who = Who::Account(&subject);
            self.0.verify_owner(who, password, lost_at, source).await.map(drop).map_err(refused)
        })
    }

    fn verify_login<'a>(
        &'a self,
        login: &'a str,
        password: &'a str,
        source: IpAddr,
    ) -> cloud_find::Answer<'a, ()> {
        Box::pin(async move {
            let who = Who::Login(login);
            self.0.verify_owner(who, password, None, source).await.map(drop).map_err(refused)
        })
    }

    fn record<'a>(
        &'a self,
        owner: &'a str,
        actor: &'a str,
        action: &'a str,
        detail: &'a str,
    ) -> cloud_find::Answer<'a, ()> {
        Box::pin(async move {
            let subject = Subject(owner.to_owned());
            self.0.record(actor, action, &subject, detail).await.map_err(refused)
        })
    }
}

/// Who stands for all makers and releases in the audit log; no account is called so.
const UPDATES: &str = "updates";

/// Who stands for relying parties and registered devices in the audit log.
const ATTESTATION: &str = "attestation";

impl cloud_attest::Audit for AuditLog {
    fn record<'a>(
        &'a self,
        actor: &'a str,
        action: &'a str,
        detail: &'a str,
    ) -> BoxFuture<'a, Result<(), cloud_attest::Error>> {
        Box::pin(async move {
            let subject = Subject(ATTESTATION.into());
            let recorded = self.0.record(actor, action, &subject, detail).await;
            recorded.map_err(|error| cloud_attest::Error::Internal(error.to_string()))
        })
    }
}

/// The account service's audit log, for services that act for no account.
pub(crate) struct AuditLog(pub(crate) Arc<Accounts>);

impl cloud_update::Audit for AuditLog {
    fn record<'a>(
        &'a self,
        actor: &'a str,
        action: &'a str,
        detail: &'a str,
    ) -> BoxFuture<'a, Result<(), UpdateError>> {
        Box::pin(async move {
            let recorded = self.0.record(actor, action, &Subject(UPDATES.into()), detail).await;
            recorded.map_err(|error| UpdateError::Audit(error.to_string()))
        })
    }
}

/// How a bound device stands: its last attestation, and its maker as the registry has it.
pub(crate) async fn standing(app: &App, device: &Device) -> Result<Standing, Fault> {
    let said = app.accounts.device(&device.caller.subject, &device.id).await?.statement;
    let maker = match &app.attest.devices_with_serial(&said.serial).await?[..] {
        [known] if known.revoked.is_none() => {
            let makers = app.attest.makers().await?;
            makers.into_iter().find(|maker| maker.root == known.root).map(|maker| maker.name)
        }
        // Two makers gave the same number: which device is bound, the number does not say.
        _ => None,
    };
    Ok(Standing {
        locked: said.locked,
        boot_state: said.boot_state,
        patch_level: said.os_patch_level,
        maker,
    })
}
