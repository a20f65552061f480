//! Keys that sign only what a person confirmed (`TRUSTED_CONFIRMATION_REQUIRED`).

use super::*;

/// A key that needs confirmation, its public key and its chain.
fn careful_key(ta: &mut Harness<KeyMintTa>) -> (ByteBuf, Vec<u8>, Vec<ByteBuf>) {
    generate_with(ta, Authorizations { trusted_confirmation_required: true, ..params() })
}

const TEXT: &str = "Pay 12.50 € to Jo";

fn confirm(os: &FakeOs, ta: &mut Harness<KeyMintTa>, blob: &ByteBuf) -> (ByteBuf, ByteBuf) {
    os.will_type("");
    let extra = ByteBuf::from(*b"nonce");
    let (blob, params) = (blob.clone(), Authorizations::default());
    match ta.call(&Command::Confirm { blob, params, text: TEXT.into(), extra }).unwrap() {
        Reply::Confirmed(given) => (given.message, given.token),
        other => panic!("{other:?}"),
    }
}

fn sign_confirmed(
    ta: &mut Harness<KeyMintTa>,
    blob: &ByteBuf,
    message: &ByteBuf,
    token: Option<&ByteBuf>,
) -> Result<Vec<u8>, TeeError> {
    super::sign_message(ta, blob, message, token)
}

fn no_user_confirmation<T: std::fmt::Debug>(tried: Result<T, TeeError>) {
    let said = tried.expect_err("nobody confirmed that").to_string();
    assert!(said.contains("NO_USER_CONFIRMATION"), "{said}");
}

#[test]
fn s2_1_1_a_confirmation_key_signs_only_what_the_person_confirmed() {
    let (os, mut ta) = device(&Maker::new());
    let (blob, public_key, _) = careful_key(&mut ta);
    let (message, token) = confirm(&os, &mut ta, &blob);
    assert_eq!(message, tee_api::ui::message(TEXT, b"nonce").unwrap());
    no_user_confirmation(sign_confirmed(&mut ta, &blob, &message, None));
    // Whoever takes the rule out of the blob has no key.
    let mut without_rule = blob.clone();
    without_rule[1 + 32 + 12] = 0;
    let refused = sign_confirmed(&mut ta, &without_rule, &message, None);
    assert!(matches!(refused, Err(TeeError::Security(_))), "{refused:?}");
    let other = ByteBuf::from(tee_api::ui::message("Pay 12.51 € to Jo", b"nonce").unwrap());
    no_user_confirmation(sign_confirmed(&mut ta, &blob, &other, Some(&token)));
    let (another, ..) = careful_key(&mut ta);
    no_user_confirmation(sign_confirmed(&mut ta, &another, &message, Some(&token)));
    let signature = sign_confirmed(&mut ta, &blob, &message, Some(&token)).unwrap();
    ecdsa_verify(Curve::P256, Hash::Sha256, &public_key, &message, &signature).unwrap();
    no_user_confirmation(sign_confirmed(&mut ta, &blob, &message, Some(&token)));
}

#[test]
fn s2_1_1_the_attestation_says_that_confirmation_is_required() {
    let maker = Maker::new();
    let (_, mut ta) = device(&maker);
    let (.., chain) = careful_key(&mut ta);
    let roots = [maker.root.public_key().clone()];
    let statement = verify_chain(&chain, &roots, &|_| None, NOW).unwrap();
    assert!(statement.description.hardware_enforced.trusted_confirmation_required);
    assert_eq!(statement.oddities, []);
    let (.., chain) = generate(&mut ta, Some(b"challenge"));
    let statement = verify_chain(&chain, &roots, &|_| None, NOW).unwrap();
    assert!(!statement.description.hardware_enforced.trusted_confirmation_required);
}

#[test]
fn s2_1_1_only_a_confirmation_key_asks_the_person() {
    let (os, mut ta) = device(&Maker::new());
    let (blob, ..) = generate(&mut ta, None);
    let extra = ByteBuf::new();
    let params = Authorizations::default();
    let refused =
        ta.call(&Command::Confirm { blob: blob.clone(), params, text: TEXT.into(), extra });
    assert!(matches!(refused, Err(TeeError::BadParameters(_))));
    assert!(os.prompts().is_empty());
    assert!(sign_confirmed(&mut ta, &blob, &ByteBuf::from(*b"any"), None).is_ok());
}
