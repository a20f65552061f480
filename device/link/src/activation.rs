//! Activation lock and the end of lost mode (SPEC S2.5.2): questions to the cloud, whose
//! tickets gatekeeper redeems. The cloud decides; what it refuses, nothing here grants.

use crate::session::{Cloud, DeviceSession, Error};
use wire::Base64;
use wire::find::{Activate, ActivationQuery, ActivationState, EndLost, Ticket};

/// An attestation certificate chain (DER, leaf first) over a fresh challenge of the cloud.
pub type Chain = Vec<Base64>;

/// Whose is this device? Answered from the cloud's own records.
pub async fn state(cloud: &Cloud, chain: Chain) -> Result<ActivationState, Error> {
    let body = ActivationQuery { chain };
    cloud.ask(cloud.client().post("/v1/activation/state").json(&body)).await
}

/// A ticket that ends activation, for the account of the owner. Refused with
/// `activation_locked` for another account, `wrong_password`, or `password_reset_after_loss`.
pub async fn activate(
    cloud: &Cloud,
    chain: Chain,
    nonce: [u8; 32],
    login: &str,
    password: &str,
) -> Result<Ticket, Error> {
    let body = Activate {
        chain,
        nonce: Base64(nonce.to_vec()),
        login: login.to_owned(),
        password: password.to_owned(),
    };
    cloud.ask(cloud.client().post("/v1/activation").json(&body)).await
}

/// A ticket that ends lost mode, for the password of the device's account.
pub async fn end_lost_mode(
    session: &DeviceSession,
    nonce: [u8; 32],
    password: &str,
) -> Result<Ticket, Error> {
    let body = EndLost { nonce: Base64(nonce.to_vec()), password: password.to_owned() };
    session.ask(|client| client.post("/v1/devices/self/lost-mode/end").json(&body)).await
}
