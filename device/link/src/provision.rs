//! Remote key provisioning: the cloud certifies keys that attest others, for some weeks.

use crate::session::{Cloud, Error};
use wire::attest::{ProvisionRequest, Provisioned};

/// The most certificates in a chain that is looked at.
const MAX_CERTIFICATES: usize = 8;

/// A chain for each key of `request` (a COSE_Sign1 by the device's key, over a challenge of
/// [`Cloud::challenge`]): DER, the key's own certificate first.
pub async fn certificates(cloud: &Cloud, request: Vec<u8>) -> Result<Vec<Vec<Vec<u8>>>, Error> {
    let body = ProvisionRequest { request: request.into() };
    let post = cloud.client().post("/v1/attestation/provision").json(&body);
    let answer: Provisioned = cloud.ask(post).await?;
    if answer.chains.iter().any(|chain| chain.len() > MAX_CERTIFICATES) {
        return Err(Error::Answer("a chain of certificates has no end"));
    }
    let ders = |chain: Vec<wire::Base64>| chain.into_iter().map(|der| der.0).collect();
    Ok(answer.chains.into_iter().map(ders).collect())
}
