//! The tags: one table, from which the rest of this crate is made.

use crate::form::{Named, named_forms};

/// What KeyMint's number of a tag says about its value: the number's upper four bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagType {
    /// One of an enumeration.
    Enum = 1,
    /// Several of an enumeration.
    EnumRep = 2,
    /// 32 bits.
    Uint = 3,
    /// 64 bits.
    Ulong = 5,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Date = 6,
    /// There, or not there.
    Bool = 7,
    /// A number, big-endian.
    Bignum = 8,
    /// Bytes.
    Bytes = 9,
    /// Several numbers of 64 bits.
    UlongRep = 10,
}

/// Who may set a tag, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetBy {
    /// The caller, when the key is made.
    Key,
    /// The caller, when the key is made, and again out of that with each operation.
    KeyAndUse,
    /// The caller, with an operation.
    Use,
    /// The caller, when the key is made; the tag says something about its certificate.
    Creation,
    /// KeyMint alone.
    KeyMint,
}

/// What becomes of a tag in the key that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kept {
    /// The TEE enforces it: it is among the key's hardware-enforced characteristics.
    Tee,
    /// The keystore service enforces it: it is among the software-enforced ones.
    Keystore,
    /// It goes into the key that opens the blob, and no list shows it.
    Hidden,
    /// It is not kept.
    Dropped,
}

/// Calls the macro `$then` with the table. A row: variant, field, number, type of the tag, who
/// sets it, what becomes of it, type of the value.
macro_rules! with_tags {
    ($then:ident) => {
        $then! {
            /// What the key may be used for.
            Purpose purpose = 1 EnumRep, Key, Tee: BTreeSet<KeyPurpose>;
            /// What it is a key of.
            Algorithm algorithm = 2 Enum, Key, Tee: Option<Algorithm>;
            /// Bits.
            KeySize key_size = 3 Uint, Key, Tee: Option<u32>;
            /// Of a block cipher.
            BlockMode block_mode = 4 EnumRep, KeyAndUse, Tee: BTreeSet<BlockMode>;
            /// Of signatures, MACs and OAEP.
            Digest digest = 5 EnumRep, KeyAndUse, Tee: BTreeSet<Digest>;
            /// How messages are filled up.
            Padding padding = 6 EnumRep, KeyAndUse, Tee: BTreeSet<PaddingMode>;
            /// The caller may choose nonces.
            CallerNonce caller_nonce = 7 Bool, Key, Tee: bool;
            /// Bits of the shortest MAC or tag.
            MinMacLength min_mac_length = 8 Uint, Key, Tee: Option<u32>;
            /// The curve.
            EcCurve ec_curve = 10 Enum, Key, Tee: Option<EcCurve>;
            /// The parameter set.
            MlDsaVariant ml_dsa_variant = 11 Enum, Key, Tee: Option<MlDsaVariant>;
            /// Mostly 65537.
            RsaPublicExponent rsa_public_exponent = 200 Ulong, Key, Tee: Option<u64>;
            /// Attestations carry an id of the device and the application that changes each month.
            IncludeUniqueId include_unique_id = 202 Bool, Key, Tee: bool;
            /// Of OAEP's mask.
            RsaOaepMgfDigest rsa_oaep_mgf_digest = 203 EnumRep, KeyAndUse, Tee: BTreeSet<Digest>;
            /// For the bootloader, so for nobody here.
            BootloaderOnly bootloader_only = 302 Bool, Key, Tee: bool;
            /// Once deleted, no copy of the blob works any more.
            RollbackResistance rollback_resistance = 303 Bool, Key, Tee: bool;
            /// Works until the system says that early boot ended.
            EarlyBootOnly early_boot_only = 305 Bool, Key, Tee: bool;
            /// Not before; milliseconds since 1970.
            ActiveDatetime active_datetime = 400 Date, Key, Keystore: Option<u64>;
            /// Neither signs nor encrypts after; milliseconds since 1970.
            OriginationExpireDatetime origination_expire_datetime = 401 Date, Key, Keystore: Option<u64>;
            /// Neither verifies nor decrypts after; milliseconds since 1970.
            UsageExpireDatetime usage_expire_datetime = 402 Date, Key, Keystore: Option<u64>;
            /// Uses between one power-on and the next.
            MaxUsesPerBoot max_uses_per_boot = 404 Uint, Key, Tee: Option<u32>;
            /// Uses; one is counted by the TEE, more by the keystore service.
            UsageCountLimit usage_count_limit = 405 Uint, Key, Tee: Option<u32>;
            /// The system's user.
            UserId user_id = 501 Uint, Key, Keystore: Option<u32>;
            /// Who must authenticate, one of these.
            UserSecureId user_secure_id = 502 UlongRep, Key, Tee: BTreeSet<u64>;
            /// Works without a person.
            NoAuthRequired no_auth_required = 503 Bool, Key, Tee: bool;
            /// In which ways they may authenticate.
            UserAuthType user_auth_type = 504 Enum, Key, Tee: Option<AuthenticatorType>;
            /// Seconds that an authentication lasts; without it each operation needs its own.
            AuthTimeout auth_timeout = 505 Uint, Key, Tee: Option<u32>;
            /// An authentication lasts while the device is carried.
            AllowWhileOnBody allow_while_on_body = 506 Bool, Key, Keystore: bool;
            /// A person must be there.
            TrustedUserPresenceRequired trusted_user_presence_required = 507 Bool, Key, Tee: bool;
            /// Signs only what a person confirmed on the trusted screen.
            TrustedConfirmationRequired trusted_confirmation_required = 508 Bool, Key, Tee: bool;
            /// Works while the device is unlocked.
            UnlockedDeviceRequired unlocked_device_required = 509 Bool, Key, Tee: bool;
            /// Whoever uses the key must know it.
            ApplicationId application_id = 601 Bytes, KeyAndUse, Hidden: Option<Bytes>;
            /// Whoever uses the key must know it.
            ApplicationData application_data = 700 Bytes, KeyAndUse, Hidden: Option<Bytes>;
            /// When it was made, as the caller says; milliseconds since 1970.
            CreationDatetime creation_datetime = 701 Date, Key, Keystore: Option<u64>;
            /// Where it comes from.
            Origin origin = 702 Enum, KeyMint, Tee: Option<KeyOrigin>;
            /// What was booted; goes into the blob's key.
            RootOfTrust root_of_trust = 704 Bytes, KeyMint, Hidden: Option<Bytes>;
            /// As 140000.
            OsVersion os_version = 705 Uint, KeyMint, Tee: Option<u32>;
            /// YYYYMM.
            OsPatchlevel os_patchlevel = 706 Uint, KeyMint, Tee: Option<u32>;
            /// In attestations only.
            UniqueId unique_id = 707 Bytes, KeyMint, Dropped: Option<Bytes>;
            /// Asks for an attestation; at most 128 bytes.
            AttestationChallenge attestation_challenge = 708 Bytes, Creation, Dropped: Option<Bytes>;
            /// DER of the application that asks, as the system says.
            AttestationApplicationId attestation_application_id = 709 Bytes, Creation, Dropped: Option<Bytes>;
            /// Of the device; checked, then attested.
            AttestationIdBrand attestation_id_brand = 710 Bytes, Creation, Dropped: Option<Bytes>;
            /// Of the device.
            AttestationIdDevice attestation_id_device = 711 Bytes, Creation, Dropped: Option<Bytes>;
            /// Of the device.
            AttestationIdProduct attestation_id_product = 712 Bytes, Creation, Dropped: Option<Bytes>;
            /// Of the device.
            AttestationIdSerial attestation_id_serial = 713 Bytes, Creation, Dropped: Option<Bytes>;
            /// Of the device.
            AttestationIdImei attestation_id_imei = 714 Bytes, Creation, Dropped: Option<Bytes>;
            /// Of the device.
            AttestationIdMeid attestation_id_meid = 715 Bytes, Creation, Dropped: Option<Bytes>;
            /// Of the device.
            AttestationIdManufacturer attestation_id_manufacturer = 716 Bytes, Creation, Dropped: Option<Bytes>;
            /// Of the device.
            AttestationIdModel attestation_id_model = 717 Bytes, Creation, Dropped: Option<Bytes>;
            /// YYYYMMDD.
            VendorPatchlevel vendor_patchlevel = 718 Uint, KeyMint, Tee: Option<u32>;
            /// YYYYMMDD.
            BootPatchlevel boot_patchlevel = 719 Uint, KeyMint, Tee: Option<u32>;
            /// Asks for an attestation by a key of this one device; a StrongBox's.
            DeviceUniqueAttestation device_unique_attestation = 720 Bool, Creation, Dropped: bool;
            /// In attestations of identity credentials only.
            IdentityCredentialKey identity_credential_key = 721 Bool, KeyMint, Dropped: bool;
            /// A key of storage hardware.
            StorageKey storage_key = 722 Bool, Key, Tee: bool;
            /// Of the device.
            AttestationIdSecondImei attestation_id_second_imei = 723 Bytes, Creation, Dropped: Option<Bytes>;
            /// SHA-256 over the system's modules; in attestations from version 400 on.
            ModuleHash module_hash = 724 Bytes, KeyMint, Dropped: Option<Bytes>;
            /// Of one operation.
            Nonce nonce = 1001 Bytes, Use, Dropped: Option<Bytes>;
            /// Bits of this operation's MAC or tag.
            MacLength mac_length = 1003 Uint, Use, Dropped: Option<u32>;
            /// The device was reset since unique ids changed last.
            ResetSinceIdRotation reset_since_id_rotation = 1004 Bool, Creation, Dropped: bool;
            /// That a person confirmed this message.
            ConfirmationToken confirmation_token = 1005 Bytes, Use, Dropped: Option<Bytes>;
            /// Of the key's certificate; 1 where nothing is said.
            CertificateSerial certificate_serial = 1006 Bignum, Creation, Dropped: Option<Bytes>;
            /// DER of the name in the key's certificate.
            CertificateSubject certificate_subject = 1007 Bytes, Creation, Dropped: Option<Bytes>;
            /// Milliseconds since 1970.
            CertificateNotBefore certificate_not_before = 1008 Date, Creation, Dropped: Option<u64>;
            /// Milliseconds since 1970.
            CertificateNotAfter certificate_not_after = 1009 Date, Creation, Dropped: Option<u64>;
            /// The last boot stage in which it works.
            MaxBootLevel max_boot_level = 1010 Uint, Key, Keystore: Option<u32>;
        }
    };
}

pub(crate) use with_tags;

macro_rules! tags {
    ($($(#[$doc:meta])* $variant:ident $field:ident = $number:literal $kind:ident, $set:ident, $kept:ident: $type:ty;)*) => {
        /// An authorization tag.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Tag {
            $($(#[$doc])* $variant = (TagType::$kind as u32) << 28 | $number,)*
        }

        impl Tag {
            /// All of them, in ascending order of their numbers without the type.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// KeyMint's name in snake case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($field),)*
                }
            }

            /// What its value is.
            #[must_use]
            pub const fn tag_type(self) -> TagType {
                match self {
                    $(Self::$variant => TagType::$kind,)*
                }
            }

            /// Who may set it, and when.
            #[must_use]
            pub const fn set_by(self) -> SetBy {
                match self {
                    $(Self::$variant => SetBy::$set,)*
                }
            }

            /// What becomes of it in the key.
            #[must_use]
            pub const fn kept(self) -> Kept {
                match self {
                    $(Self::$variant => Kept::$kept,)*
                }
            }
        }
    };
}

with_tags!(tags);

impl Tag {
    /// KeyMint's number, type included.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// KeyMint's number without the type: that of attestations.
    #[must_use]
    pub const fn bare_number(self) -> u32 {
        self as u32 & 0x0FFF_FFFF
    }

    /// Whether it may have several values.
    #[must_use]
    pub const fn is_repeatable(self) -> bool {
        matches!(self.tag_type(), TagType::EnumRep | TagType::UlongRep)
    }
}

impl Named for Tag {
    const KIND: &'static str = "a tag";

    fn all() -> &'static [Self] {
        Self::ALL
    }

    fn number(self) -> i64 {
        i64::from(self as u32)
    }

    fn name(self) -> &'static str {
        Self::name(self)
    }
}

named_forms!(Tag);
