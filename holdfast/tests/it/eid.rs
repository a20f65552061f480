//! `docs/eid.md`, as a reader types it.

use crate::document::{Block, blocks};
use std::path::Path;
use std::process::Command;

/// The tools that the page uses, and where Debian has the reader.
const TOOLS: &[&str] =
    &["pcscd", "yubico-piv-tool", "pkcs11-tool", "unshare", "ip", "socat", "curl", "openssl"];
const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";

/// pcscd has one place for its socket and the reader one port: here both are its own.
const STAGE: &str = r#"
set -eu
ip link set lo up
mount -t tmpfs none /run
mkdir -p /run/pcscd conf
printf 'FRIENDLYNAME "Virtual PCD"\nDEVICENAME /dev/null:0x7123\nLIBPATH %s\nCHANNELID 0x7123\n' \
    "$DRIVER" > conf/reader.conf
pcscd --foreground --config "$PWD/conf" > pcscd.log 2>&1 &
ended=$!
trap 'kill $ended' EXIT
settle() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { echo "$* never held"; exit 99; }
        sleep 0.05
    done
}
card() { opensc-tool --list-readers 2> /dev/null | grep -q '0 *Yes'; }
"#;

/// What is missing here; under CI nothing may be.
fn lacking() -> Option<String> {
    let there = |tool: &&&str| {
        !["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
            .iter()
            .any(|at| Path::new(at).join(tool).exists())
    };
    let mut missing: Vec<&str> = TOOLS.iter().filter(there).copied().collect();
    missing.extend((!Path::new(DRIVER).exists()).then_some("vsmartcard-vpcd"));
    missing.extend((!rustix::process::geteuid().is_root()).then_some("root"));
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// The page as one script: what runs in a terminal of its own runs beside the rest.
fn script() -> String {
    let mut script = STAGE.to_owned();
    for Block { terminal, text } in blocks("docs/eid.md") {
        if terminal {
            script += &format!(
                "{text} > served.log 2>&1 &\nended=\"$ended $!\"\nsettle test -s served.log\n"
            );
            let reader = text.contains("--vpcd");
            script += if reader { "settle card\n" } else { "" };
            script += "rm served.log\n";
        } else {
            script += &format!("{text}\n");
        }
    }
    script
}

#[test]
fn s3_3_2_the_page_about_the_element_holds() {
    if let Some(missing) = lacking() {
        assert!(std::env::var_os("CI").is_none(), "missing: {missing}");
        return eprintln!("docs/eid.md was not typed: {missing} missing");
    }
    let home = tempfile::tempdir().unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_holdfast")).parent().expect("a folder");
    // The named program asks for the ATR.
    let last =
        "printf '\\000\\001\\004' | socat -t 5 - UNIX-CONNECT:own.sock | od -An -tx1 | grep 3b";
    let output = Command::new("unshare")
        .args(["--mount", "--net", "sh", "-c", &format!("{}{last}\n", script())])
        .current_dir(home.path())
        .env("DRIVER", DRIVER)
        .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display()))
        .output()
        .unwrap();
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}");
    let shown =
        r#"{"elements":{"age_over_18":true},"type":"eu.europa.ec.eudi.pid.1","verified":true}"#;
    let dues = [
        "attested.pem: OK",
        "Verified OK",
        "3b 8d",
        "family_name: \"Mustermann\"",
        shown,
        "refused: the device's signature",
        "the identity is given up",
        "there is no identity in this element",
    ];
    for due in dues {
        assert!(said.contains(due), "{due}: {said}");
    }
}
