//! What a device is, as its maker says: the identifiers that it may attest later.

use serde::Serialize;

/// Digits of an IMEI (3GPP TS 23.003, 6.2.1).
const IMEI_DIGITS: usize = 15;

/// The identifiers; the serial number is the board's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identifiers {
    /// As `holdfast`.
    pub brand: String,
    /// As `hf1` (`ro.product.device`).
    pub device: String,
    /// As `hf1`.
    pub product: String,
    /// As `Holdfast`.
    pub manufacturer: String,
    /// As `hf1`.
    pub model: String,
    /// Of the modem; `None` where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imei: Option<Imei>,
}

/// An IMEI: 15 digits, the last of which checks the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Imei(String);

/// Why a text is no IMEI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an IMEI has 15 digits, the last of which checks the others (Luhn)")]
pub struct NoImei;

impl std::str::FromStr for Imei {
    type Err = NoImei;

    fn from_str(text: &str) -> Result<Self, NoImei> {
        let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(10)).collect();
        let digits = digits.filter(|digits| digits.len() == IMEI_DIGITS).ok_or(NoImei)?;
        let weighed = digits.iter().rev().enumerate().map(|(at, digit)| match at % 2 {
            0 => *digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        });
        if weighed.sum::<u32>() % 10 == 0 { Ok(Self(text.to_owned())) } else { Err(NoImei) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_digit_of_an_imei_checks_the_others() {
        assert!("490154203237518".parse::<Imei>().is_ok());
        for wrong in ["490154203237517", "490154203237581", "49015420323751", "", "49015420323751x"]
        {
            assert_eq!(wrong.parse::<Imei>(), Err(NoImei), "{wrong}");
        }
    }
}
