//! Gatekeeper: the screen lock, the keys that it guards, and the locks that outlive a reset.
//!
//! It holds, in secure storage: the screen-lock record (per-user synthetic password sealed under
//! a key from HUK and PIN), failure count, the activation lock, the lost mode, and the digest of
//! the userdata partition. CE and DE keys derive from what only it can unseal, so deleting its
//! record destroys them.

use crate::boot::Trust;
use crate::clock::SecureTime;
use crate::{Protocol, TaId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Bytes of the userdata partition. While no content was ever committed, gatekeeper's
/// [`Command::CheckUserdata`] passes for this many zero bytes and for nothing else.
pub const USERDATA_BYTES: usize = 1 << 20;
/// The fewest and the most digits of a PIN.
pub const PIN_DIGITS: (u8, u8) = (4, 16);
/// The fewest and the most characters of a password.
pub const PASSWORD_CHARS: (u8, u8) = (4, 16);
/// The fewest dots of a pattern.
pub const PATTERN_DOTS: u8 = 4;

/// What opens the screen lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockKind {
    /// [`PIN_DIGITS`].
    #[default]
    Pin,
    /// [`PASSWORD_CHARS`]: letters, digits, symbols.
    Password,
    /// A way over at least [`PATTERN_DOTS`] of the 3×3 dots.
    Pattern,
}

/// Gatekeeper's protocol.
#[derive(Debug)]
pub struct Gatekeeper;

impl Protocol for Gatekeeper {
    const TA: TaId = TaId(*b"holdfast-gatekpr");
    const NAME: &'static str = "ta-gatekeeper";
    type Command = Command;
    type Reply = Reply;
}

/// What gatekeeper is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// → [`Reply::Status`]
    Status,
    /// Sets the screen lock, on the trusted screen: the person chooses what that screen is known
    /// by, then types the PIN, password or pattern twice. Refused while one is set (change it
    /// instead) and while activation is due. → `Done`
    Enrol {
        /// What is to open it.
        kind: LockKind,
    },
    /// Asks for the PIN, password or pattern on the trusted screen; a right one releases the CE key.
    /// → `Unlocked`, `Wrong` or `Throttled`
    Unlock,
    /// Asks for the PIN, password or pattern on the trusted screen, as proof for one operation or
    /// for a while: counted and throttled as [`Self::Unlock`]. → `Authenticated`, `Wrong` or
    /// `Throttled`
    Authenticate {
        /// The operation that it is for, [`crate::keymint::BegunOperation`]; 0 for none.
        challenge: u64,
    },
    /// The key of the device-encrypted area; exists from the first boot after a reset. → `Key`
    DeviceKey,
    /// The userdata partition as it was read: does it match what was last committed?
    /// → `Done`, or refused `Security`
    CheckUserdata {
        /// SHA-256 of the whole partition.
        digest: [u8; 32],
    },
    /// The partition is about to be written; until the commit, either content passes. → `Done`
    BeginUserdata {
        /// SHA-256 of what the whole partition will be.
        digest: [u8; 32],
    },
    /// It was written and is durable. → `Done`
    CommitUserdata,
    /// In the factory only: the cloud's ticket key (P-256, SubjectPublicKeyInfo). → `Done`
    Provision {
        /// The key that signs tickets and time tokens.
        ticket_key: ByteBuf,
    },
    /// Turns the activation lock on: find-device was switched on. → `Done`
    ArmActivation,
    /// A nonce for the next ticket; valid until used or until power-off. → `Nonce`
    TicketNonce,
    /// A ticket of the cloud (compact JWS, ES256; claims in [`TicketClaims`]). → `Done`
    Redeem {
        /// The compact JWS.
        ticket: String,
    },
    /// What the secure clock says. → `Time`
    Time,
    /// A nonce for the next time token; valid until used, for a minute at most. → `Nonce`
    TimeNonce,
    /// A time token of the cloud (compact JWS, ES256; claims in
    /// [`TimeClaims`](crate::clock::TimeClaims)) sets the secure clock. → `Time`
    SetTime {
        /// The compact JWS.
        token: String,
    },
    /// Lost mode: CE stays closed, whatever is typed, until a ticket ends it. → `Done`
    EnterLostMode {
        /// Shown on the lock screen.
        message: String,
    },
    /// The system is up: the stored rollback indexes rise to those of what was booted, and
    /// nothing older boots any more. → `Done`
    BootSuccessful,
    /// How the bootloader is locked and whose signature counts, at the next power-on. → `Trust`
    Trust,
    /// Locks the bootloader, or unlocks it, from the next power-on: asks on the trusted screen,
    /// then erases as [`Self::Erase`] does. Unlocking is refused while the activation lock or
    /// lost mode holds. → `Erased`
    SetBootLock {
        /// Only what is signed boots.
        locked: bool,
    },
    /// Trusts the user's own key beside the maker's, or no key; refused while the bootloader is
    /// locked. → `Done`
    SetCustomKey {
        /// SHA-256 of the AVB public-key blob.
        key: Option<[u8; 32]>,
    },
    /// Destroys the screen-lock record and with it every CE and DE key; where the activation
    /// lock is armed, the device now demands activation. → `Erased`
    Erase,
}

/// What gatekeeper answers.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The state of the locks.
    Status(Status),
    /// Whose signature counts.
    Trust(Trust),
    /// A right PIN: the CE key of the user.
    Unlocked {
        /// 32 bytes.
        ce_key: ByteBuf,
        /// Android's hardware auth token, 69 bytes.
        auth_token: ByteBuf,
    },
    /// A right PIN.
    Authenticated {
        /// Android's hardware auth token, 69 bytes.
        auth_token: ByteBuf,
    },
    /// A wrong PIN.
    Wrong {
        /// Wrong ones so far.
        failures: u32,
        /// Milliseconds until the next try counts.
        retry_after_ms: u64,
    },
    /// Too early; nothing was counted.
    Throttled {
        /// Milliseconds until the next try counts.
        retry_after_ms: u64,
    },
    /// A key of 32 bytes.
    Key(ByteBuf),
    /// A nonce.
    Nonce([u8; 32]),
    /// What the secure clock says.
    Time(SecureTime),
    /// The keys are gone.
    Erased {
        /// How often this device was erased.
        erasures: u64,
    },
    /// Done.
    Done,
}

/// The state of the locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// A screen lock is set.
    pub enrolled: bool,
    /// The secure id of who set it: what keys are bound to. Another one after each enrolment.
    pub secure_user_id: Option<u64>,
    /// The right PIN was given since power-on.
    pub unlocked_once: bool,
    /// Wrong PINs in a row.
    pub failures: u32,
    /// Milliseconds until the next try counts.
    pub retry_after_ms: u64,
    /// The activation lock is armed.
    pub activation_armed: bool,
    /// The device was reset under an armed lock and waits for its owner's account.
    pub activation_due: bool,
    /// The message of lost mode, while it holds.
    pub lost: Option<String>,
    /// How often this device was erased.
    pub erasures: u64,
}

/// The claims of a ticket. The cloud signs one after it checked the owner's password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketClaims {
    /// Whose device: its serial number.
    pub serial: String,
    /// What it is good for.
    pub purpose: TicketPurpose,
    /// [`Reply::Nonce`], base64url without padding.
    pub nonce: String,
}

/// What a ticket is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketPurpose {
    /// Ends `activation_due`.
    Activate,
    /// Ends lost mode.
    EndLostMode,
    /// Disarms the activation lock (find-device switched off by its owner).
    Disarm,
}
