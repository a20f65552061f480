//! Keys that sign only what a person confirmed (`TRUSTED_CONFIRMATION_REQUIRED`).

use super::*;
use keyattest::verify_chain;

const TEXT: &str = "Pay 12.50 € to Jo";

fn careful() -> Authorizations {
    Authorizations { trusted_confirmation_required: true, ..attested_ec() }
}

fn confirm(device: &mut Device, blob: &ByteBuf) -> (ByteBuf, ByteBuf) {
    device.os.will_type("");
    let (blob, extra) = (blob.clone(), ByteBuf::from(*b"nonce"));
    let command = Command::Confirm { blob, params: none(), text: TEXT.into(), extra };
    match device.call(&command).unwrap() {
        Reply::Confirmed(given) => (given.message, given.token),
        other => panic!("{other:?}"),
    }
}

fn sign(
    device: &mut Device,
    blob: &ByteBuf,
    message: &[u8],
    token: Option<&ByteBuf>,
) -> Outcome<Vec<u8>> {
    let params = digest(Digest::Sha2_256);
    let operation = device.begin(blob, KeyPurpose::Sign, &params)?.operation;
    let (first, last) = message.split_at(message.len() / 2);
    device.update(operation, first)?;
    let (input, confirmation) = (ByteBuf::from(last), token.cloned());
    let finish = Command::Finish { operation, input, signature: None, token: None, confirmation };
    match device.call(&finish)? {
        Reply::Output(signature) => Ok(signature.into_vec()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn s2_1_1_a_confirmation_key_signs_only_what_the_person_confirmed() {
    let mut device = Device::new();
    let made = device.generate(&careful()).unwrap();
    let (message, token) = confirm(&mut device, &made.blob);
    assert_eq!(message, tee_api::ui::message(TEXT, b"nonce").unwrap());
    let unconfirmed = Err(ErrorCode::NoUserConfirmation);
    assert_eq!(sign(&mut device, &made.blob, &message, None), unconfirmed);
    let other = tee_api::ui::message("Pay 12.51 € to Jo", b"nonce").unwrap();
    assert_eq!(sign(&mut device, &made.blob, &other, Some(&token)), unconfirmed);
    let another = device.generate(&careful()).unwrap().blob;
    assert_eq!(sign(&mut device, &another, &message, Some(&token)), unconfirmed);
    assert_eq!(sign(&mut device, &made.blob, &[0; 9000], Some(&token)), unconfirmed);
    let signature = sign(&mut device, &made.blob, &message, Some(&token)).unwrap();
    let key = leaf(&made).public_key().as_der().to_vec();
    crypto::sign::ecdsa_verify(Curve::P256, crypto::sign::Hash::Sha256, &key, &message, &signature)
        .unwrap();
    assert_eq!(sign(&mut device, &made.blob, &message, Some(&token)), unconfirmed);
}

#[test]
fn s2_1_1_the_attestation_says_that_confirmation_is_required() {
    let mut device = Device::new();
    let roots = [device.maker.root.public_key().clone()];
    for (params, due) in [(careful(), true), (attested_ec(), false)] {
        let chain = device.generate(&params).unwrap().chain;
        let statement = verify_chain(&chain, &roots, &|_| None, NOW).unwrap();
        let said = statement.description.hardware_enforced.trusted_confirmation_required;
        assert_eq!(said, due);
        assert_eq!(statement.oddities, []);
    }
}

#[test]
fn s2_1_1_only_a_confirmation_key_asks_the_person() {
    let mut device = Device::new();
    let blob = device.generate(&ec()).unwrap().blob;
    let (text, extra) = (TEXT.into(), ByteBuf::new());
    let refused = device.call(&Command::Confirm { blob, params: none(), text, extra });
    assert_eq!(refused.map(drop), Err(ErrorCode::InvalidArgument));
    assert!(device.os.prompts().is_empty());
}
