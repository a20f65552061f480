//! What a right PIN is told to KeyMint.

use super::*;

#[test]
fn the_auth_token_has_androids_layout() {
    let (os, mut ta) = enrolled();
    os.advance(Duration::from_millis(1234));
    let Reply::Unlocked { auth_token, .. } = unlock(&os, &mut ta, PIN).unwrap() else {
        panic!("the right PIN unlocks");
    };
    assert_eq!(auth_token.len(), keymint::HardwareAuthToken::BYTES);
    let (signed, mac) = auth_token.split_at(37);
    assert_eq!(crypto::mac::hmac_sha256(&os.auth_token_key(), &[signed]), *mac);
    assert_eq!(signed[..9], [0; 9]);
    assert_ne!(signed[9..17], [0; 8], "a user id");
    assert_eq!(signed[25..29], 1_u32.to_be_bytes());
    assert_eq!(signed[29..], 61_234_u64.to_be_bytes());
}

#[test]
fn s2_1_1_an_authentication_is_for_one_operation_and_releases_no_key() {
    let (os, mut ta) = enrolled();
    let authenticate = |os: &FakeOs, ta: &mut Harness<App>, pin| {
        os.will_type(pin);
        ta.call(&Command::Authenticate { space: Space::MAIN, challenge: 0xC0FFEE })
    };
    assert!(matches!(authenticate(&os, &mut ta, "0000"), Ok(Reply::Wrong { failures: 1, .. })));
    let Ok(Reply::Authenticated { auth_token }) = authenticate(&os, &mut ta, PIN) else {
        panic!("the right PIN authenticates");
    };
    let token = keymint::HardwareAuthToken::from_bytes(&auth_token).unwrap();
    assert_eq!(token.challenge, 0xC0FFEE);
    assert_eq!(Some(token.user_id), status(&mut ta).secure_user_id);
    assert_eq!(crypto::mac::hmac_sha256(&os.auth_token_key(), &[&token.signed()]), token.mac);
    assert!(!status(&mut ta).unlocked_once);
    assert_eq!(status(&mut ta).failures, 0);
}
