//! Memory that a program of the system shares with its commands (GlobalPlatform's registered shared
//! memory).
//!
//! It is a memfd. The trusted OS never maps it: it copies what it works on to memory of its own, and
//! the result back. So nothing changes under its hands, and whatever the other side does to the
//! memory is an error of a read, not a fault. A TA sees none of it; it says what is to be done.

use crate::os::Os;
use crate::ta::Caller;
use rustix::fd::OwnedFd;
use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::io::{pread, pwrite};
use tee_api::TeeError;
use tee_api::engine::{MAX_MEMORY_RUN_BYTES, Span};
use tee_api::ree::MAX_SHARED_BYTES;
use tee_engine::Task;

/// What one connection shares.
pub(crate) struct SharedMemory {
    file: OwnedFd,
    bytes: u64,
}

impl SharedMemory {
    /// Takes what came beside a request: only the kernel's own memory files can be sealed, and
    /// reading one never waits for anybody.
    pub(crate) fn new(fds: Vec<OwnedFd>) -> Result<Self, TeeError> {
        let refused = || {
            TeeError::BadParameters(format!(
                "beside it goes one memfd that can't shrink, of 1 to {MAX_SHARED_BYTES} bytes"
            ))
        };
        let [file] = <[OwnedFd; 1]>::try_from(fds).map_err(|_| refused())?;
        let seals = fcntl_get_seals(&file).map_err(|_| refused())?;
        let bytes = fstat(&file).map_err(|_| refused())?.st_size.unsigned_abs();
        if seals.contains(SealFlags::SHRINK) && (1..=MAX_SHARED_BYTES).contains(&bytes) {
            Ok(Self { file, bytes })
        } else {
            Err(refused())
        }
    }

    fn holds(&self, offset: u32, bytes: usize) -> Result<u64, TeeError> {
        let offset = u64::from(offset);
        if offset.checked_add(bytes as u64).is_some_and(|end| end <= self.bytes) {
            Ok(offset)
        } else {
            Err(TeeError::BadState("the shared memory ends before that".into()))
        }
    }

    fn read(&self, offset: u32, out: &mut [u8]) -> Result<(), TeeError> {
        let mut at = self.holds(offset, out.len())?;
        let mut rest = out;
        while !rest.is_empty() {
            let got = pread(&self.file, &mut *rest, at).map_err(lost)?;
            if got == 0 {
                return Err(TeeError::BadState("the shared memory became smaller".into()));
            }
            at += got as u64;
            rest = &mut rest[got..];
        }
        Ok(())
    }

    fn write(&self, offset: u32, bytes: &[u8]) -> Result<(), TeeError> {
        let mut at = self.holds(offset, bytes.len())?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = pwrite(&self.file, rest, at).map_err(lost)?;
            at += written as u64;
            rest = &rest[written..];
        }
        Ok(())
    }
}

fn lost(error: rustix::io::Errno) -> TeeError {
    TeeError::Communication(format!("the shared memory: {error}"))
}

/// Where the trusted OS works on what is shared. Kept: to get a megabyte from the kernel takes
/// as long as to encrypt it.
#[derive(Default)]
pub(crate) struct Desk {
    message: Vec<u8>,
    result: Vec<u8>,
}

impl Os {
    /// Runs `task` on the memory of the program whose command the TA at `at` works on; gives how
    /// many bytes the result has.
    pub(crate) fn run_on_memory(
        &mut self,
        at: usize,
        task: Task,
        input: Span,
        output: u32,
    ) -> Result<u32, TeeError> {
        let nothing = || TeeError::BadState("the caller of this command shares no memory".into());
        let caller = self.tas[at].current.as_ref().and_then(|job| job.caller);
        let Some(Caller::Connection(id)) = caller else { return Err(nothing()) };
        let memory = self.connections.get(&id).and_then(|connection| connection.memory.as_ref());
        let memory = memory.ok_or_else(nothing)?;
        if input.bytes > MAX_MEMORY_RUN_BYTES {
            let said = format!("at most {MAX_MEMORY_RUN_BYTES} bytes at once");
            return Err(TeeError::BadParameters(said));
        }
        let Desk { message, result } = &mut self.desk;
        message.resize(input.bytes as usize, 0);
        memory.read(input.offset, message)?;
        result.clear();
        task.run_on(message, result)?;
        memory.write(output, result)?;
        Ok(u32::try_from(result.len()).unwrap_or(u32::MAX))
    }
}
