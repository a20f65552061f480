//! Subkeys of the synthetic password (NIST SP 800-108r1, 4.1: counter mode, HMAC-SHA-256).

use crypto::mac::hmac_sha256;
use crypto::secret::Secret;

/// Android's, for all subkeys of a synthetic password.
const CONTEXT: &[u8] = b"android-synthetic-password-personalization-context";
/// The label of the key that opens the CE area.
pub(crate) const CE_KEY: &[u8] = b"fbe-key";
/// The label of the key that opens what the keystore encrypts once more.
pub(crate) const KEYSTORE_KEY: &[u8] = b"keystore-password";

/// The 256-bit subkey of `secret` for `label`: one block, `[1]32 || label || 00 || context ||
/// [256]32`.
pub(crate) fn subkey(secret: &Secret<32>, label: &[u8]) -> Secret<32> {
    let (counter, bits) = (1_u32.to_be_bytes(), 256_u32.to_be_bytes());
    Secret::new(hmac_sha256(secret.expose(), &[&counter, label, &[0], CONTEXT, &bits]))
}
