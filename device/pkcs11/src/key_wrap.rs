//! AES key wrap (RFC 3394) and the same with padding (RFC 5649), around a key that only does
//! blocks where it lies.

use crate::error::{Result, ensure, fail};
use crate::key::{Key, Mode, Operation};
use crypto::cipher::Direction;
use cryptoki_sys::*;
use zeroize::Zeroizing;

/// The initial value of RFC 3394, 2.2.3.1.
const PLAIN: u64 = 0xa6a6_a6a6_a6a6_a6a6;
/// The constant half of the initial value of RFC 5649, 3.
const PADDED: u32 = 0xa659_59a6;
/// The most bytes that are wrapped: a private key of RSA with 4096 bits has fewer.
const MAX_BYTES: usize = 4096;

fn block(key: &dyn Key, direction: Direction, block: &mut [u8; 16]) -> Result<()> {
    let operation = Operation::Cipher { direction, mode: Mode::Ecb };
    let out = key.perform(&operation, &block[..])?;
    ensure(out.len() == block.len(), CKR_DEVICE_ERROR)?;
    block.copy_from_slice(&out);
    Ok(())
}

/// Wraps a key's value.
pub(crate) fn wrap(key: &dyn Key, padded: bool, value: &[u8]) -> Result<Vec<u8>> {
    ensure((1..=MAX_BYTES).contains(&value.len()), CKR_KEY_SIZE_RANGE)?;
    let whole = value.len().is_multiple_of(8);
    ensure(padded || (whole && value.len() >= 16), CKR_KEY_SIZE_RANGE)?;
    let start = if padded { u64::from(PADDED) << 32 | value.len() as u64 } else { PLAIN };
    let mut text = Zeroizing::new(value.to_vec());
    text.resize(value.len().next_multiple_of(8), 0);
    let mut buffer = [0; 16];
    buffer[..8].copy_from_slice(&start.to_be_bytes());
    if text.len() == 8 {
        buffer[8..].copy_from_slice(&text);
        block(key, Direction::Encrypt, &mut buffer)?;
        return Ok(buffer.to_vec());
    }
    let count = text.len() / 8;
    for step in 0..6 {
        for (at, part) in text.chunks_exact_mut(8).enumerate() {
            buffer[8..].copy_from_slice(part);
            block(key, Direction::Encrypt, &mut buffer)?;
            part.copy_from_slice(&buffer[8..]);
            turn(&mut buffer, count * step + at + 1);
        }
    }
    Ok([&buffer[..8], &text].concat())
}

/// Unwraps a key's value.
pub(crate) fn unwrap(key: &dyn Key, padded: bool, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let fewest = if padded { 16 } else { 24 };
    let fits = wrapped.len().is_multiple_of(8) && (fewest..=MAX_BYTES + 8).contains(&wrapped.len());
    ensure(fits, CKR_WRAPPED_KEY_LEN_RANGE)?;
    let mut buffer = [0; 16];
    buffer[..8].copy_from_slice(&wrapped[..8]);
    let mut text = Zeroizing::new(wrapped[8..].to_vec());
    let count = text.len() / 8;
    if count == 1 {
        buffer[8..].copy_from_slice(&text);
        block(key, Direction::Decrypt, &mut buffer)?;
        text.copy_from_slice(&buffer[8..]);
    } else {
        for step in (0..6).rev() {
            for (at, part) in text.chunks_exact_mut(8).enumerate().rev() {
                turn(&mut buffer, count * step + at + 1);
                buffer[8..].copy_from_slice(part);
                block(key, Direction::Decrypt, &mut buffer)?;
                part.copy_from_slice(&buffer[8..]);
            }
        }
    }
    let start = u64::from_be_bytes(buffer[..8].try_into().unwrap_or_default());
    if !padded {
        return if start == PLAIN { Ok(text) } else { fail(CKR_WRAPPED_KEY_INVALID) };
    }
    let length = (start & u64::from(u32::MAX)) as usize;
    let known = start >> 32 == u64::from(PADDED);
    let fits = (text.len() - 7..=text.len()).contains(&length);
    let zeros = fits && text[length..].iter().all(|byte| *byte == 0);
    ensure(known && zeros, CKR_WRAPPED_KEY_INVALID)?;
    text.truncate(length);
    Ok(text)
}

/// Mixes the step's number into the first half.
fn turn(buffer: &mut [u8; 16], number: usize) {
    let number = (number as u64).to_be_bytes();
    buffer[..8].iter_mut().zip(number).for_each(|(byte, step)| *byte ^= step);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Algorithm;
    use crate::soft::SoftKey;
    use crypto::keywrap::WrappingKey;

    #[test]
    fn wraps_as_the_library_does_whose_key_is_at_hand() {
        let raw = [7; 32];
        let (soft, other) =
            (SoftKey::import(Algorithm::Aes(32), &raw).unwrap(), WrappingKey::new(&raw).unwrap());
        for length in [16, 24, 32, 64] {
            let secret: Vec<u8> = (0..length).collect();
            let wrapped = wrap(&soft, false, &secret).unwrap();
            assert_eq!(wrapped, other.wrap(&secret).unwrap());
            assert_eq!(*unwrap(&soft, false, &wrapped).unwrap(), secret);
        }
        for length in [1, 7, 8, 9, 20, 33] {
            let secret: Vec<u8> = (0..length).collect();
            let wrapped = wrap(&soft, true, &secret).unwrap();
            assert_eq!(wrapped, other.wrap_padded(&secret).unwrap());
            assert_eq!(*unwrap(&soft, true, &wrapped).unwrap(), secret);
        }
    }

    #[test]
    fn a_wrapped_key_with_any_bit_changed_is_refused() {
        let soft = SoftKey::import(Algorithm::Aes(16), &[3; 16]).unwrap();
        for padded in [false, true] {
            let wrapped = wrap(&soft, padded, &[9; 16]).unwrap();
            for at in 0..wrapped.len() {
                let mut wrong = wrapped.clone();
                wrong[at] ^= 0x80;
                assert!(unwrap(&soft, padded, &wrong).is_err(), "{padded} {at}");
            }
            for length in [0, 8, wrapped.len() - 1, wrapped.len() - 8] {
                assert!(unwrap(&soft, padded, &wrapped[..length]).is_err(), "{padded} {length}");
            }
        }
    }
}
