//! A package that somebody copies over: the same checks as for one of the cloud, before it is
//! taken.

use super::jobs::Kind;
use super::{Device, Judged, Updates};
use crate::error::{Error, UpdateRefused};
use device_update::copied::Copied;
use device_update::partial::hex;
use device_update::state::{Source, Update};
use device_update::updater::UpdateError;
use std::io::Read;

impl Device {
    /// Takes the package that `from` gives, of `due` bytes where that is known. Refused, nothing
    /// of it stays, and what was there before does. Blocks.
    pub fn copy_update(&self, from: &mut dyn Read, due: Option<u64>) -> Result<(), Error> {
        let updates = self.updates()?;
        if updates.updater.is_restarting() {
            return Err(UpdateError::Restarting.into());
        }
        drop(updates.jobs.begin(Kind::Copy)?);
        let copied = self.copy(updates, from, due);
        updates.jobs.end(None);
        self.touch();
        copied
    }

    fn copy(&self, updates: &Updates, from: &mut dyn Read, due: Option<u64>) -> Result<(), Error> {
        let Updates { updater, installer, jobs } = updates;
        let came = |done: u64| jobs.moved(Kind::Copy, done, due.unwrap_or(0));
        let copied = Copied::take(updater.folder(), from, due, &came);
        let copied = copied.map_err(UpdateRefused::Copy)?;
        let judged = installer.judge(&copied.file).map_err(UpdateRefused::NotTaken)?;
        let Judged { build, timestamp, security_patch, delta } = judged;
        let announced = copied.keep().map_err(UpdateRefused::Copy)?;
        let (size, sha256, source) = (announced.size, hex(&announced.sha256), Source::File);
        let update = Update { build, timestamp, security_patch, delta, size, sha256, source };
        Ok(updater.copied(update)?)
    }
}
