//! The account: attestation, binding, the device's own session.

use super::{Device, blocking};
use crate::error::Error;
use crate::record::{Account, Record};
use crate::tee::Tee;
use device_link::find;
use device_link::session::{Cloud, DeviceSession, Signer};
use serde::Serialize;
use std::sync::Arc;
use tee_api::gatekeeper::Command;
use wire::Base64;
use wire::attest::Statement;
use wire::device::Bind;

/// The application that the system itself is registered as.
const SYSTEM_APP: &str = "holdfast.system";
/// The longest challenge that KeyMint attests.
const MAX_CHALLENGE_BYTES: usize = 128;

/// What binding came to.
#[derive(Debug, Clone, Serialize)]
pub struct Binding {
    /// The device's id at the cloud.
    pub device_id: String,
    /// The account's id.
    pub account_id: String,
    /// What the cloud read in the attestation.
    pub attestation: Statement,
}

/// Signs with the key that the device is bound by.
struct BoundKey {
    tee: Arc<dyn Tee>,
    blob: Vec<u8>,
}

impl Signer for BoundKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        self.tee.sign_es256(&self.blob, message).map_err(|error| error.to_string())
    }
}

impl Device {
    /// A fresh key's attestation over `challenge`: DER certificates, leaf first.
    pub fn attest(&self, challenge: &[u8]) -> Result<Vec<Base64>, Error> {
        let challenge = usable(challenge)?;
        let (_, chain) = self.tee.attested_key(challenge)?;
        Ok(chain.into_iter().map(Base64).collect())
    }

    /// Binds the device to the account behind `token`, a session of a person. Again with the
    /// same account gives the device a new key there.
    pub async fn bind(self: &Arc<Self>, token: &str) -> Result<Binding, Error> {
        let cloud = self.cloud()?.clone();
        let lock = blocking(self, Self::refreshed).await?;
        if lock.activation_due {
            return Err(Error::ActivationDue);
        }
        blocking(self, Self::open_stores).await?;
        let profile = cloud.profile(token).await?;
        let bound_to = self.userdata().record().account.as_ref().map(|a| a.account_id.clone());
        if bound_to.is_some_and(|account_id| account_id != profile.account_id) {
            return Err(Error::BoundToAnother);
        }
        let challenge = cloud.challenge().await?;
        let (blob, chain) = blocking(self, move |device| device.account_key(&challenge)).await?;
        let bound = cloud.bind(token, &Bind { chain, name: self.name() }).await?;
        let account = Account {
            account_id: bound.account_id.clone(),
            masked: profile.email,
            device_id: bound.device_id.clone(),
            key_blob: blob.into(),
        };
        blocking(self, move |device| device.remember_account(account)).await?;
        if let Err(error) = self.register_app(SYSTEM_APP).await {
            tracing::warn!(%error, "no push registration yet");
        }
        // The lock outlived a reset: find-device is on, and the new binding is to know it.
        if lock.activation_armed
            && let Err(error) = self.enable_find().await
        {
            tracing::warn!(%error, "find-device is to be turned on again");
        }
        Ok(Binding {
            device_id: bound.device_id,
            account_id: bound.account_id,
            attestation: bound.statement,
        })
    }

    /// Signs a person in, binds the device to that account, and ends the person's session.
    pub async fn sign_in(self: &Arc<Self>, login: &str, password: &str) -> Result<Binding, Error> {
        let cloud = self.cloud()?.clone();
        let session = cloud.sign_in(login, password).await?;
        let binding = self.bind(&session.token).await;
        if let Err(error) = cloud.sign_out(&session.token).await {
            tracing::info!(%error, "the person's session ends by itself");
        }
        binding
    }

    /// Turns find-device on: first at the cloud, then in the TEE, so that a device never demands
    /// an owner whom the cloud does not know.
    pub async fn enable_find(self: &Arc<Self>) -> Result<(), Error> {
        let session = self.bound_session()?;
        find::enable(&session).await?;
        blocking(self, |device| {
            device.tee.do_gatekeeper(Command::ArmActivation)?;
            device.userdata().change(|record| record.find_enabled = true)?;
            device.refresh().map(drop)
        })
        .await
    }

    /// The session of the account in `record`.
    pub(super) fn session_of(&self, cloud: &Cloud, record: &Record) -> Option<Arc<DeviceSession>> {
        let account = record.account.as_ref()?;
        let key = BoundKey { tee: self.tee.clone(), blob: account.key_blob.to_vec() };
        let (id, entropy) = (account.device_id.clone(), self.entropy.clone());
        Some(Arc::new(DeviceSession::new(cloud.clone(), id, Arc::new(key), entropy)))
    }

    /// An attested key for an account: KeyMint's blob and the chain. It can be deleted, so that
    /// no copy of the blob speaks for this device any more.
    fn account_key(&self, challenge: &[u8]) -> Result<(Vec<u8>, Vec<Base64>), Error> {
        let (blob, chain) = self.tee.deletable_attested_key(usable(challenge)?)?;
        Ok((blob, chain.into_iter().map(Base64).collect()))
    }

    /// KeyMint binds keys to the software that they were made under; after an update the
    /// account's wants another blob. The old one goes last, so that power may go at any moment.
    pub(super) fn upgrade_account_key(&self) -> Result<(), Error> {
        let mut userdata = self.userdata();
        let Some(account) = userdata.record().account.clone() else { return Ok(()) };
        let Some(blob) = self.tee.upgrade_key(&account.key_blob)? else { return Ok(()) };
        userdata.change(|record| {
            if let Some(account) = &mut record.account {
                account.key_blob = blob.into();
            }
        })?;
        let cloud = self.cloud.as_ref();
        let session = cloud.and_then(|cloud| self.session_of(cloud, userdata.record()));
        drop(userdata);
        self.session.send_replace(session);
        Ok(self.tee.delete_key(&account.key_blob)?)
    }

    pub(super) fn refreshed(&self) -> Result<tee_api::gatekeeper::Status, Error> {
        self.refuse_if_erased()?;
        self.refresh()
    }

    fn remember_account(&self, account: Account) -> Result<(), Error> {
        let before = self.userdata().record().account.clone();
        let same_device = before.as_ref().is_some_and(|it| it.device_id == account.device_id);
        if !same_device {
            self.inbox().reset().map_err(Error::io("the inbox"))?;
        }
        let mut userdata = self.userdata();
        userdata.change(|record| {
            if !same_device {
                record.registrations.clear();
                record.find_enabled = false;
            }
            record.account = Some(account);
        })?;
        let session = self.session_of(self.cloud()?, userdata.record());
        drop(userdata);
        self.session.send_replace(session);
        self.touch();
        // The key before it is of no use any more, to nobody.
        if let Some(before) = before
            && let Err(error) = self.tee.delete_key(&before.key_blob)
        {
            tracing::warn!(%error, "the former key of the account was not deleted");
        }
        Ok(())
    }

    /// What the owner sees in the list of devices until a better name is given.
    fn name(&self) -> String {
        let serial = self.live().serial.clone().unwrap_or_default();
        let tail: String =
            serial.chars().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect();
        format!("Phone {tail}")
    }
}

fn usable(challenge: &[u8]) -> Result<&[u8], Error> {
    if (1..=MAX_CHALLENGE_BYTES).contains(&challenge.len()) {
        Ok(challenge)
    } else {
        Err(Error::BadRequest("a challenge has 1 to 128 bytes".into()))
    }
}
