//! The boot stages and what they share (SPEC S2.2).
//!
//! `bl1` starts the TEE, has it verify `bl2` and gives that a world of its own; `bl2` verifies
//! everything else and becomes `init`, the emulated kernel; `init` verifies the system and
//! keeps it running. Each stage is in a file of its own under `bin`.
//!
//! What is linked here is trusted to check what runs next: keep it small.

pub mod handover;
pub mod kaslr;
pub mod log;
pub mod probe;
pub mod recovery;
pub mod slot;
pub mod system;
pub mod verity_table;
pub mod world;
