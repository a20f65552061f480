//! A session that fulfils the policy of the boot chain and keeps what it carries secret
//! (Part 1, 17 to 21).
//!
//! Its key comes from a salt that only the TPM can decrypt: agreed on with the board's storage
//! key (ECDH, C.6.1). With it both ends prove each command and each response (HMAC), and hide the
//! first parameter (XOR, 21.2). So whoever listens on the bus does not learn a derived key, and
//! whoever stands in between can't put a counter's old value there.

use crate::error::TpmError;
use crate::wire::{Malformed, Reader, SessionAnswer, Writer};
use crypto::digest::Sha256;
use crypto::ec::{Curve, PrivateKey, PublicKey};
use crypto::hash::Hash;
use crypto::kdf::{Prf, counter};
use crypto::mac::{hmac_sha256, verify_hmac_sha256};
use zeroize::Zeroizing;

/// The session goes on after the command.
pub(crate) const CONTINUE: u8 = 0x01;
/// The command's first parameter is hidden.
pub(crate) const DECRYPT: u8 = 0x20;
/// The response's first parameter is hidden.
pub(crate) const ENCRYPT: u8 = 0x40;

/// Bytes of a nonce and of a P-256 coordinate.
const BYTES: usize = 32;

/// A salt, and how it travels.
pub(crate) struct Salt {
    salt: Zeroizing<[u8; BYTES]>,
    /// `TPM2B_ENCRYPTED_SECRET`'s content: a TPMS_ECC_POINT.
    pub(crate) encrypted: Vec<u8>,
}

impl Salt {
    /// A fresh salt for the TPM that holds the private half of the point (`x`, `y`).
    pub(crate) fn agree(x: &[u8; BYTES], y: &[u8; BYTES]) -> Result<Self, TpmError> {
        let peer = PublicKey::from_point(Curve::P256, &[&[4][..], x, y].concat())?;
        let own = PrivateKey::generate(Curve::P256)?;
        let shared = own.agree(&peer)?;
        let point = own.public().to_point()?;
        let mut reader = Reader::new(point.get(1..).unwrap_or_default());
        let (own_x, own_y) = (reader.take(BYTES)?, reader.take(BYTES)?);
        // KDFe (Part 1, 11.4.10.3), one turn.
        let mut salt = Sha256::new();
        for part in [&1_u32.to_be_bytes()[..], &shared, b"SECRET\0", own_x, x] {
            salt.update(part);
        }
        let encrypted = Writer::new().sized(own_x).sized(own_y).bytes().to_vec();
        Ok(Self { salt: Zeroizing::new(salt.finish()), encrypted })
    }

    /// KDFa with the label `ATH`: the key of the session that `nonce_tpm` and `nonce_caller`
    /// began.
    pub(crate) fn key(
        &self,
        nonce_tpm: &[u8],
        nonce_caller: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        kdfa(&*self.salt, b"ATH", nonce_tpm, nonce_caller, BYTES)
    }
}

/// KDFa (Part 1, 11.4.10.2): the counter mode of SP 800-108 with HMAC-SHA-256.
fn kdfa(
    key: &[u8],
    label: &[u8],
    newer: &[u8],
    older: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, TpmError> {
    let bits = (length as u32) * 8;
    let after = [label, &[0], newer, older, &bits.to_be_bytes()].concat();
    Ok(counter(Prf::Hmac(Hash::Sha256, key), 4, &[], &after, length)?)
}

/// A session that the TPM began.
pub struct Session {
    /// Its handle.
    pub(crate) handle: u32,
    key: Zeroizing<Vec<u8>>,
    nonce_tpm: Vec<u8>,
    nonce_caller: [u8; BYTES],
}

impl Session {
    pub(crate) fn new(handle: u32, key: Zeroizing<Vec<u8>>, nonce_tpm: &[u8]) -> Self {
        Self { handle, key, nonce_tpm: nonce_tpm.to_vec(), nonce_caller: [0; BYTES] }
    }

    /// The nonce and HMAC of a command. Hides the first parameter where `attributes` say so.
    pub(crate) fn prove(
        &mut self,
        code: u32,
        names: &[&[u8]],
        attributes: u8,
        parameters: &mut [u8],
    ) -> Result<([u8; BYTES], [u8; BYTES]), TpmError> {
        self.nonce_caller = crypto::random_array();
        if attributes & DECRYPT != 0 {
            self.hide(parameters, &self.nonce_caller, &self.nonce_tpm)?;
        }
        let mut hash = Sha256::new();
        hash.update(&code.to_be_bytes());
        names.iter().for_each(|name| hash.update(name));
        hash.update(parameters);
        let parts: [&[u8]; 4] =
            [&hash.finish(), &self.nonce_caller, &self.nonce_tpm, &[attributes]];
        Ok((self.nonce_caller, hmac_sha256(&self.key, &parts)))
    }

    /// Believes a response only with its HMAC; gives its parameters in the clear.
    pub(crate) fn believe(
        &mut self,
        code: u32,
        parameters: &[u8],
        answer: &SessionAnswer<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let mut hash = Sha256::new();
        hash.update(&0_u32.to_be_bytes());
        hash.update(&code.to_be_bytes());
        hash.update(parameters);
        let parts: [&[u8]; 4] =
            [&hash.finish(), answer.nonce, &self.nonce_caller, &[answer.attributes]];
        verify_hmac_sha256(&self.key, &parts, answer.hmac).map_err(|_| TpmError::Forged)?;
        self.nonce_tpm = answer.nonce.to_vec();
        let mut clear = Zeroizing::new(parameters.to_vec());
        if answer.attributes & ENCRYPT != 0 {
            self.hide(&mut clear, &self.nonce_tpm, &self.nonce_caller)?;
        }
        Ok(clear)
    }

    /// Hides or shows the content of the TPM2B at the front of `parameters`.
    fn hide(&self, parameters: &mut [u8], newer: &[u8], older: &[u8]) -> Result<(), TpmError> {
        let length = usize::from(Reader::new(parameters).u16()?);
        let content = parameters.get_mut(2..2 + length).ok_or(Malformed("too short"))?;
        let mask = kdfa(&self.key, b"XOR", newer, older, length)?;
        content.iter_mut().zip(&*mask).for_each(|(byte, mask)| *byte ^= mask);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Session, Session) {
        let key = || Zeroizing::new(vec![7; 32]);
        (Session::new(1, key(), &[1; 16]), Session::new(1, key(), &[1; 16]))
    }

    #[test]
    fn what_is_hidden_comes_back_and_what_is_altered_is_refused() {
        let (session, _) = pair();
        let clear = Writer::new().sized(b"a derived key").u16(7).bytes().to_vec();
        let mut hidden = clear.clone();
        session.hide(&mut hidden, &[2; 32], &[1; 16]).unwrap();
        assert_eq!((&hidden[..2], &hidden[15..]), (&clear[..2], &clear[15..]));
        assert_ne!(hidden[2..15], clear[2..15]);
        session.hide(&mut hidden, &[2; 32], &[1; 16]).unwrap();
        assert_eq!(hidden, clear);
        assert!(session.hide(&mut [0, 9, 1], &[], &[]).is_err());
    }

    #[test]
    fn a_response_without_the_right_hmac_is_forged() {
        let (mut session, _) = pair();
        let parameters = Writer::new().sized(&[5; 8]).bytes().to_vec();
        session.prove(0x14e, &[], CONTINUE, &mut []).unwrap();
        let mut hash = Sha256::new();
        hash.update(&[0; 4]);
        hash.update(&0x14e_u32.to_be_bytes());
        hash.update(&parameters);
        let digest = hash.finish();
        let caller = session.nonce_caller;
        let hmac = hmac_sha256(&[7; 32], &[&digest, &[9; 16], &caller, &[CONTINUE]]);
        let answer = |attributes, hmac| SessionAnswer { nonce: &[9; 16], attributes, hmac };
        let refused = |session: &mut Session, parameters: &[u8], attributes, hmac: &[u8]| {
            let answer = SessionAnswer { nonce: &[9; 16], attributes, hmac };
            matches!(session.believe(0x14e, parameters, &answer), Err(TpmError::Forged))
        };
        assert!(refused(&mut session, &[0, 1, 5], CONTINUE, &hmac));
        assert!(refused(&mut session, &parameters, 0, &hmac));
        assert!(refused(&mut session, &parameters, CONTINUE, &[]));
        let believed = session.believe(0x14e, &parameters, &answer(CONTINUE, &hmac)).unwrap();
        assert_eq!(*believed, parameters);
        // The nonces have moved on: the same response again is a replay.
        session.prove(0x14e, &[], CONTINUE, &mut []).unwrap();
        assert!(refused(&mut session, &parameters, CONTINUE, &hmac));
    }
}
