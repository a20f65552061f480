//! Whether a device takes an update: the rules of recovery's install.cpp, all of them before a
//! byte is written.

use crate::metadata::{DeviceState, Kind, Metadata};

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// `ro.product.device`.
    pub device: String,
    /// `ro.serialno`.
    pub serial: String,
    /// `ro.build.fingerprint`.
    pub fingerprint: String,
    /// `ro.build.version.incremental`.
    pub incremental: String,
    /// `ro.build.date.utc`: seconds since 1970.
    pub timestamp: i64,
    /// `ro.build.version.security_patch`: `YYYY-MM-DD`.
    pub security_patch_level: String,
}

/// Why a device does not take an update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Not for devices with two slots.
    #[error("the update is of type {0}; this device takes AB only")]
    Kind(&'static str),
    /// It does not say which device it is for.
    #[error("the update does not say which device it is for")]
    NoDevice,
    /// For another model.
    #[error("the update is for {0}, this device is {1}")]
    Device(String, String),
    /// For certain devices, of which this is none.
    #[error("the update is for other serial numbers than this device's")]
    Serial,
    /// A delta from another build.
    #[error("the update starts from build {0}, this device has {1}")]
    Build(String, String),
    /// An older build.
    #[error("the update's build is older (timestamp {new}) than this device's ({old})")]
    Timestamp {
        /// The update's.
        new: i64,
        /// The device's.
        old: i64,
    },
    /// A downgrade that does not say from which build.
    #[error("the update is a downgrade, but does not name the build that it starts from")]
    DowngradeFromAny,
    /// An older security patch level, or one that is no date.
    #[error("the update's security patch level is {new:?}, this device's is {old:?}")]
    SecurityPatch {
        /// The update's.
        new: String,
        /// The device's.
        old: String,
    },
}

impl Device {
    /// Judges an update by its metadata.
    pub fn judge(&self, update: &Metadata) -> Result<(), Refused> {
        if update.kind != Kind::Ab {
            return Err(Refused::Kind(update.kind.name()));
        }
        let DeviceState { device, build, build_incremental, .. } = &update.precondition;
        if device.is_empty() {
            return Err(Refused::NoDevice);
        }
        if !device.contains(&self.device) {
            return Err(Refused::Device(device.join(", "), self.device.clone()));
        }
        if !update.serials.is_empty() && !update.serials.contains(&self.serial) {
            return Err(Refused::Serial);
        }
        if !build.is_empty() && !build.contains(&self.fingerprint) {
            return Err(Refused::Build(build.join(", "), self.fingerprint.clone()));
        }
        if !build_incremental.is_empty() && *build_incremental != self.incremental {
            return Err(Refused::Build(build_incremental.clone(), self.incremental.clone()));
        }
        self.not_older(update)
    }

    fn not_older(&self, update: &Metadata) -> Result<(), Refused> {
        let post = &update.postcondition;
        if post.timestamp < self.timestamp {
            if !update.downgrade {
                return Err(Refused::Timestamp { new: post.timestamp, old: self.timestamp });
            }
            if update.precondition.build.is_empty() {
                return Err(Refused::DowngradeFromAny);
            }
        }
        let (new, old) = (&post.security_patch_level, &self.security_patch_level);
        let nobody_says = new.is_empty() && old.is_empty();
        let known = nobody_says || is_date(new) && (old.is_empty() || is_date(old));
        // Dates of this form compare as texts do.
        if !known || new < old {
            return Err(Refused::SecurityPatch { new: new.clone(), old: old.clone() });
        }
        Ok(())
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}
