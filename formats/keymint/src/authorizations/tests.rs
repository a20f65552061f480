//! The table, and the two forms.

use super::*;
use crate::{ErrorCode, HardwareAuthToken, Kept, SetBy, TagType, TokenError};
use proptest::prelude::*;

/// A signing key of an application.
fn signing_key() -> Authorizations {
    Authorizations {
        purpose: [KeyPurpose::Sign].into(),
        algorithm: Some(Algorithm::Ec),
        ec_curve: Some(EcCurve::P256),
        digest: [Digest::None, Digest::Sha2_256].into(),
        user_secure_id: [7, u64::MAX].into(),
        user_auth_type: Some(AuthenticatorType::PASSWORD),
        application_id: Some(Bytes::from(b"app")),
        certificate_not_after: Some(253_402_300_799_000),
        no_auth_required: true,
        ..Authorizations::default()
    }
}

fn cbor(set: &Authorizations) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(set, &mut bytes).unwrap();
    bytes
}

#[test]
fn the_table_ascends_and_numbers_carry_their_type() {
    let bare: Vec<_> = Tag::ALL.iter().map(|tag| tag.bare_number()).collect();
    assert!(bare.is_sorted_by(|a, b| a < b));
    for tag in Tag::ALL {
        assert_eq!(tag.number() >> 28, tag.tag_type() as u32, "{tag}");
    }
    // As the AIDL spells them out.
    assert_eq!(Tag::Purpose.number(), 2 << 28 | 1);
    assert_eq!(Tag::UserSecureId.number(), 10 << 28 | 502);
    assert_eq!(Tag::CertificateSerial.number(), 8 << 28 | 1006);
    assert_eq!(Tag::ApplicationId.number(), 9 << 28 | 601);
}

#[test]
fn what_is_hidden_or_of_one_operation_is_in_no_characteristics() {
    for tag in Tag::ALL {
        let listed = matches!(tag.kept(), Kept::Tee | Kept::Keystore);
        match tag.set_by() {
            SetBy::Use | SetBy::Creation => assert_eq!(tag.kept(), Kept::Dropped, "{tag}"),
            SetBy::Key => assert!(listed, "{tag}"),
            SetBy::KeyAndUse | SetBy::KeyMint => {}
        }
    }
    assert_eq!(Tag::ApplicationId.kept(), Kept::Hidden);
    assert_eq!(Tag::ApplicationData.kept(), Kept::Hidden);
    assert_eq!(Tag::MacLength.set_by(), SetBy::Use);
    assert_eq!(Tag::Nonce.tag_type(), TagType::Bytes);
}

#[test]
fn people_read_names() {
    let text = r#"{"purpose":["sign"],"algorithm":"ec","digest":["none","sha_2_256"],"ec_curve":"p_256","user_secure_id":[7,18446744073709551615],"no_auth_required":true,"user_auth_type":1,"application_id":"YXBw","certificate_not_after":253402300799000}"#;
    assert_eq!(serde_json::to_string(&signing_key()).unwrap(), text);
    assert_eq!(serde_json::from_str::<Authorizations>(text).unwrap(), signing_key());
}

#[test]
fn machines_read_numbers() {
    let set = Authorizations { no_auth_required: true, ..Authorizations::default() };
    assert_eq!(cbor(&set), [0xA1, 0x1A, 0x70, 0x00, 0x01, 0xF7, 0xF5]);
    let again: Authorizations = ciborium::from_reader(&cbor(&signing_key())[..]).unwrap();
    assert_eq!(again, signing_key());
}

#[test]
fn refuses_what_does_not_exist_and_what_comes_twice() {
    for (text, said) in [
        (r#"{"porpose":["sign"]}"#, "is not a tag"),
        (r#"{"purpose":["sing"]}"#, "is not a purpose: encrypt, decrypt, sign"),
        (r#"{"algorithm":"ec","algorithm":"rsa"}"#, "duplicate field"),
        (r#"{"application_id":"?"}"#, "not base64"),
        (r#"{"key_size":4294967296}"#, "expected u32"),
        (r#"{"key_size":-1}"#, "expected u32"),
        (r#"[]"#, "expected a map"),
    ] {
        let error = serde_json::from_str::<Authorizations>(text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
    // Tag 0, and an algorithm 2, by number.
    for bytes in [&[0xA1, 0x00, 0xF5][..], &[0xA1, 0x1A, 0x10, 0, 0, 2, 0x02]] {
        assert!(ciborium::from_reader::<Authorizations, _>(bytes).is_err());
    }
}

#[test]
fn sets_are_parted_and_put_together() {
    let key = signing_key();
    let hidden = key.filtered(|tag| tag.kept() == Kept::Hidden);
    assert_eq!(hidden.tags().collect::<Vec<_>>(), [Tag::ApplicationId]);
    let rest = key.filtered(|tag| tag.kept() != Kept::Hidden);
    assert_eq!(rest.clone().with(&hidden), key);
    assert!(Authorizations::default().is_empty() && !rest.is_empty());
}

#[test]
fn names_are_unlike_and_lead_back() {
    for tag in Tag::ALL {
        assert_eq!(tag.name().parse(), Ok(*tag));
    }
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
        assert!(code.number() < 0);
    }
    assert_eq!(ErrorCode::InvalidKeyBlob.constant(), "INVALID_KEY_BLOB");
    assert_eq!(ErrorCode::InvalidKeyBlob.number(), -33);
    assert_eq!(ErrorCode::ModuleHashAlreadySet.number(), -86);
}

#[test]
fn a_token_has_69_bytes_in_androids_odd_order() {
    let token = HardwareAuthToken {
        challenge: 0x0102_0304_0506_0708,
        user_id: 0x1112_1314_1516_1718,
        authenticator_id: 0,
        authenticator_type: AuthenticatorType::FINGERPRINT,
        timestamp_ms: 0x0A0B,
        mac: [0xEE; 32],
    };
    let bytes = token.to_bytes();
    assert_eq!(bytes.len(), 69);
    assert_eq!(bytes[0], 0);
    assert_eq!(bytes[1..9], 0x0102_0304_0506_0708_u64.to_ne_bytes());
    assert_eq!(bytes[25..29], [0, 0, 0, 2]);
    assert_eq!(bytes[29..37], [0, 0, 0, 0, 0, 0, 0x0A, 0x0B]);
    assert_eq!(bytes[37..], [0xEE; 32]);
    assert_eq!(HardwareAuthToken::from_bytes(&bytes), Ok(token));
    assert_eq!(HardwareAuthToken::from_bytes(&bytes[..68]), Err(TokenError::Length(68)));
    let mut newer = bytes;
    newer[0] = 1;
    assert_eq!(HardwareAuthToken::from_bytes(&newer), Err(TokenError::Version(1)));
    let text = serde_json::to_string(&token).unwrap();
    assert_eq!(serde_json::from_str::<HardwareAuthToken>(&text).unwrap(), token);
}

proptest! {
    #[test]
    fn both_forms_lead_back(
        purpose in proptest::sample::subsequence(KeyPurpose::ALL, 0..=7),
        algorithm in proptest::option::of(proptest::sample::select(Algorithm::ALL)),
        size in any::<Option<u32>>(),
        sids in proptest::collection::btree_set(any::<u64>(), 0..4),
        data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        flag in any::<bool>(),
    ) {
        let set = Authorizations {
            purpose: purpose.into_iter().collect(),
            algorithm,
            key_size: size,
            user_secure_id: sids,
            application_data: data.map(Bytes),
            caller_nonce: flag,
            ..Authorizations::default()
        };
        let text = serde_json::to_string(&set).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Authorizations>(&text).unwrap(), &set);
        prop_assert_eq!(&ciborium::from_reader::<Authorizations, _>(&cbor(&set)[..]).unwrap(), &set);
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = ciborium::from_reader::<Authorizations, _>(&bytes[..]);
        let _ = serde_json::from_slice::<Authorizations>(&bytes);
        let _ = HardwareAuthToken::from_bytes(&bytes);
    }
}
