//! What is asked of a key, one item or many, and the answers in Vault's form.

use super::key::{KeyRing, Kind};
use crate::answer::{Answer, Refusal};
use crate::wiped::Text;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use effects::Entropy;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

/// The most items in one batch.
const MAX_ITEMS: usize = 10_000;
/// The most random bytes in one answer.
const MAX_RANDOM_BYTES: usize = 1 << 20;

/// Something done with a key's help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Encrypt,
    Decrypt,
    Rewrap,
    Hmac,
    Verify,
}

/// The body of `keys/:name`.
#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct CreateBody {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) derived: bool,
    pub(crate) convergent_encryption: bool,
    pub(crate) exportable: bool,
    pub(crate) allow_plaintext_backup: bool,
}

impl Default for CreateBody {
    fn default() -> Self {
        Self {
            kind: "aes256-gcm96".to_owned(),
            derived: false,
            convergent_encryption: false,
            exportable: false,
            allow_plaintext_backup: false,
        }
    }
}

impl CreateBody {
    /// The type, if nothing is asked for that is not offered.
    pub(crate) fn kind(&self) -> Result<Kind, Refusal> {
        if self.exportable || self.allow_plaintext_backup {
            return Err(Refusal::bad(
                "keys never leave this Key Center: exportable and \
                                     allow_plaintext_backup must be false",
            ));
        }
        if self.derived || self.convergent_encryption {
            return Err(Refusal::bad("key derivation is not supported"));
        }
        match self.kind.as_str() {
            "aes128-gcm96" => Ok(Kind::Aes128Gcm96),
            "aes256-gcm96" => Ok(Kind::Aes256Gcm96),
            "hmac" => Ok(Kind::Hmac),
            other => Err(Refusal::bad(format!("unknown key type {other}"))),
        }
    }
}

/// The body of `keys/:name/config`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConfigBody {
    #[serde(deserialize_with = "number")]
    min_decryption_version: Option<u32>,
    #[serde(deserialize_with = "number")]
    min_encryption_version: Option<u32>,
    deletion_allowed: Option<bool>,
    exportable: Option<bool>,
    allow_plaintext_backup: Option<bool>,
}

impl ConfigBody {
    pub(crate) fn apply(self, ring: &mut KeyRing) -> Result<(), Refusal> {
        if self.exportable == Some(true) || self.allow_plaintext_backup == Some(true) {
            return Err(Refusal::bad(
                "keys never leave this Key Center: exportable and \
                                     allow_plaintext_backup must be false",
            ));
        }
        let opening = self.min_decryption_version.unwrap_or(ring.min_decryption_version).max(1);
        let sealing = self.min_encryption_version.unwrap_or(ring.min_encryption_version);
        if opening > ring.latest() || sealing > ring.latest() {
            let text = "cannot set a minimum version of more than the latest key version";
            return Err(Refusal::bad(format!("{text}, {}", ring.latest())));
        }
        if sealing != 0 && sealing < opening {
            let text = "cannot set min encryption version of less than min decryption version";
            return Err(Refusal::bad(text));
        }
        ring.min_decryption_version = opening;
        ring.min_encryption_version = sealing;
        ring.deletion_allowed = self.deletion_allowed.unwrap_or(ring.deletion_allowed);
        Ok(())
    }
}

/// The body of `encrypt`, `decrypt`, `rewrap`, `hmac` and `verify`.
#[derive(Deserialize)]
pub(crate) struct CryptoBody {
    batch_input: Option<Vec<Item>>,
    #[serde(default, deserialize_with = "number")]
    partial_failure_response_code: Option<u16>,
    #[serde(flatten)]
    single: Item,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item {
    plaintext: Option<Text>,
    ciphertext: Option<String>,
    input: Option<Text>,
    hmac: Option<String>,
    associated_data: Option<String>,
    context: Option<String>,
    nonce: Option<String>,
    #[serde(deserialize_with = "number")]
    key_version: Option<u32>,
    reference: Option<String>,
}

/// An item's outcome, in Vault's form.
#[derive(Default, Serialize)]
struct Outcome {
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hmac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

impl CryptoBody {
    /// How many items it has.
    pub(crate) fn items(&self) -> usize {
        self.batch_input.as_ref().map_or(1, Vec::len)
    }
}

/// Does `verb` with each item.
pub(crate) fn run(ring: &KeyRing, verb: Verb, body: CryptoBody) -> Result<Answer, Refusal> {
    let Some(items) = body.batch_input else {
        let outcome = one(ring, verb, body.single).map_err(Refusal::bad)?;
        return Ok(Answer::data(&outcome));
    };
    if items.is_empty() || items.len() > MAX_ITEMS {
        return Err(Refusal::bad(format!("batch_input must have 1 to {MAX_ITEMS} items")));
    }
    let outcomes: Vec<_> = items.into_iter().map(|item| attempt(ring, verb, item)).collect();
    let failed = outcomes.iter().filter(|outcome| outcome.error.is_some()).count();
    let all_failed = failed == outcomes.len();
    let status = match body.partial_failure_response_code {
        _ if failed == 0 => 200,
        Some(status @ 200..=599) if !all_failed => status,
        _ => 400,
    };
    Ok(Answer::data(&json_batch(&outcomes)).with_status(status))
}

#[derive(Serialize)]
struct Batch<'a> {
    batch_results: &'a [Outcome],
}

const fn json_batch(outcomes: &[Outcome]) -> Batch<'_> {
    Batch { batch_results: outcomes }
}

fn attempt(ring: &KeyRing, verb: Verb, mut item: Item) -> Outcome {
    let reference = item.reference.take();
    let outcome = one(ring, verb, item)
        .unwrap_or_else(|error| Outcome { error: Some(error), ..Outcome::default() });
    Outcome { reference, ..outcome }
}

fn one(ring: &KeyRing, verb: Verb, item: Item) -> Result<Outcome, String> {
    if item.context.is_some_and(|c| !c.is_empty()) || item.nonce.is_some_and(|n| !n.is_empty()) {
        return Err("context and nonce are for keys with derivation, which this one has not".into());
    }
    let version = item.key_version.unwrap_or(0);
    let data = item.associated_data.unwrap_or_default();
    let data = STANDARD.decode(data).map_err(|_| "failed to base64-decode associated_data")?;
    match verb {
        Verb::Encrypt => {
            let plaintext = decode(item.plaintext, "plaintext")?;
            sealed(ring.encrypt(version, &data, &plaintext)?)
        }
        Verb::Decrypt => {
            let ciphertext = item.ciphertext.ok_or("missing ciphertext to decrypt")?;
            let plaintext = Text::encode(&ring.decrypt(&data, &ciphertext)?);
            Ok(Outcome { plaintext: Some(plaintext), ..Outcome::default() })
        }
        Verb::Rewrap => {
            let ciphertext = item.ciphertext.ok_or("missing ciphertext to decrypt")?;
            let plaintext = ring.decrypt(&data, &ciphertext)?;
            sealed(ring.encrypt(version, &data, &plaintext)?)
        }
        Verb::Hmac => {
            let hmac = ring.hmac(version, &decode(item.input, "input")?)?;
            Ok(Outcome { hmac: Some(hmac), ..Outcome::default() })
        }
        Verb::Verify => {
            let tag = item.hmac.ok_or("missing hmac to verify")?;
            let valid = ring.verify_hmac(&decode(item.input, "input")?, &tag)?;
            Ok(Outcome { valid: Some(valid), ..Outcome::default() })
        }
    }
}

fn sealed((ciphertext, version): (String, u32)) -> Result<Outcome, String> {
    let (ciphertext, key_version) = (Some(ciphertext), Some(version));
    Ok(Outcome { ciphertext, key_version, ..Outcome::default() })
}

fn decode(text: Option<Text>, field: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = text.ok_or_else(|| format!("missing {field}"))?;
    text.decode().ok_or_else(|| format!("failed to base64-decode {field}"))
}

/// The body of `datakey/:kind/:name`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct DataKeyBody {
    #[serde(deserialize_with = "number")]
    bits: Option<u32>,
    associated_data: Option<String>,
}

/// A fresh data key, sealed under `ring`, and in the clear where `plaintext` says so.
pub(crate) fn data_key(
    ring: &KeyRing,
    plaintext: bool,
    body: DataKeyBody,
    entropy: &dyn Entropy,
) -> Result<Answer, Refusal> {
    let length = match body.bits.unwrap_or(256) {
        bits @ (128 | 256 | 512) => bits as usize / 8,
        _ => return Err(Refusal::bad("invalid bit length")),
    };
    let data = STANDARD.decode(body.associated_data.unwrap_or_default());
    let data = data.map_err(|_| Refusal::bad("failed to base64-decode associated_data"))?;
    let mut key = Zeroizing::new(vec![0; length]);
    entropy.fill(&mut key);
    let mut outcome =
        sealed(ring.encrypt(0, &data, &key).map_err(Refusal::bad)?).map_err(Refusal::bad)?;
    outcome.plaintext = plaintext.then(|| Text::encode(&key));
    Ok(Answer::data(&outcome))
}

/// The body of `random`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct RandomBody {
    #[serde(deserialize_with = "number")]
    bytes: Option<usize>,
    format: Option<String>,
}

/// Random bytes; the number in the path wins over that in the body.
pub(crate) fn random(
    in_path: Option<usize>,
    body: RandomBody,
    entropy: &dyn Entropy,
) -> Result<Answer, Refusal> {
    let length = in_path.or(body.bytes).unwrap_or(32);
    if !(1..=MAX_RANDOM_BYTES).contains(&length) {
        return Err(Refusal::bad(format!("bytes must be 1 to {MAX_RANDOM_BYTES}")));
    }
    let mut bytes = vec![0; length];
    entropy.fill(&mut bytes);
    let text = match body.format.as_deref() {
        None | Some("base64") => STANDARD.encode(bytes),
        Some("hex") => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Some(_) => return Err(Refusal::bad("unsupported encoding format; must be hex or base64")),
    };
    Ok(Answer::data(&json!({"random_bytes": text})))
}

/// Vault's clients send numbers as numbers or as text.
fn number<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: TryFrom<u64>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Number(u64),
        Text(String),
    }
    let number = match Option::<Number>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Number::Number(number)) => Some(number),
        Some(Number::Text(text)) => text.parse().ok(),
    };
    let number = number.and_then(|number| T::try_from(number).ok());
    number.map(Some).ok_or_else(|| serde::de::Error::custom("not a number in range"))
}
