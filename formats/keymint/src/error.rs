//! Why KeyMint refuses.

use crate::form::Named;

macro_rules! error_codes {
    ($($variant:ident = $number:literal $name:literal $text:literal,)*) => {
        /// `ErrorCode` of the AIDL without `OK`: a refusal by one of KeyMint's rules.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(
                #[doc = concat!("`", $name, "`: ", $text, ".")]
                #[error("{}: {}", self.constant(), $text)]
                $variant = $number,
            )*
        }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The AIDL's number.
            #[must_use]
            pub const fn number(self) -> i32 {
                self as i32
            }

            /// The AIDL's name in snake case, as `invalid_key_blob`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The AIDL's name, as `INVALID_KEY_BLOB`.
            #[must_use]
            pub fn constant(self) -> String {
                self.name().to_ascii_uppercase()
            }
        }
    };
}

error_codes! {
    RootOfTrustAlreadySet = -1 "root_of_trust_already_set" "the root of trust was set already",
    UnsupportedPurpose = -2 "unsupported_purpose" "this kind of key has no such purpose",
    IncompatiblePurpose = -3 "incompatible_purpose" "the key was not made for this purpose",
    UnsupportedAlgorithm = -4 "unsupported_algorithm" "no such algorithm",
    IncompatibleAlgorithm = -5 "incompatible_algorithm" "the key is one of another algorithm",
    UnsupportedKeySize = -6 "unsupported_key_size" "no such key size",
    UnsupportedBlockMode = -7 "unsupported_block_mode" "no such block mode, or not exactly one",
    IncompatibleBlockMode = -8 "incompatible_block_mode" "the key was not made for this block mode",
    UnsupportedMacLength = -9 "unsupported_mac_length" "no such MAC length",
    UnsupportedPaddingMode = -10 "unsupported_padding_mode" "no such padding, or not exactly one",
    IncompatiblePaddingMode = -11 "incompatible_padding_mode" "the key, its digest or block mode does not go with this padding",
    UnsupportedDigest = -12 "unsupported_digest" "no such digest, or not exactly one",
    IncompatibleDigest = -13 "incompatible_digest" "the key or its padding does not go with this digest",
    InvalidExpirationTime = -14 "invalid_expiration_time" "the key would expire before it is valid",
    InvalidUserId = -15 "invalid_user_id" "no such user",
    InvalidAuthorizationTimeout = -16 "invalid_authorization_timeout" "no such timeout of an authentication",
    UnsupportedKeyFormat = -17 "unsupported_key_format" "keys of this algorithm do not come in this format",
    IncompatibleKeyFormat = -18 "incompatible_key_format" "the key is in another format",
    UnsupportedKeyEncryptionAlgorithm = -19 "unsupported_key_encryption_algorithm" "the key's wrapping is not one of those known",
    UnsupportedKeyVerificationAlgorithm = -20 "unsupported_key_verification_algorithm" "the key's signature is not one of those known",
    InvalidInputLength = -21 "invalid_input_length" "the input is too long, too short, or not whole blocks",
    KeyExportOptionsInvalid = -22 "key_export_options_invalid" "the key is not exported so",
    DelegationNotAllowed = -23 "delegation_not_allowed" "the key may not be given on",
    KeyNotYetValid = -24 "key_not_yet_valid" "the key may not be used yet",
    KeyExpired = -25 "key_expired" "the key may not be used any more",
    KeyUserNotAuthenticated = -26 "key_user_not_authenticated" "the user has not authenticated as the key demands",
    OutputParameterNull = -27 "output_parameter_null" "there is no room for the answer",
    InvalidOperationHandle = -28 "invalid_operation_handle" "no such operation: it was finished, refused, aborted, or pruned",
    InsufficientBufferSpace = -29 "insufficient_buffer_space" "the answer does not fit",
    VerificationFailed = -30 "verification_failed" "the signature, MAC or tag is not the right one",
    TooManyOperations = -31 "too_many_operations" "too many operations are in progress",
    UnexpectedNullPointer = -32 "unexpected_null_pointer" "something was due and nothing came",
    InvalidKeyBlob = -33 "invalid_key_blob" "this is no key of this device, this application, and what runs here",
    ImportedKeyNotEncrypted = -34 "imported_key_not_encrypted" "the key must come encrypted",
    ImportedKeyDecryptionFailed = -35 "imported_key_decryption_failed" "the key could not be decrypted",
    ImportedKeyNotSigned = -36 "imported_key_not_signed" "the key must come signed",
    ImportedKeyVerificationFailed = -37 "imported_key_verification_failed" "the key's signature is wrong",
    InvalidArgument = -38 "invalid_argument" "an argument is malformed or out of range, or the key's padding is wrong",
    UnsupportedTag = -39 "unsupported_tag" "this TEE has no way to enforce this authorization",
    InvalidTag = -40 "invalid_tag" "an authorization where it does not belong",
    MemoryAllocationFailed = -41 "memory_allocation_failed" "out of memory",
    ImportParameterMismatch = -44 "import_parameter_mismatch" "the key is not what its parameters say",
    SecureHwAccessDenied = -45 "secure_hw_access_denied" "the secure hardware does not let the TEE in",
    OperationCancelled = -46 "operation_cancelled" "the operation was cancelled",
    ConcurrentAccessConflict = -47 "concurrent_access_conflict" "somebody else is at it",
    SecureHwBusy = -48 "secure_hw_busy" "the secure hardware is busy",
    SecureHwCommunicationFailed = -49 "secure_hw_communication_failed" "the secure hardware, or who keeps its files, does not answer",
    UnsupportedEcField = -50 "unsupported_ec_field" "no such field",
    MissingNonce = -51 "missing_nonce" "decryption needs the nonce",
    InvalidNonce = -52 "invalid_nonce" "the nonce has another length",
    MissingMacLength = -53 "missing_mac_length" "the MAC's length must be said",
    KeyRateLimitExceeded = -54 "key_rate_limit_exceeded" "the key was used too often in too short a time",
    CallerNonceProhibited = -55 "caller_nonce_prohibited" "the key chooses its nonces itself",
    KeyMaxOpsExceeded = -56 "key_max_ops_exceeded" "the key was used as often as it may since power-on",
    InvalidMacLength = -57 "invalid_mac_length" "the MAC is shorter than the key allows",
    MissingMinMacLength = -58 "missing_min_mac_length" "the shortest MAC must be said when the key is made",
    UnsupportedMinMacLength = -59 "unsupported_min_mac_length" "no such shortest MAC",
    UnsupportedKdf = -60 "unsupported_kdf" "no such key derivation",
    UnsupportedEcCurve = -61 "unsupported_ec_curve" "no such curve",
    KeyRequiresUpgrade = -62 "key_requires_upgrade" "the key was made under other software: upgrade it",
    AttestationChallengeMissing = -63 "attestation_challenge_missing" "an attestation needs a challenge",
    KeymintNotConfigured = -64 "keymint_not_configured" "the bootloader has not said what was booted",
    AttestationApplicationIdMissing = -65 "attestation_application_id_missing" "an attestation needs the application's id",
    CannotAttestIds = -66 "cannot_attest_ids" "these are not the identifiers of this device",
    RollbackResistanceUnavailable = -67 "rollback_resistance_unavailable" "there is no room for another key that can be deleted for good",
    HardwareTypeUnavailable = -68 "hardware_type_unavailable" "no such secure hardware",
    ProofOfPresenceRequired = -69 "proof_of_presence_required" "a person must be there",
    ConcurrentProofOfPresenceRequested = -70 "concurrent_proof_of_presence_requested" "another proof of presence is under way",
    NoUserConfirmation = -71 "no_user_confirmation" "nobody confirmed this message for this key since power-on, or the confirmation was used already",
    DeviceLocked = -72 "device_locked" "the device is locked",
    EarlyBootEnded = -73 "early_boot_ended" "the key works during early boot only",
    AttestationKeysNotProvisioned = -74 "attestation_keys_not_provisioned" "the device has no certificate yet: the factory installs it",
    AttestationIdsNotProvisioned = -75 "attestation_ids_not_provisioned" "the device has no identifiers that it could attest",
    InvalidOperation = -76 "invalid_operation" "not in this state of the operation",
    StorageKeyUnsupported = -77 "storage_key_unsupported" "keys for storage hardware are not supported",
    IncompatibleMgfDigest = -78 "incompatible_mgf_digest" "the key was not made for this digest of the mask",
    UnsupportedMgfDigest = -79 "unsupported_mgf_digest" "no such digest of a mask",
    MissingNotBefore = -80 "missing_not_before" "the certificate needs its first moment",
    MissingNotAfter = -81 "missing_not_after" "the certificate needs its last moment",
    MissingIssuerSubject = -82 "missing_issuer_subject" "the attesting key's name is missing",
    InvalidIssuerSubject = -83 "invalid_issuer_subject" "the attesting key's name is malformed",
    BootLevelExceeded = -84 "boot_level_exceeded" "the key worked only earlier in the boot",
    HardwareNotYetAvailable = -85 "hardware_not_yet_available" "the hardware is not up yet",
    ModuleHashAlreadySet = -86 "module_hash_already_set" "the modules' hash was set to another value already",
    Unimplemented = -100 "unimplemented" "not implemented by this device",
    VersionMismatch = -101 "version_mismatch" "of another version",
    UnknownError = -1000 "unknown_error" "something went wrong that has no name",
}

impl ErrorCode {
    /// The code with the AIDL's number; `None` where there is none, and for `OK`.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }
}

impl Named for ErrorCode {
    const KIND: &'static str = "an error code";

    fn all() -> &'static [Self] {
        Self::ALL
    }

    fn number(self) -> i64 {
        self as i64
    }

    fn name(self) -> &'static str {
        Self::name(self)
    }
}

/// Only its forms: the text is the error's.
mod forms {
    use super::ErrorCode;
    use crate::form;

    impl serde::Serialize for ErrorCode {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            form::serialize(*self, to)
        }
    }

    impl<'de> serde::Deserialize<'de> for ErrorCode {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            form::deserialize(from)
        }
    }
}
