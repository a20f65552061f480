//! Secrets as they come in and go out: wiped when dropped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Text that is wiped: a credential, or base64 of a plaintext.
pub(crate) struct Text(Zeroizing<String>);

impl Text {
    pub(crate) fn encode(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(STANDARD.encode(bytes)))
    }

    /// The bytes, if it is standard base64 with padding.
    pub(crate) fn decode(&self) -> Option<Zeroizing<Vec<u8>>> {
        STANDARD.decode(self.0.as_bytes()).ok().map(Zeroizing::new)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Into::into)
    }
}
