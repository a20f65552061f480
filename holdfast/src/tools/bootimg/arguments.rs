//! Values on the command line, read as mkbootimg reads them.

use bootimg::boot::OsVersion;

/// An integer as Python's `int(x, 0)`: 16, 0x10, 0o20, 0b10000.
pub(super) fn integer(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.get(..2) {
        Some("0x") => (&lower[2..], 16),
        Some("0o") => (&lower[2..], 8),
        Some("0b") => (&lower[2..], 2),
        _ => (&lower[..], 10),
    };
    let is_octal_in_c = radix == 10 && digits.len() > 1 && digits.starts_with('0');
    let value = u64::from_str_radix(digits, radix).ok();
    value
        .filter(|_| !is_octal_in_c && !digits.starts_with('+'))
        .ok_or_else(|| "a number is needed, as 4096 or 0x1000".to_owned())
}

/// One that has 32 bits.
pub(super) fn word(text: &str) -> Result<u32, String> {
    u32::try_from(integer(text)?).map_err(|_| "it has more than 32 bits".to_owned())
}

/// `16`, `16.0` or `16.0.1`, each 0 to 127; nothing is none.
pub(super) fn os_version(text: &str) -> Result<(u8, u8, u8), String> {
    let wrong = || "a version as 16.0.1 is needed, each number 0 to 127".to_owned();
    if text.is_empty() {
        return Ok((0, 0, 0));
    }
    let mut numbers = [0; 3];
    let mut parts = text.split('.');
    for (number, part) in numbers.iter_mut().zip(parts.by_ref()) {
        *number = digits(part, 1..=3).filter(|&value| value < 128).ok_or_else(wrong)? as u8;
    }
    match parts.next() {
        None => Ok((numbers[0], numbers[1], numbers[2])),
        Some(_) => Err(wrong()),
    }
}

/// `2026-11`, or with a day that does not count; nothing is none.
pub(super) fn os_patch_level(text: &str) -> Result<(u16, u8), String> {
    let wrong = || "a month as 2026-11 is needed, from 2000 to 2127".to_owned();
    if text.is_empty() {
        return Ok((0, 0));
    }
    let parts: Vec<&str> = text.split('-').collect();
    let (year, month) = match parts[..] {
        [year, month] => (year, month),
        [year, month, day] if digits(day, 2..=2).is_some() => (year, month),
        _ => return Err(wrong()),
    };
    let year = digits(year, 4..=4).ok_or_else(wrong)?;
    let month = digits(month, 2..=2).ok_or_else(wrong)? as u8;
    let level = OsVersion { patch_level: (year, month), ..OsVersion::default() };
    level.pack().map(|_| level.patch_level).ok_or_else(wrong)
}

fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<u16> {
    let plain = length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// `none`, `platform`, `recovery`, `dlkm`, or a number.
pub(super) fn ramdisk_type(text: &str) -> Result<u32, String> {
    let names = ["none", "platform", "recovery", "dlkm"];
    match names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        Some(number) => Ok(number as u32),
        None => word(text),
    }
}

/// A word for a shell, quoted as Python's `shlex.quote` does.
pub(super) fn quote(text: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&byte);
    if !text.is_empty() && text.bytes().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for (text, value) in
            [("0", 0), ("16", 16), ("0x10", 16), ("0X1f", 31), ("0o20", 16), ("0b11", 3)]
        {
            assert_eq!(integer(text), Ok(value), "{text}");
        }
        for wrong in ["", "0x", "010", "-1", "+1", "1 ", "0x+1", "99999999999999999999", "é"] {
            assert!(integer(wrong).is_err(), "{wrong}");
        }
        assert!(word("0x100000000").is_err());
    }

    #[test]
    fn versions_and_months_are_whole_and_in_range() {
        assert_eq!(os_version("16"), Ok((16, 0, 0)));
        assert_eq!(os_version("127.0.1"), Ok((127, 0, 1)));
        assert_eq!((os_version(""), os_patch_level("")), (Ok((0, 0, 0)), Ok((0, 0))));
        for wrong in ["128", "1.2.3.4", "1.", "S", "1000", "+1"] {
            assert!(os_version(wrong).is_err(), "{wrong}");
        }
        assert_eq!(os_patch_level("2026-11"), Ok((2026, 11)));
        assert_eq!(os_patch_level("2026-11-05"), Ok((2026, 11)));
        for wrong in ["2026", "2026-13", "2026-00", "1999-01", "2128-01", "26-01", "2026-1"] {
            assert!(os_patch_level(wrong).is_err(), "{wrong}");
        }
        assert_eq!((ramdisk_type("DLKM"), ramdisk_type("0x7")), (Ok(3), Ok(7)));
    }

    #[test]
    fn words_are_quoted_as_shlex_does() {
        for (text, quoted) in
            [("a/b=1", "a/b=1"), ("", "''"), ("a b", "'a b'"), ("it's", "'it'\"'\"'s'")]
        {
            assert_eq!(quote(text), quoted);
        }
    }
}
