//! The story, as a stranger would run it.

mod alone;
mod applications;
mod attack;
mod attestation;
mod bootloader;
mod browser;
mod document;
mod hostile_folders;
mod hostile_states;
mod in_use;
mod independent;
mod interrupted;
mod json;
mod keys;
mod kills;
mod once;
mod privacy;
mod readme;
mod recovery;
mod run;
mod size;
mod tee;
mod tpm;
mod trusted_screen;
mod update;
mod verity_run;
