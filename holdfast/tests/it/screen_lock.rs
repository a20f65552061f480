//! docs/screen-lock.md, line by line, on a real device; and an organisation's JOSE library.

use crate::document::{Reader, blocks};
use crate::run::state;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Opens a JWE as anybody would: key file, JWE, where the plaintext goes.
const OPEN: &str = "
import sys
from joserfc import jwe
from joserfc.jwk import ECKey
key = ECKey.import_key(open(sys.argv[1]).read())
opened = jwe.decrypt_compact(open(sys.argv[2]).read().strip(), key)
open(sys.argv[3], 'wb').write(opened.plaintext)
";

fn python() -> Option<PathBuf> {
    let python = std::env::var_os("HOLDFAST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        assert!(std::env::var_os("CI").is_none(), "`cargo xtask test` sets HOLDFAST_PYTHON");
        println!("no stranger opened the JWE: `cargo xtask test` sets HOLDFAST_PYTHON");
    }
    python
}

fn show(reader: &mut Reader) -> Value {
    serde_json::from_str(&reader.types("holdfast device screen-lock show --json")).unwrap()
}

#[test]
fn s3_3_3_the_page_about_the_screen_lock_works_as_written() {
    let home = state();
    let mut reader = Reader::at(home.path());
    reader.types("export HOLDFAST_STATE=$HOME/state");
    reader.types("holdfast device make");
    reader.starts("holdfast device boot");
    reader.types("until holdfast device status > /dev/null; do sleep 0.1; done");
    assert_eq!(show(&mut reader)["lock"], Value::Null);
    let said: Vec<_> =
        blocks("docs/screen-lock.md").iter().map(|block| reader.types(&block.text)).collect();
    let said = said.join("\n");
    for due in ["opened by", "a pin", "a password", "Example Works", "1080 min"] {
        assert!(said.contains(due), "{due} is missing in what was said:\n{said}");
    }
    let before = show(&mut reader);
    assert_eq!(before["settings"]["erase_after_last_guess"], true);
    let wrong =
        reader.types("\"$HOME/type\" '0000\\n'; ! holdfast device screen-lock unlock --json");
    let wrong: Value = serde_json::from_str(&wrong).unwrap();
    assert_eq!(wrong["error"], "wrong_pin");
    assert_eq!(show(&mut reader)["failures"], 1);
    if let Some(python) = python() {
        organisation_comes_in(&mut reader, home.path(), &python, &before);
    }
    reader.leaves();
}

/// Its own tools open the JWE; what is in there sets a new PIN, once.
fn organisation_comes_in(reader: &mut Reader, home: &Path, python: &Path, before: &Value) {
    let opened = Command::new(python)
        .args(["-c", OPEN])
        .args(["organisation.pem", "escrow.jwe", "secret"].map(|name| home.join(name)))
        .output()
        .unwrap();
    assert!(opened.status.success(), "{opened:?}");
    assert_eq!(std::fs::read(home.join("secret")).unwrap().len(), 32);
    let redeem = "holdfast device screen-lock redeem-escrow --secret \"$HOME/secret\"";
    reader.types(&format!("\"$HOME/type\" '8642\\n8642\\n'; {redeem}"));
    reader.types("\"$HOME/type\" '8642\\n'; holdfast device screen-lock unlock");
    let after = show(reader);
    assert_eq!(after["lock"]["secure_user_id"], before["lock"]["secure_user_id"]);
    assert_eq!((&after["lock"]["escrow"], &after["failures"]), (&Value::Null, &0.into()));
    let again: Value = serde_json::from_str(&reader.types(&format!("! {redeem} --json"))).unwrap();
    assert_eq!(again["error"], "tee_bad_state");
}
