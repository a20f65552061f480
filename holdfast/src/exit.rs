//! Exit codes: a promise to scripts.

use std::process::ExitCode;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Every step held.
    Held,
    /// A step did not hold.
    Failed,
    /// The command line, or a file that belongs to it, is wrong.
    Misused,
    /// The environment lacks something.
    Environment,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // 2 is clap's too: the command line was wrong.
        Self::from(match exit {
            Exit::Held => 0,
            Exit::Failed => 1,
            Exit::Misused => 2,
            Exit::Environment => 3,
        })
    }
}

/// An error that is the environment's: a port in use, a program or a right that is missing.
#[derive(Debug)]
pub(crate) struct Lacking(pub(crate) String);

impl std::fmt::Display for Lacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lacking {}

/// An error in what the command was given: a file that says how to work and that is malformed.
#[derive(Debug)]
pub(crate) struct Misused(pub(crate) String);

impl std::fmt::Display for Misused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misused {}
