//! What the board of the device in the state folder stands on.

use super::Finding;
use factory::Backend;
use std::path::Path;

/// The board in `state`, or in the default state folder.
pub(super) fn finding(state: Option<&Path>) -> Finding {
    let root = state.map(Path::to_owned).or_else(|| crate::state::default_root().ok());
    let folder = root.map(|root| root.join("device/board")).filter(|folder| folder.is_dir());
    let found = |present, detail, used, stronger: Option<&str>| Finding {
        name: "board",
        title: "Board",
        present,
        required: false,
        detail,
        used,
        stronger: stronger.map(str::to_owned),
    };
    let Some(folder) = folder else {
        let none = "no device in the state folder".to_owned();
        let used = "`holdfast device make` makes an emulated one";
        return found(false, none, used, Some("--board tpm2=ADDRESS puts it on a TPM 2.0"));
    };
    match Backend::of(&folder) {
        Ok(Backend::Emulated) => found(
            true,
            "emulated".to_owned(),
            "HUK, fuses, counters and RPMB are 0600 files: whoever copies them has the board",
            Some("a device made with --board tpm2=ADDRESS"),
        ),
        Ok(backend @ Backend::Tpm2(_)) => found(
            true,
            backend.to_string(),
            "HUK, fuses and counters are in the TPM; the RPMB chip is a file, and a copy of it is \
             found at the next power-on",
            None,
        ),
        Err(error) => found(
            false,
            error.to_string(),
            "nobody: this device does not boot",
            Some("the board's own files, as they were made"),
        ),
    }
}
