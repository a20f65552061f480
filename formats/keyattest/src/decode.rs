//! DER to [`KeyDescription`].

use crate::DecodeError;
use crate::asn1::{self, Element, Elements};
use crate::types::{
    AttestationApplicationId, AuthorizationList, KeyDescription, KeyOrigin, Oddity, Package,
    RootOfTrust, SecurityLevel, VerifiedBootState,
};
use der::Tag;
use std::collections::BTreeSet;

impl KeyDescription {
    /// Decodes the extension's value, and lists what in it was not quite as it should be.
    pub fn decode(der: &[u8]) -> Result<(Self, Vec<Oddity>), DecodeError> {
        let mut oddities = Vec::new();
        let mut fields = asn1::only(der, "KeyDescription")?.sequence("KeyDescription")?;
        let attestation_version = version(&mut fields, "attestationVersion")?;
        let description = Self {
            attestation_version,
            attestation_security_level: level(&mut fields, "attestationSecurityLevel")?,
            key_mint_version: version(&mut fields, "keyMintVersion")?,
            key_mint_security_level: level(&mut fields, "keyMintSecurityLevel")?,
            attestation_challenge: octets(&mut fields, "attestationChallenge")?,
            unique_id: octets(&mut fields, "uniqueId")?,
            software_enforced: list(
                &mut fields,
                "softwareEnforced",
                attestation_version,
                &mut oddities,
            )?,
            hardware_enforced: list(
                &mut fields,
                "hardwareEnforced",
                attestation_version,
                &mut oddities,
            )?,
        };
        fields.finish()?;
        Ok((description, oddities))
    }
}

fn version(fields: &mut Elements<'_>, place: &'static str) -> Result<u32, DecodeError> {
    let value = fields.next(place)?.unsigned(place)?;
    u32::try_from(value).map_err(|_| DecodeError::Range { place })
}

fn level(fields: &mut Elements<'_>, place: &'static str) -> Result<SecurityLevel, DecodeError> {
    one_of(&SecurityLevel::ALL, fields.next(place)?.enumerated(place)?, place)
}

fn octets(fields: &mut Elements<'_>, place: &'static str) -> Result<Vec<u8>, DecodeError> {
    Ok(fields.next(place)?.octets(place)?.to_vec())
}

/// The value numbered `number`, where all are numbered from 0.
fn one_of<T: Copy>(all: &[T], number: u64, place: &'static str) -> Result<T, DecodeError> {
    usize::try_from(number)
        .ok()
        .and_then(|number| all.get(number).copied())
        .ok_or(DecodeError::Range { place })
}

pub(crate) fn list(
    fields: &mut Elements<'_>,
    place: &'static str,
    version: u32,
    oddities: &mut Vec<Oddity>,
) -> Result<AuthorizationList, DecodeError> {
    let mut entries = fields.next(place)?.sequence(place)?;
    let mut list = AuthorizationList::default();
    let mut tags = Vec::new();
    while let Some(entry) = entries.next_or_end(place)? {
        let Tag::ContextSpecific { constructed: true, number } = entry.tag else {
            return Err(DecodeError::Type { place, found: entry.tag });
        };
        let tag = number.value();
        if tags.contains(&tag) {
            return Err(DecodeError::DuplicateTag(tag));
        }
        tags.push(tag);
        let value = asn1::only(entry.value, place)?;
        list.set(tag, value, oddities).ok_or(DecodeError::UnknownTag(tag))??;
        if !AuthorizationList::versions(tag).contains(&version) {
            oddities.push(Oddity::TagNotInVersion { tag });
        }
    }
    if !tags.is_sorted() {
        oddities.push(Oddity::TagsOutOfOrder);
    }
    note_patch_levels(&list, oddities);
    Ok(list)
}

fn note_patch_levels(list: &AuthorizationList, oddities: &mut Vec<Oddity>) {
    let levels =
        [(706, list.os_patch_level), (718, list.vendor_patch_level), (719, list.boot_patch_level)];
    for (tag, value) in levels {
        if let Some(value) = value.filter(|value| !is_patch_level(*value)) {
            oddities.push(Oddity::PatchLevel { tag, value });
        }
    }
}

/// YYYYMM or YYYYMMDD.
pub(crate) fn is_patch_level(value: u64) -> bool {
    let year_month = match value {
        100_000..=999_999 => value,
        10_000_000..=99_999_999 => value / 100,
        _ => return false,
    };
    (1..=12).contains(&(year_month % 100))
}

/// A type that an authorization can have.
pub(crate) trait Authorization: Sized {
    fn decode(
        tag: u32,
        place: &'static str,
        value: Element<'_>,
        oddities: &mut Vec<Oddity>,
    ) -> Result<Self, DecodeError>;
}

impl Authorization for bool {
    fn decode(
        _: u32,
        place: &'static str,
        value: Element<'_>,
        _: &mut Vec<Oddity>,
    ) -> Result<Self, DecodeError> {
        match value.expect(Tag::Null, place)? {
            [] => Ok(true),
            _ => Err(DecodeError::Range { place }),
        }
    }
}

impl Authorization for Option<u64> {
    fn decode(
        _: u32,
        place: &'static str,
        value: Element<'_>,
        _: &mut Vec<Oddity>,
    ) -> Result<Self, DecodeError> {
        value.unsigned(place).map(Some)
    }
}

impl Authorization for BTreeSet<u64> {
    fn decode(
        tag: u32,
        place: &'static str,
        value: Element<'_>,
        oddities: &mut Vec<Oddity>,
    ) -> Result<Self, DecodeError> {
        let elements = set_elements(value, place)?;
        if elements.is_empty() {
            oddities.push(Oddity::EmptySet { tag });
        }
        if !ascends(&elements) {
            oddities.push(Oddity::SetOutOfOrder { tag });
        }
        elements.into_iter().map(|element| element.unsigned(place)).collect()
    }
}

impl Authorization for Option<Vec<u8>> {
    fn decode(
        tag: u32,
        place: &'static str,
        value: Element<'_>,
        oddities: &mut Vec<Oddity>,
    ) -> Result<Self, DecodeError> {
        let octets = value.octets(place)?;
        if is_text(tag) && std::str::from_utf8(octets).is_err() {
            oddities.push(Oddity::NotText { tag });
        }
        Ok(Some(octets.to_vec()))
    }
}

impl Authorization for Option<KeyOrigin> {
    fn decode(
        _: u32,
        place: &'static str,
        value: Element<'_>,
        _: &mut Vec<Oddity>,
    ) -> Result<Self, DecodeError> {
        one_of(&KeyOrigin::ALL, value.unsigned(place)?, place).map(Some)
    }
}

impl Authorization for Option<RootOfTrust> {
    fn decode(
        _: u32,
        place: &'static str,
        value: Element<'_>,
        oddities: &mut Vec<Oddity>,
    ) -> Result<Self, DecodeError> {
        let mut fields = value.sequence(place)?;
        let verified_boot_key = octets(&mut fields, "verifiedBootKey")?;
        let device_locked = boolean(fields.next("deviceLocked")?, "deviceLocked", oddities)?;
        let state = fields.next("verifiedBootState")?.enumerated("verifiedBootState")?;
        let verified_boot_state = one_of(&VerifiedBootState::ALL, state, "verifiedBootState")?;
        let verified_boot_hash = match fields.next_or_end("verifiedBootHash")? {
            Some(hash) => Some(hash.octets("verifiedBootHash")?.to_vec()),
            None => None,
        };
        fields.finish()?;
        Ok(Some(RootOfTrust {
            verified_boot_key,
            device_locked,
            verified_boot_state,
            verified_boot_hash,
        }))
    }
}

impl AttestationApplicationId {
    /// From the DER that stands in tag 709's octets: what a caller of KeyMint passes.
    pub fn from_der(der: &[u8]) -> Result<Self, DecodeError> {
        let mut oddities = Vec::new();
        let octets = asn1::octets(der);
        let value = asn1::only(&octets, "attestationApplicationId")?;
        let id: Option<Self> =
            Authorization::decode(709, "attestationApplicationId", value, &mut oddities)?;
        id.ok_or(DecodeError::Missing { place: "attestationApplicationId" })
    }
}

impl Authorization for Option<AttestationApplicationId> {
    fn decode(
        tag: u32,
        place: &'static str,
        value: Element<'_>,
        oddities: &mut Vec<Oddity>,
    ) -> Result<Self, DecodeError> {
        let mut fields = asn1::only(value.octets(place)?, place)?.sequence(place)?;
        let packages = set_elements(fields.next("packageInfos")?, "packageInfos")?;
        let digests = set_elements(fields.next("signatureDigests")?, "signatureDigests")?;
        fields.finish()?;
        if !ascends(&packages) || !ascends(&digests) {
            oddities.push(Oddity::SetOutOfOrder { tag });
        }
        let packages = packages.into_iter().map(package).collect::<Result<_, _>>()?;
        let signature_digests = digests
            .into_iter()
            .map(|digest| digest.octets("signatureDigests").map(<[u8]>::to_vec))
            .collect::<Result<_, _>>()?;
        Ok(Some(AttestationApplicationId { packages, signature_digests }))
    }
}

fn package(element: Element<'_>) -> Result<Package, DecodeError> {
    let mut fields = element.sequence("packageInfos")?;
    let name = String::from_utf8(octets(&mut fields, "packageName")?)
        .map_err(|_| DecodeError::Text { place: "packageName" })?;
    let version = fields.next("version")?.unsigned("version")?;
    fields.finish()?;
    Ok(Package { name, version })
}

/// Whether octets of this tag are UTF-8: the identifiers of the device.
pub(crate) const fn is_text(tag: u32) -> bool {
    matches!(tag, 710..=717 | 723)
}

/// Whether a SET OF is in the order of DER, each element once.
fn ascends(elements: &[Element<'_>]) -> bool {
    elements.is_sorted_by(|a, b| a.raw < b.raw)
}

fn set_elements<'a>(
    value: Element<'a>,
    place: &'static str,
) -> Result<Vec<Element<'a>>, DecodeError> {
    let mut set = value.set(place)?;
    let mut elements = Vec::new();
    while let Some(element) = set.next_or_end(place)? {
        elements.push(element);
    }
    Ok(elements)
}

/// A BOOLEAN; true may be any octet but 0, as in BER: devices that wrote 1 were shipped.
fn boolean(
    element: Element<'_>,
    place: &'static str,
    oddities: &mut Vec<Oddity>,
) -> Result<bool, DecodeError> {
    match *element.expect(Tag::Boolean, place)? {
        [0] => Ok(false),
        [0xff] => Ok(true),
        [octet] => {
            oddities.push(Oddity::Boolean { octet });
            Ok(true)
        }
        _ => Err(DecodeError::Range { place }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_levels_are_dates() {
        for (value, expected) in
            [(202_408, true), (20_240_805, true), (0, false), (202_413, false), (2_024_080, false)]
        {
            assert_eq!(is_patch_level(value), expected, "{value}");
        }
    }
}
