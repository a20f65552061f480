//! The userdata partition: the sealed record, whole or not at all, and never an older one.
//!
//! [`vault::userdata`] says what the partition looks like; here is how it changes. The TEE keeps
//! the digest of the whole partition. A change goes: the new image into a journal (fsync) →
//! gatekeeper's `begin` → the partition (fsync) → `commit` → the journal goes. A crash at any
//! point leaves the old image, the new one, or a torn one that the journal mends; every other
//! content is refused ([`OpenError::Tampered`]).

use crate::record::{self, Record};
use crate::tee::Tee;
use crypto::secret::Secret;
use effects::durable;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use tee_api::TeeError;
use tee_api::gatekeeper::Command;
use vault::Id;
use vault::userdata::{Userdata as Content, UserdataError};

/// The record's name among the settings.
const RECORD: &str = "system";

/// A partition of the flash image.
#[derive(Debug)]
pub struct Partition {
    file: File,
    offset: u64,
    length: usize,
}

impl Partition {
    /// `length` bytes from `offset` of `file`.
    #[must_use]
    pub const fn new(file: File, offset: u64, length: usize) -> Self {
        Self { file, offset, length }
    }

    /// The whole content.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut image = vec![0; self.length];
        self.file.read_exact_at(&mut image, self.offset)?;
        Ok(image)
    }

    /// Whether it is all zeros.
    pub fn is_void(&self) -> io::Result<bool> {
        Ok(self.read()?.iter().all(|&byte| byte == 0))
    }

    /// Replaces the whole content; it is on the disk afterwards.
    pub fn write(&self, image: &[u8]) -> io::Result<()> {
        if image.len() != self.length {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the partition's size"));
        }
        self.file.write_all_at(image, self.offset)?;
        self.file.sync_data()
    }
}

/// Why the record was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The partition is not what this device last wrote there: altered, older, or of another
    /// device.
    #[error("{0}; put the right one back, or reset the device")]
    Tampered(String),
    /// The TEE or the flash did not do its part.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// Why the record was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The TEE refused.
    #[error("the TEE, about the userdata partition: {0}")]
    Tee(#[from] TeeError),
    /// The flash or the journal failed.
    #[error("the userdata partition: {0}")]
    Io(#[from] io::Error),
    /// The device waits for its owner's account.
    #[error("nothing can be kept before the owner's account is given")]
    Closed,
    /// More than the partition holds.
    #[error(transparent)]
    Content(#[from] UserdataError),
}

/// The record, and the way to change it.
pub struct Userdata {
    place: Option<Place>,
    content: Content,
    record: Record,
}

/// Where the record lies, and what opens it.
struct Place {
    tee: Arc<dyn Tee>,
    partition: Arc<Partition>,
    journal: PathBuf,
    key: Secret<32>,
}

impl Userdata {
    /// Empty, and not to be changed: while a device waits for its owner's account, the TEE
    /// gives no key.
    #[must_use]
    pub fn closed() -> Self {
        Self { place: None, content: Content::default(), record: Record::default() }
    }

    /// Whether there is a record at all.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.place.is_none()
    }

    /// Checks the partition with the TEE and opens the record under `key`, or makes one: on a
    /// new device, and after an erasure (the content is the right one, its key is gone). A
    /// journal says that a change was cut off: it is brought to its end, so that from here on
    /// one content passes, not two.
    pub fn open(
        tee: Arc<dyn Tee>,
        partition: Arc<Partition>,
        journal: PathBuf,
        key: Secret<32>,
        fresh: impl FnOnce() -> Record,
    ) -> Result<Self, OpenError> {
        let image = checked(&*tee, &partition, &journal)?;
        let content = match Content::decode(&image, &key) {
            Ok(content) => content,
            Err(UserdataError::Authentication) => None,
            Err(error) => return Err(OpenError::Tampered(error.to_string())),
        };
        let unfinished = journal.exists();
        let known = content.as_ref().and_then(|content| content.setting(RECORD));
        let record = known.map(record::decode).transpose().map_err(OpenError::Tampered)?;
        let is_new = record.is_none() || unfinished;
        let (content, record) = (content.unwrap_or_default(), record.unwrap_or_else(fresh));
        let place = Some(Place { tee, partition, journal, key });
        let mut userdata = Self { place, content, record };
        if is_new {
            userdata.put(userdata.content.clone(), userdata.record.clone())?;
        }
        Ok(userdata)
    }

    /// The record.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// The id of the area called `name`.
    #[must_use]
    pub fn area(&self, name: &str) -> Option<Id> {
        self.content.area(name)
    }

    /// Notes the id of the area called `name`, durably.
    pub fn set_area(&mut self, name: &str, id: Id) -> Result<(), ChangeError> {
        let mut content = self.content.clone();
        content.set_area(name, id);
        self.put(content, self.record.clone())
    }

    /// Changes the record, durably. On an error the old one stands.
    pub fn change(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), ChangeError> {
        let mut record = self.record.clone();
        change(&mut record);
        self.put(self.content.clone(), record)
    }

    fn put(&mut self, mut content: Content, record: Record) -> Result<(), ChangeError> {
        let place = self.place.as_ref().ok_or(ChangeError::Closed)?;
        content.set_setting(RECORD, Some(record::encode(&record)));
        let image = content.encode(&place.key)?;
        replace(&*place.tee, &place.partition, &place.journal, &image)?;
        (self.content, self.record) = (content, record);
        Ok(())
    }
}

/// Makes the partition what it is on a new device, all zeros, and everything else refused: the
/// end of an erasure.
pub fn void(
    tee: &dyn Tee,
    partition: &Partition,
    journal: &std::path::Path,
) -> Result<(), ChangeError> {
    replace(tee, partition, journal, &vec![0; partition.length])
}

/// The whole way of a change; see the module.
fn replace(
    tee: &dyn Tee,
    partition: &Partition,
    journal: &std::path::Path,
    image: &[u8],
) -> Result<(), ChangeError> {
    let used = image.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    durable::replace(journal, &image[..used], 0o600)?;
    let digest = crypto::digest::sha256(image);
    tee.do_gatekeeper(Command::BeginUserdata { digest })?;
    partition.write(image)?;
    tee.do_gatekeeper(Command::CommitUserdata)?;
    // A journal that stays is what the partition holds: harmless.
    let _ = std::fs::remove_file(journal);
    Ok(())
}

/// Whether the partition holds what was last committed or begun; what was torn is mended.
pub fn check(
    tee: &dyn Tee,
    partition: &Partition,
    journal: &std::path::Path,
) -> Result<(), OpenError> {
    checked(tee, partition, journal).map(drop)
}

/// The partition's content, if it is what was last committed or begun.
fn checked(
    tee: &dyn Tee,
    partition: &Partition,
    journal: &std::path::Path,
) -> Result<Vec<u8>, OpenError> {
    let image = partition.read().map_err(ChangeError::from)?;
    let Some(reason) = refusal(tee, &image)? else { return Ok(image) };
    let journalled = match std::fs::read(journal) {
        Ok(mut journalled) if journalled.len() <= image.len() => {
            journalled.resize(image.len(), 0);
            Some(journalled)
        }
        _ => None,
    };
    // A torn write is mended from the journal.
    match journalled {
        Some(journalled) if refusal(tee, &journalled)?.is_none() => {
            partition.write(&journalled).map_err(ChangeError::from)?;
            Ok(journalled)
        }
        _ => Err(OpenError::Tampered(reason)),
    }
}

/// Why the TEE does not want `image`, if it does not.
fn refusal(tee: &dyn Tee, image: &[u8]) -> Result<Option<String>, ChangeError> {
    let digest = crypto::digest::sha256(image);
    match tee.do_gatekeeper(Command::CheckUserdata { digest }) {
        Ok(()) => Ok(None),
        Err(TeeError::Security(reason)) => Ok(Some(reason)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_tee::FakeTee;
    use tee_api::gatekeeper::USERDATA_BYTES;
    use tempfile::TempDir;

    struct Bench {
        folder: TempDir,
        tee: Arc<FakeTee>,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("flash"), vec![0; 4096 + USERDATA_BYTES]).unwrap();
            Self { folder, tee: FakeTee::deployed("HF-1") }
        }

        fn flash(&self) -> File {
            let path = self.folder.path().join("flash");
            File::options().read(true).write(true).open(path).unwrap()
        }

        fn tee(&self) -> Arc<dyn Tee> {
            self.tee.clone()
        }

        fn journal(&self) -> PathBuf {
            self.folder.path().join("journal")
        }

        fn open(&self) -> Result<Userdata, OpenError> {
            let tee: Arc<dyn Tee> = self.tee.clone();
            let key = Secret::new(tee.device_key().unwrap());
            let partition = Arc::new(Partition::new(self.flash(), 4096, USERDATA_BYTES));
            let fresh = || Record { android_id: vec![1; 16].into(), ..Record::default() };
            Userdata::open(tee, partition, self.journal(), key, fresh)
        }
    }

    #[test]
    fn a_record_lasts_and_its_rollback_is_refused() {
        let bench = Bench::new();
        let mut userdata = bench.open().unwrap();
        let old = std::fs::read(bench.folder.path().join("flash")).unwrap();
        userdata.change(|record| record.find_enabled = true).unwrap();
        drop(userdata);
        assert!(bench.open().unwrap().record().find_enabled);
        std::fs::write(bench.folder.path().join("flash"), old).unwrap();
        assert!(matches!(bench.open(), Err(OpenError::Tampered(_))));
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let bench = Bench::new();
        drop(bench.open().unwrap());
        let flash = bench.flash();
        for at in [0, 5, 9, 40, USERDATA_BYTES - 1] {
            let mut byte = [0];
            flash.read_exact_at(&mut byte, 4096 + at as u64).unwrap();
            flash.write_all_at(&[byte[0] ^ 4], 4096 + at as u64).unwrap();
            assert!(matches!(bench.open(), Err(OpenError::Tampered(_))), "byte {at}");
            flash.write_all_at(&byte, 4096 + at as u64).unwrap();
        }
        bench.open().unwrap();
    }

    #[test]
    fn a_power_cut_in_the_middle_of_a_write_is_mended() {
        let bench = Bench::new();
        let mut userdata = bench.open().unwrap();
        let mut record = userdata.record.clone();
        record.find_enabled = true;
        let mut content = userdata.content.clone();
        content.set_setting(RECORD, Some(record::encode(&record)));
        let image = content.encode(&Secret::new(bench.tee().device_key().unwrap())).unwrap();
        durable::replace(&bench.journal(), &image[..40], 0o600).unwrap();
        let digest = crypto::digest::sha256(&image);
        bench.tee().do_gatekeeper(Command::BeginUserdata { digest }).unwrap();
        bench.flash().write_all_at(&image[..30], 4096).unwrap();
        drop(userdata);
        // A journal that was cut short mends nothing.
        assert!(matches!(bench.open(), Err(OpenError::Tampered(_))));
        durable::replace(&bench.journal(), &image, 0o600).unwrap();
        userdata = bench.open().unwrap();
        assert!(userdata.record().find_enabled);
    }

    #[test]
    fn s3_1_3_what_was_there_before_an_erasure_is_refused() {
        let bench = Bench::new();
        drop(bench.open().unwrap());
        let old = std::fs::read(bench.folder.path().join("flash")).unwrap();
        bench.tee().erase().unwrap();
        let partition = Partition::new(bench.flash(), 4096, USERDATA_BYTES);
        void(&*bench.tee(), &partition, &bench.journal()).unwrap();
        let new = std::fs::read(bench.folder.path().join("flash")).unwrap();
        assert!(new.iter().all(|&byte| byte == 0));
        std::fs::write(bench.folder.path().join("flash"), old).unwrap();
        assert!(matches!(bench.open(), Err(OpenError::Tampered(_))));
    }

    #[test]
    fn after_an_erasure_there_is_a_fresh_record() {
        let bench = Bench::new();
        let mut userdata = bench.open().unwrap();
        userdata.change(|record| record.find_enabled = true).unwrap();
        drop(userdata);
        let tee: Arc<dyn Tee> = bench.tee.clone();
        tee.erase().unwrap();
        assert!(!bench.open().unwrap().record().find_enabled);
    }
}
