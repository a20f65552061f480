//! Other people's programs, unchanged, on the element behind pcscd and a virtual reader.
//!
//! pcscd has one socket in one place, and the reader one port: so all of it runs in namespaces of
//! its own, where place and port are always free.

use crypto::ec::{Curve, PublicKey};
use secure_element::pcsc::{Pcscd, Refused};
use secure_element::{
    ElementError, IDENTITY, ManagementKey, PinPolicy, Piv, SIGNATURE, SecureElement as _,
};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast-element");
/// Where Debian has the reader's driver, and OpenSC's PKCS #11 module.
const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";
const MODULE: &str = "opensc-pkcs11.so";

/// Starts pcscd and the element, waits for the card, runs the script `$1`, ends both.
const STAGE: &str = r#"
set -eu
ip link set lo up
mount -t tmpfs none /run
mkdir -p /run/pcscd conf
printf 'FRIENDLYNAME "Virtual PCD"\nDEVICENAME /dev/null:0x7123\nLIBPATH %s\nCHANNELID 0x7123\n' \
    "$DRIVER" > conf/reader.conf
pcscd --foreground --config "$PWD/conf" > pcscd.log 2>&1 &
pcscd=$!
"$ELEMENT" make --state element > made.json
"$ELEMENT" serve --state element --vpcd 127.0.0.1:28963 > element.log 2>&1 &
element=$!
trap 'kill $element $pcscd 2> /dev/null || true' EXIT
tries=0
until opensc-tool --list-readers 2> /dev/null | grep -q '0 *Yes'; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { cat pcscd.log element.log; exit 99; }
    sleep 0.05
done
yubico() { yubico-piv-tool --reader Virtual "$@"; }
pkcs11() { pkcs11-tool --module "$MODULE" "$@"; }
# A key in a slot, and a certificate for it from a CA.
certified() {
    yubico -a generate -s "$1" -A "$2" -o "pub$1.pem"
    openssl x509 -req -in holder.csr -force_pubkey "pub$1.pem" -CA ca.pem -CAkey ca.key \
        -CAcreateserial -out "cert$1.pem" -days 30 2> /dev/null
    yubico -a import-certificate -s "$1" -i "cert$1.pem"
}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem \
    -subj /CN=ca 2> /dev/null
openssl req -new -key ca.key -subj /CN=holder -out holder.csr
printf 'a message' > message
"#;

/// Whether all that this takes is here; else says so. Under CI it has to be.
fn ready() -> bool {
    let tools = ["pcscd", "unshare", "ip", "yubico-piv-tool", "piv-tool", "pkcs11-tool", "openssl"];
    let has = |tool: &str| {
        ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
            .iter()
            .any(|at| Path::new(at).join(tool).exists())
    };
    let mut missing: Vec<&str> = tools.into_iter().filter(|tool| !has(tool)).collect();
    missing.extend((!Path::new(DRIVER).exists()).then_some("vsmartcard-vpcd"));
    let namespaces = Command::new("unshare").args(namespaces()).arg("true").output();
    missing.extend((!namespaces.is_ok_and(|it| it.status.success())).then_some("user namespaces"));
    if missing.is_empty() {
        return true;
    }
    let said = format!("strangers: {} missing", missing.join(", "));
    assert!(std::env::var_os("CI").is_none(), "{said}");
    eprintln!("{said}");
    false
}

/// Namespaces of its own for mounts and network; whoever is not root needs one for users too.
fn namespaces() -> &'static [&'static str] {
    if is_root() { &["--mount", "--net"] } else { &["--map-root-user", "--mount", "--net"] }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn module() -> String {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    let at = places.iter().map(|at| Path::new(at).join(MODULE)).find(|path| path.exists());
    at.map_or_else(|| MODULE.into(), |path| path.display().to_string())
}

/// Runs `script` on the stage and gives what it printed. It has to succeed.
fn on_stage(script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("stage.sh"), format!("{STAGE}\n{script}")).unwrap();
    let Output { status, stdout, stderr } = Command::new("unshare")
        .args(namespaces())
        .args(["sh", "stage.sh"])
        .current_dir(folder.path())
        .env("ELEMENT", PROGRAM)
        .env("SELF", std::env::current_exe().unwrap())
        .env("DRIVER", DRIVER)
        .env("MODULE", module())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}\n{out}\n{err}");
    format!("{out}\n{err}")
}

#[test]
fn s3_3_2_yubico_piv_tool_administers_the_element() {
    if !ready() {
        return;
    }
    let said = on_stage(
        r#"
yubico -a status
certified 9a RSA2048
certified 9c ECCP256
certified 9d RSA2048
certified 9e ECCP384
certified 82 ECCP256
for slot in 9a 9c; do yubico -a verify-pin -P 123456 -s $slot -a test-signature -i cert$slot.pem; done
yubico -s 9e -a test-signature -i cert9e.pem
yubico -a verify-pin -P 123456 -s 9d -a test-decipher -i cert9d.pem
# What attests is verified by somebody else.
yubico -a attest -s 9a -o attested.pem
yubico -a read-certificate -s f9 -o attester.pem
openssl verify -CAfile attester.pem attested.pem
openssl x509 -in attested.pem -noout -pubkey | cmp - pub9a.pem
# A key that somebody brings.
openssl genrsa -out brought.pem 2048 2> /dev/null
yubico -a import-key -s 82 -i brought.pem --pin-policy never
openssl req -x509 -key brought.pem -subj /CN=brought -out brought.crt
yubico -a import-certificate -s 82 -i brought.crt
yubico -s 82 -a test-signature -i brought.crt
! yubico -a attest -s 82 2> /dev/null
# PIN, PUK, attempts, management key.
yubico -a change-pin -P 123456 -N 654321
yubico -a change-puk -P 12345678 -N 87654321
yubico -a set-mgm-key -n 112233445566778811223344556677881122334455667788
KEY=112233445566778811223344556677881122334455667788
yubico -k$KEY -a verify-pin -P 654321 -a pin-retries --pin-retries 5 --puk-retries 4
yubico -a status | grep 'PIN tries left:.*5'
for try in 1 2 3 4 5; do ! yubico -a verify-pin -P 000000 2> /dev/null; done
! yubico -a verify-pin -P 123456 2> /dev/null
yubico -a unblock-pin -P 12345678 -N 222222
yubico -a verify-pin -P 222222
yubico -k$KEY -a set-chuid -a set-ccc
echo 1234 | yubico -k$KEY -a write-object --id 0x5fc10b -f hex -i -
for try in 1 2 3 4 5; do ! yubico -a verify-pin -P 000000 2> /dev/null; done
for try in 1 2 3 4; do ! yubico -a change-puk -P 00000000 -N 11111111 2> /dev/null; done
yubico -a reset
yubico -a verify-pin -P 123456
! yubico -a read-certificate -s 9a 2> /dev/null
echo everything held
"#,
    );
    for due in ["attested.pem: OK", "RSA verification", "RSA decryption", "everything held"] {
        assert!(said.contains(due), "{due}: {said}");
    }
}

#[test]
fn s3_3_2_opensc_uses_the_element() {
    if !ready() {
        return;
    }
    let said = on_stage(
        r#"
opensc-tool --name
certified 9a RSA2048
certified 9c ECCP256
certified 9d RSA2048
piv-tool --name --serial
printf '01:02:03:04:05:06:07:08:01:02:03:04:05:06:07:08:01:02:03:04:05:06:07:08' > manager
# It ends with the number of bytes that it wrote.
PIV_EXT_AUTH_KEY=manager piv-tool --admin M:9B:03 --cert 9E --in ca.pem || true
yubico -a read-certificate -s 9e | openssl x509 -outform DER > there
openssl x509 -in ca.pem -outform DER | cmp - there
pkcs11 --login --pin 123456 --list-objects --type privkey
pkcs11 --login --pin 123456 --test
! pkcs11 --login --pin 000000 --list-objects > /dev/null 2>&1
pkcs11 --login --pin 123456 --sign --id 02 -m ECDSA-SHA256 -i message -o signature \
    --signature-format openssl
openssl dgst -sha256 -verify pub9c.pem -signature signature message
pkcs11 --login --pin 123456 --sign --id 01 -m SHA256-RSA-PKCS-PSS -i message -o signature
openssl dgst -sha256 -sigopt rsa_padding_mode:pss -verify pub9a.pem -signature signature message
"#,
    );
    for due in ["Personal Identity Verification Card", "No errors", "never extractable"] {
        assert!(said.contains(due), "{due}: {said}");
    }
    assert_eq!(said.matches("Verified OK").count(), 2, "{said}");
    assert!(!said.contains("ERR:"), "{said}");
}

#[test]
fn s3_3_2_openssl_signs_and_ssh_signs_in_with_a_key_of_the_element() {
    if !ready() {
        return;
    }
    let engine = ["/usr/lib/x86_64-linux-gnu/engines-3", "/usr/lib/aarch64-linux-gnu/engines-3"];
    if !engine.iter().any(|at| Path::new(at).join("pkcs11.so").exists()) {
        let said = "strangers: libengine-pkcs11-openssl missing";
        assert!(std::env::var_os("CI").is_none(), "{said}");
        return eprintln!("{said}");
    }
    if !is_root() {
        return eprintln!("strangers: sshd changes its user, which root alone may");
    }
    let said = on_stage(
        r#"
certified 9a RSA2048
PKCS11_MODULE_PATH=$MODULE openssl dgst -engine pkcs11 -keyform engine -sha256 -out signature \
    -sign 'pkcs11:id=%01;type=private;pin-value=123456' message
openssl dgst -sha256 -verify pub9a.pem -signature signature message
# A server that lets nobody in but the holder of the element's key.
mkdir -p /run/sshd home && chmod 700 home
ssh-keygen -D "$MODULE" > home/authorized_keys
ssh-keygen -q -t ed25519 -N '' -f host
printf 'AuthorizedKeysFile %s/home/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n' \
    "$PWD" > sshd.conf
printf '#!/bin/sh\necho 123456\n' > ask && chmod 700 ask
SSH_ASKPASS=$PWD/ask SSH_ASKPASS_REQUIRE=force ssh -F none -I "$MODULE" -v \
    -o BatchMode=no -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
    -o IdentityAgent=none -o IdentitiesOnly=no \
    -o ProxyCommand="/usr/sbin/sshd -i -e -f $PWD/sshd.conf -h $PWD/host" \
    root@element 'echo signed in' 2> ssh.log || { cat ssh.log; exit 1; }
"#,
    );
    assert!(said.contains("Verified OK") && said.contains("signed in"), "{said}");
}

/// Says to [`on_the_stage`] that it runs there.
const STAGED: &str = "HOLDFAST_ELEMENT_STAGED";

#[test]
fn s3_3_2_the_pcsc_backend_reaches_the_element_through_pcscd() {
    if ready() {
        let said = on_stage(&format!(
            "{STAGED}=1 \"$SELF\" --exact strangers::on_the_stage --nocapture\necho reached"
        ));
        assert!(said.contains("1 passed") && said.contains("reached"), "{said}");
    }
}

/// What the test above runs on the stage, where pcscd and the element are.
#[test]
fn on_the_stage() {
    if std::env::var_os(STAGED).is_none() {
        return;
    }
    let card = || Pcscd::connect().unwrap().card("Virtual");
    let mut piv = Piv::open(card().unwrap()).unwrap();
    // Nobody else has the card in the meantime.
    assert!(matches!(card(), Err(ElementError::Pcsc(Refused(0x8010_000B)))));
    piv.verify("123456").unwrap();
    piv.authenticate(&ManagementKey::of_new_cards()).unwrap();
    let point = piv.generate(SIGNATURE, PinPolicy::Always).unwrap();
    piv.verify("123456").unwrap();
    let signature = piv.sign(SIGNATURE, &[7; 32]).unwrap();
    let key = PublicKey::from_point(Curve::P256, &point).unwrap();
    assert_eq!(key.verify(&[7; 32], &signature), Ok(()));
    // Long ones go out in a chain and come back in pieces.
    piv.put_object(IDENTITY, &[5; 5000]).unwrap();
    assert_eq!(**piv.object(IDENTITY).unwrap().unwrap(), [5; 5000]);
    assert!(piv.attest(SIGNATURE).unwrap().len() > 256);
    // Extended commands and answers pass the reader whole.
    drop(piv);
    let mut card = card().unwrap();
    let select = [0, 0xA4, 4, 0, 5, 0xA0, 0, 0, 3, 8, 0];
    assert!(card.transmit(&select).unwrap().ends_with(&[0x90, 0]));
    // Nothing that was proved before is left.
    let get = [&[0, 0xCB, 0x3F, 0xFF, 0, 0, 5, 0x5C, 3, 0x5F, 0xFF, 0x40][..], &[0, 0]].concat();
    assert_eq!(card.transmit(&get).unwrap(), [0x69, 0x82]);
    card.transmit(&[&[0, 0x20, 0, 0x80, 8][..], b"123456\xFF\xFF"].concat()).unwrap();
    assert_eq!(card.transmit(&get).unwrap().len(), 5000 + 4 + 2);
    let elsewhere = Pcscd::connect().unwrap().card("no such reader");
    assert!(matches!(elsewhere, Err(ElementError::NoCard { .. })));
}
