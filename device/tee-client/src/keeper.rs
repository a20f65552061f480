//! Keeping files for the trusted OS ([`tee_api::keeper`]): what other TEEs call a supplicant.
//!
//! [`keep`] runs in a thread of its own. What it stores means nothing to it; that the right
//! bytes come back, the trusted OS checks.

use crate::{Connection, TeeError};
use board::channel::{self, ChannelError};
use rustix::fs::OFlags;
use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tee_api::keeper::{FileId, MAX_FILE_BYTES, MAX_IO_BYTES, MAX_LISTED, Operation, Outcome};
use tee_api::ree::{Reply, Request};

/// The most files that stay open.
const MAX_OPEN: usize = 8;
/// Before the TEE is offered files again.
const AGAIN: Duration = Duration::from_millis(500);

/// The folder with the files.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    /// Open ones, the one used last at the end.
    open: VecDeque<(FileId, File)>,
}

/// Keeps the files of the TEE behind the socket at `tee` in `folder`, for ever. A TEE that is
/// gone is waited for.
pub fn keep(tee: &Path, folder: &Path) -> io::Result<()> {
    let mut keeper = Keeper::new(folder)?;
    loop {
        // Either end may be gone; all that is left to do is to come again.
        let _ = keeper.serve(tee);
        std::thread::sleep(AGAIN);
    }
}

impl Keeper {
    /// Keeps files in `folder`, which is made where it is not there; nobody else may enter it.
    pub fn new(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        Ok(Self { folder: folder.to_owned(), open: VecDeque::new() })
    }

    /// Does what the TEE behind the socket at `tee` asks, until one end closes.
    pub fn serve(&mut self, tee: &Path) -> Result<(), TeeError> {
        let lost = |error: ChannelError| TeeError::Communication(error.to_string());
        let Connection(socket) = Connection::new(tee)?;
        channel::send(&socket, &Request::KeepFiles).map_err(lost)?;
        loop {
            match channel::receive(&socket).map_err(lost)? {
                Reply::File { number, operation } => {
                    let outcome = self.perform(operation);
                    channel::send(&socket, &Request::Filed { number, outcome }).map_err(lost)?;
                }
                Reply::Refused(error) => return Err(error),
                _ => return Err(TeeError::Communication("an answer to no request".into())),
            }
        }
    }

    /// Does one operation.
    pub fn perform(&mut self, operation: Operation) -> Outcome {
        match self.try_perform(operation) {
            Ok(outcome) => outcome,
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::UnexpectedEof => Outcome::Missing,
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Outcome::Full,
                _ => Outcome::Failed(error.to_string()),
            },
        }
    }

    fn try_perform(&mut self, operation: Operation) -> io::Result<Outcome> {
        match operation {
            Operation::Create { file, bytes } if bytes <= MAX_FILE_BYTES => {
                self.create(file, bytes)?;
            }
            Operation::Write { file, offset, bytes, sync } => {
                let file = self.file(file)?;
                file.write_all_at(&bytes, offset.into())?;
                if sync {
                    file.sync_data()?;
                }
            }
            Operation::Read { file, offset, length } if length as usize <= MAX_IO_BYTES => {
                let mut bytes = vec![0; length as usize];
                self.file(file)?.read_exact_at(&mut bytes, offset.into())?;
                return Ok(Outcome::Bytes(bytes.into()));
            }
            Operation::Remove { file } => self.remove(file)?,
            Operation::List => return self.list().map(Outcome::Files),
            Operation::Create { .. } | Operation::Read { .. } => {
                return Err(ErrorKind::InvalidInput.into());
            }
        }
        Ok(Outcome::Done)
    }

    fn create(&mut self, id: FileId, bytes: u32) -> io::Result<()> {
        self.remove(id)?;
        let path = self.path(id);
        let options =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).clone();
        let file = options.open(&path)?;
        // Zeros on the disk, not a hole: writing into them later needs no room, and no new
        // metadata that would have to become durable too.
        let filled = file.write_all_at(&vec![0; bytes as usize], 0).and_then(|()| file.sync_all());
        if let Err(error) = filled {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        File::open(&self.folder)?.sync_all()?;
        self.remember(id, file);
        Ok(())
    }

    fn remove(&mut self, id: FileId) -> io::Result<()> {
        self.open.retain(|(open, _)| *open != id);
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The files that there are; what has another kind of name is not the TEE's.
    fn list(&self) -> io::Result<Vec<FileId>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            files.extend(entry?.file_name().to_str().and_then(parse_id));
            if files.len() == MAX_LISTED {
                break;
            }
        }
        Ok(files)
    }

    fn file(&mut self, id: FileId) -> io::Result<&File> {
        let file = match self.open.iter().position(|(open, _)| *open == id) {
            Some(at) => self.open.remove(at).map(|(_, file)| file),
            None => None,
        };
        let file = match file {
            Some(file) => file,
            None => OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(self.path(id))?,
        };
        Ok(self.remember(id, file))
    }

    fn remember(&mut self, id: FileId, file: File) -> &File {
        if self.open.len() == MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back((id, file));
        &self.open[self.open.len() - 1].1
    }

    fn path(&self, id: FileId) -> PathBuf {
        self.folder.join(name_of(id))
    }
}

/// 32 hexadecimal digits.
fn name_of(id: FileId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_id(name: &str) -> Option<FileId> {
    let number = u128::from_str_radix(name, 16).ok()?.to_be_bytes();
    (name_of(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_bytes::ByteBuf;

    const ID: FileId = [0xA5; 16];

    fn keeper() -> (tempfile::TempDir, Keeper) {
        let folder = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(&folder.path().join("tee")).unwrap();
        (folder, keeper)
    }

    fn write(offset: u32, bytes: &[u8]) -> Operation {
        Operation::Write { file: ID, offset, bytes: ByteBuf::from(bytes), sync: true }
    }

    fn read(offset: u32, length: u32) -> Operation {
        Operation::Read { file: ID, offset, length }
    }

    #[test]
    fn keeps_what_it_is_given_for_its_owner_alone() {
        let (folder, mut keeper) = keeper();
        assert_eq!(keeper.perform(write(0, b"x")), Outcome::Missing);
        assert_eq!(keeper.perform(Operation::Create { file: ID, bytes: 100 }), Outcome::Done);
        assert_eq!(keeper.perform(write(97, b"abc")), Outcome::Done);
        let mut again = Keeper::new(&folder.path().join("tee")).unwrap();
        let expected = Outcome::Bytes(ByteBuf::from(*b"\0abc"));
        assert_eq!(again.perform(read(96, 4)), expected);
        assert_eq!(again.perform(read(97, 4)), Outcome::Missing);
        assert_eq!(again.perform(Operation::List), Outcome::Files(vec![ID]));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let tee = folder.path().join("tee");
        assert_eq!((mode(&tee), mode(&tee.join(name_of(ID)))), (0o700, 0o600));
    }

    #[test]
    fn making_a_file_again_makes_it_zeros_and_removing_is_no_error_twice() {
        let (_folder, mut keeper) = keeper();
        let create = Operation::Create { file: ID, bytes: 8 };
        keeper.perform(create.clone());
        keeper.perform(write(0, b"old"));
        assert_eq!(keeper.perform(create), Outcome::Done);
        assert_eq!(keeper.perform(read(0, 8)), Outcome::Bytes(ByteBuf::from([0; 8])));
        for _ in 0..2 {
            assert_eq!(keeper.perform(Operation::Remove { file: ID }), Outcome::Done);
        }
        assert_eq!(keeper.perform(read(0, 1)), Outcome::Missing);
    }

    #[test]
    fn follows_no_link_and_refuses_what_is_too_large() {
        let (folder, mut keeper) = keeper();
        let outside = folder.path().join("outside");
        fs::write(&outside, "secret").unwrap();
        let link = folder.path().join("tee").join(name_of(ID));
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        assert!(matches!(keeper.perform(read(0, 6)), Outcome::Failed(_)));
        fs::remove_file(link).unwrap();
        let huge = Operation::Create { file: ID, bytes: u32::MAX };
        assert!(matches!(keeper.perform(huge), Outcome::Failed(_)));
        assert!(matches!(keeper.perform(read(0, u32::MAX)), Outcome::Failed(_)));
    }

    #[test]
    fn other_files_in_the_folder_are_not_the_tees() {
        let (folder, mut keeper) = keeper();
        for name in ["note", "+a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a", "A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5"]
        {
            fs::write(folder.path().join("tee").join(name), "").unwrap();
        }
        assert_eq!(keeper.perform(Operation::List), Outcome::Files(Vec::new()));
    }

    #[test]
    fn more_files_than_may_be_open_work() {
        let (_folder, mut keeper) = keeper();
        let ids: Vec<FileId> = (0..20).map(|at| [at; 16]).collect();
        for file in &ids {
            keeper.perform(Operation::Create { file: *file, bytes: 4 });
        }
        for file in ids {
            let read = Operation::Read { file, offset: 0, length: 4 };
            assert_eq!(keeper.perform(read), Outcome::Bytes(ByteBuf::from([0; 4])));
        }
        assert!(keeper.open.len() <= MAX_OPEN);
    }
}
