//! Trusted application: the screen lock, the keys that it guards, and the locks that outlive a
//! reset (SPEC S3.3.3, S2.5.2).
//!
//! | object | content |
//! |---|---|
//! | `screen-lock` | the synthetic password, sealed under HUK and PIN ([`lock`]) |
//! | `failures` | wrong PINs in a row ([`throttle`]) |
//! | `device-seed` | what the DE key derives from |
//! | `policy` | activation lock, lost mode, ticket key, erasures ([`policy`]) |
//! | `userdata` | digests of the userdata partition ([`userdata`]) |

mod bootloader;
mod clock;
mod lock;
mod policy;
mod subkey;
mod throttle;
mod token;
mod userdata;

use std::process::ExitCode;
use tee_api::gatekeeper::{Command, Gatekeeper, Reply, Status};
use tee_sdk::engine::{Attributes, Hash, KeyType, Usage};
use tee_sdk::{Batch, Context, Step, TeeError, TrustedApplication};

const MAC_KEY: Attributes =
    Attributes::new(KeyType::Hmac { hash: Hash::Sha256, bytes: 32 }, Usage::MAC);
/// The seed of the DE key.
const DEVICE_SEED: &str = "device-seed";

fn main() -> ExitCode {
    tee_sdk::run::<App>()
}

/// What gatekeeper remembers until power-off; everything else is in secure storage.
#[derive(Default)]
struct App {
    /// The right PIN was given since power-on, or since this process started anew.
    unlocked_once: bool,
    /// The nonce that the next ticket must carry.
    nonce: Option<[u8; 32]>,
}

impl TrustedApplication for App {
    type Protocol = Gatekeeper;

    fn begin(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: Command,
    ) -> Result<Step<Self>, TeeError> {
        match command {
            Command::Enrol { kind } => lock::enrol(context, kind),
            Command::Unlock => lock::unlock(context, lock::Proof::Unlock),
            Command::Authenticate { challenge } => {
                lock::unlock(context, lock::Proof::Operation(challenge))
            }
            Command::SetBootLock { locked } => bootloader::set_lock(context, locked),
            command => self.invoke(context, session, command).map(Step::Done),
        }
    }

    fn invoke(
        &mut self,
        context: &mut Context<'_>,
        _session: u32,
        command: Command,
    ) -> Result<Reply, TeeError> {
        let done = |()| Reply::Done;
        match command {
            Command::Status => self.status(context),
            Command::Enrol { .. }
            | Command::Unlock
            | Command::Authenticate { .. }
            | Command::SetBootLock { .. } => {
                Err(TeeError::BadState("this command asks the person".into()))
            }
            Command::DeviceKey => device_key(context),
            Command::CheckUserdata { digest } => userdata::check(context, &digest).map(done),
            Command::BeginUserdata { digest } => userdata::begin(context, digest).map(done),
            Command::CommitUserdata => userdata::commit(context).map(done),
            Command::Provision { ticket_key } => {
                policy::provision(context, ticket_key.into_vec()).map(done)
            }
            Command::ArmActivation => policy::arm(context).map(done),
            Command::TicketNonce => self.ticket_nonce(context),
            Command::Redeem { ticket } => {
                policy::redeem(context, &mut self.nonce, &ticket).map(done)
            }
            Command::Time => context.secure_time().map(Reply::Time),
            Command::TimeNonce => context.time_nonce().map(Reply::Nonce),
            Command::SetTime { token } => clock::set(context, &token).map(Reply::Time),
            Command::EnterLostMode { message } => self.enter_lost_mode(context, message),
            Command::BootSuccessful => context.boot_successful().map(done),
            Command::Trust => context.trust().map(Reply::Trust),
            Command::SetCustomKey { key } => context.set_custom_key(key).map(done),
            Command::Erase => self.erase(context),
        }
    }
}

impl App {
    fn status(&self, context: &mut Context<'_>) -> Result<Reply, TeeError> {
        let policy = policy::load(context)?;
        let failures = throttle::load(context)?;
        let secure_user_id = lock::secure_user_id(context)?;
        Ok(Reply::Status(Status {
            enrolled: secure_user_id.is_some(),
            secure_user_id,
            unlocked_once: self.unlocked_once,
            failures: failures.count(),
            retry_after_ms: failures.retry_after_ms(context)?,
            activation_armed: policy.armed,
            activation_due: policy.due,
            lost: policy.lost,
            erasures: policy.erasures,
        }))
    }

    fn ticket_nonce(&mut self, context: &mut Context<'_>) -> Result<Reply, TeeError> {
        let nonce = context.random()?;
        self.nonce = Some(nonce);
        Ok(Reply::Nonce(nonce))
    }

    fn enter_lost_mode(
        &mut self,
        context: &mut Context<'_>,
        message: String,
    ) -> Result<Reply, TeeError> {
        policy::enter_lost_mode(context, message)?;
        self.unlocked_once = false;
        Ok(Reply::Done)
    }

    /// What TAs keep in the system's files goes first, whatever became of those; then all secrets
    /// go in one change, which also says that the device is erased. A device whose activation lock is armed then waits for its
    /// owner's account; lost mode stays until a ticket ends it.
    pub(crate) fn erase(&mut self, context: &mut Context<'_>) -> Result<Reply, TeeError> {
        context.erase_all_storage()?;
        let mut policy = policy::load(context)?;
        policy.due = policy.armed;
        policy.erasures += 1;
        let batch = Batch::default().delete(lock::OBJECT).delete(throttle::OBJECT);
        let batch = policy::store(batch.delete(DEVICE_SEED), &policy)?;
        let batch = userdata::forget(context, batch)?;
        context.storage_commit(batch)?;
        self.unlocked_once = false;
        Ok(Reply::Erased { erasures: policy.erasures })
    }
}

/// The key of the device-encrypted area: a MAC, under a key from the HUK, of a seed that an erasure
/// destroys. The key from the HUK itself never leaves the engine.
fn device_key(context: &mut Context<'_>) -> Result<Reply, TeeError> {
    policy::load(context)?.refuse_while_due()?;
    let seed = match context.storage_get(DEVICE_SEED)? {
        Some(seed) => seed,
        None => {
            let seed: [u8; 32] = context.random()?;
            context.storage_put(DEVICE_SEED, &seed)?;
            tee_sdk::Zeroizing::new(seed.to_vec())
        }
    };
    let key = context.derive_from_huk("device-key", &[], MAC_KEY)?;
    Ok(Reply::Key(serde_bytes::ByteBuf::from(key.mac(context, &seed)?)))
}

#[cfg(test)]
mod tests;
