//! What avbtool leaves to Python: how numbers are read, bytes shown, paths taken apart.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// `int(text, 0)`: decimal, or `0x`, `0o`, `0b`; underscores between digits.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix('+').unwrap_or(trimmed);
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ => (10, digits),
    };
    let prefixed = radix != 10;
    let digits = digits.strip_prefix('_').filter(|_| prefixed).unwrap_or(digits);
    let invalid = || format!("invalid number value: '{text}'");
    let plain = without_underscores(digits).ok_or_else(invalid)?;
    if !prefixed && plain.starts_with('0') && plain.bytes().any(|digit| digit != b'0') {
        return Err(invalid());
    }
    u64::from_str_radix(&plain, radix).map_err(|_| invalid())
}

/// [`number`], for a field of 32 bits.
pub(super) fn number32(text: &str) -> Result<u32, String> {
    number(text)?.try_into().map_err(|_| format!("'{text}' does not fit 32 bits"))
}

/// `int(text)`: decimal.
pub(super) fn decimal(text: &str) -> Option<i64> {
    let trimmed = text.trim();
    let unsigned = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let value: i64 = without_underscores(unsigned)?.parse().ok()?;
    Some(if trimmed.starts_with('-') { -value } else { value })
}

/// Digits without the underscores between them.
fn without_underscores(digits: &str) -> Option<String> {
    let good = !digits.is_empty()
        && digits.split('_').all(|part| !part.is_empty())
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    good.then(|| digits.replace('_', ""))
}

/// `repr(bytes)`.
pub(super) fn repr_bytes(bytes: &[u8]) -> String {
    let quote = quote_for(bytes.contains(&b'\''), bytes.contains(&b'"'));
    let mut out = format!("b{quote}");
    for &byte in bytes {
        match byte {
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\\' => out.push_str("\\\\"),
            0x20..=0x7e => {
                if char::from(byte) == quote {
                    out.push('\\');
                }
                out.push(byte.into());
            }
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push(quote);
    out
}

/// `repr(text)` of text that [`repr_bytes`] made: printable ASCII.
pub(super) fn repr_text(text: &str) -> String {
    let quote = quote_for(text.contains('\''), text.contains('"'));
    let mut out = String::from(quote);
    for c in text.chars() {
        if c == quote || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push(quote);
    out
}

const fn quote_for(single: bool, double: bool) -> char {
    if single && !double { '"' } else { '\'' }
}

/// How Python words a failed system call: `[Errno 2] No such file or directory: 'x'`.
pub(super) fn os_error(error: &io::Error, path: &Path) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or_default();
    let shown = path.display();
    match error.raw_os_error() {
        Some(number) => format!("[Errno {number}] {plain}: '{shown}'"),
        None => format!("{plain}: '{shown}'"),
    }
}

/// The file of `partition` beside `image`: same folder, same extension, as
/// `os.path.dirname` and `os.path.splitext` take them.
pub(super) fn sibling(image: &Path, partition: &str) -> PathBuf {
    let bytes = image.as_os_str().as_bytes();
    let slash = bytes.iter().rposition(|&byte| byte == b'/');
    let name = &bytes[slash.map_or(0, |at| at + 1)..];
    let mut path = slash.map_or(&bytes[..0], |at| &bytes[..=at]).to_vec();
    if path.iter().any(|&byte| byte != b'/') {
        while path.ends_with(b"//") {
            path.pop();
        }
    }
    path.extend(partition.as_bytes());
    path.extend(extension(name));
    PathBuf::from(OsString::from_vec(path))
}

/// The extension with its dot. Dots at the start of a name make no extension.
fn extension(name: &[u8]) -> &[u8] {
    let start = name.iter().take_while(|&&byte| byte == b'.').count();
    match name[start..].iter().rposition(|&byte| byte == b'.') {
        Some(at) => &name[start + at..],
        None => &[],
    }
}

/// `bytes.hex()`.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `binascii.unhexlify(text)`, with its complaints.
pub(super) fn unhex(text: &str) -> Result<Vec<u8>, &'static str> {
    if !text.len().is_multiple_of(2) {
        return Err("Odd-length string");
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks_exact(2).map(|pair| {
        let value = digit(pair[0])? << 4 | digit(pair[1])?;
        u8::try_from(value).ok()
    });
    pairs.collect::<Option<_>>().ok_or("Non-hexadecimal digit found")
}

/// Whether a path given to an option means a standard stream.
pub(super) fn is_standard_stream(path: &Path) -> bool {
    path.as_os_str() == OsStr::new("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_python_reads_them() {
        for (text, value) in [
            ("0", Some(0)),
            ("00", Some(0)),
            ("010", None),
            ("4096", Some(4096)),
            ("0x1000", Some(4096)),
            ("0X10", Some(16)),
            ("0o17", Some(15)),
            ("0b11", Some(3)),
            (" 1_000 ", Some(1000)),
            ("0x_ff", Some(255)),
            ("1__0", None),
            ("_1", None),
            ("", None),
            ("0x", None),
            ("-1", None),
            ("1e3", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(number(text).ok(), value, "{text}");
        }
        assert_eq!(decimal("-3"), Some(-3));
        assert_eq!(decimal("0x3"), None);
        assert_eq!(decimal("--3"), None);
    }

    #[test]
    fn bytes_show_as_python_shows_them() {
        assert_eq!(repr_bytes(b"plain"), "b'plain'");
        assert_eq!(repr_bytes(b"it's"), "b\"it's\"");
        assert_eq!(repr_bytes(b"it's \"x\""), r#"b'it\'s "x"'"#);
        assert_eq!(repr_bytes(b"\0\n\\\xff"), r"b'\x00\n\\\xff'");
        assert_eq!(repr_text(&repr_bytes(b"\0a")), r#""b'\\x00a'""#);
    }

    #[test]
    fn a_partition_lies_beside_its_image() {
        for (image, path) in [
            ("vbmeta.img", "boot.img"),
            ("out/vbmeta.img", "out/boot.img"),
            ("/vbmeta", "/boot"),
            ("a.b/vbmeta", "a.b/boot"),
            ("out/.img", "out/boot"),
            ("vbmeta.tar.gz", "boot.gz"),
            ("vbmeta.", "boot."),
            ("out///vbmeta.img", "out/boot.img"),
            ("//vbmeta.img", "//boot.img"),
        ] {
            let found = sibling(Path::new(image), "boot");
            assert_eq!(found.as_os_str(), OsStr::new(path), "{image}");
        }
    }
}
