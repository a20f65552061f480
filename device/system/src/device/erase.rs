//! Factory reset: the keys first, in the TEE; then what they opened.

use super::{Device, Ending, keys};
use crate::error::Error;
use crate::record::Inbox;
use crate::userdata::{self, Userdata};
use std::fs;

impl Device {
    /// Destroys the keys of all areas, then removes the files. After the first step nothing on
    /// this device opens any more, whatever happens next. Answers how often this was done.
    pub fn erase(&self) -> Result<u64, Error> {
        self.refuse_if_erased()?;
        self.tee.take_prompt_away();
        let erasures = self.tee.erase()?;
        self.after_erasure();
        Ok(erasures)
    }

    /// The keys are gone: what they opened goes too.
    pub(super) fn after_erasure(&self) {
        self.live().erased = true;
        self.close();
        // What fails from here on comes to its end at the next start.
        let rest = [self.refresh().map(drop), self.void_userdata(), self.remove_files()];
        for error in rest.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "a part of the erasure waits for the next start");
        }
    }

    /// Lets the daemon end, so that the device restarts as a new one.
    pub fn end_after_erasure(&self) {
        self.session.send_replace(None);
        self.ending.send_replace(Some(Ending::Erased));
        self.touch();
    }

    /// From here on the TEE refuses what the partition held before.
    pub(super) fn void_userdata(&self) -> Result<(), Error> {
        // Nobody writes the old record any more.
        *self.userdata() = Userdata::closed();
        *self.inbox() = Inbox::closed();
        self.set_keystore(Err(keys::closed()));
        self.folders.make_system()?;
        Ok(userdata::void(&*self.tee, &self.partition, &self.folders.journal())?)
    }

    fn remove_files(&self) -> Result<(), Error> {
        let failed = Error::io("removing the user's files");
        for entry in fs::read_dir(&self.folders.data).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            // The TEE has forgotten what is in there, and may have begun anew.
            if path == self.folders.tee() {
                continue;
            }
            if path.is_dir() {
                vault::erase(&path).map_err(&failed)?;
            } else {
                fs::remove_file(&path).map_err(&failed)?;
            }
        }
        Ok(())
    }
}
