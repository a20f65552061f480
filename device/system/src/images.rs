//! The boot images on the flash: would they boot once the bootloader is locked?

use crate::device::Images;
use board::flash::Flash;
use board::report::Slot;
use tee_api::boot::Trust;

/// The slot that runs now, on its flash.
pub struct FlashImages {
    /// The flash.
    pub flash: Flash,
    /// The slot.
    pub slot: Slot,
}

impl Images for FlashImages {
    fn would_boot_locked(&self, trust: &Trust) -> Result<&'static str, String> {
        let slots = self.flash.slots().map_err(|error| error.to_string())?;
        if slots.choose() != Some(self.slot.into()) {
            return Err("the other slot is the next one to boot: restart first".into());
        }
        let slot = boot::slot::Slot::once_locked(&self.flash, self.slot, trust);
        slot.verify_all().map(|state| state.name()).map_err(|refusal| refusal.to_string())
    }
}
