//! The secure element: APDUs through pcscd and its virtual reader, there and back. There is no peer to
//! run beside it; the figure that is due is 2,000 a second.

use super::contest::{Contest, Contestant, OURS, Turn};
use super::disk::scratch;
use crate::peers::absent;
use crate::shell::{cargo, has, output, target_dir};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;

/// The virtual reader's driver.
const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";
/// How long one turn sends.
const SECONDS: &str = "3";

/// pcscd has one place for its socket and the reader one port: here both are the bench's own.
const STAGE: &str = r#"
set -eu
ip link set lo up
mount -t tmpfs none /run
mkdir -p /run/pcscd conf
printf 'FRIENDLYNAME "Virtual PCD"\nDEVICENAME /dev/null:0x7123\nLIBPATH %s\nCHANNELID 0x7123\n' \
    "$DRIVER" > conf/reader.conf
pcscd --foreground --config "$PWD/conf" > pcscd.log 2>&1 &
pcscd=$!
rm -rf element
"$PROGRAMS/holdfast-element" make --state element > made.json
"$PROGRAMS/holdfast-element" serve --state element --vpcd 127.0.0.1:28963 > element.log 2>&1 &
element=$!
trap 'kill $element $pcscd' EXIT
until "$PROGRAMS/examples/round-trips" Virtual 0.1 > warm.log 2>&1; do sleep 0.05; done
"$PROGRAMS/examples/round-trips" Virtual "$SECONDS_OF_A_TURN"
"#;

/// All of them.
pub(crate) fn contests() -> Result<Vec<Contest>> {
    if !has("pcscd") || !has("unshare") || !Path::new(DRIVER).exists() {
        absent("pcscd or vsmartcard-vpcd is missing: round trips to the element are not measured")?;
        return Ok(Vec::new());
    }
    cargo(&["build", "--quiet", "--package", "element-emulated", "--bins"])?;
    cargo(&["build", "--quiet", "--package", "secure-element", "--examples"])?;
    let programs = target_dir()?.join("debug");
    let folder = scratch("element")?;
    std::fs::create_dir_all(&folder)?;
    let turn = move || {
        let mut stage = Command::new("timeout");
        stage.args(["60", "unshare", "--map-root-user", "--mount", "--net", "sh", "-c", STAGE]);
        stage.current_dir(&folder).env("PROGRAMS", &programs).env("DRIVER", DRIVER);
        stage.env("SECONDS_OF_A_TURN", SECONDS);
        let said = output(&mut stage)?;
        let value = said.trim().parse().context("round-trips says a number")?;
        // Three processes share the work: no figure of one would be fair.
        Ok(Turn { value, cpu_s: None })
    };
    Ok(vec![Contest {
        name: "element: APDU round trips through pcscd".to_owned(),
        unit: "/s",
        more_is_better: true,
        contestants: vec![Contestant { name: OURS.to_owned(), turn: Box::new(turn) }],
    }])
}
