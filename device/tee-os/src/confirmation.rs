//! Transaction confirmation: proof that a person said yes to exactly one text.
//!
//! ```text
//! message = CBOR {"prompt": text, "extra": bytes}
//! token   = sequence [8] | HMAC-SHA-256(key of this power-on,
//!           "confirmation token" | owner [32] | SHA-256(binding) [32] | sequence [8] | message)
//! ```
//! As in Android's Protected Confirmation, with three things more: a token is good once, for the
//! trusted application that asked (`owner`), and for what it asked for (`binding`, as a key).

use board::ui::{Input, Prompt};
use crypto::digest::sha256;
use crypto::mac::{hmac_sha256, verify_hmac_sha256};
use serde_bytes::ByteBuf;
use std::collections::VecDeque;
use tee_api::TeeError;
use tee_api::ui::{Confirmation, MAX_BINDING_BYTES, Transaction, message, not_confirmed};

const LABEL: &[u8] = b"confirmation token";
const SEQUENCE_BYTES: usize = 8;
/// The most tokens that wait to be redeemed; the oldest goes.
const MAX_OPEN: usize = 16;
/// So many times in a row a person says no before nobody may ask for a while.
const FREE_REFUSALS: u32 = 3;
/// The first such while; it doubles with each further no.
const FIRST_PAUSE_MS: u64 = 30_000;
/// The longest.
const LONGEST_PAUSE_MS: u64 = 60 * 60 * 1000;

/// Who a TA is: `Identity::owner`.
type Owner = [u8; 32];

/// What the person is asked to confirm, with whom it is for.
#[derive(Debug)]
pub(crate) struct Pending {
    owner: Owner,
    binding: [u8; 32],
    message: Vec<u8>,
}

/// Tokens that were given and not redeemed yet, and how patient the person is.
#[derive(Default)]
pub(crate) struct Confirmations {
    last: u64,
    open: VecDeque<u64>,
    refusals: u32,
    /// Nobody may ask before this time of the board's clock.
    not_before_ms: u64,
}

/// The question. Its words are the OS's: a TA adds none of its own to what is confirmed.
pub(crate) fn prompt(text: String) -> Prompt {
    Prompt {
        title: "Confirm this?".into(),
        detail: "An app asks you to confirm the following text.".into(),
        input: Input::Transaction { text },
    }
}

impl Confirmations {
    /// What `owner` wants to have confirmed, if the person may be asked now.
    pub(crate) fn begin(
        &self,
        owner: Owner,
        wanted: &Transaction,
        now_ms: u64,
    ) -> Result<Pending, TeeError> {
        if let Some(left @ 1..) = self.not_before_ms.checked_sub(now_ms) {
            let seconds = left.div_ceil(1000);
            let said = format!("the person said no too often; ask again in {seconds} seconds");
            return Err(TeeError::BadState(said));
        }
        if wanted.binding.len() > MAX_BINDING_BYTES {
            let said = format!("a confirmation is bound to at most {MAX_BINDING_BYTES} bytes");
            return Err(TeeError::BadParameters(said));
        }
        let message = message(&wanted.text, &wanted.extra)?;
        Ok(Pending { owner, binding: sha256(&wanted.binding), message })
    }

    /// The person said yes.
    pub(crate) fn grant(&mut self, key: &[u8; 32], pending: Pending) -> Confirmation {
        self.refusals = 0;
        self.last += 1;
        if self.open.len() == MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(self.last);
        let sequence = self.last.to_be_bytes();
        let tag = hmac_sha256(key, &pending.parts(&sequence));
        let token = ByteBuf::from([&sequence[..], &tag].concat());
        Confirmation { message: ByteBuf::from(pending.message), token }
    }

    /// The person said no.
    pub(crate) fn refuse(&mut self, now_ms: u64) {
        self.refusals = self.refusals.saturating_add(1);
        if let Some(over) = self.refusals.checked_sub(FREE_REFUSALS) {
            let pause = FIRST_PAUSE_MS.checked_shl(over.min(16)).unwrap_or(LONGEST_PAUSE_MS);
            self.not_before_ms = now_ms.saturating_add(pause.min(LONGEST_PAUSE_MS));
        }
    }

    /// Uses `token` up, if it is for this message, this owner and this binding.
    pub(crate) fn redeem(
        &mut self,
        key: &[u8; 32],
        owner: Owner,
        (message, binding, token): (ByteBuf, &[u8], &[u8]),
    ) -> Result<(), TeeError> {
        let (sequence, tag) = token.split_first_chunk().ok_or_else(not_confirmed)?;
        let number = u64::from_be_bytes(*sequence);
        let open = self.open.iter().position(|open| *open == number).ok_or_else(not_confirmed)?;
        let pending = Pending { owner, binding: sha256(binding), message: message.into_vec() };
        verify_hmac_sha256(key, &pending.parts(sequence), tag).map_err(|_| not_confirmed())?;
        self.open.remove(open);
        Ok(())
    }
}

impl Pending {
    fn parts<'a>(&'a self, sequence: &'a [u8; SEQUENCE_BYTES]) -> [&'a [u8]; 5] {
        [LABEL, &self.owner, &self.binding, sequence, &self.message]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [3; 32];
    const KEYMINT: Owner = [1; 32];

    fn wanted(text: &str) -> Transaction {
        let (extra, binding) = (ByteBuf::from([9]), ByteBuf::from(*b"key A"));
        Transaction { text: text.into(), extra, binding }
    }

    fn confirmed(confirmations: &mut Confirmations, text: &str) -> Confirmation {
        let pending = confirmations.begin(KEYMINT, &wanted(text), 0).unwrap();
        confirmations.grant(&KEY, pending)
    }

    fn redeem(
        confirmations: &mut Confirmations,
        Confirmation { message, token }: &Confirmation,
    ) -> Result<(), TeeError> {
        confirmations.redeem(&KEY, KEYMINT, (message.clone(), b"key A", token))
    }

    #[test]
    fn s2_1_1_a_confirmation_is_good_once() {
        let mut confirmations = Confirmations::default();
        let first = confirmed(&mut confirmations, "pay 1");
        let second = confirmed(&mut confirmations, "pay 1");
        assert_ne!(first.token, second.token);
        assert_eq!(redeem(&mut confirmations, &second), Ok(()));
        assert_eq!(redeem(&mut confirmations, &first), Ok(()));
        for used in [&first, &second] {
            assert_eq!(redeem(&mut confirmations, used), Err(not_confirmed()));
        }
    }

    #[test]
    fn s2_1_1_a_confirmation_is_for_one_message_one_key_one_application_one_power_on() {
        let mut confirmations = Confirmations::default();
        let good = confirmed(&mut confirmations, "pay 1");
        for at in 0..good.message.len() * 8 {
            let mut altered = good.clone();
            altered.message[at / 8] ^= 1 << (at % 8);
            assert_eq!(redeem(&mut confirmations, &altered), Err(not_confirmed()), "bit {at}");
        }
        for at in 0..good.token.len() * 8 {
            let mut altered = good.clone();
            altered.token[at / 8] ^= 1 << (at % 8);
            assert_eq!(redeem(&mut confirmations, &altered), Err(not_confirmed()), "bit {at}");
        }
        for length in 0..good.token.len() {
            let cut = Confirmation { token: good.token[..length].to_vec().into(), ..good.clone() };
            assert_eq!(redeem(&mut confirmations, &cut), Err(not_confirmed()));
        }
        let Confirmation { message, token } = &good;
        let tries: [(_, Owner, &[u8]); 3] =
            [(KEY, KEYMINT, b"key B"), (KEY, [2; 32], b"key A"), ([4; 32], KEYMINT, b"key A")];
        for (key, owner, binding) in tries {
            let tried = confirmations.redeem(&key, owner, (message.clone(), binding, token));
            assert_eq!(tried, Err(not_confirmed()));
        }
        assert_eq!(redeem(&mut Confirmations::default(), &good), Err(not_confirmed()));
        assert_eq!(redeem(&mut confirmations, &good), Ok(()), "what failed used nothing up");
    }

    #[test]
    fn forgets_the_oldest_of_too_many() {
        let mut confirmations = Confirmations::default();
        let first = confirmed(&mut confirmations, "pay 1");
        let rest: Vec<_> = (0..MAX_OPEN).map(|_| confirmed(&mut confirmations, "pay 1")).collect();
        assert_eq!(redeem(&mut confirmations, &first), Err(not_confirmed()));
        assert!(rest.iter().all(|good| redeem(&mut confirmations, good).is_ok()));
    }

    #[test]
    fn s2_1_1_a_person_who_says_no_is_left_in_peace() {
        let mut confirmations = Confirmations::default();
        let asked = |confirmations: &Confirmations, now| {
            confirmations.begin(KEYMINT, &wanted("pay"), now).is_ok()
        };
        confirmations.refuse(0);
        confirmations.refuse(0);
        assert!(asked(&confirmations, 0));
        confirmations.refuse(0);
        assert!(!asked(&confirmations, 29_999) && asked(&confirmations, 30_000));
        confirmations.refuse(30_000);
        assert!(!asked(&confirmations, 89_999) && asked(&confirmations, 90_000));
        for _ in 0..100 {
            confirmations.refuse(0);
        }
        assert!(!asked(&confirmations, LONGEST_PAUSE_MS - 1));
        assert!(asked(&confirmations, LONGEST_PAUSE_MS));
        let pending = confirmations.begin(KEYMINT, &wanted("pay"), LONGEST_PAUSE_MS).unwrap();
        confirmations.grant(&KEY, pending);
        confirmations.refuse(LONGEST_PAUSE_MS);
        assert!(asked(&confirmations, LONGEST_PAUSE_MS), "a yes starts the count anew");
    }
}
