//! A message as a program's argument: CBOR in hexadecimal.

use crate::channel::{self, ChannelError};
use serde::{Serialize, de::DeserializeOwned};

/// `message` as an argument.
pub fn encode<T: Serialize>(message: &T) -> Result<String, ChannelError> {
    channel::encode(message).map(|bytes| hex(&bytes))
}

/// The message in an argument.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, ChannelError> {
    let bytes = unhex(text).ok_or_else(|| ChannelError::Malformed("not hexadecimal".into()))?;
    channel::decode(&bytes)
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads hexadecimal of an even length.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power::ResetReason;
    use crate::report::{BootArgs, Slot};

    #[test]
    fn arguments_survive_the_way_to_the_next_stage() {
        let arguments = BootArgs {
            slot: Slot::B,
            boot_no: 7,
            reset: ResetReason::Verity,
            data_dir: "/where data/is".into(),
            run_dir: "/run".into(),
            bl1_index: 3,
            tee_index: 4,
        };
        let text = encode(&arguments).unwrap();
        assert_eq!(decode::<BootArgs>(&text).unwrap(), arguments);
        for hostile in ["", "0", "zz", "a0", "é0", "ff00", &format!("{text}00")] {
            assert!(decode::<BootArgs>(hostile).is_err(), "{hostile:?}");
        }
    }
}
