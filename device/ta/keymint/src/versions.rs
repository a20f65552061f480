//! Version binding: a key knows under which software it was made, and works under no other until
//! it is upgraded.

use crate::failure::Outcome;
use keymint::{Authorizations, ErrorCode};
use tee_api::boot::BootInfo;

/// The versions of what runs, as authorizations. What the maker ships beside the system comes with
/// the bootloaders, so the vendor's patch level is theirs.
pub(crate) fn of(boot: &BootInfo) -> Authorizations {
    Authorizations {
        os_version: Some(boot.os_version),
        os_patchlevel: Some(boot.os_patch_level),
        vendor_patchlevel: Some(boot.boot_patch_level),
        boot_patchlevel: Some(boot.boot_patch_level),
        ..Authorizations::default()
    }
}

/// The versions in a pair: the key's and what runs now.
fn pairs(key: &Authorizations, boot: &BootInfo) -> [(Option<u32>, Option<u32>); 4] {
    let now = of(boot);
    [
        (key.os_version, now.os_version),
        (key.os_patchlevel, now.os_patchlevel),
        (key.vendor_patchlevel, now.vendor_patchlevel),
        (key.boot_patchlevel, now.boot_patchlevel),
    ]
}

/// Whether the key was made under just what runs now.
pub(crate) fn are_current(key: &Authorizations, boot: &BootInfo) -> bool {
    pairs(key, boot).iter().all(|(of_key, now)| of_key == now)
}

/// The key's authorizations under what runs now. One that was made under newer software is
/// refused; the OS version may fall to 0, as KeyMint allows for generic system images.
pub(crate) fn upgraded(key: &Authorizations, boot: &BootInfo) -> Outcome<Authorizations> {
    let [os_version, levels @ ..] = pairs(key, boot);
    let fell = |(of_key, now): &(Option<u32>, Option<u32>)| of_key > now;
    if (fell(&os_version) && os_version.1 != Some(0)) || levels.iter().any(fell) {
        return Err(ErrorCode::InvalidArgument.into());
    }
    Ok(key.clone().with(&of(boot)))
}
