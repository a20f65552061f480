//! Percent-encoding (RFC 3986, 2.1) of paths, which are bytes and need not be UTF-8.

/// `bytes` with everything but unreserved characters and `/` encoded.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The bytes behind `text`; `None` where an escape is malformed.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

/// The value of `name` in a query, as bytes: `None` where it is malformed, empty where it is
/// not there.
#[must_use]
pub fn query_value(query: Option<&str>, name: &str) -> Option<Vec<u8>> {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next();
    decode(value.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_any_bytes_and_refuses_malformed_escapes() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        assert_eq!(encode(b"a b/\xff"), "a%20b/%FF");
        for malformed in ["%", "%4", "%g1", "%+1", "a%"] {
            assert_eq!(decode(malformed), None, "{malformed}");
        }
        assert_eq!(query_value(Some("x=1&path=a%2Fb"), "path"), Some(b"a/b".to_vec()));
        assert_eq!(query_value(None, "path"), Some(Vec::new()));
        assert_eq!(query_value(Some("path=%zz"), "path"), None);
    }
}
