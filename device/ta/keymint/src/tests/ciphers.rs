//! AES and 3DES.

use super::*;

fn how(mode: BlockMode, padding: PaddingMode) -> Authorizations {
    Authorizations {
        block_mode: [mode].into(),
        padding: [padding].into(),
        mac_length: (mode == BlockMode::Gcm).then_some(128),
        ..none()
    }
}

fn with_nonce(params: &Authorizations, nonce: &[u8]) -> Authorizations {
    Authorizations { nonce: Some(Bytes::from(nonce)), ..params.clone() }
}

/// Everything that a cipher can be used with.
fn any(key: Authorizations, modes: &[BlockMode]) -> Authorizations {
    Authorizations {
        block_mode: modes.iter().copied().collect(),
        padding: [PaddingMode::None, PaddingMode::Pkcs7].into(),
        ..key
    }
}

fn aes_of(bits: u32) -> Authorizations {
    Authorizations { key_size: Some(bits), ..any(aes(&[BlockMode::Gcm], &[]), BlockMode::ALL) }
}

fn triple_des() -> Authorizations {
    let key = key(Algorithm::TripleDes, &[KeyPurpose::Encrypt, KeyPurpose::Decrypt]);
    let modes = [BlockMode::Ecb, BlockMode::Cbc];
    Authorizations { key_size: Some(168), ..any(key, &modes) }
}

/// Encrypts in pieces, with the nonce that KeyMint chose.
fn encrypt(
    device: &mut Device,
    blob: &ByteBuf,
    params: &Authorizations,
    text: &[u8],
    piece: usize,
) -> (Vec<u8>, Authorizations) {
    let begun = device.begin(blob, KeyPurpose::Encrypt, params).unwrap();
    let mut out = Vec::new();
    for piece in text.chunks(piece) {
        out.extend(device.update(begun.operation, piece).unwrap());
    }
    out.extend(device.finish(begun.operation, &[]).unwrap());
    let params = match begun.params.nonce {
        Some(nonce) => with_nonce(params, &nonce),
        None => params.clone(),
    };
    (out, params)
}

#[test]
fn s3_2_every_cipher_mode_and_padding_leads_back_in_any_pieces() {
    use BlockMode::{Cbc, Ctr, Ecb, Gcm};
    use PaddingMode::{None, Pkcs7};
    let mut device = Device::new();
    let aes_ways = [(Ecb, None), (Ecb, Pkcs7), (Cbc, None), (Cbc, Pkcs7), (Ctr, None), (Gcm, None)];
    let keys = [
        (aes_of(128), &aes_ways[..]),
        (aes_of(192), &aes_ways[..]),
        (aes_of(256), &aes_ways[..]),
        (triple_des(), &aes_ways[..4]),
    ];
    for (key, ways) in keys {
        let blob = device.generate(&key).unwrap().blob;
        for &(mode, padding) in ways {
            let params = how(mode, padding);
            let odd = padding == Pkcs7 || matches!(mode, Ctr | Gcm);
            for text in [&[][..], &[7; 48], &[9; 37]] {
                if !odd && !text.len().is_multiple_of(16) {
                    continue;
                }
                let (sealed, params) = encrypt(&mut device, &blob, &params, text, 1000);
                for piece in [1, 5, 1000] {
                    let opened = device
                        .run_in_pieces(&blob, KeyPurpose::Decrypt, &params, &sealed, piece)
                        .unwrap();
                    assert_eq!(opened, text, "{mode} {padding} {piece}");
                }
                let whole = device.run(&blob, KeyPurpose::Decrypt, &params, &sealed).unwrap();
                assert_eq!(whole, text, "{mode} {padding}");
            }
        }
    }
}

#[test]
fn known_answers_come_out_with_the_callers_nonce() {
    let mut device = Device::new();
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len() / 2)
            .map(|at| u8::from_str_radix(&text[2 * at..][..2], 16).unwrap())
            .collect()
    };
    // SP 800-38A, F.5.1 and F.2.1: AES-128 in CTR and CBC.
    let text = hex("6bc1bee22e409f96e93d7e117393172a");
    let key = Authorizations { caller_nonce: true, key_size: None, ..aes_of(128) };
    let material = hex("2b7e151628aed2a6abf7158809cf4f3c");
    let blob = device.import(&key, KeyFormat::Raw, &material).unwrap().blob;
    for (mode, nonce, due) in [
        (BlockMode::Ctr, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "874d6191b620e3261bef6864990db6ce"),
        (BlockMode::Cbc, "000102030405060708090a0b0c0d0e0f", "7649abac8119b246cee98e9b12e9197d"),
    ] {
        let params = with_nonce(&how(mode, PaddingMode::None), &hex(nonce));
        let begun = device.begin(&blob, KeyPurpose::Encrypt, &params).unwrap();
        assert!(begun.params.is_empty(), "the caller knows the nonce");
        assert_eq!(device.finish(begun.operation, &text).unwrap(), hex(due), "{mode}");
    }
}

#[test]
fn fresh_nonces_differ() {
    let mut device = Device::new();
    let blob = device.generate(&aes_of(128)).unwrap().blob;
    for mode in [BlockMode::Cbc, BlockMode::Ctr, BlockMode::Gcm] {
        let params = how(mode, PaddingMode::None);
        let (first, with) = encrypt(&mut device, &blob, &params, &[0; 16], 16);
        let (second, other) = encrypt(&mut device, &blob, &params, &[0; 16], 16);
        assert_ne!(first, second);
        assert_ne!(with.nonce, other.nonce);
        let length = if mode == BlockMode::Gcm { 12 } else { 16 };
        assert_eq!(with.nonce.unwrap().len(), length);
    }
}

#[test]
fn refuses_what_the_key_was_not_made_for() {
    use BlockMode::*;
    use ErrorCode::*;
    let mut device = Device::new();
    let cbc = device.generate(&aes(&[Cbc], &[PaddingMode::None])).unwrap().blob;
    let gcm = Authorizations {
        padding: [PaddingMode::None, PaddingMode::Pkcs7].into(),
        min_mac_length: Some(112),
        ..aes(&[Gcm, Ctr], &[])
    };
    let gcm = device.generate(&gcm).unwrap().blob;
    let des = device.generate(&triple_des()).unwrap().blob;
    let plain = |mode| how(mode, PaddingMode::None);
    let two_modes = Authorizations { block_mode: [Ecb, Cbc].into(), ..plain(Cbc) };
    let two_paddings =
        Authorizations { padding: [PaddingMode::None, PaddingMode::Pkcs7].into(), ..plain(Cbc) };
    let tag = |bits| Authorizations { mac_length: bits, ..plain(Gcm) };
    for (blob, params, code) in [
        (&cbc, plain(Ecb), IncompatibleBlockMode),
        (&cbc, two_modes, UnsupportedBlockMode),
        (&cbc, none(), UnsupportedBlockMode),
        (&cbc, two_paddings, UnsupportedPaddingMode),
        (&cbc, how(Cbc, PaddingMode::Pkcs7), IncompatiblePaddingMode),
        (&cbc, how(Cbc, PaddingMode::RsaPss), UnsupportedPaddingMode),
        (&cbc, with_nonce(&plain(Cbc), &[0; 16]), CallerNonceProhibited),
        (&gcm, how(Gcm, PaddingMode::Pkcs7), IncompatiblePaddingMode),
        (&gcm, how(Ctr, PaddingMode::Pkcs7), IncompatiblePaddingMode),
        (&gcm, tag(None), MissingMacLength),
        (&gcm, tag(Some(104)), InvalidMacLength),
        (&gcm, tag(Some(121)), UnsupportedMacLength),
        (&gcm, tag(Some(136)), UnsupportedMacLength),
        (&gcm, tag(Some(88)), UnsupportedMacLength),
        (&des, plain(Gcm), IncompatibleBlockMode),
    ] {
        assert_eq!(device.begin(blob, KeyPurpose::Encrypt, &params), Err(code), "{params:?}");
    }
    for purpose in [KeyPurpose::Sign, KeyPurpose::Verify, KeyPurpose::AgreeKey] {
        assert_eq!(device.begin(&cbc, purpose, &plain(Cbc)), Err(UnsupportedPurpose));
    }
    let refused = device.begin(&cbc, KeyPurpose::Decrypt, &plain(Cbc));
    assert_eq!(refused, Err(MissingNonce));
    for wrong in [&[0; 15][..], &[0; 17], &[]] {
        let refused = device.begin(&cbc, KeyPurpose::Decrypt, &with_nonce(&plain(Cbc), wrong));
        assert_eq!(refused, Err(InvalidNonce));
    }
    let only_encrypts = Authorizations {
        purpose: [KeyPurpose::Encrypt].into(),
        ..aes(&[Ecb], &[PaddingMode::None])
    };
    let blob = device.generate(&only_encrypts).unwrap().blob;
    let refused = device.begin(&blob, KeyPurpose::Decrypt, &plain(Ecb));
    assert_eq!(refused, Err(IncompatiblePurpose));
}

#[test]
fn refuses_texts_of_wrong_lengths_and_paddings() {
    use BlockMode::{Cbc, Ecb};
    let mut device = Device::new();
    for (key, block) in [(aes_of(128), 16), (triple_des(), 8)] {
        let blob = device.generate(&key).unwrap().blob;
        let length = Err(ErrorCode::InvalidInputLength);
        for mode in [Ecb, Cbc] {
            let params = with_nonce(&how(mode, PaddingMode::None), &vec![0; block]);
            let fresh = how(mode, PaddingMode::None);
            let odd = vec![0; block + 1];
            assert_eq!(device.run(&blob, KeyPurpose::Encrypt, &fresh, &odd), length);
            let pieces = device.run_in_pieces(&blob, KeyPurpose::Decrypt, &params, &odd, 3);
            assert_eq!(pieces, length);
            let filled = with_nonce(&how(mode, PaddingMode::Pkcs7), &vec![0; block]);
            assert_eq!(device.run(&blob, KeyPurpose::Decrypt, &filled, &odd[2..]), length);
            assert_eq!(device.run(&blob, KeyPurpose::Decrypt, &filled, &[]), length);
            // Every wrong padding, whole or in pieces, has one answer.
            let bad = [vec![0; block], vec![block as u8 + 1; block], vec![2; block - 1]];
            for mut text in bad {
                text.resize(block, 1);
                *text.last_mut().unwrap() = if text[0] == 2 { 3 } else { text[0] };
                let bare = how(mode, PaddingMode::None);
                let (sealed, with) = encrypt(&mut device, &blob, &bare, &text, block);
                let with = Authorizations { padding: [PaddingMode::Pkcs7].into(), ..with };
                let refused = device.run(&blob, KeyPurpose::Decrypt, &with, &sealed);
                assert_eq!(refused, Err(ErrorCode::InvalidArgument), "{text:?}");
                let refused = device.run_in_pieces(&blob, KeyPurpose::Decrypt, &with, &sealed, 1);
                assert_eq!(refused, Err(ErrorCode::InvalidArgument));
            }
        }
    }
}

#[test]
fn s3_2_gcm_binds_associated_data_and_notices_every_change() {
    let mut device = Device::new();
    let blob = device.generate(&aes_of(256)).unwrap().blob;
    let other = device.generate(&aes_of(256)).unwrap().blob;
    let params = how(BlockMode::Gcm, PaddingMode::None);
    let begun = device.begin(&blob, KeyPurpose::Encrypt, &params).unwrap();
    device.aad(begun.operation, b"associ").unwrap();
    device.aad(begun.operation, b"ated").unwrap();
    let mut sealed = device.update(begun.operation, b"text").unwrap();
    sealed.extend(device.finish(begun.operation, b"more").unwrap());
    let with = with_nonce(&params, &begun.params.nonce.unwrap());
    let mut open = |blob: &ByteBuf, with: &Authorizations, aad: &[u8], sealed: &[u8]| {
        let operation = device.begin(blob, KeyPurpose::Decrypt, with)?.operation;
        device.aad(operation, aad)?;
        device.finish(operation, sealed)
    };
    assert_eq!(open(&blob, &with, b"associated", &sealed).unwrap(), b"textmore");
    let wrong = Err(ErrorCode::VerificationFailed);
    assert_eq!(open(&blob, &with, b"other", &sealed), wrong);
    assert_eq!(open(&other, &with, b"associated", &sealed), wrong);
    let nonce = with_nonce(&with, &[1; 12]);
    assert_eq!(open(&blob, &nonce, b"associated", &sealed), wrong);
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        assert_eq!(open(&blob, &with, b"associated", &altered), wrong, "{at}");
    }
    let short = open(&blob, &with, b"associated", &sealed[..15]);
    assert_eq!(short, Err(ErrorCode::InvalidInputLength));
    // Only associated data.
    let begun = device.begin(&blob, KeyPurpose::Encrypt, &params).unwrap();
    device.aad(begun.operation, b"alone").unwrap();
    assert_eq!(device.finish(begun.operation, &[]).unwrap().len(), 16);
}

#[test]
fn associated_data_come_before_any_text_and_with_gcm_only() {
    let mut device = Device::new();
    let blob = device.generate(&aes_of(128)).unwrap().blob;
    let gcm = how(BlockMode::Gcm, PaddingMode::None);
    let operation = device.begin(&blob, KeyPurpose::Encrypt, &gcm).unwrap().operation;
    device.update(operation, b"text").unwrap();
    assert_eq!(device.aad(operation, b"late"), Err(ErrorCode::InvalidTag));
    assert_eq!(device.update(operation, b"x"), Err(ErrorCode::InvalidOperationHandle));
    let ctr = how(BlockMode::Ctr, PaddingMode::None);
    let operation = device.begin(&blob, KeyPurpose::Encrypt, &ctr).unwrap().operation;
    assert_eq!(device.aad(operation, b"x"), Err(ErrorCode::InvalidOperation));
}
