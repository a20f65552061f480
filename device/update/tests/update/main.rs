//! Packages, installations and recovery on a small device, with and without power cuts.

mod disk;
mod install;
mod maker;
mod package;
mod power;
mod recovery;
