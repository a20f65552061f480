//! Both web pages and the trusted screen in a real Chromium, driven by Playwright: what a person
//! does there, and that each page is accessible, narrow enough and strict.

use crate::run::{Up, state};
use std::path::Path;
use std::process::Command;

#[test]
fn a_person_with_a_browser_finds_locks_erases_and_activates_the_device() {
    let Some(packages) = std::env::var_os("HOLDFAST_BROWSER") else {
        return absent("HOLDFAST_BROWSER is not set: run this through `cargo xtask test`");
    };
    if !Path::new(&packages).join("node_modules/playwright-core").exists() {
        return absent("playwright-core is missing: `cargo xtask test` installs it");
    }
    if !Path::new("/usr/bin/chromium").exists() && std::env::var_os("HOLDFAST_CHROMIUM").is_none() {
        return absent("chromium is missing: install it, or name one in HOLDFAST_CHROMIUM");
    }
    let state = state();
    let mut up = Up::start(state.path(), &[]);
    let ready = up.ready();
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    let output = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/story.mjs"))
        .arg(ready.to_string())
        .arg(&shots)
        .output()
        .expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}\nscreenshots: {}", shots.display());
    assert_eq!(up.end(libc::SIGTERM), Some(0));
}

/// Says why the test can't run; under CI that is a failure.
fn absent(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("not run: {why}");
}
