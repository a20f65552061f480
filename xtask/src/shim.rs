//! `cargo xtask shim`: builds `librpmb_shim.so`.
//!
//! All else is linked statically, which a shared library can't be: it is a workspace of its own,
//! built with flags of its own into a target folder of its own.

use crate::shell::{output, root};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// Builds it and says where it lies.
pub(crate) fn build() -> Result<PathBuf> {
    let messages = output(
        Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--message-format", "json"])
            .current_dir(root().join("device/rpmb-shim"))
            .env("RUSTFLAGS", "-C target-feature=-crt-static")
            .env("CARGO_TARGET_DIR", root().join("target/shim")),
    )?;
    messages.lines().find_map(library).context("cargo built no librpmb_shim.so")
}

/// The library that a message of cargo says was built.
fn library(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let files = message["filenames"].as_array()?;
    files.iter().filter_map(|file| file.as_str()).find(|file| file.ends_with(".so")).map(Into::into)
}
