//! The locks that outlive a reset: activation lock and lost mode, and the tickets that end them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::sign::{Curve, Hash};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tee_api::gatekeeper::{TicketClaims, TicketPurpose};
use tee_sdk::{Batch, Context, TeeError};

const OBJECT: &str = "policy";
/// The longest message of lost mode, in bytes.
const MAX_MESSAGE_BYTES: usize = 1024;

/// The state of these locks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// The activation lock is armed.
    pub(crate) armed: bool,
    /// The device was reset under an armed lock and waits for its owner's account.
    pub(crate) due: bool,
    /// The message of lost mode, while it holds.
    pub(crate) lost: Option<String>,
    /// How often this device was erased.
    pub(crate) erasures: u64,
    /// The cloud's key for tickets and time tokens: SubjectPublicKeyInfo; empty before the factory put it in.
    ticket_key: ByteBuf,
}

/// The state as it is stored.
pub(crate) fn load(context: &mut Context<'_>) -> Result<Policy, TeeError> {
    Ok(context.record_get(OBJECT)?.unwrap_or_default())
}

/// Puts `policy` into a change.
pub(crate) fn store(batch: Batch, policy: &Policy) -> Result<Batch, TeeError> {
    batch.put_record(OBJECT, policy)
}

impl Policy {
    /// Refuses while the device waits for its owner's account.
    pub(crate) fn refuse_while_due(&self) -> Result<(), TeeError> {
        if self.due {
            let reason = "this device was reset while locked to an account: sign in to it first";
            return Err(TeeError::Denied(reason.into()));
        }
        Ok(())
    }

    /// Refuses while activation is due, and in lost mode.
    pub(crate) fn allow_unlock(&self) -> Result<(), TeeError> {
        self.refuse_while_due()?;
        if self.lost.is_some() {
            return Err(TeeError::Denied("the device is in lost mode".into()));
        }
        Ok(())
    }

    /// The claims of a token that the cloud signed.
    pub(crate) fn verify<C: DeserializeOwned>(&self, token: &str) -> Result<C, jws::Error> {
        jws::verify(token, &self.ticket_key)
    }

    fn save(&self, context: &mut Context<'_>) -> Result<(), TeeError> {
        context.record_put(OBJECT, self)
    }
}

/// Takes the ticket key, in the factory.
pub(crate) fn provision(context: &mut Context<'_>, ticket_key: Vec<u8>) -> Result<(), TeeError> {
    if !context.in_factory()? {
        return Err(TeeError::Denied("the ticket key is put in at the factory only".into()));
    }
    // An empty signature never verifies; what matters is whether the key is one.
    let tried = crypto::sign::ecdsa_verify(Curve::P256, Hash::Sha256, &ticket_key, &[], &[]);
    if tried == Err(crypto::Error::MalformedKey) {
        return Err(TeeError::BadParameters("the ticket key is no P-256 public key".into()));
    }
    let policy = Policy { ticket_key: ByteBuf::from(ticket_key), ..load(context)? };
    policy.save(context)
}

/// Arms the activation lock.
pub(crate) fn arm(context: &mut Context<'_>) -> Result<(), TeeError> {
    let policy = load(context)?;
    policy.refuse_while_due()?;
    if policy.ticket_key.is_empty() {
        let reason = "no ticket key was put in at the factory: nothing could ever disarm the lock";
        return Err(TeeError::BadState(reason.into()));
    }
    Policy { armed: true, ..policy }.save(context)
}

/// Enters lost mode, or changes its message.
pub(crate) fn enter_lost_mode(context: &mut Context<'_>, message: String) -> Result<(), TeeError> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(TeeError::BadParameters("the message is over 1024 bytes".into()));
    }
    Policy { lost: Some(message), ..load(context)? }.save(context)
}

/// Redeems a ticket: signed by the cloud, for this device, with the nonce that is outstanding.
pub(crate) fn redeem(
    context: &mut Context<'_>,
    outstanding: &mut Option<[u8; 32]>,
    ticket: &str,
) -> Result<(), TeeError> {
    let refused = |reason: &str| TeeError::Security(format!("the ticket was refused: {reason}"));
    let policy = load(context)?;
    let claims: TicketClaims =
        policy.verify(ticket).map_err(|error| refused(&error.to_string()))?;
    if claims.serial != context.serial()? {
        return Err(refused("it is for another device"));
    }
    let nonce = URL_SAFE_NO_PAD.decode(&claims.nonce).map_err(|_| refused("malformed nonce"))?;
    let fresh = outstanding.is_some_and(|due| crypto::constant_time_eq(&due, &nonce));
    if !fresh {
        return Err(refused("its nonce is not the one that was given out last"));
    }
    *outstanding = None;
    apply(policy, claims.purpose)?.save(context)
}

/// The owner's account was checked, so activation ends lost mode too. The lock stays armed
/// until its owner switches find-device off.
fn apply(policy: Policy, purpose: TicketPurpose) -> Result<Policy, TeeError> {
    Ok(match purpose {
        TicketPurpose::Activate if policy.due => Policy { due: false, lost: None, ..policy },
        TicketPurpose::Activate => {
            return Err(TeeError::BadState("this device does not wait for activation".into()));
        }
        TicketPurpose::EndLostMode => Policy { lost: None, ..policy },
        TicketPurpose::Disarm => {
            policy.refuse_while_due()?;
            Policy { armed: false, ..policy }
        }
    })
}
