//! Questions and answers as they travel.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Base64 text that is wiped when dropped.
pub(crate) struct Wiped(Zeroizing<String>);

impl Wiped {
    pub(crate) fn encode(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(STANDARD.encode(bytes)))
    }

    pub(crate) fn decode(self) -> Option<Zeroizing<Vec<u8>>> {
        STANDARD.decode(self.0.as_bytes()).ok().map(Zeroizing::new)
    }

    /// Text that is no base64: a credential.
    pub(crate) fn text(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    pub(crate) fn into_text(self) -> Zeroizing<String> {
        self.0
    }
}

impl Serialize for Wiped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Wiped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// The envelope of an answer.
#[derive(Deserialize)]
pub(crate) struct Data<T> {
    pub(crate) data: T,
}

#[derive(Deserialize)]
pub(crate) struct LoginAnswer {
    pub(crate) auth: Auth,
}

#[derive(Deserialize)]
pub(crate) struct Auth {
    pub(crate) client_token: Wiped,
    /// Seconds; 0 where the token does not end.
    pub(crate) lease_duration: u64,
}

#[derive(Deserialize)]
pub(crate) struct DataKeyAnswer {
    pub(crate) plaintext: Wiped,
    pub(crate) ciphertext: String,
}

#[derive(Deserialize)]
pub(crate) struct PolicyAnswer {
    pub(crate) policy: String,
}

#[derive(Serialize)]
pub(crate) struct BatchQuestion<'a> {
    pub(crate) batch_input: &'a [BatchItem],
}

#[derive(Deserialize)]
pub(crate) struct BatchAnswer {
    pub(crate) batch_results: Vec<BatchItem>,
}

/// An item of a batch, there or back.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct BatchItem {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plaintext: Option<Wiped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ciphertext: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) associated_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<Wiped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hmac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The reasons in the body of a refusal.
pub(crate) fn errors(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<String>,
    }
    let errors = serde_json::from_slice::<Errors>(body).map(|body| body.errors.join("; "));
    errors.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "no reason given".to_owned())
}

/// Whether the body of a 400 carries the results of a batch.
pub(crate) fn holds_results(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Results {
        #[serde(rename = "batch_results")]
        _results: Vec<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Data<Results>>(body).is_ok()
}

/// Whether every field of `wanted` has its value in `there`.
pub(crate) fn agrees(there: &serde_json::Value, wanted: &serde_json::Value) -> bool {
    let fields = wanted.as_object().into_iter().flatten();
    fields.into_iter().all(|(name, value)| there.get(name) == Some(value))
}
