//! What a build says of itself: `etc/build.json` of the system and of the boot image's ramdisk.

use serde::{Deserialize, Serialize};

/// Where it lies in the system, and in the ramdisk.
pub const BUILD_PATH: &str = "etc/build.json";
/// Where the certificates lie whose updates a device takes (`otacerts.zip`), in both.
pub const OTACERTS_PATH: &str = "etc/otacerts.zip";

/// A build of the maker's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The device that it is for (`ro.product.device`).
    pub model: String,
    /// Which build it is (`ro.build.fingerprint`).
    pub fingerprint: String,
    /// Its number (`ro.build.version.incremental`).
    pub incremental: String,
    /// When it was made (`ro.build.date.utc`): seconds since 1970.
    pub timestamp: i64,
    /// `ro.build.version.security_patch`: `YYYY-MM-DD`.
    pub security_patch: String,
    /// Our version, as `0.1.0`.
    pub version: String,
}
