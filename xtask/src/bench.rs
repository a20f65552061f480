//! `cargo xtask bench`: ours and a peer, alternating in one run.

use anyhow::Result;

/// Runs the benchmarks.
pub(crate) fn run(_args: &[String]) -> Result<()> {
    crate::peers::for_benches()
}
