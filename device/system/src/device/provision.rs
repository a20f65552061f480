//! Keys that attest others, with certificates of the cloud: fetched when somebody first wants one,
//! then kept fresh.

use super::{Device, blocking};
use crate::error::Error;
use device_link::provision;
use keystore_client::api::{AttestationSource, Provisioned};
use std::sync::Arc;

impl Device {
    /// Has the cloud certify new keys.
    pub async fn provision(self: &Arc<Self>) -> Result<Provisioned, Error> {
        let _one_at_a_time = self.provisioning.lock().await;
        self.fetch_certificates().await
    }

    /// Has the cloud certify new keys, where those that there are lapse soon; with `wanted` also
    /// where there are none. Whether it asked.
    pub async fn provision_if_due(self: &Arc<Self>, wanted: bool) -> Result<bool, Error> {
        let _one_at_a_time = self.provisioning.lock().await;
        let is_due = move |device: &Self| Ok(device.keystore()?.provisioning_is_due(wanted)?);
        let due = blocking(self, is_due).await?;
        if due {
            self.fetch_certificates().await?;
        }
        Ok(due)
    }

    /// Before a key is made that such a key is to attest. Where the cloud is out of reach, what
    /// is there may do; the keystore says so where it does not.
    pub async fn provision_for(self: &Arc<Self>, source: AttestationSource) {
        if source == AttestationSource::Remote
            && let Err(error) = self.provision_if_due(true).await
        {
            tracing::warn!(%error, "no fresh certificates for keys that attest");
        }
    }

    async fn fetch_certificates(self: &Arc<Self>) -> Result<Provisioned, Error> {
        let cloud = self.cloud()?.clone();
        let challenge = cloud.challenge().await?;
        let request =
            move |device: &Self| Ok(device.keystore()?.certificate_request(&challenge)?);
        let mut asked = blocking(self, request).await?;
        let chains = provision::certificates(&cloud, std::mem::take(&mut asked.request)).await?;
        let install =
            move |device: &Self| Ok(device.keystore()?.install_certificates(asked, chains)?);
        blocking(self, install).await
    }
}
