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

/// A space of the device: a user of its own, with its own keys, applications and lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space(pub u8);

impl Space {
    /// The first one. Every device has it.
    pub const MAIN: Self = Self(0);
    /// The second one, whose owner need not be the first one's.
    pub const SECOND: Self = Self(1);
    /// All that there may be.
    pub const ALL: [Self; 2] = [Self::MAIN, Self::SECOND];
}

/// Digits of a recovery key: 8 groups of 5.
pub const RECOVERY_DIGITS: u8 = 40;

/// What the owner chose; all of it is off at first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockSettings {
    /// After the last guess that counts the device erases itself.
    pub erase_after_last_guess: bool,
    /// Minutes without an unlock after which the system is to restart, so that all areas that need
    /// the password are closed.
    pub restart_when_idle_min: Option<u16>,
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
    /// Sets a space's lock, on the trusted screen: the person chooses what that screen is known by,
    /// where nobody did yet, then types the PIN, password or pattern twice. Refused while one is
    /// set, while activation is due, and for the second space while the first is closed.
    /// → `Done`
    Enrol {
        /// Whose lock.
        space: Space,
        /// What is to open it.
        kind: LockKind,
    },
    /// Sets another PIN, password or pattern, after the one that is set was typed: counted and
    /// throttled as [`Self::Unlock`]. The secure id and all keys stay. → `Done`, `Wrong` or
    /// `Throttled`
    Change {
        /// Whose lock.
        space: Space,
        /// What is to open it.
        kind: LockKind,
    },
    /// Sets a lock in place of one that nobody can open any more (untrusted re-enrolment): another
    /// secure id, other keys; what the old ones opened is lost. Asks on the trusted screen first.
    /// → `Done`
    Replace {
        /// Whose lock.
        space: Space,
        /// What is to open it.
        kind: LockKind,
    },
    /// Deletes a space's lock and with it the keys that hang on it, after its PIN was typed.
    /// Refused for the main space while there is a second one. → `Done`, `Wrong` or `Throttled`
    Delete {
        /// Whose lock.
        space: Space,
    },
    /// Asks for the PIN, password or pattern on the trusted screen; what is typed decides which
    /// space opens. → `Unlocked`, `Wrong`, `Throttled` or, after the last guess, `Erased`
    Unlock,
    /// Asks for the PIN, password or pattern of one space on the trusted screen, as proof for one
    /// operation or for a while: counted and throttled as [`Self::Unlock`]. → `Authenticated`,
    /// `Wrong`, `Throttled` or `Erased`
    Authenticate {
        /// Whose lock.
        space: Space,
        /// The operation that it is for, [`crate::keymint::BegunOperation`]; 0 for none.
        challenge: u64,
    },
    /// Changes the settings, after the main space's PIN was typed. → `Done`, `Wrong` or `Throttled`
    SetLockSettings(LockSettings),
    /// Sets a PIN that destroys the keys of all spaces in silence and opens an empty first one, or
    /// takes it back; after the main space's PIN was typed. → `Done`, `Wrong` or `Throttled`
    SetDuress {
        /// What is to be typed then; `None` takes it back.
        kind: Option<LockKind>,
    },
    /// Makes a key of [`RECOVERY_DIGITS`] that opens the space when its PIN is forgotten, and shows
    /// it once, on the trusted screen; after its PIN was typed. An earlier one ends. → `Done`,
    /// `Wrong` or `Throttled`
    MakeRecoveryKey {
        /// Whose lock.
        space: Space,
    },
    /// Asks for the recovery key, then for a new PIN, password or pattern. The secure id and all
    /// keys stay; the failures end. → `Done`
    Recover {
        /// Whose lock.
        space: Space,
        /// What is to open it.
        kind: LockKind,
    },
    /// Lets an organisation open the space too: says so on the trusted screen, asks for the PIN,
    /// and encrypts a secret to the organisation's key. An earlier one ends. → `Escrowed`, `Wrong`
    /// or `Throttled`
    MakeEscrow {
        /// Whose lock.
        space: Space,
        /// Who: shown to the person, and in [`Status`].
        organisation: String,
        /// P-256, SubjectPublicKeyInfo.
        public_key: ByteBuf,
    },
    /// Ends what [`Self::MakeEscrow`] made, after the PIN was typed. → `Done`, `Wrong` or `Throttled`
    EndEscrow {
        /// Whose lock.
        space: Space,
    },
    /// The organisation's secret, then a new PIN, password or pattern from the person. The secure id
    /// and all keys stay; the failures end, and so does the escrow. → `Done`
    RedeemEscrow {
        /// Whose lock.
        space: Space,
        /// What [`Reply::Escrowed`] had in it.
        secret: ByteBuf,
        /// What is to open it.
        kind: LockKind,
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

impl Command {
    /// Whether the person is asked at the trusted screen, which takes as long as they like.
    #[must_use]
    pub const fn asks_the_person(&self) -> bool {
        matches!(
            self,
            Self::Enrol { .. }
                | Self::Change { .. }
                | Self::Replace { .. }
                | Self::Delete { .. }
                | Self::Unlock
                | Self::Authenticate { .. }
                | Self::SetLockSettings(_)
                | Self::SetDuress { .. }
                | Self::MakeRecoveryKey { .. }
                | Self::Recover { .. }
                | Self::MakeEscrow { .. }
                | Self::EndEscrow { .. }
                | Self::RedeemEscrow { .. }
                | Self::SetBootLock { .. }
        )
    }
}

/// What gatekeeper answers.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The state of the locks.
    Status(Status),
    /// Whose signature counts.
    Trust(Trust),
    /// A right PIN: the keys of its space.
    Unlocked {
        /// Which one.
        space: Space,
        /// What the area that needs the password opens with; 32 bytes.
        ce_key: ByteBuf,
        /// What the keystore's keys that need the password open with; 32 bytes.
        keystore_key: ByteBuf,
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
    /// A secret of 32 bytes that opens the space, for the organisation alone.
    Escrowed {
        /// A JWE (RFC 7516, compact): `ECDH-ES`, `A256GCM`.
        jwe: String,
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
    /// The main space has a lock.
    pub enrolled: bool,
    /// The secure id of the main space's lock: what keys are bound to.
    pub secure_user_id: Option<u64>,
    /// The right PIN of the main space was given since power-on.
    pub unlocked_once: bool,
    /// Each lock that is set.
    pub locks: Vec<LockStatus>,
    /// What the owner chose.
    pub settings: LockSettings,
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

/// A space's lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStatus {
    /// Whose.
    pub space: Space,
    /// What opens it.
    pub kind: LockKind,
    /// The secure id: what keys are bound to. Another one after each enrolment that was not trusted.
    pub secure_user_id: u64,
    /// The right PIN was given since power-on.
    pub unlocked_once: bool,
    /// There is a recovery key.
    pub recoverable: bool,
    /// The organisation that can open it too.
    pub escrow: Option<String>,
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
