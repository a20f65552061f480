//! What the boot ROM measures, and the policy that is made of it.
//!
//! PCR 23 (application support, PC Client Platform TPM Profile 4.7.1) starts at zeros when the
//! device is powered on and is extended once: with serial number and root keys. So the HUK works
//! for a ROM that runs exactly what these keys signed. Images are not measured one by one: an
//! update that the maker signed needs no new policy, and an older one is refused by the counters
//! (docs/decisions/0017-tpm-board.md). At power-off the PCR is extended again ([`CAP`]): until the
//! next power-on nobody uses the HUK.

use crate::wire::Writer;
use crypto::digest::sha256;

/// The PCR of the boot chain.
pub const PCR: u32 = 23;
/// What the PCR is extended with when power goes.
pub const CAP: [u8; 32] = *b"holdfast: the device is off now.";
/// `TPM_ALG_SHA256`.
pub(crate) const SHA256: u16 = 0x000b;

const POLICY_PCR: u32 = 0x0000_017f;

/// The event of a board: what [`PCR`] is extended with at power-on.
#[must_use]
pub fn event(serial: &str, root_keys: &[[u8; 32]]) -> [u8; 32] {
    let length = (serial.len() as u64).to_be_bytes();
    let parts = [b"holdfast-board-v1", &length[..], serial.as_bytes(), root_keys.as_flattened()];
    sha256(&parts.concat())
}

/// The value of [`PCR`] once `event` is in.
#[must_use]
pub fn value(event: &[u8; 32]) -> [u8; 32] {
    sha256(&[[0; 32], *event].concat())
}

/// `TPML_PCR_SELECTION` of [`PCR`] in the bank of SHA-256.
#[must_use]
pub fn selection() -> Writer {
    let mut bits = [0_u8; 3];
    bits[PCR as usize / 8] = 1 << (PCR % 8);
    Writer::new().u32(1).u16(SHA256).u8(3).raw(&bits)
}

/// The policy digest of `TPM2_PolicyPCR` over that value (Part 3, 23.7).
#[must_use]
pub fn policy(event: &[u8; 32]) -> [u8; 32] {
    let digest = sha256(&value(event));
    let extended =
        Writer::new().raw(&[0; 32]).u32(POLICY_PCR).raw(selection().bytes()).raw(&digest);
    sha256(extended.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_number_and_each_root_key_count() {
        let good = event("HF-1", &[[1; 32], [2; 32]]);
        for other in [
            event("HF-2", &[[1; 32], [2; 32]]),
            event("HF-1", &[[1; 32]]),
            event("HF-1", &[[2; 32], [1; 32]]),
            event("", &[[1; 32], [2; 32]]),
        ] {
            assert_ne!(policy(&good), policy(&other));
        }
    }
}
