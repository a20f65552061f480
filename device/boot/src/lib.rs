//! The boot stages and their verdicts.
