//! Trusted application: the screen lock, the keys that it guards, and the locks that outlive a
//! reset (SPEC S3.3.3, S2.5.2).
//!
//! | object | content |
//! |---|---|
//! | `screen-lock`, `screen-lock-second` | each space's synthetic password, sealed under HUK and PIN ([`record`]) |
//! | `lock-salt` | what PINs are hardened with ([`sealing`]) |
//! | `lock-settings` | what the owner chose ([`settings`]) |
//! | `duress` | the PIN that destroys everything ([`duress`]) |
//! | `failures` | wrong PINs in a row ([`throttle`]) |
//! | `device-seed` | what the DE key derives from |
//! | `policy` | activation lock, lost mode, ticket key, erasures ([`policy`]) |
//! | `userdata` | digests of the userdata partition ([`userdata`]) |

mod bootloader;
mod clock;
mod duress;
mod escrow;
mod lock;
mod other_ways;
mod policy;
mod prompt;
mod record;
mod sealing;
mod settings;
mod subkey;
mod throttle;
mod token;
mod userdata;

use std::collections::BTreeSet;
use std::process::ExitCode;
use tee_api::gatekeeper::{Command, Gatekeeper, LockStatus, Reply, Space, Status};
use tee_api::keymint::{self, KeyMint};
use tee_sdk::engine::{Attributes, Hash, KeyType, Usage};
use tee_sdk::{Batch, Context, Login, Step, TeeError, TrustedApplication};

const MAC_KEY: Attributes =
    Attributes::new(KeyType::Hmac { hash: Hash::Sha256, bytes: 32 }, Usage::MAC);
/// The seed of the DE key.
const DEVICE_SEED: &str = "device-seed";
/// What an erasure destroys.
const OBJECTS_OF_THE_OWNER: [&str; 7] = [
    record::object(Space::MAIN),
    record::object(Space::SECOND),
    sealing::SALT,
    settings::OBJECT,
    duress::OBJECT,
    throttle::OBJECT,
    DEVICE_SEED,
];

fn main() -> ExitCode {
    tee_sdk::run::<App>()
}

/// What gatekeeper remembers until power-off; everything else is in secure storage.
#[derive(Default)]
struct App {
    /// The spaces whose right PIN was given since power-on, or since this process started anew.
    unlocked: BTreeSet<Space>,
    /// The nonce that the next ticket must carry.
    nonce: Option<[u8; 32]>,
}

impl TrustedApplication for App {
    type Protocol = Gatekeeper;

    /// The locks are the system's: its user's alone, not every program's.
    fn open(&mut self, _: &mut Context<'_>, _: u32, login: Login) -> Result<(), TeeError> {
        match login {
            Login::User { uid } | Login::Application { uid, .. }
                if uid != 0 && uid != tee_sdk::own_user() =>
            {
                Err(TeeError::Denied("only the system asks gatekeeper".into()))
            }
            Login::Public => Err(TeeError::Denied("gatekeeper serves nobody unnamed".into())),
            _ => Ok(()),
        }
    }

    fn begin(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: Command,
    ) -> Result<Step<Self>, TeeError> {
        match command {
            Command::Enrol { space, kind } => lock::enrol(self, context, space, kind),
            Command::Change { space, kind } => lock::change(context, space, kind),
            Command::Replace { space, kind } => lock::replace(context, space, kind),
            Command::Delete { space } => lock::delete(context, space),
            Command::Unlock => lock::unlock(context),
            Command::Authenticate { space, challenge } => {
                lock::authenticate(context, space, challenge)
            }
            Command::SetLockSettings(chosen) => settings::set(context, chosen),
            Command::SetDuress { kind } => settings::set_duress(context, kind),
            Command::MakeRecoveryKey { space } => other_ways::make_recovery_key(context, space),
            Command::Recover { space, kind } => other_ways::recover(context, space, kind),
            Command::MakeEscrow { space, organisation, public_key } => {
                other_ways::make_escrow(context, space, organisation, &public_key)
            }
            Command::EndEscrow { space } => other_ways::end_escrow(context, space),
            Command::RedeemEscrow { space, secret, kind } => {
                other_ways::redeem_escrow(context, space, &secret, kind)
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
            _ => Err(TeeError::BadState("this command asks the person".into())),
        }
    }
}

impl App {
    fn status(&self, context: &mut Context<'_>) -> Result<Reply, TeeError> {
        let policy = policy::load(context)?;
        let failures = throttle::load(context)?;
        let locks: Vec<_> = record::load_all(context)?
            .into_iter()
            .map(|(space, record)| LockStatus {
                space,
                kind: record.kind,
                secure_user_id: record.sid,
                unlocked_once: self.unlocked.contains(&space),
                recoverable: record.has(record::Way::Recovery),
                escrow: record.organisation().map(str::to_owned),
            })
            .collect();
        let main = locks.iter().find(|lock| lock.space == Space::MAIN);
        Ok(Reply::Status(Status {
            enrolled: main.is_some(),
            secure_user_id: main.map(|main| main.secure_user_id),
            unlocked_once: self.unlocked.contains(&Space::MAIN),
            settings: settings::load(context)?,
            locks,
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
        self.unlocked.clear();
        Ok(Reply::Done)
    }

    /// The keys of programs go first, with the secret that all of KeyMint's hang on; then what TAs
    /// keep in the system's files, whatever became of those; then all secrets go in one change,
    /// which also says that the device is erased. A device whose activation lock is armed then
    /// waits for its owner's account; lost mode stays until a ticket ends it.
    pub(crate) fn erase(&mut self, context: &mut Context<'_>) -> Result<Reply, TeeError> {
        delete_all_keys(context)?;
        context.erase_all_storage()?;
        let mut policy = policy::load(context)?;
        policy.due = policy.armed;
        policy.erasures += 1;
        let batch = OBJECTS_OF_THE_OWNER.into_iter().fold(Batch::default(), Batch::delete);
        let batch = policy::store(batch, &policy)?;
        let batch = userdata::forget(context, batch)?;
        context.storage_commit(batch)?;
        self.unlocked.clear();
        Ok(Reply::Erased { erasures: policy.erasures })
    }
}

/// No key of KeyMint works any more, whatever copy of its blob there is. A TEE without KeyMint has
/// none.
pub(crate) fn delete_all_keys(context: &mut Context<'_>) -> Result<(), TeeError> {
    match context.call_once::<KeyMint>(keymint::Command::DeleteAllKeys) {
        Ok(keymint::Reply::Done) | Err(TeeError::NotFound(_)) => Ok(()),
        Ok(_) => Err(TeeError::Communication("KeyMint gave an answer that is not due".into())),
        Err(error) => Err(error),
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
