//! Keys whose user must have authenticated, keys that attest others, keys that come wrapped: through
//! the command line and the local API, on a real device whose owner types on the trusted screen.

use crate::alone::until_up;
use crate::document::Reader;
use crate::run::state;
use crypto::rsa::{Encryption, Floor, PublicKey};
use keyattest::x509::Certificate;
use serde_json::Value;

const EC: &str = "--algorithm ec --curve p_256 --digest sha_2_256";
const BOOT: &str = "holdfast device boot";

/// A device that is up, and the shell in which its owner sits.
fn device(home: &tempfile::TempDir) -> Reader {
    let mut reader = Reader::at(home.path());
    reader.types("export HOLDFAST_STATE=$HOME/state");
    reader.types("holdfast device make --imei 490154203237518");
    boot(home, &mut reader);
    reader
}

fn boot(home: &tempfile::TempDir, reader: &mut Reader) {
    reader.starts(BOOT);
    until_up(BOOT, &home.path().join("state"));
}

/// The person will type this on the trusted screen.
fn typed(keys: &str) -> String {
    let body = serde_json::json!({ "keys": keys });
    format!(
        "curl -sS --fail-with-body --unix-socket \"$HOLDFAST_STATE/device/board.sock\" \
         -H 'content-type: application/json' -d '{body}' http://x/v1/keys\n"
    )
}

/// A request to the device.
fn asks(request: &str) -> String {
    let socket = "\"$HOLDFAST_STATE/device/run/holdfast.sock\"";
    format!("curl -sS --fail-with-body --unix-socket {socket} -X POST http://x/v1/{request}\n")
}

/// The refusal of a command.
fn refused(reader: &mut Reader, command: &str) -> String {
    let said = reader.types(&format!("! {command} --json"));
    let said: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap();
    said["error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn s3_2_keys_of_a_user_work_once_the_user_proved_themselves() {
    let home = state();
    let mut reader = device(&home);
    let make = |alias: &str, rules: &str| {
        format!("holdfast keys generate {alias} {EC} --purpose sign {rules}\n")
    };
    let sign = |alias: &str| format!("holdfast keys sign {alias} text --digest sha_2_256");
    reader.types("echo text > text");
    assert_eq!(
        refused(&mut reader, make("early", "--user-auth-type password").trim()),
        "no_screen_lock"
    );
    reader.types(&(typed("boat Seven\n13579\n13579\n") + &asks("lock/enrol")));
    reader.types(&make("hour", "--user-auth-type password --auth-timeout 3600"));
    reader.types(&make("each", "--user-auth-type password"));
    reader.types(&make("finger", "--user-auth-type fingerprint --auth-timeout 3600"));
    reader
        .types(&make("other", "--user-auth-type password --auth-timeout 3600 --user-secure-id 7"));
    assert_eq!(
        refused(&mut reader, make("open", "--unlocked-device-required").trim()),
        "no_screen_lock",
        "it was never unlocked"
    );
    let unauthenticated = "key_user_not_authenticated";
    assert_eq!(refused(&mut reader, &sign("hour")), unauthenticated);

    // A wrong PIN opens nothing, the right one opens what it should.
    reader.types(&(typed("24680\n") + "! " + &asks("lock/unlock")));
    assert_eq!(refused(&mut reader, &sign("hour")), unauthenticated);
    reader.types(&(typed("13579\n") + &asks("lock/unlock")));
    reader.types(&make("open", "--unlocked-device-required"));
    for alias in ["hour", "open"] {
        reader.types(&format!("{} --output {alias}.sig", sign(alias)));
        reader.types(&format!(
            "holdfast keys verify {alias} text --digest sha_2_256 --signature {alias}.sig"
        ));
    }
    for alias in ["finger", "other", "each"] {
        assert_eq!(refused(&mut reader, &sign(alias)), unauthenticated, "{alias}");
    }
    reader.types(&(typed("13579\n") + &sign("each") + " --authenticate --output each.sig"));
    assert_eq!(refused(&mut reader, &sign("each")), unauthenticated, "that was for one operation");

    reader.types(&asks("lock/lock"));
    assert_eq!(refused(&mut reader, &sign("open")), "locked");
    reader.types(&format!("{} --output hour.sig", sign("hour")));

    // What somebody proved before power was off counts no more.
    boot(&home, &mut reader);
    assert_eq!(refused(&mut reader, &sign("hour")), unauthenticated);
    assert_eq!(refused(&mut reader, &sign("open")), "locked");
    reader.types(&(typed("13579\n") + &asks("lock/unlock")));
    reader.types(&format!("{} --output hour.sig", sign("hour")));
    reader.types(&format!("{} --output open.sig", sign("open")));
    reader.leaves();
}

#[test]
fn s3_2_keys_attest_others_come_wrapped_and_say_which_device_this_is() {
    let home = state();
    let mut reader = device(&home);
    let challenge = "--challenge 00112233445566778899aabbccddeeff";
    // CN=issuer: without a name of its own its certificate and the leaf's have the same one.
    let name = "3011310f300d06035504030c06697373756572";
    reader.types(&format!(
        "holdfast keys generate issuer {EC} --purpose attest_key {challenge} \
         --certificate-subject {name}
        holdfast keys generate leaf {EC} --purpose sign {challenge} --attest-key issuer
        holdfast keys attest leaf --output leaf.pem
        holdfast keys attest issuer --output issuer.pem
        cat leaf.pem issuer.pem > chain.pem
        test $(grep -c BEGIN leaf.pem) = 1
        openssl x509 -in issuer.pem -pubkey -noout > issuer.key
        openssl verify -partial_chain -no_check_time -trusted issuer.pem leaf.pem"
    ));
    assert_eq!(
        refused(
            &mut reader,
            &format!("holdfast keys generate two {EC} --purpose attest_key --purpose sign")
        ),
        "incompatible_purpose"
    );

    // What the maker said of the device is attested; anything else is not.
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let ids = |brand: &str| {
        let (brand, imei) = (hex(brand), hex("490154203237518"));
        format!("--attestation-id-brand {brand} --attestation-id-imei {imei}")
    };
    let make =
        |ids: String| format!("holdfast keys generate named {EC} --purpose sign {challenge} {ids}");
    assert_eq!(refused(&mut reader, &make(ids("another"))), "cannot_attest_ids");
    reader.types(&make(ids("holdfast")));
    let said = reader.types(
        "holdfast keys attest named --output named.pem
        holdfast attest verify named.pem --json",
    );
    assert!(said.contains(r#""verdict":"accepted""#), "{said}");
    assert!(said.contains("attestationIdBrand") && said.contains("attestationIdImei"), "{said}");

    wrapped(&home, &mut reader);
    reader.leaves();
}

/// A key that comes under a key of the TEE, for its command line.
fn wrapped(home: &tempfile::TempDir, reader: &mut Reader) {
    reader.types(
        "holdfast keys generate wrapping --algorithm rsa --key-size 2048 --purpose wrap_key \
         --padding rsa_oaep --digest sha_2_256 --digest sha1
        holdfast keys attest wrapping --output wrapping.pem",
    );
    let pem = std::fs::read(home.path().join("wrapping.pem")).unwrap();
    let der = keyattest::pem::decode(&pem).unwrap().remove(0);
    let wrapping = Certificate::parse(&der).unwrap();
    let file = home.path().join("wrapped");
    std::fs::write(&file, secure_key_wrapper(&wrapping, &[5; 32])).unwrap();
    let import = "holdfast keys import-wrapped come --file wrapped --wrapping-key wrapping \
                  --padding rsa_oaep --digest sha_2_256";
    let mask = "0f".repeat(32);
    assert_eq!(refused(reader, import), "verification_failed", "another mask");
    reader.types(&format!("{import} --masking-key {mask}"));
    reader.types(
        "printf 'sixteen bytes!!\\n' > plain
        holdfast keys encrypt come plain --block-mode ecb --padding pkcs7 --output sealed
        openssl enc -d -aes-256-ecb -K $(printf '05%.0s' $(seq 32)) -in sealed -out opened
        cmp plain opened",
    );
}

/// `SecureKeyWrapper` of an AES key of 256 bits for ECB with PKCS#7, under the mask 0x0f.
fn secure_key_wrapper(wrapping: &Certificate, key: &[u8; 32]) -> Vec<u8> {
    /// `AuthorizationList`: purposes 0 and 1, algorithm 32, size 256, mode 1, padding 64, no
    /// authentication.
    const LIST: &[u8] = b"\x30\x29\xa1\x08\x31\x06\x02\x01\x00\x02\x01\x01\xa2\x03\x02\x01\x20\
        \xa3\x04\x02\x02\x01\x00\xa4\x05\x31\x03\x02\x01\x01\xa6\x05\x31\x03\x02\x01\x40\
        \xbf\x83\x77\x02\x05\x00";
    let der = |tag: u8, content: &[u8]| match content.len() {
        short @ 0..=127 => [&[tag, short as u8], content].concat(),
        long => [&[tag, 0x82][..], &(long as u16).to_be_bytes(), content].concat(),
    };
    let public = PublicKey::from_spki(wrapping.public_key().as_der(), Floor::Bits2048).unwrap();
    let (hash, mask) = (crypto::hash::Hash::Sha256, crypto::hash::Hash::LegacySha1);
    let oaep = Encryption::Oaep { hash, mask, label: &[] };
    let transport = [0x77; 32];
    let masked = public.encrypt(oaep, &transport.map(|byte| byte ^ 0x0F)).unwrap();
    let description = der(0x30, &[&der(2, &[3])[..], LIST].concat());
    let sealed = crypto::aead::Key::aes_256_gcm(&transport).seal(&description, key);
    let (nonce, rest) = sealed.split_at(12);
    let (text, tag) = rest.split_at(rest.len() - 16);
    let fields =
        [der(2, &[0]), der(4, &masked), der(4, nonce), description, der(4, text), der(4, tag)];
    der(0x30, &fields.concat())
}

#[test]
fn s3_2_users_whom_the_system_cannot_tell_apart_get_no_keys() {
    // SAFETY: the call has no preconditions and touches no memory.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("not run: only root can act as other users");
        return;
    }
    let home = state();
    let mut reader = device(&home);
    reader.types("chmod 755 . state state/device state/device/run");
    let as_user = |uid: u32, fails: &str| {
        format!(
            "cd / && setpriv --reuid={uid} --regid={uid} --clear-groups curl -sS {fails} \
             --unix-socket \"$HOLDFAST_STATE/device/run/holdfast.sock\" http://x/v1/keys\n"
        )
    };
    reader.types(&as_user(0, "--fail-with-body"));
    for uid in [4711, 4712] {
        let said: Value = serde_json::from_str(&reader.types(&as_user(uid, ""))).unwrap();
        assert_eq!(said["error"], "permission_denied", "{said}");
    }
    reader.leaves();
}
