//! `holdfast ota`: updates, made out of images, signed, judged, applied.

mod apply;
mod arguments;
mod computed;
mod file;
mod info;
mod make;
mod ordered;
mod remote;
mod sign;
mod streamed;
mod target;
mod verify;

pub(crate) use arguments::Ota;

use crate::exit::{Exit, Lacking};
use anyhow::Result;
use std::fs::{File, OpenOptions};
use std::path::Path;

/// Runs a subcommand.
pub(crate) fn run(command: Ota) -> Result<Exit> {
    match command {
        Ota::Make(make) => make::full(&make),
        Ota::Delta(delta) => make::delta(&delta),
        Ota::Sign(sign) => sign::run(&sign),
        Ota::Verify(verify) => verify::run(&verify),
        Ota::Info { input, json } => info::run(&input, json),
        Ota::Apply(apply) => apply::run(&apply),
        Ota::Extract(extract) => apply::extract(&extract),
    }
}

/// Opens a file that the command line names.
fn open(path: &Path) -> Result<File> {
    super::open_image(path, OpenOptions::new().read(true)).map_err(|error| lacking(path, &error))
}

/// Reads such a text whole.
fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| lacking(path, &error))
}

fn lacking(path: &Path, error: &std::io::Error) -> anyhow::Error {
    Lacking(format!("{}: {error}", path.display())).into()
}
