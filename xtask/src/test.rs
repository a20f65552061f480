//! `cargo xtask test`: everything the tests need, then the tests.

use crate::library::{PKCS11, SHIM};
use crate::shell::{cargo, has};
use crate::{fuzz, peers};
use anyhow::Result;

/// Installs peers, builds every program, runs every test. With arguments: only tests whose
/// names contain one of them.
pub(crate) fn run(filter: &[String]) -> Result<()> {
    peers::for_tests()?;
    // SAFETY: this program has one thread.
    unsafe {
        std::env::set_var("HOLDFAST_BROWSER", peers::browser_dir()?);
        std::env::set_var("HOLDFAST_KERNEL", peers::kernel_dir()?);
        std::env::set_var("HOLDFAST_PYTHON", peers::python_dir()?.join("bin/python"));
        std::env::set_var("HOLDFAST_PJDFSTEST", peers::pjdfstest_dir()?.join("bin/pjdfstest"));
        std::env::set_var("HOLDFAST_RPMB_SHIM", SHIM.build()?);
        std::env::set_var("HOLDFAST_PKCS11", PKCS11.build()?);
    }
    cargo(&["build", "--quiet", "--workspace", "--bins", "--examples"])?;
    PKCS11.test(filter)?;
    let filter = filter.iter().map(String::as_str);
    if has("cargo-nextest") {
        let base = ["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "fail"];
        cargo(&base.into_iter().chain(filter.clone()).collect::<Vec<_>>())?;
    } else {
        let base = ["test", "--workspace", "--quiet", "--all-targets", "--no-fail-fast"];
        cargo(&base.into_iter().chain(filter.clone()).collect::<Vec<_>>())?;
    }
    if filter.count() == 0 {
        cargo(&["test", "--workspace", "--quiet", "--doc"])?;
        fuzz::run_all(&["2".to_owned()])?;
    }
    Ok(())
}
