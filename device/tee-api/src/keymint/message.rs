//! The messages.

use super::{
    Authorizations, ErrorCode, HardwareAuthToken, KeyFormat, KeyPurpose, SecurityLevel,
    SharedSecretParameters,
};
use crate::engine::Span;
use crate::ui::Confirmation;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::fmt;

/// A key in the caller's keeping: encrypted to this device, its root of trust and whatever else
/// it is bound to.
pub type KeyBlob = ByteBuf;

/// What KeyMint is asked.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// In the factory only: makes the device's attestation key (P-256). Again gives the same.
    /// → [`Reply::PublicKey`]
    FactoryGenerate,
    /// In the factory only, before the chain: the identifiers that the device may attest.
    /// → [`Reply::Done`]
    FactoryIds(DeviceIds),
    /// In the factory only: installs the certificate chain of the device key (DER, device first,
    /// root last) after checking that it is for this key, then blows the life-cycle fuse.
    /// → [`Reply::Done`]
    FactoryInstall {
        /// DER certificates.
        chain: Vec<ByteBuf>,
    },
    /// The certificate chain of the device key (device first, root last). → [`Reply::Chain`]
    DeviceChain,
    /// → [`Reply::HardwareInfo`]
    HardwareInfo,
    /// Mixes into the generator what the caller has of randomness, at most 2 KiB.
    /// → [`Reply::Done`]
    AddEntropy {
        /// Any bytes.
        data: ByteBuf,
    },
    /// A fresh key. → [`Reply::Key`]
    GenerateKey {
        /// What it is to obey, and what its certificate is to say.
        params: Authorizations,
        /// Who attests it instead of the device's key.
        attest: Option<AttestKey>,
    },
    /// A key that comes from outside in the clear. → [`Reply::Key`]
    ImportKey {
        /// As of [`Command::GenerateKey`].
        params: Authorizations,
        /// The form of `data`.
        format: KeyFormat,
        /// The key.
        data: ByteBuf,
        /// Who attests it instead of the device's key.
        attest: Option<AttestKey>,
    },
    /// A key that comes from outside wrapped: the DER of `SecureKeyWrapper`. → [`Reply::Key`]
    ImportWrappedKey {
        /// `SecureKeyWrapper`.
        wrapped: ByteBuf,
        /// The blob of the RSA key that unwraps it, made for `wrap_key`.
        wrapping_key: KeyBlob,
        /// 32 bytes that the transport key is masked with; zeros for no mask.
        masking_key: ByteBuf,
        /// How the wrapping key is used: padding, digest, application id and data.
        params: Authorizations,
        /// The user's secure id, where the key wants a password.
        password_sid: u64,
        /// The authenticator's secure id, where the key wants a fingerprint.
        biometric_sid: u64,
    },
    /// A key under what runs now. → [`Reply::Blob`], empty where the key needs no upgrade.
    UpgradeKey {
        /// Which.
        blob: KeyBlob,
        /// Application id and data.
        params: Authorizations,
    },
    /// Makes a rollback-resistant key useless for good; other blobs are the caller's to delete.
    /// → [`Reply::Done`]
    DeleteKey {
        /// Which.
        blob: KeyBlob,
    },
    /// Makes all keys useless for good: the whole device's. For the system's root.
    /// → [`Reply::Done`]
    DeleteAllKeys,
    /// From now on no identifier of the device is attested, ever. For the system's root.
    /// → [`Reply::Done`]
    DestroyAttestationIds,
    /// What a key obeys. → [`Reply::Characteristics`]
    Characteristics {
        /// Which.
        blob: KeyBlob,
        /// Its application id, where it has one.
        application_id: Option<ByteBuf>,
        /// Its application data, where it has them.
        application_data: Option<ByteBuf>,
    },
    /// Begins an operation. → [`Reply::Begun`]
    Begin {
        /// With which key.
        key: KeySource,
        /// What for.
        purpose: KeyPurpose,
        /// How; for a blob, its application id and data as well.
        params: Authorizations,
        /// Who authenticated.
        token: Option<HardwareAuthToken>,
    },
    /// Associated data of AES-GCM, before any input. → [`Reply::Done`]
    UpdateAad {
        /// From [`Reply::Begun`].
        operation: u64,
        /// The next piece.
        input: ByteBuf,
        /// For an operation that needs its own authentication.
        token: Option<HardwareAuthToken>,
    },
    /// A piece of the input. → [`Reply::Output`]
    Update {
        /// From [`Reply::Begun`].
        operation: u64,
        /// The next piece.
        input: ByteBuf,
        /// For an operation that needs its own authentication.
        token: Option<HardwareAuthToken>,
    },
    /// The last piece; the operation is over, whatever comes of it. → [`Reply::Output`]
    Finish {
        /// From [`Reply::Begun`].
        operation: u64,
        /// The last piece; may be empty.
        input: ByteBuf,
        /// What `verify` checks.
        signature: Option<ByteBuf>,
        /// For an operation that needs its own authentication.
        token: Option<HardwareAuthToken>,
        /// For a key that needs it: the token that came with the message.
        confirmation: Option<ByteBuf>,
    },
    /// Ends an operation. → [`Reply::Done`]
    Abort {
        /// From [`Reply::Begun`].
        operation: u64,
    },
    /// Early boot ended: keys that work during early boot work no more until power-off. For the
    /// system's root. → [`Reply::Done`]
    EarlyBootEnded,
    /// The device was locked: keys that need it unlocked work again after the next authentication.
    /// At power-on it counts as locked, until a password was verified. For the system's root.
    /// → [`Reply::Done`]
    DeviceLocked {
        /// Only a password unlocks it, no fingerprint.
        password_only: bool,
    },
    /// Asks the person, on the trusted screen, to confirm a text for a key that signs nothing
    /// else. → [`Reply::Confirmed`]
    Confirm {
        /// Which key.
        blob: KeyBlob,
        /// Its application id and data.
        params: Authorizations,
        /// What is shown, all of it or nothing.
        text: String,
        /// What goes with it unseen; at most [`crate::ui::MAX_EXTRA_BYTES`].
        extra: ByteBuf,
    },
    /// Opens a key for a user of the system. Refused `invalid_argument` for keys that the TEE
    /// alone can't watch over: those with dates, with a limit of uses. → [`Reply::Opened`]
    Open {
        /// Which key.
        blob: KeyBlob,
        /// Its application id and data.
        params: Authorizations,
        /// For whom: sessions of this user, as the kernel tells it, may use the ticket.
        user: u32,
        /// Who authenticated: counts for uses of the ticket that come without a token.
        token: Option<HardwareAuthToken>,
    },
    /// Uses opened keys, each begun and finished at once. → [`Reply::Used`], one answer a use
    Use(Vec<Use>),
    /// Uses an opened key on the memory that this connection shares: a cipher, or a signature over
    /// what is hashed here. → [`Reply::Written`]
    UseMemory {
        /// What is done; without input and signature.
        how: Use,
        /// Where the input is.
        input: Span,
        /// Where the output goes; the two may overlap.
        output: u32,
    },
    /// Closes a ticket: its user, or who opened it, may. An unknown one is no error.
    /// → [`Reply::Done`]
    Close {
        /// From [`Reply::Opened`].
        ticket: Ticket,
    },
    /// Tells the SHA-256 over the system's modules, once per power-on, for attestations of version
    /// 400. For the system's root. → [`Reply::Done`]
    SetModuleHash {
        /// SHA-256.
        hash: ByteBuf,
    },
    /// What this TEE brings to the agreement on the auth tokens' key (`ISharedSecret`); the same
    /// until power-off. → [`Reply::SharedSecretParameters`]
    SharedSecretParameters,
    /// Agrees on the auth tokens' key with all who make or check them, this TEE among them: tokens
    /// under the key before count no more. Until then the TEE agrees with itself alone. For the
    /// system's root. → [`Reply::SharingCheck`]
    ComputeSharedSecret {
        /// What each brings, in any order; at most 16.
        participants: Vec<SharedSecretParameters>,
    },
    /// For remote key provisioning: asks a server for short-lived certificates of attestation
    /// keys (P-256, made here for `attest_key`), signed with the device key:
    /// `keyattest::provisioning`. → [`Reply::CertificateRequest`]
    CertificateRequest {
        /// Their blobs, 1 to 20.
        keys: Vec<KeyBlob>,
        /// The server's, 1 to 64 bytes.
        challenge: ByteBuf,
    },
}

impl fmt::Debug for Command {
    /// Names the command only: the content may be a key or a secret text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FactoryGenerate => "FactoryGenerate",
            Self::FactoryIds(_) => "FactoryIds(..)",
            Self::FactoryInstall { .. } => "FactoryInstall(..)",
            Self::DeviceChain => "DeviceChain",
            Self::HardwareInfo => "HardwareInfo",
            Self::AddEntropy { .. } => "AddEntropy(..)",
            Self::GenerateKey { .. } => "GenerateKey(..)",
            Self::ImportKey { .. } => "ImportKey(..)",
            Self::ImportWrappedKey { .. } => "ImportWrappedKey(..)",
            Self::UpgradeKey { .. } => "UpgradeKey(..)",
            Self::DeleteKey { .. } => "DeleteKey(..)",
            Self::DeleteAllKeys => "DeleteAllKeys",
            Self::DestroyAttestationIds => "DestroyAttestationIds",
            Self::Characteristics { .. } => "Characteristics(..)",
            Self::Begin { .. } => "Begin(..)",
            Self::UpdateAad { .. } => "UpdateAad(..)",
            Self::Update { .. } => "Update(..)",
            Self::Finish { .. } => "Finish(..)",
            Self::Abort { .. } => "Abort(..)",
            Self::EarlyBootEnded => "EarlyBootEnded",
            Self::DeviceLocked { .. } => "DeviceLocked(..)",
            Self::Confirm { .. } => "Confirm(..)",
            Self::Open { .. } => "Open(..)",
            Self::Use(_) => "Use(..)",
            Self::UseMemory { .. } => "UseMemory(..)",
            Self::Close { .. } => "Close(..)",
            Self::SetModuleHash { .. } => "SetModuleHash(..)",
            Self::SharedSecretParameters => "SharedSecretParameters",
            Self::ComputeSharedSecret { .. } => "ComputeSharedSecret(..)",
            Self::CertificateRequest { .. } => "CertificateRequest(..)",
        })
    }
}

/// Who attests a key instead of the device's key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttestKey {
    /// A key that was made for `attest_key`.
    pub blob: KeyBlob,
    /// Its application id and data.
    pub params: Authorizations,
    /// DER of the name in its certificate.
    pub issuer_subject: ByteBuf,
}

/// The identifiers of the device that it may attest; what is missing is never attested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceIds {
    /// As `holdfast`.
    pub brand: Option<ByteBuf>,
    /// As `board`.
    pub device: Option<ByteBuf>,
    /// As `board_emulated`.
    pub product: Option<ByteBuf>,
    /// The board's serial number.
    pub serial: Option<ByteBuf>,
    /// Of the first modem.
    pub imei: Option<ByteBuf>,
    /// Of the first modem.
    pub meid: Option<ByteBuf>,
    /// Who made it.
    pub manufacturer: Option<ByteBuf>,
    /// What it is sold as.
    pub model: Option<ByteBuf>,
    /// Of the second modem.
    pub second_imei: Option<ByteBuf>,
}

/// The key of an operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// It is unwrapped for this operation.
    Blob(KeyBlob),
    /// It was opened before.
    Ticket(Ticket),
}

/// Names an opened key. Good in sessions of the user that it was opened for, and of no use to
/// anybody else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}

/// One operation in one piece with an opened key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Use {
    /// From [`Reply::Opened`].
    pub ticket: Ticket,
    /// What for.
    pub purpose: KeyPurpose,
    /// How.
    pub params: Authorizations,
    /// Associated data of AES-GCM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aad: Option<ByteBuf>,
    /// The whole input.
    pub input: ByteBuf,
    /// What `verify` checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<ByteBuf>,
    /// Who authenticated; none: the token with which the key was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<HardwareAuthToken>,
}

/// What KeyMint answers.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Done,
    /// A rule of KeyMint says no.
    Refused(ErrorCode),
    /// A public key: SubjectPublicKeyInfo DER.
    PublicKey(ByteBuf),
    /// Certificates (DER).
    Chain(Vec<ByteBuf>),
    /// What this KeyMint is.
    HardwareInfo(HardwareInfo),
    /// A new key.
    Key(KeyCreation),
    /// An upgraded key, or nothing.
    Blob(KeyBlob),
    /// What a key obeys.
    Characteristics(KeyCharacteristics),
    /// An operation.
    Begun(BegunOperation),
    /// What came out.
    Output(ByteBuf),
    /// The person said yes: the message, and the token for one signature over it by that key.
    Confirmed(Confirmation),
    /// An opened key.
    Opened(Ticket),
    /// So many bytes went into shared memory.
    Written {
        /// How many.
        bytes: u32,
        /// The nonce, where KeyMint chose it.
        nonce: Option<ByteBuf>,
    },
    /// What came of each use.
    Used(Vec<Result<Output, ErrorCode>>),
    /// What this TEE brings.
    SharedSecretParameters(SharedSecretParameters),
    /// The same for all who agreed: 32 bytes.
    SharingCheck(ByteBuf),
    /// What the server gets.
    CertificateRequest(ByteBuf),
}

impl fmt::Debug for Reply {
    /// Names the kind only: the content may be a secret text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "Done",
            Self::Refused(code) => return write!(f, "Refused({})", code.constant()),
            Self::PublicKey(_) => "PublicKey(..)",
            Self::Chain(_) => "Chain(..)",
            Self::HardwareInfo(_) => "HardwareInfo(..)",
            Self::Key(_) => "Key(..)",
            Self::Blob(_) => "Blob(..)",
            Self::Characteristics(_) => "Characteristics(..)",
            Self::Begun(_) => "Begun(..)",
            Self::Output(_) => "Output(..)",
            Self::Confirmed(_) => "Confirmed(..)",
            Self::Opened(_) => "Opened(..)",
            Self::Used(_) => "Used(..)",
            Self::Written { .. } => "Written(..)",
            Self::SharedSecretParameters(_) => "SharedSecretParameters(..)",
            Self::SharingCheck(_) => "SharingCheck(..)",
            Self::CertificateRequest(_) => "CertificateRequest(..)",
        })
    }
}

/// What this KeyMint is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardwareInfo {
    /// 300 or 400.
    pub version: u32,
    /// Where it runs.
    pub security_level: SecurityLevel,
    /// As `Holdfast KeyMint`.
    pub name: String,
    /// Who wrote it.
    pub author: String,
    /// Whether a `TimeStampToken` of another secure clock is needed; never.
    pub timestamp_token_required: bool,
}

/// A new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCreation {
    /// The caller keeps it.
    pub blob: KeyBlob,
    /// What it obeys.
    pub characteristics: KeyCharacteristics,
    /// DER, leaf first. Of a key pair: attested by the device, whose whole chain follows; or by
    /// the key that was named, and then the leaf alone; or with no challenge the leaf alone,
    /// signed by itself or by nobody. Of a symmetric key nothing.
    pub chain: Vec<ByteBuf>,
}

/// What a key obeys, by who enforces it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCharacteristics {
    /// The TEE enforces it at every use.
    pub hardware_enforced: Authorizations,
    /// The keystore service has to.
    pub software_enforced: Authorizations,
}

/// An operation that began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BegunOperation {
    /// Names it in the session that began it; an authentication for this operation alone has it
    /// as its challenge.
    pub operation: u64,
    /// What KeyMint chose: a nonce.
    pub params: Authorizations,
}

/// What came of a use.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The signature, MAC or text; nothing where something was verified.
    pub output: ByteBuf,
    /// The nonce, where KeyMint chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<ByteBuf>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output(..)")
    }
}
