//! KeyMint's authorizations as options: one row of a table each.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use keymint::{Authorizations, SetBy, Tag, TagType};
use serde_json::{Map, Value, json};

/// An option: what it sets, its name, another name, the name of its value, its help.
struct Row(Tag, &'static str, Option<&'static str>, &'static str, &'static str);

/// All options. Those of [`KEYSTORES`] are nobody's to give.
const ROWS: &[Row] = &[
    Row(
        Tag::Purpose,
        "purpose",
        None,
        "PURPOSE",
        "What the key may do: encrypt, decrypt, sign, verify, wrap_key, agree_key, attest_key; may be repeated",
    ),
    Row(Tag::Algorithm, "algorithm", None, "ALGORITHM", "rsa, ec, ml_dsa, aes, triple_des or hmac"),
    Row(Tag::KeySize, "key-size", None, "BITS", "Bits of the key"),
    Row(Tag::BlockMode, "block-mode", None, "MODE", "ecb, cbc, ctr or gcm; for a new key several"),
    Row(
        Tag::Digest,
        "digest",
        None,
        "DIGEST",
        "none, md5, sha1, sha_2_224, sha_2_256, sha_2_384 or sha_2_512; for a new key several",
    ),
    Row(
        Tag::Padding,
        "padding",
        None,
        "PADDING",
        "none, rsa_oaep, rsa_pss, rsa_pkcs1_1_5_encrypt, rsa_pkcs1_1_5_sign or pkcs7; for a new key several",
    ),
    Row(Tag::CallerNonce, "caller-nonce", None, "", "Whoever encrypts may choose the nonce"),
    Row(
        Tag::MinMacLength,
        "min-mac-length",
        None,
        "BITS",
        "Bits of the shortest MAC or tag that the key makes or takes",
    ),
    Row(
        Tag::EcCurve,
        "ec-curve",
        Some("curve"),
        "CURVE",
        "p_224, p_256, p_384, p_521 or curve_25519",
    ),
    Row(Tag::MlDsaVariant, "ml-dsa-variant", None, "VARIANT", "ml_dsa_65 or ml_dsa_87"),
    Row(
        Tag::RsaPublicExponent,
        "rsa-public-exponent",
        None,
        "NUMBER",
        "The public exponent [default: 65537]",
    ),
    Row(
        Tag::IncludeUniqueId,
        "include-unique-id",
        None,
        "",
        "The attestation carries an id of device and application that changes each month; for the system",
    ),
    Row(
        Tag::RsaOaepMgfDigest,
        "rsa-oaep-mgf-digest",
        Some("mgf-digest"),
        "DIGEST",
        "The digest of OAEP's mask",
    ),
    Row(Tag::BootloaderOnly, "bootloader-only", None, "", "For the bootloader, so for nobody here"),
    Row(
        Tag::RollbackResistance,
        "rollback-resistance",
        None,
        "",
        "Once deleted, no copy of the blob works any more",
    ),
    Row(Tag::EarlyBootOnly, "early-boot-only", None, "", "Works until the system is up"),
    Row(
        Tag::ActiveDatetime,
        "active-datetime",
        None,
        "TIME",
        "Not before; YYYY-MM-DD, or milliseconds since 1970",
    ),
    Row(
        Tag::OriginationExpireDatetime,
        "origination-expire-datetime",
        None,
        "TIME",
        "Neither signs nor encrypts after",
    ),
    Row(
        Tag::UsageExpireDatetime,
        "usage-expire-datetime",
        None,
        "TIME",
        "Neither verifies nor decrypts after",
    ),
    Row(
        Tag::MaxUsesPerBoot,
        "max-uses-per-boot",
        None,
        "NUMBER",
        "Uses between one power-on and the next",
    ),
    Row(Tag::UsageCountLimit, "usage-count-limit", None, "NUMBER", "Uses for its whole life"),
    Row(Tag::UserId, "user-id", None, "NUMBER", "The system's user"),
    Row(
        Tag::UserSecureId,
        "user-secure-id",
        None,
        "NUMBER",
        "Who must authenticate [default with --user-auth-type: who set the screen lock]",
    ),
    Row(
        Tag::NoAuthRequired,
        "no-auth-required",
        None,
        "",
        "Works without a person [default without --user-auth-type and --user-secure-id]",
    ),
    Row(
        Tag::UserAuthType,
        "user-auth-type",
        None,
        "WAYS",
        "How the user must authenticate: password, fingerprint, any, or the number of the bits",
    ),
    Row(
        Tag::AuthTimeout,
        "auth-timeout",
        None,
        "SECONDS",
        "How long an authentication lasts [default: each operation needs its own]",
    ),
    Row(
        Tag::AllowWhileOnBody,
        "allow-while-on-body",
        None,
        "",
        "An authentication lasts while the device is carried",
    ),
    Row(
        Tag::TrustedUserPresenceRequired,
        "trusted-user-presence-required",
        None,
        "",
        "A person must be there",
    ),
    Row(
        Tag::TrustedConfirmationRequired,
        "trusted-confirmation-required",
        None,
        "",
        "Signs only what a person confirmed on the trusted screen",
    ),
    Row(
        Tag::UnlockedDeviceRequired,
        "unlocked-device-required",
        None,
        "",
        "Works while the device is unlocked",
    ),
    Row(Tag::ApplicationId, "application-id", None, "HEX", "Whoever uses the key must know it"),
    Row(Tag::ApplicationData, "application-data", None, "HEX", "Whoever uses the key must know it"),
    Row(
        Tag::AttestationChallenge,
        "attestation-challenge",
        Some("challenge"),
        "HEX",
        "Asks for an attestation, which carries this; at most 128 bytes",
    ),
    Row(
        Tag::AttestationIdBrand,
        "attestation-id-brand",
        None,
        "HEX",
        "An identifier of the device to attest; for the system",
    ),
    Row(
        Tag::AttestationIdDevice,
        "attestation-id-device",
        None,
        "HEX",
        "An identifier of the device to attest; for the system",
    ),
    Row(
        Tag::AttestationIdProduct,
        "attestation-id-product",
        None,
        "HEX",
        "An identifier of the device to attest; for the system",
    ),
    Row(
        Tag::AttestationIdSerial,
        "attestation-id-serial",
        None,
        "HEX",
        "An identifier of the device to attest; for the system",
    ),
    Row(
        Tag::AttestationIdImei,
        "attestation-id-imei",
        None,
        "HEX",
        "An identifier of the device to attest; for the system",
    ),
    Row(
        Tag::AttestationIdMeid,
        "attestation-id-meid",
        None,
        "HEX",
        "An identifier of the device to attest; for the system",
    ),
    Row(
        Tag::AttestationIdManufacturer,
        "attestation-id-manufacturer",
        None,
        "HEX",
        "An identifier of the device to attest; for the system",
    ),
    Row(
        Tag::AttestationIdModel,
        "attestation-id-model",
        None,
        "HEX",
        "An identifier of the device to attest; for the system",
    ),
    Row(
        Tag::AttestationIdSecondImei,
        "attestation-id-second-imei",
        None,
        "HEX",
        "An identifier of the device to attest; for the system",
    ),
    Row(
        Tag::DeviceUniqueAttestation,
        "device-unique-attestation",
        None,
        "",
        "Attested by a key of this one device; a StrongBox's",
    ),
    Row(Tag::StorageKey, "storage-key", None, "", "A key of storage hardware"),
    Row(
        Tag::Nonce,
        "nonce",
        None,
        "HEX",
        "The nonce or initialisation vector; decrypt: instead of the one in front of the text",
    ),
    Row(
        Tag::MacLength,
        "mac-length",
        None,
        "BITS",
        "Bits of this MAC or tag [default: 128 for GCM, all of the digest for HMAC]",
    ),
    Row(
        Tag::ResetSinceIdRotation,
        "reset-since-id-rotation",
        None,
        "",
        "The device was reset since unique ids changed last",
    ),
    Row(
        Tag::CertificateSerial,
        "certificate-serial",
        None,
        "HEX",
        "The certificate's serial number [default: 1]",
    ),
    Row(
        Tag::CertificateSubject,
        "certificate-subject",
        None,
        "HEX",
        "DER of the name in the certificate",
    ),
    Row(
        Tag::CertificateNotBefore,
        "certificate-not-before",
        None,
        "TIME",
        "The certificate's first moment [default: 1970]",
    ),
    Row(
        Tag::CertificateNotAfter,
        "certificate-not-after",
        None,
        "TIME",
        "The certificate's last moment [default: 2048]",
    ),
    Row(
        Tag::MaxBootLevel,
        "max-boot-level",
        None,
        "NUMBER",
        "The last boot stage in which it works",
    ),
];

/// What the keystore says itself, and what only other parts of it give.
#[cfg(test)]
const KEYSTORES: [Tag; 3] =
    [Tag::CreationDatetime, Tag::AttestationApplicationId, Tag::ConfirmationToken];

/// What a new key obeys.
#[derive(Debug, Clone)]
pub(crate) struct KeyRules(pub(crate) Authorizations);

/// How a key is used this time.
#[derive(Debug, Clone)]
pub(crate) struct UseRules(pub(crate) Authorizations);

const fn of_key(tag: Tag) -> bool {
    matches!(tag.set_by(), SetBy::Key | SetBy::KeyAndUse | SetBy::Creation)
}

const fn of_use(tag: Tag) -> bool {
    matches!(tag.set_by(), SetBy::KeyAndUse | SetBy::Use)
}

macro_rules! options {
    ($type:ident, $which:ident, $heading:literal) => {
        impl Args for $type {
            fn augment_args(command: Command) -> Command {
                augment(command, $which, $heading)
            }

            fn augment_args_for_update(command: Command) -> Command {
                augment(command, $which, $heading)
            }
        }

        impl FromArgMatches for $type {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                parse(matches, $which).map(Self)
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                parse(matches, $which).map(|rules| self.0 = rules)
            }
        }
    };
}

options!(KeyRules, of_key, "What the key obeys");
options!(UseRules, of_use, "How it is used");

fn augment(command: Command, which: fn(Tag) -> bool, heading: &'static str) -> Command {
    let rows = ROWS.iter().filter(|row| which(row.0));
    command.args(rows.map(|Row(tag, name, alias, value, help)| {
        let arg = Arg::new(*name).long(*name).help(*help).help_heading(heading);
        let arg = match alias {
            Some(alias) => arg.visible_alias(*alias),
            None => arg,
        };
        match tag.tag_type() {
            TagType::Bool => arg.action(ArgAction::SetTrue),
            _ if tag.is_repeatable() => {
                arg.value_name(*value).action(ArgAction::Append).value_delimiter(',')
            }
            _ => arg.value_name(*value),
        }
    }))
}

fn parse(matches: &ArgMatches, which: fn(Tag) -> bool) -> Result<Authorizations, clap::Error> {
    let mut map = Map::new();
    for Row(tag, name, ..) in ROWS.iter().filter(|row| which(row.0)) {
        let wrong = |reason: String| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("--{name}: {reason}\n"))
        };
        if tag.tag_type() == TagType::Bool {
            if matches.get_flag(name) {
                map.insert(tag.name().to_owned(), json!(true));
            }
            continue;
        }
        let Some(texts) = matches.get_many::<String>(name) else { continue };
        let values: Result<Vec<Value>, String> = texts.map(|text| value(*tag, text)).collect();
        let mut values = values.map_err(wrong)?;
        let value = match tag.is_repeatable() {
            true => Value::Array(values),
            false => values.pop().unwrap_or_default(),
        };
        let one = Map::from_iter([(tag.name().to_owned(), value.clone())]);
        serde_json::from_value::<Authorizations>(Value::Object(one))
            .map_err(|error| wrong(error.to_string()))?;
        map.insert(tag.name().to_owned(), value);
    }
    serde_json::from_value(Value::Object(map))
        .map_err(|error| clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n")))
}

/// A value as JSON has it.
fn value(tag: Tag, text: &str) -> Result<Value, String> {
    match tag.tag_type() {
        _ if tag == Tag::UserAuthType => match text {
            "password" => Ok(json!(1)),
            "fingerprint" => Ok(json!(2)),
            "any" => Ok(json!(u32::MAX)),
            _ => number(text),
        },
        TagType::Enum | TagType::EnumRep => Ok(json!(text)),
        TagType::Uint | TagType::Ulong | TagType::UlongRep => number(text),
        TagType::Date => date_ms(text).map(|ms| json!(ms)),
        TagType::Bignum | TagType::Bytes => {
            let bytes = board::argument::unhex(&text.to_ascii_lowercase());
            let bytes = bytes.ok_or_else(|| format!("{text:?} is no even number of hex digits"))?;
            Ok(json!(BASE64.encode(bytes)))
        }
        TagType::Bool => Ok(json!(true)),
    }
}

fn number(text: &str) -> Result<Value, String> {
    text.parse::<u64>().map(|number| json!(number)).map_err(|_| format!("{text:?} is no number"))
}

/// `YYYY-MM-DD` at 0:00 UTC, or milliseconds since 1970.
fn date_ms(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is neither YYYY-MM-DD nor milliseconds since 1970");
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    let parts: Option<Vec<u64>> = text.split('-').map(|part| part.parse().ok()).collect();
    let &[year @ 1970..=9999, month @ 1..=12, day @ 1..=31] = &parts.ok_or_else(wrong)?[..] else {
        return Err(wrong());
    };
    // RFC 3339 has no such function; HTTP's dates do the counting, and refuse 31 February.
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS[month as usize - 1];
    let weekdays = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let moment = weekdays.iter().find_map(|weekday| {
        let date = format!("{weekday}, {day:02} {month} {year} 00:00:00 GMT");
        let moment = httpdate::parse_http_date(&date).ok()?;
        (httpdate::fmt_http_date(moment) == date).then_some(moment)
    });
    let since = moment.ok_or_else(wrong)?.duration_since(std::time::UNIX_EPOCH);
    Ok(since.map_err(|_| wrong())?.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Authorizations, String> {
        let command = KeyRules::augment_args(Command::new("test").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split_whitespace());
        let matches = matches.map_err(|error| error.to_string())?;
        KeyRules::from_arg_matches(&matches).map(|rules| rules.0).map_err(|e| e.to_string())
    }

    #[test]
    fn s3_2_each_authorization_that_a_caller_may_set_is_an_option() {
        for tag in Tag::ALL {
            let settable = (of_key(*tag) || of_use(*tag)) && !KEYSTORES.contains(tag);
            let rows: Vec<_> = ROWS.iter().filter(|row| row.0 == *tag).collect();
            assert_eq!(rows.len(), usize::from(settable), "{tag}");
            assert!(rows.iter().all(|row| row.1 == tag.name().replace('_', "-")), "{tag}");
            let takes = tag.tag_type() != TagType::Bool;
            assert!(rows.iter().all(|row| row.3.is_empty() != takes), "{tag}");
        }
    }

    #[test]
    fn options_become_authorizations() {
        let line = "--algorithm ec --curve p_256 --purpose sign,verify --digest none --digest \
                    sha_2_256 --challenge 00FF --active-datetime 2026-11-22 --user-auth-type any \
                    --user-secure-id 7 --caller-nonce --rsa-public-exponent 3";
        let said = serde_json::to_value(parsed(line).unwrap()).unwrap();
        let due = json!({
            "purpose": ["sign", "verify"], "algorithm": "ec", "digest": ["none", "sha_2_256"],
            "caller_nonce": true, "ec_curve": "p_256", "rsa_public_exponent": 3,
            "active_datetime": 1_795_305_600_000_u64, "user_secure_id": [7],
            "user_auth_type": u32::MAX, "attestation_challenge": "AP8="
        });
        assert_eq!(said, due);
    }

    #[test]
    fn what_is_wrong_is_said_with_the_option() {
        for (line, due) in [
            ("--algorithm dsa", "--algorithm: \"dsa\" is not an algorithm: rsa, ec"),
            ("--key-size many", "--key-size"),
            ("--key-size 99999999999", "--key-size"),
            ("--challenge 0", "--attestation-challenge"),
            ("--active-datetime 2026-02-31", "--active-datetime"),
            ("--active-datetime yesterday", "--active-datetime"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(due), "{line}: {error}");
        }
    }
}
