//! Block ciphers on streams: AES (FIPS 197) and 3DES in ECB, CBC and CTR (NIST SP 800-38A), and
//! AES-GCM whose text comes in pieces (SP 800-38D); AES-256-XTS (IEEE 1619) for data units.
//!
//! ECB, CBC and CTR protect no integrity; a caller that chooses them has a MAC elsewhere or an
//! old peer. For messages in one piece use [`crate::aead`].

use crate::Error;
use crate::lc::{Owned, check, length, pointer};
use aws_lc_sys as ffi;
use std::ffi::c_int;
use std::ptr;
use zeroize::{Zeroize, Zeroizing};

/// A cipher's key.
#[derive(Clone)]
pub struct Key {
    bytes: Zeroizing<Vec<u8>>,
    cipher: BlockCipher,
}

/// A block cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockCipher {
    /// AES with a key of 128 bits.
    Aes128,
    /// AES with a key of 192 bits.
    Aes192,
    /// AES with a key of 256 bits.
    Aes256,
    /// 3DES with three keys (24 bytes, parity bits not looked at). Its blocks are small and it is
    /// slow: only where an old peer asks for it.
    LegacyTripleDes,
}

impl BlockCipher {
    /// Bytes of a block, and of an initial vector.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::LegacyTripleDes => 8,
            _ => 16,
        }
    }

    /// Bytes of a key.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 | Self::LegacyTripleDes => 24,
            Self::Aes256 => 32,
        }
    }
}

impl Key {
    /// An AES key of 16, 24 or 32 bytes.
    pub fn aes(key: &[u8]) -> Result<Self, Error> {
        let cipher = match key.len() {
            16 => BlockCipher::Aes128,
            24 => BlockCipher::Aes192,
            32 => BlockCipher::Aes256,
            _ => return Err(Error::MalformedKey),
        };
        Ok(Self { bytes: Zeroizing::new(key.to_vec()), cipher })
    }

    /// A 3DES key of three parts.
    #[must_use]
    pub fn legacy_triple_des(key: &[u8; 24]) -> Self {
        Self { bytes: Zeroizing::new(key.to_vec()), cipher: BlockCipher::LegacyTripleDes }
    }

    /// What it is a key of.
    #[must_use]
    pub const fn cipher(&self) -> BlockCipher {
        self.cipher
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Plaintext in, ciphertext out.
    Encrypt,
    /// Ciphertext in, plaintext out.
    Decrypt,
}

impl Direction {
    const fn flag(self) -> c_int {
        match self {
            Self::Encrypt => 1,
            Self::Decrypt => 0,
        }
    }
}

/// What becomes of a message that is not whole blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// It is refused.
    None,
    /// It is filled up as PKCS#7 does (RFC 5652, 6.3); a whole message gets a block more.
    Pkcs7,
}

/// A mode of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode<'a> {
    /// Each block by itself.
    Ecb(Padding),
    /// Cipher block chaining from an initial vector of a block's length.
    Cbc(&'a [u8], Padding),
    /// Counter mode from an initial counter block; AES only.
    Ctr(&'a [u8]),
}

impl Mode<'_> {
    /// AWS-LC's name of the mode with this cipher.
    fn with(self, cipher: BlockCipher) -> Result<*const ffi::EVP_CIPHER, Error> {
        use BlockCipher::{Aes128, Aes192, Aes256, LegacyTripleDes};
        // SAFETY: these calls take nothing and give a pointer to a constant.
        Ok(unsafe {
            match (self, cipher) {
                (Self::Ecb(_), Aes128) => ffi::EVP_aes_128_ecb(),
                (Self::Ecb(_), Aes192) => ffi::EVP_aes_192_ecb(),
                (Self::Ecb(_), Aes256) => ffi::EVP_aes_256_ecb(),
                (Self::Ecb(_), LegacyTripleDes) => ffi::EVP_des_ede3_ecb(),
                (Self::Cbc(..), Aes128) => ffi::EVP_aes_128_cbc(),
                (Self::Cbc(..), Aes192) => ffi::EVP_aes_192_cbc(),
                (Self::Cbc(..), Aes256) => ffi::EVP_aes_256_cbc(),
                (Self::Cbc(..), LegacyTripleDes) => ffi::EVP_des_ede3_cbc(),
                (Self::Ctr(_), Aes128) => ffi::EVP_aes_128_ctr(),
                (Self::Ctr(_), Aes192) => ffi::EVP_aes_192_ctr(),
                (Self::Ctr(_), Aes256) => ffi::EVP_aes_256_ctr(),
                (Self::Ctr(_), LegacyTripleDes) => return Err(Error::MalformedKey),
            }
        })
    }

    const fn padding(self) -> Padding {
        match self {
            Self::Ecb(padding) | Self::Cbc(_, padding) => padding,
            Self::Ctr(_) => Padding::None,
        }
    }

    const fn initial(&self) -> &[u8] {
        match self {
            Self::Ecb(_) => &[],
            Self::Cbc(initial, _) | Self::Ctr(initial) => initial,
        }
    }
}

/// One message on its way through a cipher.
pub struct Stream {
    context: Context,
    /// Bytes of the blocks that the message must be made of.
    block: Option<usize>,
    /// Bytes beyond the last whole block so far.
    odd: usize,
    /// Of a decryption whose padding is to be taken away: what may be its last block.
    last: Option<Zeroizing<Vec<u8>>>,
}

impl Stream {
    /// Starts a message. The initial vector has the length of a block, else [`Error::Length`].
    pub fn new(key: &Key, direction: Direction, mode: Mode<'_>) -> Result<Self, Error> {
        let initial = mode.initial();
        if !matches!(mode, Mode::Ecb(_)) && initial.len() != key.cipher.block_bytes() {
            return Err(Error::Length);
        }
        let context = Context::new(mode.with(key.cipher)?, direction)?;
        context.set_key(Some(key), initial)?;
        let padded = mode.padding() == Padding::Pkcs7;
        let pads = padded && direction == Direction::Encrypt;
        // SAFETY: the context is initialised.
        check(unsafe { ffi::EVP_CIPHER_CTX_set_padding(context.0.as_ptr(), pads.into()) })?;
        let any = pads || matches!(mode, Mode::Ctr(_));
        let block = (!any).then(|| key.cipher.block_bytes());
        // AWS-LC stops at the first wrong byte of a padding, and so tells which it was by its time.
        let last = (padded && !pads).then(Zeroizing::default);
        Ok(Self { context, block, odd: 0, last })
    }

    /// Takes a piece of the message; appends what comes out so far to `out`.
    pub fn update(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(block) = self.block {
            self.odd = (self.odd + input.len() % block) % block;
        }
        let (Some(last), Some(block)) = (&mut self.last, self.block) else {
            return self.context.update(input, out);
        };
        let start = out.len();
        out.append(last);
        self.context.update(input, out)?;
        let held = out.len().saturating_sub(block).max(start);
        last.extend_from_slice(&out[held..]);
        out[held..].zeroize();
        out.truncate(held);
        Ok(())
    }

    /// Ends the message; appends the rest to `out`. [`Error::Length`] where it is not whole blocks
    /// and nothing fills it up; [`Error::Authentication`] where what was filled up is malformed:
    /// tell nobody outside, or it becomes an oracle.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.odd != 0 {
            return Err(Error::Length);
        }
        self.context.finish(out)?;
        if let Some(last) = self.last {
            let block = self.block.unwrap_or_default();
            let text = unpadded(&last, block).ok_or(Error::Authentication)?;
            out.extend_from_slice(&last[..text]);
        }
        Ok(())
    }
}

/// How much of the last block is text, under a right padding of PKCS#7; looks at all bytes of it,
/// whatever they are.
fn unpadded(last: &[u8], block: usize) -> Option<usize> {
    // All ones where `left` is below `right`: the subtraction borrows.
    let below = |left: usize, right: usize| (left.wrapping_sub(right) >> 8) as u8;
    let count = *last.last().filter(|_| last.len() == block)?;
    let bytes = usize::from(count);
    let mut wrong = below(bytes, 1) | below(block, bytes);
    for (at, byte) in last.iter().rev().enumerate() {
        wrong |= below(at, bytes) & (byte ^ count);
    }
    (std::hint::black_box(wrong) == 0).then(|| block - bytes)
}

/// AES-256-XTS (IEEE 1619) over one data unit where it lies: 16 bytes or more. `tweak` is the unit's
/// number, little-endian. The two halves of the key differ, else [`Error::MalformedKey`]. XTS
/// protects no integrity.
pub fn xts_256(
    key: &[u8; 64],
    tweak: &[u8; 16],
    direction: Direction,
    unit: &mut [u8],
) -> Result<(), Error> {
    if crate::constant_time_eq(&key[..32], &key[32..]) {
        return Err(Error::MalformedKey);
    }
    if unit.len() < 16 {
        return Err(Error::Length);
    }
    // SAFETY: the call takes nothing and gives a pointer to a constant.
    let context = Context::new(unsafe { ffi::EVP_aes_256_xts() }, direction)?;
    let mut written = 0;
    // SAFETY: key and tweak have the lengths that XTS reads; the output is the input's own place,
    // of the same length, as the cipher allows.
    unsafe {
        check(ffi::EVP_CipherInit_ex(
            context.0.as_ptr(),
            ptr::null(),
            ptr::null_mut(),
            key.as_ptr(),
            tweak.as_ptr(),
            direction.flag(),
        ))?;
        let bytes = length(unit)?;
        check(ffi::EVP_CipherUpdate(
            context.0.as_ptr(),
            unit.as_mut_ptr(),
            &raw mut written,
            unit.as_ptr(),
            bytes,
        ))
    }
}

/// AWS-LC's context of a cipher.
struct Context(Owned<ffi::EVP_CIPHER_CTX>, Direction);

impl Context {
    fn new(cipher: *const ffi::EVP_CIPHER, direction: Direction) -> Result<Self, Error> {
        // SAFETY: a fresh context and a constant cipher; key and vector follow.
        unsafe {
            let context = Owned::new(ffi::EVP_CIPHER_CTX_new())?;
            check(ffi::EVP_CipherInit_ex(
                context.as_ptr(),
                cipher,
                ptr::null_mut(),
                ptr::null(),
                ptr::null(),
                direction.flag(),
            ))?;
            Ok(Self(context, direction))
        }
    }

    /// Gives the key and the initial vector, whose lengths the caller has checked.
    fn set_key(&self, key: Option<&Key>, initial: &[u8]) -> Result<(), Error> {
        let key = key.map_or(ptr::null(), |key| key.bytes.as_ptr());
        // SAFETY: key and vector have the lengths that the context's cipher reads.
        check(unsafe {
            ffi::EVP_CipherInit_ex(
                self.0.as_ptr(),
                ptr::null(),
                ptr::null_mut(),
                key,
                pointer(initial),
                self.1.flag(),
            )
        })
    }

    fn update(&self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        /// So much at once: lengths of one call are C's `int`.
        const PIECE: usize = 1 << 30;
        for piece in input.chunks(PIECE) {
            let (start, mut written) = (out.len(), 0);
            // One block may have waited inside.
            out.resize(start + piece.len() + 32, 0);
            // SAFETY: the output has room for the piece and the block that waited.
            let done = unsafe {
                ffi::EVP_CipherUpdate(
                    self.0.as_ptr(),
                    out.as_mut_ptr().add(start),
                    &raw mut written,
                    piece.as_ptr(),
                    length(piece)?,
                )
            };
            out.truncate(start + usize::try_from(written).unwrap_or_default());
            check(done)?;
        }
        Ok(())
    }

    fn finish(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let (start, mut written) = (out.len(), 0);
        out.resize(start + 32, 0);
        // SAFETY: the output has room for the last block.
        let done = unsafe {
            ffi::EVP_CipherFinal_ex(self.0.as_ptr(), out.as_mut_ptr().add(start), &raw mut written)
        };
        let written = if done == 1 { usize::try_from(written).unwrap_or_default() } else { 0 };
        out.truncate(start + written);
        check(done).map_err(|_| Error::Authentication)
    }

    fn control(&self, command: c_int, argument: usize, data: *mut u8) -> Result<(), Error> {
        let argument = c_int::try_from(argument).map_err(|_| Error::Length)?;
        // SAFETY: `data` is null or has the `argument` bytes that the command reads or writes.
        check(unsafe { ffi::EVP_CIPHER_CTX_ctrl(self.0.as_ptr(), command, argument, data.cast()) })
    }
}

/// AES-GCM over a message that comes in pieces.
///
/// Decryption gives plaintext before the tag is checked: nobody may act on it until
/// [`Gcm::verify`] agreed.
pub struct Gcm {
    context: Context,
    /// Text has begun: no more associated data.
    text: bool,
}

impl Gcm {
    /// Starts a message. A nonce has 1 byte at least; 12 are the usual. The caller never
    /// encrypts under one key with the same nonce twice.
    pub fn new(key: &Key, direction: Direction, nonce: &[u8]) -> Result<Self, Error> {
        // SAFETY: these calls take nothing and give a pointer to a constant.
        let cipher = unsafe {
            match key.cipher {
                BlockCipher::Aes128 => ffi::EVP_aes_128_gcm(),
                BlockCipher::Aes192 => ffi::EVP_aes_192_gcm(),
                BlockCipher::Aes256 => ffi::EVP_aes_256_gcm(),
                BlockCipher::LegacyTripleDes => return Err(Error::MalformedKey),
            }
        };
        if nonce.is_empty() {
            return Err(Error::Length);
        }
        let context = Context::new(cipher, direction)?;
        context.control(ffi::EVP_CTRL_AEAD_SET_IVLEN, nonce.len(), ptr::null_mut())?;
        context.set_key(Some(key), nonce)?;
        Ok(Self { context, text: false })
    }

    /// Appends to the associated data. [`Error::Length`] once text has come.
    pub fn associate(&mut self, data: &[u8]) -> Result<(), Error> {
        if self.text {
            return Err(Error::Length);
        }
        for piece in data.chunks(1 << 30) {
            let mut ignored = 0;
            // SAFETY: a null output says that this is associated data.
            check(unsafe {
                ffi::EVP_CipherUpdate(
                    self.context.0.as_ptr(),
                    ptr::null_mut(),
                    &raw mut ignored,
                    piece.as_ptr(),
                    length(piece)?,
                )
            })?;
        }
        Ok(())
    }

    /// Takes a piece of text; appends what comes out to `out`.
    pub fn update(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.text |= !input.is_empty();
        self.context.update(input, out)
    }

    /// Ends an encryption: the tag, of 16 bytes. A shorter one is its beginning.
    pub fn tag(self) -> Result<[u8; 16], Error> {
        let mut tag = [0; 16];
        self.context.finish(&mut Vec::new())?;
        self.context.control(ffi::EVP_CTRL_AEAD_GET_TAG, tag.len(), tag.as_mut_ptr())?;
        Ok(tag)
    }

    /// Ends a decryption: whether `tag` (4 to 16 bytes) belongs to what was decrypted.
    pub fn verify(self, tag: &[u8]) -> Result<(), Error> {
        if !(4..=16).contains(&tag.len()) {
            return Err(Error::Authentication);
        }
        let mut tag = tag.to_vec();
        self.context.control(ffi::EVP_CTRL_AEAD_SET_TAG, tag.len(), tag.as_mut_ptr())?;
        self.context.finish(&mut Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IEEE 1619-2018, annex B, vector 10: one data unit of 512 bytes, its first and last 16.
    #[test]
    fn xts_agrees_with_ieee_1619() {
        let hex = |text: &str| -> Vec<u8> {
            let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            (0..text.len()).step_by(2).map(digit).collect()
        };
        let key = hex(concat!(
            "2718281828459045235360287471352662497757247093699959574966967627",
            "3141592653589793238462643383279502884197169399375105820974944592"
        ));
        let key: [u8; 64] = key.try_into().unwrap();
        let mut tweak = [0; 16];
        tweak[0] = 0xff;
        let plain: [u8; 512] = std::array::from_fn(|at| at as u8);
        let mut unit = plain;
        xts_256(&key, &tweak, Direction::Encrypt, &mut unit).unwrap();
        assert_eq!(unit[..16], hex("1c3b3a102f770386e4836c99e370cf9b"));
        xts_256(&key, &tweak, Direction::Decrypt, &mut unit).unwrap();
        assert_eq!(unit, plain);
        let same = xts_256(&[1; 64], &tweak, Direction::Encrypt, &mut unit);
        assert_eq!(same, Err(Error::MalformedKey));
        assert_eq!(xts_256(&key, &tweak, Direction::Encrypt, &mut [0; 15]), Err(Error::Length));
    }

    fn run(key: &Key, direction: Direction, mode: Mode<'_>, text: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        let mut stream = Stream::new(key, direction, mode)?;
        for piece in text.chunks(7) {
            stream.update(piece, &mut out)?;
        }
        stream.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_mode_gives_back_what_it_took() {
        let keys = [16, 24, 32].map(|length| Key::aes(&vec![7; length]).unwrap());
        let des = Key::legacy_triple_des(&std::array::from_fn(|at| at as u8));
        for key in keys.iter().chain([&des]) {
            let initial = vec![9; key.cipher().block_bytes()];
            let modes = [Mode::Ecb(Padding::Pkcs7), Mode::Cbc(&initial, Padding::Pkcs7)];
            for (mode, text) in modes.into_iter().flat_map(|mode| {
                [0, 1, 8, 15, 16, 17, 1000].map(|length| (mode, vec![5_u8; length]))
            }) {
                let sealed = run(key, Direction::Encrypt, mode, &text).unwrap();
                assert_ne!(sealed, text);
                assert_eq!(run(key, Direction::Decrypt, mode, &sealed).unwrap(), text);
            }
        }
        let sealed = run(&keys[2], Direction::Encrypt, Mode::Ctr(&[1; 16]), b"seven!!").unwrap();
        assert_eq!(sealed.len(), 7);
        assert_eq!(
            run(&keys[2], Direction::Decrypt, Mode::Ctr(&[1; 16]), &sealed).unwrap(),
            b"seven!!"
        );
        assert!(Stream::new(&des, Direction::Encrypt, Mode::Ctr(&[1; 8])).is_err());
    }

    #[test]
    fn triple_des_agrees_with_cavp() {
        // TCBCMMT3.rsp, count 0.
        let key = [0xb5cb_1504_8023_26c7_u64, 0x3df1_86e3_e352_a20d, 0xe643_b0d6_3ee3_0e37];
        let key = key.map(u64::to_be_bytes).concat().try_into().unwrap();
        let initial = 0x43f7_9113_4c56_47ba_u64.to_be_bytes();
        let mode = Mode::Cbc(&initial, Padding::None);
        let text = 0xdcc1_53ce_f81d_6f24_u64.to_be_bytes();
        let sealed = run(&Key::legacy_triple_des(&key), Direction::Encrypt, mode, &text);
        assert_eq!(sealed.unwrap(), 0x9253_8bd8_af18_d3ba_u64.to_be_bytes());
    }

    #[test]
    fn lengths_and_paddings_that_do_not_fit_are_refused() {
        let key = Key::aes(&[7; 32]).unwrap();
        let none = Mode::Ecb(Padding::None);
        assert_eq!(run(&key, Direction::Encrypt, none, b"odd"), Err(Error::Length));
        let wrong = Mode::Cbc(&[0; 15], Padding::None);
        assert_eq!(run(&key, Direction::Encrypt, wrong, b""), Err(Error::Length));
        let zeros = run(&key, Direction::Encrypt, none, &[0; 16]).unwrap();
        let padded = Mode::Ecb(Padding::Pkcs7);
        assert_eq!(run(&key, Direction::Decrypt, padded, &zeros), Err(Error::Authentication));
        assert!(Key::aes(&[0; 20]).is_err());
    }

    #[test]
    fn of_all_last_bytes_only_a_padding_is_taken_away() {
        let key = Key::aes(&[7; 16]).unwrap();
        let bare = Mode::Cbc(&[3; 16], Padding::None);
        let padded = Mode::Cbc(&[3; 16], Padding::Pkcs7);
        for count in 0..=255_u8 {
            for wrong_at in 0..=16 {
                let mut text = vec![9_u8; 16];
                text.extend_from_slice(&[count; 16]);
                if let Some(byte) = text.len().checked_sub(wrong_at).and_then(|at| text.get_mut(at))
                {
                    *byte ^= 0x40;
                }
                let sealed = run(&key, Direction::Encrypt, bare, &text).unwrap();
                let opened = run(&key, Direction::Decrypt, padded, &sealed);
                let last = usize::from(text[31]);
                let is_padding =
                    (1..=16).contains(&last) && text[32 - last..].iter().all(|it| *it == text[31]);
                match opened {
                    Ok(opened) => assert!(is_padding && opened == text[..32 - last]),
                    Err(error) => assert!(!is_padding && error == Error::Authentication),
                }
            }
        }
        assert_eq!(run(&key, Direction::Decrypt, padded, b""), Err(Error::Authentication));
    }

    #[test]
    fn a_stream_of_gcm_is_the_same_as_one_piece() {
        let key = Key::aes(&[7; 32]).unwrap();
        let mut whole = b"a longer message than a block".to_vec();
        let tag =
            crate::aead::Key::aes_256_gcm(&[7; 32]).seal_in_place([1; 12], b"aad", &mut whole);
        let mut gcm = Gcm::new(&key, Direction::Encrypt, &[1; 12]).unwrap();
        let mut out = Vec::new();
        gcm.associate(b"a").unwrap();
        gcm.associate(b"ad").unwrap();
        for piece in b"a longer message than a block".chunks(5) {
            gcm.update(piece, &mut out).unwrap();
        }
        assert_eq!(gcm.associate(b"late"), Err(Error::Length));
        assert_eq!((gcm.tag().unwrap(), &out), (tag, &whole));
        for (tag, good) in
            [(&tag[..], true), (&tag[..4], true), (&tag[..3], false), (&[0; 16], false)]
        {
            let mut gcm = Gcm::new(&key, Direction::Decrypt, &[1; 12]).unwrap();
            gcm.associate(b"aad").unwrap();
            let mut plain = Vec::new();
            gcm.update(&whole, &mut plain).unwrap();
            assert_eq!(plain, b"a longer message than a block");
            assert_eq!(gcm.verify(tag).is_ok(), good);
        }
    }
}
