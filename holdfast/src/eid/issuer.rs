//! The issuer, over the network.

use super::args::Issuer;
use crate::exit::Misused;
use anyhow::{Context as _, Result};
use http_link::{Client, Connector, Error};
use wire::eid::{Challenge, Document, Open, Opened, Signed};

/// An issuer's service.
pub(crate) struct Remote(Client);

impl Remote {
    pub(crate) fn at(issuer: &Issuer) -> Result<Self> {
        let ca = std::fs::read(&issuer.ca)
            .map_err(|error| Misused(format!("{}: {error}", issuer.ca.display())))?;
        Ok(Self(Client::new(&issuer.issuer, &ca, Connector::Tcp)?))
    }

    pub(crate) async fn challenge(&self) -> Result<Vec<u8>> {
        let Challenge { challenge } = self.0.post("/v1/eid/challenge").send_json().await?;
        Ok(challenge.0)
    }

    /// Opens an identity: its name.
    pub(crate) async fn open(&self, open: &Open) -> Result<String> {
        let answer = self.0.post("/v1/eid/identities").json(open).send_json().await;
        let Opened { identity } = answer.context("the issuer did not open the identity")?;
        Ok(identity)
    }

    pub(crate) async fn document(&self, identity: &str, signed: &Signed) -> Result<Vec<u8>> {
        let path = format!("/v1/eid/identities/{identity}/document");
        let answer = self.0.post(&path).json(signed).send_json().await;
        let Document { issuer_signed } = answer.context("the issuer gave no document")?;
        Ok(issuer_signed.0)
    }

    /// Tells the issuer. One that has heard it before knows of no such identity, which is as good.
    pub(crate) async fn deregister(&self, identity: &str, signed: &Signed) -> Result<()> {
        let path = format!("/v1/eid/identities/{identity}/deregister");
        match self.0.post(&path).json(signed).send().await {
            Err(Error::Refused(refusal)) if refusal.error == "no_identity" => Ok(()),
            answer => answer.map(drop).context("the issuer did not hear the last word"),
        }
    }
}
