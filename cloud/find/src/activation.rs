//! Activation after a reset, and the end of lost mode. Server time decides (S2.5.2).

use crate::tickets::Purpose;
use crate::{Answer, Error, Find};
use effects::UnixMillis;
use std::net::IpAddr;
use wire::find::{ActivationState, EndLost, Ticket};

/// A device and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The device.
    pub device_id: String,
    /// Its owner's account, inside the cloud.
    pub owner: String,
    /// The owner's masked e-mail.
    pub hint: String,
}

/// The account service, as find-device needs it.
pub trait Owners: Send + Sync {
    /// Who holds the device with this serial number.
    fn bound<'a>(&'a self, serial: &'a str) -> Answer<'a, Option<Bound>>;
    /// Whether this login names this account. It says nothing to anyone outside.
    fn names<'a>(&'a self, login: &'a str, owner: &'a str) -> Answer<'a, bool>;
    /// Whether this is the account's password; for a device lost since `lost_at`, by the rule of
    /// S2.5.2.
    fn verify<'a>(
        &'a self,
        owner: &'a str,
        password: &'a str,
        lost_at: Option<UnixMillis>,
        source: IpAddr,
    ) -> Answer<'a, ()>;
    /// Whether login and password are those of any account.
    fn verify_login<'a>(
        &'a self,
        login: &'a str,
        password: &'a str,
        source: IpAddr,
    ) -> Answer<'a, ()>;
    /// Writes to the audit log.
    fn record<'a>(
        &'a self,
        owner: &'a str,
        actor: &'a str,
        action: &'a str,
        detail: &'a str,
    ) -> Answer<'a, ()>;
}

impl Find {
    /// Whose is the device with this serial number, which was reset? The caller has verified that
    /// it is that device that asks.
    pub async fn activation_state(&self, serial: &str) -> Result<ActivationState, Error> {
        let free = ActivationState { locked: false, owner_hint: None };
        let Some(bound) = self.owners.bound(serial).await? else { return Ok(free) };
        self.settle_erasures(&bound.device_id).await?;
        self.set_erased(&bound.device_id).await?;
        if !self.state(&bound.device_id).await?.enabled {
            return Ok(free);
        }
        Ok(ActivationState { locked: true, owner_hint: Some(bound.hint) })
    }

    /// A ticket that ends the activation lock, for the account that holds the device and for no
    /// other. A device that none holds takes any account.
    pub async fn activate(
        &self,
        serial: &str,
        nonce: &[u8],
        login: &str,
        password: &str,
        source: IpAddr,
    ) -> Result<Ticket, Error> {
        let ticket = self.ticket(serial, Purpose::Activate, nonce)?;
        let Some(bound) = self.owners.bound(serial).await? else {
            self.owners.verify_login(login, password, source).await?;
            return Ok(ticket);
        };
        let state = self.state(&bound.device_id).await?;
        if !self.owners.names(login, &bound.owner).await? {
            // A stranger learns that the device is another's only with a right password.
            self.owners.verify_login(login, password, source).await?;
            if state.enabled {
                self.owners
                    .record(&bound.owner, "stranger", "activation_refused", &bound.device_id)
                    .await?;
                return Err(Error::ActivationLocked);
            }
            return Ok(ticket);
        }
        self.owners.verify(&bound.owner, password, state.lost_at, source).await?;
        self.owners.record(&bound.owner, "owner", "device_activated", &bound.device_id).await?;
        self.set_recovered(&bound.device_id).await?;
        Ok(ticket)
    }

    /// A ticket that ends lost mode, for the account's password.
    pub async fn end_lost(
        &self,
        device_id: &str,
        owner: &str,
        serial: &str,
        request: &EndLost,
        source: IpAddr,
    ) -> Result<Ticket, Error> {
        let ticket = self.ticket(serial, Purpose::EndLostMode, &request.nonce.0)?;
        let lost_at = self.state(device_id).await?.lost_at;
        self.owners.verify(owner, &request.password, lost_at, source).await?;
        self.owners.record(owner, "owner", "lost_mode_ended", device_id).await?;
        self.set_recovered(device_id).await?;
        Ok(ticket)
    }
}
