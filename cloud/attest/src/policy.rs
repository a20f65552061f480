//! What a relying party wants of a device and its key.

use crate::examine::Examined;
use crate::hex;
use crate::statement::{boot_word, level_word};
use keyattest::{SecurityLevel, VerifiedBootState, value};
use serde::{Deserialize, Serialize};

/// Whose root a chain ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootOwner {
    /// A maker that is registered here.
    Makers,
    /// Our own provisioning.
    Cloud,
    /// Google's two.
    Google,
    /// One that whoever runs this cloud configured.
    Configured,
}

/// A policy. What it does not name is as in its default: a device of ours, enrolled, locked, green,
/// with nothing odd in its statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whose devices.
    pub roots: Vec<RootOwner>,
    /// The device is in the registry of its maker. Only devices of ours can be.
    pub enrolled: bool,
    /// `trusted_environment` or `strongbox`, at least.
    pub security_level: String,
    /// The bootloader is locked.
    pub locked: bool,
    /// One of `green`, `yellow`, `orange`, `red`.
    pub boot_states: Vec<String>,
    /// SHA-256 of a key that verified the system, hexadecimal: one of these; none means any.
    pub verified_boot_keys: Vec<String>,
    /// `YYYYMM`, at least.
    pub min_os_patch_level: u32,
    /// `YYYYMMDD`, at least.
    pub min_vendor_patch_level: u32,
    /// `YYYYMMDD`, at least.
    pub min_boot_patch_level: u32,
    /// As 140000, at least.
    pub min_os_version: u32,
    /// The application that asked is one of these; none means any.
    pub packages: Vec<PackagePolicy>,
    /// The key.
    pub key: KeyPolicy,
    /// Take statements too that are not quite as they should be, as some real phones make them.
    pub allow_oddities: bool,
}

/// An application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagePolicy {
    /// As `org.example.app`.
    pub name: String,
    /// SHA-256 of its signing certificate, hexadecimal: one of these.
    pub signers: Vec<String>,
    /// Its version, at least.
    #[serde(default)]
    pub min_version: u64,
}

/// What the key must be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyPolicy {
    /// Only for signing and verifying.
    pub sign_only: bool,
    /// A person must prove to be there before each use, or shortly before.
    pub user_authentication: bool,
    /// Usable only while the device is unlocked.
    pub unlocked_device: bool,
    /// Deletion is final.
    pub rollback_resistance: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            roots: vec![RootOwner::Makers, RootOwner::Cloud],
            enrolled: true,
            security_level: "trusted_environment".to_owned(),
            locked: true,
            boot_states: vec!["green".to_owned()],
            verified_boot_keys: Vec::new(),
            min_os_patch_level: 0,
            min_vendor_patch_level: 0,
            min_boot_patch_level: 0,
            min_os_version: 0,
            packages: Vec::new(),
            key: KeyPolicy::default(),
            allow_oddities: false,
        }
    }
}

/// A rule that is not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// One word.
    pub code: String,
    /// A sentence.
    pub detail: String,
}

impl Violation {
    pub(crate) fn new(code: &str, detail: impl std::fmt::Display) -> Self {
        Self { code: code.to_owned(), detail: detail.to_string() }
    }
}

const LEVELS: [SecurityLevel; 3] =
    [SecurityLevel::Software, SecurityLevel::TrustedEnvironment, SecurityLevel::StrongBox];
const STATES: [VerifiedBootState; 4] = [
    VerifiedBootState::Verified,
    VerifiedBootState::SelfSigned,
    VerifiedBootState::Unverified,
    VerifiedBootState::Failed,
];

impl Policy {
    /// The field whose value can't be obeyed, if there is one.
    #[must_use]
    pub fn wrong_field(&self) -> Option<(&'static str, &'static str)> {
        let digest = |text: &String| text.len() == 64 && is_lower_hex(text);
        let state = |text: &String| STATES.iter().any(|state| boot_word(*state) == text);
        let signed = |package: &PackagePolicy| {
            !package.signers.is_empty() && package.signers.iter().all(digest)
        };
        let level = self.level().is_some_and(|level| level != SecurityLevel::Software);
        let ours = |root: &RootOwner| matches!(root, RootOwner::Makers | RootOwner::Cloud);
        let rules = [
            (!self.roots.is_empty(), "roots", "at least one of makers, cloud, google, configured"),
            (
                !self.enrolled || self.roots.iter().all(ours),
                "enrolled",
                "only devices of ours are enrolled: false where roots names google or configured",
            ),
            (level, "security_level", "trusted_environment or strongbox"),
            (
                !self.boot_states.is_empty() && self.boot_states.iter().all(state),
                "boot_states",
                "at least one of green, yellow, orange, red",
            ),
            (
                self.verified_boot_keys.iter().all(digest),
                "verified_boot_keys",
                "64 lower-case hexadecimal digits each",
            ),
            (
                self.packages.iter().all(signed),
                "packages",
                "each with at least one signer, 64 lower-case hexadecimal digits",
            ),
        ];
        rules.into_iter().find(|(met, ..)| !met).map(|(_, field, reason)| (field, reason))
    }

    fn level(&self) -> Option<SecurityLevel> {
        LEVELS.into_iter().find(|level| level_word(*level) == self.security_level)
    }

    /// Every rule that a sound chain does not meet.
    pub(crate) fn violations(&self, examined: &Examined) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut rule = |met: bool, code: &str, detail: &dyn std::fmt::Display| {
            if !met {
                found.push(Violation::new(code, detail));
            }
        };
        let statement = &examined.statement;
        let owner = examined.owner;
        rule(self.roots.contains(&owner), "ROOT", &format_args!("the root is {owner:?}"));
        let level = statement.security_level;
        let enough = self.level().is_some_and(|due| level >= due);
        rule(enough, "SECURITY_LEVEL", &format_args!("it is {}", level_word(level)));
        let root = &statement.root_of_trust;
        rule(!self.locked || root.device_locked, "UNLOCKED", &"the bootloader is unlocked");
        let state = boot_word(root.verified_boot_state);
        let allowed = self.boot_states.iter().any(|it| it == state);
        rule(allowed, "BOOT_STATE", &format_args!("it is {state}"));
        let key = hex(&root.verified_boot_key);
        let known = self.verified_boot_keys.is_empty() || self.verified_boot_keys.contains(&key);
        rule(known, "BOOT_KEY", &format_args!("it is {key}"));
        let hardware = &statement.description.hardware_enforced;
        for (code, least, said) in [
            ("OS_VERSION", self.min_os_version, hardware.os_version),
            ("OS_PATCH_LEVEL", self.min_os_patch_level, hardware.os_patch_level),
            ("VENDOR_PATCH_LEVEL", self.min_vendor_patch_level, hardware.vendor_patch_level),
            ("BOOT_PATCH_LEVEL", self.min_boot_patch_level, hardware.boot_patch_level),
        ] {
            let said = dated(said.unwrap_or(0), least);
            rule(said >= u64::from(least), code, &format_args!("it is {said}, {least} is due"));
        }
        rule(self.packages_match(examined), "PACKAGE", &"another application asked, or another's");
        rule(
            self.allow_oddities || statement.oddities.is_empty(),
            "ODDITIES",
            &format_args!("{:?}", statement.oddities),
        );
        found.extend(self.key.violations(examined));
        found
    }

    /// The system says which application asked: packages that share a user id, each signed by all
    /// of the digests.
    fn packages_match(&self, examined: &Examined) -> bool {
        if self.packages.is_empty() {
            return true;
        }
        let software = &examined.statement.description.software_enforced;
        let Some(said) = &software.attestation_application_id else { return false };
        let signer = |due: &PackagePolicy| {
            said.signature_digests.iter().any(|digest| due.signers.contains(&hex(digest)))
        };
        let named = |due: &PackagePolicy| {
            let fits =
                |it: &keyattest::Package| it.name == due.name && it.version >= due.min_version;
            said.packages.iter().any(fits)
        };
        self.packages.iter().any(|due| named(due) && signer(due))
    }
}

impl KeyPolicy {
    fn violations(&self, examined: &Examined) -> Vec<Violation> {
        let list = &examined.statement.description.hardware_enforced;
        let signs = [value::PURPOSE_SIGN, value::PURPOSE_VERIFY];
        let only = list.purpose.contains(&value::PURPOSE_SIGN)
            && list.purpose.iter().all(|purpose| signs.contains(purpose));
        let guarded = !list.no_auth_required && list.user_auth_type.is_some_and(|it| it != 0);
        let rules = [
            (!self.sign_only || only, "KEY_PURPOSE", "the key does not only sign"),
            (
                !self.user_authentication || guarded,
                "KEY_USER_AUTHENTICATION",
                "the key is usable without its person",
            ),
            (
                !self.unlocked_device || list.unlocked_device_required,
                "KEY_UNLOCKED_DEVICE",
                "the key is usable while the device is locked",
            ),
            (
                !self.rollback_resistance || list.rollback_resistance,
                "KEY_ROLLBACK_RESISTANCE",
                "the key could come back after its deletion",
            ),
        ];
        rules
            .into_iter()
            .filter(|(met, ..)| !met)
            .map(|(_, code, detail)| Violation::new(code, detail))
            .collect()
    }
}

/// A patch level as a date of `least`'s form: some devices say YYYYMM where YYYYMMDD is due.
const fn dated(said: u64, least: u32) -> u64 {
    match (said, least) {
        (100_000..=999_999, 10_000_000..) => said * 100,
        (10_000_000..=99_999_999, 1..=999_999) => said / 100,
        _ => said,
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_only_what_it_can_mean() {
        let of = |json: &str| serde_json::from_str::<Policy>(json);
        assert_eq!(of("{}").unwrap(), Policy::default());
        assert_eq!(Policy::default().wrong_field(), None);
        assert!(of(r#"{"lokced": false}"#).is_err(), "a typing mistake is no rule");
        for (json, field) in [
            (r#"{"roots": []}"#, "roots"),
            (r#"{"roots": ["google"]}"#, "enrolled"),
            (r#"{"security_level": "software"}"#, "security_level"),
            (r#"{"boot_states": ["blue"]}"#, "boot_states"),
            (r#"{"boot_states": []}"#, "boot_states"),
            (r#"{"verified_boot_keys": ["AB"]}"#, "verified_boot_keys"),
            (r#"{"packages": [{"name": "a", "signers": []}]}"#, "packages"),
        ] {
            assert_eq!(of(json).unwrap().wrong_field().unwrap().0, field, "{json}");
        }
        let google = of(r#"{"roots": ["google"], "enrolled": false}"#).unwrap();
        assert_eq!(google.wrong_field(), None);
    }

    #[test]
    fn patch_levels_of_two_forms_compare() {
        assert_eq!(dated(202_601, 20_260_101), 20_260_100);
        assert_eq!(dated(20_260_105, 202_601), 202_601);
        assert_eq!(dated(150_000, 140_000), 150_000);
    }
}
