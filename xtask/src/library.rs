//! `cargo xtask shim` and `cargo xtask pkcs11`: libraries that other programs load.
//!
//! All else is linked statically, which a shared library can't be: each is a workspace of its own,
//! built with flags of its own into a target folder of its own.

use crate::shell::{has, output, root, run};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// A library.
pub(crate) struct Library {
    file: &'static str,
    folder: &'static str,
    target: &'static str,
}

/// `librpmb_shim.so`: preloaded, it gives mmc-utils an RPMB.
pub(crate) const SHIM: Library =
    Library { file: "librpmb_shim.so", folder: "device/rpmb-shim", target: "target/shim" };

/// `libholdfast_pkcs11.so`: the device's keys for programs that speak PKCS #11.
pub(crate) const PKCS11: Library =
    Library { file: "libholdfast_pkcs11.so", folder: "device/pkcs11", target: "target/pkcs11" };

impl Library {
    fn cargo(&self) -> Command {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(root().join(self.folder))
            .env("RUSTFLAGS", "-C target-feature=-crt-static")
            .env("CARGO_TARGET_DIR", root().join(self.target));
        cargo
    }

    /// Builds it and says where it lies.
    pub(crate) fn build(&self) -> Result<PathBuf> {
        let messages = output(self.cargo().args(["build", "--quiet", "--message-format", "json"]))?;
        let library = messages.lines().find_map(|message| self.named(message));
        library.with_context(|| format!("cargo built no {}", self.file))
    }

    /// The library, where a message of cargo says that it was built. Libraries of macros are
    /// shared ones too.
    fn named(&self, message: &str) -> Option<PathBuf> {
        let message: serde_json::Value = serde_json::from_str(message).ok()?;
        let files = message["filenames"].as_array()?.iter().filter_map(|file| file.as_str());
        files.map(PathBuf::from).find(|file| file.ends_with(self.file))
    }

    /// Builds one of its examples and says where it lies.
    pub(crate) fn example(&self, name: &str) -> Result<PathBuf> {
        let arguments = ["build", "--quiet", "--example", name, "--message-format", "json"];
        let messages = output(self.cargo().args(arguments))?;
        let built = messages.lines().find_map(|message| {
            let message: serde_json::Value = serde_json::from_str(message).ok()?;
            message["executable"].as_str().map(PathBuf::from)
        });
        built.with_context(|| format!("cargo built no {name}"))
    }

    /// Runs its own tests.
    pub(crate) fn test(&self, filter: &[String]) -> Result<()> {
        let arguments: &[&str] = if has("cargo-nextest") {
            &["nextest", "run", "--no-fail-fast", "--status-level", "fail", "--no-tests", "pass"]
        } else {
            &["test", "--quiet"]
        };
        run(self.cargo().args(arguments).args(filter))
    }
}
