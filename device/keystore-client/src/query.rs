//! Percent-encoding (RFC 3986, 2.1) of what goes into a query.

use std::fmt::Write as _;

/// `text` with everything but unreserved characters as `%XX`.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => write!(encoded, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(percent_encoded("a-Z_9.~"), "a-Z_9.~");
        assert_eq!(percent_encoded("id:1 &ä%"), "id%3A1%20%26%C3%A4%25");
    }
}
