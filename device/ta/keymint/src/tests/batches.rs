//! Many uses in one message, and uses of shared memory.

use super::{Device, aes, digest, ec, hmac, none, rsa};
use keymint::{Authorizations, BlockMode, Bytes, Digest, ErrorCode, KeyPurpose, PaddingMode};
use serde_bytes::ByteBuf;
use tee_api::keymint::{Command, MAX_USES, Output, Reply, Ticket, Use};
use tee_sdk::TeeError;
use tee_sdk::engine::Span;

type Answers = Vec<Result<Output, ErrorCode>>;

impl Device {
    fn open(&mut self, params: &Authorizations) -> Ticket {
        let blob = self.generate(params).unwrap().blob;
        let command = Command::Open { blob, params: none(), user: 0, token: None };
        match self.call(&command).unwrap() {
            Reply::Opened(ticket) => ticket,
            other => panic!("not a ticket: {other:?}"),
        }
    }

    fn use_all(&mut self, uses: Vec<Use>) -> Answers {
        match self.call(&Command::Use(uses)).unwrap() {
            Reply::Used(answers) => answers,
            other => panic!("no answers: {other:?}"),
        }
    }
}

fn one(ticket: Ticket, purpose: KeyPurpose, params: Authorizations, input: &[u8]) -> Use {
    let input = ByteBuf::from(input);
    Use { ticket, purpose, params, aad: None, input, signature: None, token: None }
}

/// AES-GCM under a nonce of the caller's, or a fresh one.
fn gcm(nonce: Option<&[u8]>) -> Authorizations {
    let nonce = nonce.map(Bytes::from);
    Authorizations {
        block_mode: [BlockMode::Gcm].into(),
        padding: [PaddingMode::None].into(),
        mac_length: Some(128),
        nonce,
        ..none()
    }
}

#[test]
fn s3_2_a_batch_gives_what_each_use_gives_alone() {
    let mut device = Device::new();
    let mac = device.open(&hmac());
    let caller_nonce = Authorizations {
        caller_nonce: true,
        ..aes(
            &[BlockMode::Gcm, BlockMode::Ctr, BlockMode::Cbc],
            &[PaddingMode::Pkcs7, PaddingMode::None],
        )
    };
    let cipher = device.open(&caller_nonce);
    let pkcs1 =
        device.open(&rsa(KeyPurpose::Sign, &[PaddingMode::RsaPkcs1Sign], &[Digest::Sha2_256]));
    let mac_params = Authorizations { mac_length: Some(128), ..digest(Digest::Sha2_256) };
    let mode = |mode, padding, nonce: &[u8]| Authorizations {
        block_mode: [mode].into(),
        padding: [padding].into(),
        nonce: Some(Bytes::from(nonce)),
        ..none()
    };
    let pkcs1_params =
        Authorizations { padding: [PaddingMode::RsaPkcs1Sign].into(), ..digest(Digest::Sha2_256) };
    let unknown = Ticket([9; 16]);
    let uses = vec![
        one(mac, KeyPurpose::Sign, mac_params.clone(), b"message"),
        one(unknown, KeyPurpose::Sign, none(), b"message"),
        Use {
            aad: Some(ByteBuf::from(*b"with this")),
            ..one(cipher, KeyPurpose::Encrypt, gcm(Some(&[1; 12])), b"text")
        },
        one(
            cipher,
            KeyPurpose::Encrypt,
            mode(BlockMode::Ctr, PaddingMode::None, &[2; 16]),
            b"text",
        ),
        one(
            cipher,
            KeyPurpose::Encrypt,
            mode(BlockMode::Cbc, PaddingMode::Pkcs7, &[3; 16]),
            b"text",
        ),
        // Not whole blocks.
        one(
            cipher,
            KeyPurpose::Encrypt,
            mode(BlockMode::Cbc, PaddingMode::None, &[3; 16]),
            b"text",
        ),
        // Too short for a tag, and with a wrong one.
        one(cipher, KeyPurpose::Decrypt, gcm(Some(&[1; 12])), b"text"),
        one(cipher, KeyPurpose::Decrypt, gcm(Some(&[1; 12])), &[0; 40]),
        one(pkcs1, KeyPurpose::Sign, pkcs1_params, b"message"),
        Use {
            signature: Some(ByteBuf::from([0; 16])),
            ..one(mac, KeyPurpose::Verify, digest(Digest::Sha2_256), b"message")
        },
        // Only GCM takes associated data.
        Use {
            aad: Some(ByteBuf::from(*b"with this")),
            ..one(mac, KeyPurpose::Sign, mac_params, b"message")
        },
    ];
    let alone: Answers = uses.iter().flat_map(|one| device.use_all(vec![one.clone()])).collect();
    let together = device.use_all(uses);
    assert_eq!(together, alone);
    let good = together.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!((good, together.len()), (5, 11), "{together:?}");
}

#[test]
fn s3_2_a_full_batch_of_signatures_and_no_more() {
    let mut device = Device::new();
    let ticket = device.open(&ec());
    let sign = || one(ticket, KeyPurpose::Sign, digest(Digest::Sha2_256), b"message");
    let answers = device.use_all(vec![sign(); MAX_USES]);
    assert_eq!(answers.len(), MAX_USES);
    let mut signatures: Vec<_> =
        answers.into_iter().map(|answer| answer.unwrap().output.into_vec()).collect();
    signatures.sort();
    signatures.dedup();
    assert_eq!(signatures.len(), MAX_USES, "each with randomness of its own");
    let more = Command::Use(vec![sign(); MAX_USES + 1]);
    assert_eq!(device.call(&more).map(drop), Err(ErrorCode::InvalidInputLength));
    assert_eq!(device.use_all(Vec::new()), Vec::new());
}

#[test]
fn s3_2_nonces_of_a_batch_are_fresh() {
    let mut device = Device::new();
    let ticket = device.open(&aes(&[BlockMode::Gcm], &[PaddingMode::None]));
    let encrypt = || one(ticket, KeyPurpose::Encrypt, gcm(None), b"text");
    let answers = device.use_all(vec![encrypt(), encrypt()]);
    let outputs: Vec<Output> = answers.into_iter().map(Result::unwrap).collect();
    assert_ne!(outputs[0].nonce, outputs[1].nonce);
    for output in outputs {
        let params = gcm(output.nonce.as_ref().map(|nonce| &nonce[..]));
        let decrypt = one(ticket, KeyPurpose::Decrypt, params, &output.output);
        let text = device.use_all(vec![decrypt.clone(), decrypt]);
        assert!(text.iter().all(|text| text.as_ref().unwrap().output == b"text"), "{text:?}");
    }
}

#[test]
fn s3_2_on_memory_only_what_needs_no_sight_of_it() {
    let mut device = Device::new();
    let (mac, cipher) =
        (device.open(&hmac()), device.open(&aes(&[BlockMode::Gcm], &[PaddingMode::None])));
    let mac_params = Authorizations { mac_length: Some(128), ..digest(Digest::Sha2_256) };
    let mut on_memory = |one: Use| {
        let input = Span { offset: 0, bytes: 64 };
        device.ta.call(&Command::UseMemory { how: one, input, output: 64 })
    };
    let refused = |reply: Result<Reply, TeeError>| match reply {
        Ok(Reply::Refused(code)) => code,
        other => panic!("{other:?}"),
    };
    let sign = one(mac, KeyPurpose::Sign, mac_params, b"");
    assert_eq!(refused(on_memory(sign)), ErrorCode::InvalidArgument);
    let with_input = one(cipher, KeyPurpose::Encrypt, gcm(None), b"input");
    assert_eq!(refused(on_memory(with_input)), ErrorCode::InvalidArgument);
    // Nobody shares memory with this one.
    let encrypt = one(cipher, KeyPurpose::Encrypt, gcm(None), b"");
    assert!(matches!(on_memory(encrypt), Err(TeeError::BadState(_))));
}
