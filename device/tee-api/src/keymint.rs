//! KeyMint: keys that only this device can use, and the statements about them that anyone can
//! verify. Thin for now: EC P-256 signing keys and attestation.

use crate::ui::Confirmation;
use crate::{Protocol, TaId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// KeyMint's protocol.
#[derive(Debug)]
pub struct KeyMint;

impl Protocol for KeyMint {
    const TA: TaId = TaId(*b"holdfast-keymint");
    const NAME: &'static str = "ta-keymint";
    type Command = Command;
    type Reply = Reply;
}

/// What KeyMint is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// In the factory only: makes the device's attestation key (P-256). Again gives the same.
    /// → `PublicKey`
    FactoryGenerate,
    /// In the factory only: installs the certificate chain of the device key (DER, device first,
    /// root last) after checking that it is for this key, then blows the life-cycle fuse. → `Done`
    FactoryInstall {
        /// DER certificates.
        chain: Vec<ByteBuf>,
    },
    /// A fresh P-256 signing key. → `Key`
    GenerateKey {
        /// At most 128 bytes; asks for an attestation by the device key.
        challenge: Option<ByteBuf>,
        /// What it obeys for its whole life.
        rules: KeyRules,
    },
    /// Makes a rollback-resistant key useless for good; erasing the device does it to all of
    /// them. Other blobs are not affected. → `Done`
    DeleteKey {
        /// From [`Reply::Key`].
        blob: ByteBuf,
    },
    /// Asks the person, on the trusted screen, to confirm a text for a key that signs nothing
    /// else. → `Confirmed`
    Confirm {
        /// From [`Reply::Key`].
        blob: ByteBuf,
        /// What is shown, all of it or nothing.
        text: String,
        /// What goes with it unseen; at most [`crate::ui::MAX_EXTRA_BYTES`].
        extra: ByteBuf,
    },
    /// ECDSA over SHA-256 of `message`. → `Signature`
    Sign {
        /// From [`Reply::Key`].
        blob: ByteBuf,
        /// What to sign.
        message: ByteBuf,
        /// `r || s` (JWS) instead of ASN.1 DER.
        fixed: bool,
        /// For a key that needs it: the token that came with `message`.
        confirmation: Option<ByteBuf>,
    },
    /// The certificate chain of the device key (device first, root last). → `Chain`
    DeviceChain,
}

/// What a key obeys, fixed when it is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRules {
    /// KeyMint's `ROLLBACK_RESISTANCE`: once deleted, no copy of the blob works any more. The key
    /// takes room in secure storage until then.
    pub rollback_resistance: bool,
    /// KeyMint's `TRUSTED_CONFIRMATION_REQUIRED`: signs only what a person confirmed on the
    /// trusted screen.
    pub confirmation: bool,
}

/// What KeyMint answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A public key: SubjectPublicKeyInfo DER.
    PublicKey(ByteBuf),
    /// A new key.
    Key {
        /// Encrypted to this device and its root of trust; the caller keeps it.
        blob: ByteBuf,
        /// The public key: SubjectPublicKeyInfo DER.
        public_key: ByteBuf,
        /// With a challenge: leaf, device, intermediate, root (DER). Else empty.
        chain: Vec<ByteBuf>,
    },
    /// The person said yes: the message, and the token for one signature over it by that key.
    Confirmed(Confirmation),
    /// A signature.
    Signature(ByteBuf),
    /// Certificates (DER).
    Chain(Vec<ByteBuf>),
    /// Done.
    Done,
}
