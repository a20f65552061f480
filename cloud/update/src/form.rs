//! The form of what makers and devices write.

use crate::error::Error;
use wire::update::{Announcement, NewPackage};

/// The longest name of a model or channel.
const NAME_BYTES: usize = 64;
/// The longest build fingerprint.
const BUILD_BYTES: usize = 256;
/// The longest reason of a failure.
const REASON_BYTES: usize = 64;
/// The largest package: more than any system partition has.
const PACKAGE_BYTES: u64 = 1 << 40;

pub(crate) fn announcement(announcement: &Announcement) -> Result<(), Error> {
    let Announcement { model, channel, build, timestamp, security_patch, rollout, package } =
        announcement;
    name("model", model)?;
    name("channel", channel)?;
    self::build("build", build)?;
    self::timestamp(*timestamp)?;
    patch(security_patch)?;
    percentages(Some(rollout.percentage), Some(rollout.failure_percentage))?;
    self::package(package, build).map(drop)
}

/// A package for a release of `target`; its digest.
pub(crate) fn package(package: &NewPackage, target: &str) -> Result<[u8; 32], Error> {
    if let Some(source) = &package.source_build {
        build("source_build", source)?;
        if source == target {
            let reason = "a delta starts from another build than it leads to";
            return Err(Error::invalid("source_build", reason));
        }
    }
    if !(1..=PACKAGE_BYTES).contains(&package.size) {
        return Err(Error::invalid("size", "the zip's bytes, from 1 to 2^40"));
    }
    digest(&package.sha256)
}

pub(crate) fn percentages(
    percentage: Option<u8>,
    failure_percentage: Option<u8>,
) -> Result<(), Error> {
    if percentage.is_some_and(|percentage| percentage > 100) {
        return Err(Error::invalid("percentage", "from 0 to 100"));
    }
    if failure_percentage.is_some_and(|percentage| percentage > 100) {
        return Err(Error::invalid("failure_percentage", "from 0 to 100; 100 never stops"));
    }
    Ok(())
}

pub(crate) fn name(field: &'static str, name: &str) -> Result<(), Error> {
    printable(name, NAME_BYTES).ok_or_else(|| {
        Error::invalid(field, "1 to 64 printable ASCII characters, no space at the ends")
    })
}

pub(crate) fn build(field: &'static str, build: &str) -> Result<(), Error> {
    printable(build, BUILD_BYTES).ok_or_else(|| {
        Error::invalid(field, "1 to 256 printable ASCII characters, no space at the ends")
    })
}

fn printable(text: &str, longest: usize) -> Option<()> {
    let good = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    let fits = !text.is_empty() && text.len() <= longest && text.trim() == text;
    (fits && text.bytes().all(good)).then_some(())
}

/// Seconds since 1970, as the database keeps them.
pub(crate) fn timestamp(seconds: u64) -> Result<i64, Error> {
    i64::try_from(seconds).map_err(|_| Error::invalid("timestamp", "seconds since 1970"))
}

/// `YYYY-MM-DD`; as a number, `YYYYMM`.
pub(crate) fn patch(text: &str) -> Result<u32, Error> {
    let due = || Error::invalid("security_patch", "a date as YYYY-MM-DD");
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return Err(due());
    }
    let number = |digits: &[u8]| {
        let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
        digits.iter().try_fold(0_u32, |all, byte| Some(all * 10 + digit(byte)?))
    };
    let year = number(&bytes[..4]).ok_or_else(due)?;
    let month = number(&bytes[5..7]).filter(|month| (1..=12).contains(month)).ok_or_else(due)?;
    number(&bytes[8..]).filter(|day| (1..=31).contains(day)).ok_or_else(due)?;
    Ok(year * 100 + month)
}

pub(crate) fn reason(reason: &str) -> Result<(), Error> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let fits = !reason.is_empty() && reason.len() <= REASON_BYTES;
    if fits && reason.bytes().all(good) {
        return Ok(());
    }
    Err(Error::invalid("reason", "a word of 1 to 64 small letters, digits and '_'"))
}

pub(crate) fn digest(text: &str) -> Result<[u8; 32], Error> {
    let due = || Error::invalid("sha256", "64 hexadecimal digits");
    let nibble = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    if text.len() != 64 {
        return Err(due());
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let (high, low) = nibble(pair[0]).zip(nibble(pair[1])).ok_or_else(due)?;
        *byte = high << 4 | low;
    }
    Ok(digest)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_patches_are_dates() {
        assert_eq!(patch("2026-11-05").unwrap(), 202_611);
        for bad in [
            "",
            "2026-11",
            "2026-13-01",
            "2026-00-01",
            "2026-01-32",
            "2026/01/01",
            "2026-1-011",
            "+026-01-01",
            "2026-01-0ä",
        ] {
            assert!(patch(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_read_as_they_were_written() {
        let digest: [u8; 32] = std::array::from_fn(|at| at as u8 * 7);
        assert_eq!(super::digest(&hex(&digest)).unwrap(), digest);
        assert_eq!(super::digest(&hex(&digest).to_uppercase()).unwrap(), digest);
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"ä".repeat(32)] {
            assert!(super::digest(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_short_and_printable() {
        for good in ["hf1", "Kelp 8 Pro", &"x".repeat(64)] {
            assert!(name("model", good).is_ok(), "{good}");
        }
        for bad in ["", " x", "x ", "a\nb", "ä", "a\0", &"x".repeat(65)] {
            assert!(name("model", bad).is_err(), "{bad:?}");
        }
        for bad in ["", "No", "a-b", "ä", &"x".repeat(65)] {
            assert!(reason(bad).is_err(), "{bad:?}");
        }
    }
}
