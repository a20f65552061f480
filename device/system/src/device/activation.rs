//! Activation lock and the end of lost mode: the cloud decides, the TEE obeys its ticket only.

use super::{Device, blocking};
use crate::error::Error;
use device_link::activation;
use std::sync::Arc;
use tee_api::gatekeeper::Command;

impl Device {
    /// Asks the cloud whose device this is, for the hint on the activation screen.
    pub async fn ask_whose(self: &Arc<Self>) -> Result<(), Error> {
        let cloud = self.cloud()?.clone();
        let chain = self.fresh_chain().await?;
        let state = activation::state(&cloud, chain).await?;
        self.live().owner_hint = state.owner_hint;
        self.touch();
        Ok(())
    }

    /// Ends the wait for the owner's account. The cloud refuses a stranger's with its reason.
    pub async fn activate(self: &Arc<Self>, login: &str, password: &str) -> Result<(), Error> {
        let cloud = self.cloud()?.clone();
        if !blocking(self, Self::refreshed).await?.activation_due {
            return Err(Error::ActivationNotDue);
        }
        let chain = self.fresh_chain().await?;
        let nonce = self.ticket_nonce().await?;
        let ticket = activation::activate(&cloud, chain, nonce, login, password).await?;
        self.redeem(ticket.ticket).await
    }

    /// Ends lost mode with the password of the device's account.
    pub async fn end_lost_mode(self: &Arc<Self>, password: &str) -> Result<(), Error> {
        if blocking(self, Self::refreshed).await?.lost.is_none() {
            return Err(Error::NotLost);
        }
        let session = self.bound_session()?;
        let nonce = self.ticket_nonce().await?;
        let ticket = activation::end_lost_mode(&session, nonce, password).await?;
        self.redeem(ticket.ticket).await?;
        self.live().reports.stop();
        Ok(())
    }

    /// An attestation over a fresh challenge of the cloud.
    pub(super) async fn fresh_chain(self: &Arc<Self>) -> Result<activation::Chain, Error> {
        let challenge = self.cloud()?.challenge().await?;
        blocking(self, move |device| device.attest(&challenge)).await
    }

    async fn ticket_nonce(self: &Arc<Self>) -> Result<[u8; 32], Error> {
        blocking(self, |device| Ok(device.tee.ticket_nonce()?)).await
    }

    async fn redeem(self: &Arc<Self>, ticket: String) -> Result<(), Error> {
        blocking(self, move |device| {
            device.tee.do_gatekeeper(Command::Redeem { ticket })?;
            device.open_stores()?;
            device.refresh().map(drop)
        })
        .await
    }
}
