//! The story, as a stranger would run it.

mod browser;
mod hostile_folders;
mod kills;
mod once;
mod run;
