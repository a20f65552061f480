//! The factory: the device certificate comes in. KeyMint refuses all of this once the
//! life-cycle fuse is blown.

use super::Device;
use crate::error::Error;
use keyattest::x509::Certificate;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use tee_api::TeeError;
use tee_api::gatekeeper;
use tee_api::keymint::{Command, DeviceIds, Reply};

/// What a device is, as its maker says: the identifiers that it may attest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identifiers {
    brand: Option<String>,
    device: Option<String>,
    product: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    imei: Option<String>,
    second_imei: Option<String>,
    meid: Option<String>,
}

impl From<Identifiers> for DeviceIds {
    fn from(ids: Identifiers) -> Self {
        let bytes = |id: Option<String>| id.map(|id| ByteBuf::from(id.into_bytes()));
        Self {
            brand: bytes(ids.brand),
            device: bytes(ids.device),
            product: bytes(ids.product),
            // The board's own; KeyMint asks it.
            serial: None,
            imei: bytes(ids.imei),
            meid: bytes(ids.meid),
            manufacturer: bytes(ids.manufacturer),
            model: bytes(ids.model),
            second_imei: bytes(ids.second_imei),
        }
    }
}

impl Device {
    /// Makes the device's attestation key; again gives the same public key
    /// (SubjectPublicKeyInfo DER).
    pub fn factory_key(&self) -> Result<Vec<u8>, Error> {
        match self.tee.keymint(Command::FactoryGenerate)? {
            Reply::PublicKey(key) => Ok(key.into_vec()),
            _ => Err(TeeError::Communication("KeyMint gave no public key".into()).into()),
        }
    }

    /// Installs the chain of the device key (DER, device first), the cloud's ticket key
    /// (SubjectPublicKeyInfo DER) and the identifiers that the device may attest, and leaves the
    /// factory for good. A device without a ticket key can never have an activation lock; one
    /// without identifiers attests its serial number alone.
    pub fn factory_install(
        &self,
        chain: Vec<Vec<u8>>,
        ticket_key: Option<Vec<u8>>,
        ids: Option<Identifiers>,
    ) -> Result<(), Error> {
        if let Some(ids) = ids {
            match self.tee.keymint(Command::FactoryIds(ids.into()))? {
                Reply::Done => {}
                _ => {
                    return Err(TeeError::Communication("KeyMint gave an odd answer".into()).into());
                }
            }
        }
        // The ticket key first: installing the chain blows the fuse, after which it is too late.
        if let Some(ticket_key) = ticket_key {
            let provision = gatekeeper::Command::Provision { ticket_key: ticket_key.into() };
            self.tee.do_gatekeeper(provision)?;
        }
        let chain = chain.into_iter().map(Into::into).collect();
        match self.tee.keymint(Command::FactoryInstall { chain })? {
            Reply::Done => {}
            _ => return Err(TeeError::Communication("KeyMint gave an odd answer".into()).into()),
        }
        let serial = serial_number(&self.tee.device_chain()?);
        self.live().serial = serial;
        self.touch();
        Ok(())
    }
}

/// The serial number in the subject of the device certificate.
pub(super) fn serial_number(chain: &[Vec<u8>]) -> Option<String> {
    Certificate::parse(chain.first()?).ok()?.subject().serial_number()
}
