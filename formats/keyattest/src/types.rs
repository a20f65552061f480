//! `KeyDescription` and what is in it, with the names of the ASN.1 module.

use std::collections::BTreeSet;

/// Values of authorizations that Holdfast itself uses, as KeyMint numbers them.
pub mod value {
    /// `KeyPurpose::SIGN`.
    pub const PURPOSE_SIGN: u64 = 2;
    /// `KeyPurpose::ATTEST_KEY`.
    pub const PURPOSE_ATTEST_KEY: u64 = 7;
    /// `KeyPurpose::ENCRYPT`.
    pub const PURPOSE_ENCRYPT: u64 = 0;
    /// `KeyPurpose::DECRYPT`.
    pub const PURPOSE_DECRYPT: u64 = 1;
    /// `KeyPurpose::VERIFY`.
    pub const PURPOSE_VERIFY: u64 = 3;
    /// `KeyPurpose::WRAP_KEY`.
    pub const PURPOSE_WRAP_KEY: u64 = 5;
    /// `KeyPurpose::AGREE_KEY`.
    pub const PURPOSE_AGREE_KEY: u64 = 6;
    /// `Algorithm::RSA`.
    pub const ALGORITHM_RSA: u64 = 1;
    /// `Algorithm::EC`.
    pub const ALGORITHM_EC: u64 = 3;
    /// `Digest::SHA_2_256`.
    pub const DIGEST_SHA_2_256: u64 = 4;
    /// `EcCurve::P_256`.
    pub const CURVE_P_256: u64 = 1;
}

/// The attestation: who made the key, where it lives, what it may do, what was booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDescription {
    /// 1 (Keymaster 2) to 500 (KeyMint 5).
    pub attestation_version: u32,
    /// Where the attestation was signed.
    pub attestation_security_level: SecurityLevel,
    /// `keymasterVersion` before version 100; numbered differently there (notably 4.1 is 41).
    pub key_mint_version: u32,
    /// Where the key lives.
    pub key_mint_security_level: SecurityLevel,
    /// What the asker sent; at most 128 bytes.
    pub attestation_challenge: Vec<u8>,
    /// Privacy-sensitive identifier that changes monthly; mostly empty.
    pub unique_id: Vec<u8>,
    /// What the system outside of secure hardware says.
    pub software_enforced: AuthorizationList,
    /// What secure hardware says.
    pub hardware_enforced: AuthorizationList,
}

/// How well something is protected. The order is the order of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityLevel {
    /// Only by the system (0).
    Software,
    /// By the trusted execution environment (1).
    TrustedEnvironment,
    /// By a secure element of its own (2).
    StrongBox,
}

/// What the bootloader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VerifiedBootState {
    /// Green: the maker's key (0).
    Verified,
    /// Yellow: a key that the user put in (1).
    SelfSigned,
    /// Orange: unlocked, nothing verified (2).
    Unverified,
    /// Red: verification failed (3).
    Failed,
}

/// Where a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyOrigin {
    /// Made inside (0).
    Generated,
    /// Derived inside (1).
    Derived,
    /// Came from outside in the clear (2).
    Imported,
    /// Not used any more (3).
    Reserved,
    /// Came from outside, wrapped (4).
    SecurelyImported,
}

/// What was booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootOfTrust {
    /// SHA-256 of the public key that verified vbmeta; zeros where nothing was verified.
    pub verified_boot_key: Vec<u8>,
    /// Whether the bootloader is locked.
    pub device_locked: bool,
    /// The verdict.
    pub verified_boot_state: VerifiedBootState,
    /// The vbmeta digest; from version 3 on.
    pub verified_boot_hash: Option<Vec<u8>>,
}

/// Which application asked, as the system says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttestationApplicationId {
    /// The packages that share the application's user id.
    pub packages: BTreeSet<Package>,
    /// SHA-256 of their signing certificates.
    pub signature_digests: BTreeSet<Vec<u8>>,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// As `org.example.app`.
    pub name: String,
    /// Its version code.
    pub version: u64,
}

/// Something that is not DER or not sensible, which real devices do and Google's verifier lets
/// pass. A relying party that wants only clean statements refuses where there is any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Oddity {
    /// The tags of an authorization list do not ascend.
    TagsOutOfOrder,
    /// The elements of a SET OF do not ascend, or one stands there twice.
    SetOutOfOrder {
        /// The authorization tag.
        tag: u32,
    },
    /// A SET OF without elements, which reads as if it were not there.
    EmptySet {
        /// The authorization tag.
        tag: u32,
    },
    /// An identifier of the device that is not UTF-8.
    NotText {
        /// The authorization tag.
        tag: u32,
    },
    /// A tag that this attestation version does not have.
    TagNotInVersion {
        /// The authorization tag.
        tag: u32,
    },
    /// The provisioning info beside a remotely provisioned certificate is not the CBOR map that it
    /// should be.
    ProvisioningInfo,
    /// A BOOLEAN true that is not 0xff.
    Boolean {
        /// What stands there.
        octet: u8,
    },
    /// A patch level that is neither YYYYMM nor YYYYMMDD.
    PatchLevel {
        /// The authorization tag.
        tag: u32,
        /// What stands there.
        value: u64,
    },
}

/// One line per authorization: tag number, first and last attestation version that has it, its
/// name in JSON, field, type. The list below is the only place where a tag is named.
macro_rules! authorizations {
    ($(
        $(#[$doc:meta])*
        [$tag:literal, $since:literal..$($until:literal)?, $name:literal] $field:ident: $type:ty,
    )*) => {
        /// `AuthorizationList`: what may be done with a key, and facts about the device. A list of
        /// integers is a set; a flag is ASN.1 NULL, present or not.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct AuthorizationList {
            $($(#[$doc])* #[doc = concat!("\n\nTag ", $tag, ".")] pub $field: $type,)*
        }

        impl AuthorizationList {
            /// Decodes the value of a tag into its field. `None`: there is no such tag.
            pub(crate) fn set(
                &mut self,
                tag: u32,
                value: crate::asn1::Element<'_>,
                oddities: &mut Vec<Oddity>,
            ) -> Option<Result<(), crate::DecodeError>> {
                use crate::decode::Authorization;
                match tag {
                    $($tag => Some(
                        Authorization::decode(tag, stringify!($field), value, oddities)
                            .map(|value| self.$field = value)
                    ),)*
                    _ => None,
                }
            }

            /// All tags in ascending order: number, encoded value.
            pub(crate) fn entries(&self) -> Vec<(u32, Option<Vec<u8>>)> {
                use crate::encode::Authorization;
                vec![$(($tag, self.$field.encode()),)*]
            }

            /// What is there, by its name in JSON.
            pub(crate) fn shown(&self) -> serde_json::Map<String, serde_json::Value> {
                use crate::json::Authorization;
                [$(($name, self.$field.show($tag)),)*]
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                    .collect()
            }

            /// The attestation versions that have a tag.
            pub(crate) const fn versions(tag: u32) -> std::ops::RangeInclusive<u32> {
                match tag {
                    $($tag => $since..=until!($($until)?),)*
                    #[allow(clippy::reversed_empty_ranges, reason = "no version has it")]
                    _ => 1..=0,
                }
            }
        }
    };
}

macro_rules! until {
    () => {
        u32::MAX
    };
    ($until:literal) => {
        $until
    };
}

type Integers = BTreeSet<u64>;

authorizations! {
    /// `KeyPurpose`s.
    [1, 1.., "purposes"] purpose: Integers,
    /// `Algorithm`.
    [2, 1.., "algorithms"] algorithm: Option<u64>,
    /// Bits.
    [3, 1.., "keySize"] key_size: Option<u64>,
    /// `BlockMode`s.
    [4, 1.., "blockModes"] block_mode: Integers,
    /// `Digest`s.
    [5, 1.., "digests"] digest: Integers,
    /// `PaddingMode`s.
    [6, 1.., "paddings"] padding: Integers,
    /// The caller may choose the nonce.
    [7, 1.., "callerNonce"] caller_nonce: bool,
    /// Bits.
    [8, 1.., "minMacLength"] min_mac_length: Option<u64>,
    /// `EcCurve`.
    [10, 1.., "ecCurve"] ec_curve: Option<u64>,
    /// `MlDsaVariant`.
    [11, 500.., "mlDsaVariant"] ml_dsa_variant: Option<u64>,
    /// Mostly 65537.
    [200, 1.., "rsaPublicExponent"] rsa_public_exponent: Option<u64>,
    /// `Digest`s for OAEP's mask.
    [203, 100.., "rsaOaepMgfDigests"] rsa_oaep_mgf_digest: Integers,
    /// The key's deletion is final.
    [303, 3.., "rollbackResistance"] rollback_resistance: bool,
    /// Usable only before the system has started.
    [305, 4.., "earlyBootOnly"] early_boot_only: bool,
    /// Milliseconds since 1970.
    [400, 1.., "activeDateTime"] active_date_time: Option<u64>,
    /// Milliseconds since 1970.
    [401, 1.., "originationExpireDateTime"] origination_expire_date_time: Option<u64>,
    /// Milliseconds since 1970.
    [402, 1.., "usageExpireDateTime"] usage_expire_date_time: Option<u64>,
    /// Times that the key can be used.
    [405, 100.., "usageCountLimit"] usage_count_limit: Option<u64>,
    /// The secure user that the key is bound to.
    [502, 1.., "userSecureId"] user_secure_id: Option<u64>,
    /// Usable without a person.
    [503, 1.., "noAuthRequired"] no_auth_required: bool,
    /// Bits: 1 password, 2 fingerprint.
    [504, 1.., "userAuthType"] user_auth_type: Option<u64>,
    /// Seconds.
    [505, 1.., "authTimeout"] auth_timeout: Option<u64>,
    /// Usable while the device is carried.
    [506, 1.., "allowWhileOnBody"] allow_while_on_body: bool,
    /// A person must be there.
    [507, 3.., "trustedUserPresenceRequired"] trusted_user_presence_required: bool,
    /// A person must confirm on the trusted screen.
    [508, 3.., "trustedConfirmationRequired"] trusted_confirmation_required: bool,
    /// Usable only while unlocked.
    [509, 3.., "unlockedDeviceRequired"] unlocked_device_required: bool,
    /// Usable by every application.
    [600, 1..2, "allApplications"] all_applications: bool,
    /// Bound to this application.
    [601, 1..2, "applicationId"] application_id: Option<Vec<u8>>,
    /// Milliseconds since 1970.
    [701, 1.., "creationDateTime"] creation_date_time: Option<u64>,
    /// Where the key comes from.
    [702, 1.., "origin"] origin: Option<KeyOrigin>,
    /// The old form of `rollback_resistance`.
    [703, 1..2, "rollbackResistant"] rollback_resistant: bool,
    /// What was booted.
    [704, 1.., "rootOfTrust"] root_of_trust: Option<RootOfTrust>,
    /// As 140000.
    [705, 1.., "osVersion"] os_version: Option<u64>,
    /// YYYYMM.
    [706, 1.., "osPatchLevel"] os_patch_level: Option<u64>,
    /// Who asked.
    [709, 2.., "attestationApplicationId"] attestation_application_id: Option<AttestationApplicationId>,
    /// Of the device.
    [710, 2.., "attestationIdBrand"] attestation_id_brand: Option<Vec<u8>>,
    /// Of the device.
    [711, 2.., "attestationIdDevice"] attestation_id_device: Option<Vec<u8>>,
    /// Of the device.
    [712, 2.., "attestationIdProduct"] attestation_id_product: Option<Vec<u8>>,
    /// Of the device.
    [713, 2.., "attestationIdSerial"] attestation_id_serial: Option<Vec<u8>>,
    /// Of the device.
    [714, 2.., "attestationIdImei"] attestation_id_imei: Option<Vec<u8>>,
    /// Of the device.
    [715, 2.., "attestationIdMeid"] attestation_id_meid: Option<Vec<u8>>,
    /// Of the device.
    [716, 2.., "attestationIdManufacturer"] attestation_id_manufacturer: Option<Vec<u8>>,
    /// Of the device.
    [717, 2.., "attestationIdModel"] attestation_id_model: Option<Vec<u8>>,
    /// YYYYMMDD.
    [718, 3.., "vendorPatchLevel"] vendor_patch_level: Option<u64>,
    /// YYYYMMDD.
    [719, 3.., "bootPatchLevel"] boot_patch_level: Option<u64>,
    /// Signed by a key of this one device.
    [720, 4.., "deviceUniqueAttestation"] device_unique_attestation: bool,
    /// Belongs to an identity credential.
    [721, 4.., "identityCredentialKey"] identity_credential_key: bool,
    /// Of the device.
    [723, 300.., "attestationIdSecondImei"] attestation_id_second_imei: Option<Vec<u8>>,
    /// Digest over the system's modules.
    [724, 400.., "moduleHash"] module_hash: Option<Vec<u8>>,
}

impl SecurityLevel {
    pub(crate) const ALL: [Self; 3] = [Self::Software, Self::TrustedEnvironment, Self::StrongBox];
}

impl VerifiedBootState {
    pub(crate) const ALL: [Self; 4] =
        [Self::Verified, Self::SelfSigned, Self::Unverified, Self::Failed];
}

impl KeyOrigin {
    pub(crate) const ALL: [Self; 5] =
        [Self::Generated, Self::Derived, Self::Imported, Self::Reserved, Self::SecurelyImported];
}
