//! Phone numbers, e-mail addresses and countries in one normal form each, and masked for display.

use crate::Error;

/// A phone number in E.164 form: `+`, then 8 to 15 digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Phone(String);

impl std::fmt::Debug for Phone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked())
    }
}

impl Phone {
    /// Accepts the usual separators and a leading `00`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = Error::Invalid {
            field: "phone",
            reason: "not an international number; write it as +49 151 23456789",
        };
        let mut digits: String = text
            .trim()
            .chars()
            .filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/'))
            .collect();
        if let Some(rest) = digits.strip_prefix("00") {
            digits = format!("+{rest}");
        }
        let Some(number) = digits.strip_prefix('+') else { return Err(bad) };
        let well_formed = (8..=15).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_digit())
            && !number.starts_with('0');
        if well_formed { Ok(Self(digits)) } else { Err(bad) }
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As `+49*******12`.
    #[must_use]
    pub fn masked(&self) -> String {
        let (head, tail) = (&self.0[..3], &self.0[self.0.len() - 2..]);
        format!("{head}{}{tail}", "*".repeat(self.0.len() - 5))
    }
}

/// An e-mail address (RFC 5321, 4.1.2: dot-string local part), its domain in lower case.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    text: String,
    at: usize,
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked())
    }
}

impl Email {
    /// Parses an address.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad =
            || Error::Invalid { field: "email", reason: "not an address such as name@example.org" };
        let (local, domain) = text.trim().rsplit_once('@').ok_or_else(bad)?;
        let local_ok = (1..=64).contains(&local.len())
            && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext));
        let domain = domain.to_ascii_lowercase();
        let domain_ok =
            domain.len() <= 253 && domain.contains('.') && domain.split('.').all(is_label);
        if !(local_ok && domain_ok) {
            return Err(bad());
        }
        Ok(Self { text: format!("{local}@{domain}"), at: local.len() })
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What comes before the `@`.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// What the blind index is over: providers deliver without regard to case.
    pub(crate) fn folded(&self) -> String {
        self.text.to_ascii_lowercase()
    }

    /// As `a***@example.org`.
    #[must_use]
    pub fn masked(&self) -> String {
        format!("{}***{}", &self.text[..1], &self.text[self.at..])
    }
}

fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A country: ISO 3166-1 alpha-2.
pub fn country(text: &str) -> Result<String, Error> {
    let code = text.trim().to_ascii_uppercase();
    if code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(code);
    }
    Err(Error::Invalid { field: "country", reason: "not a two-letter code such as DE" })
}

/// What someone types to say who they are.
#[derive(Clone)]
pub enum Login {
    /// The recovery phone.
    Phone(Phone),
    /// The recovery e-mail.
    Email(Email),
    /// The account's id.
    Account(String),
}

impl Login {
    /// Whatever it looks like; a login that is nothing of these is taken for an unknown id.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if let Ok(email) = Email::parse(text) {
            return Self::Email(email);
        }
        match Phone::parse(text) {
            Ok(phone) => Self::Phone(phone),
            Err(_) => Self::Account(text.trim().chars().take(64).collect()),
        }
    }

    /// What the blind index is over. The prefix keeps the kinds apart.
    pub(crate) fn index_input(&self) -> String {
        match self {
            Self::Phone(phone) => format!("phone:{}", phone.as_str()),
            Self::Email(email) => format!("email:{}", email.folded()),
            Self::Account(id) => format!("account:{id}"),
        }
    }
}

/// A network address, half of it hidden (S4.3.3).
#[must_use]
pub fn masked_address(address: std::net::IpAddr) -> String {
    match address {
        std::net::IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            format!("{a}.{b}.*.*")
        }
        std::net::IpAddr::V6(v6) if v6.is_loopback() => "::*".into(),
        std::net::IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            format!("{a:x}:{b:x}:*")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_phone_number_has_one_normal_form() {
        for text in ["+49 151 234-567.89", "0049 (151) 23456789", "+4915123456789"] {
            let phone = Phone::parse(text).expect(text);
            assert_eq!(phone.as_str(), "+4915123456789");
            assert_eq!(phone.masked(), "+49*********89");
        }
        for text in
            ["", "+", "015123456789", "+0123456789", "+1234567", "+12345678901234567", "+49x"]
        {
            assert!(Phone::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_email_address_has_one_normal_form() {
        let email = Email::parse(" Anna.B+tag@Example.ORG ").unwrap();
        assert_eq!(email.as_str(), "Anna.B+tag@example.org");
        assert_eq!(email.masked(), "A***@example.org");
        for text in
            ["", "@", "a@", "@b.c", "a@b", "a b@c.de", "a@b..c", "a@-b.de", "a\r\nBcc:@b.de"]
        {
            assert!(Email::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_login_panics(text in ".*") {
            let _ = Login::parse(&text).index_input();
        }
    }
}
