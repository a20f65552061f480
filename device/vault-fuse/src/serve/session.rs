//! The threads that take requests from the kernel.

use super::{FileSystem, Waits};
use crate::file::Scratch;
use crate::wire::{self, Fields, Header, REQUEST_BYTES, Reply, opcode};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, write};
use rustix::ioctl::{Setter, ioctl, opcode as ioctl_opcode};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// `FUSE_DEV_IOC_CLONE`: a further queue of the same file system.
const CLONE: rustix::ioctl::Opcode = ioctl_opcode::read::<u32>(229, 0);
/// More would only wait for the disk.
const MOST_THREADS: usize = 8;

/// Answers the kernel on `device` until the file system is unmounted. `ready` is called when the
/// kernel and this program have agreed on how to talk.
pub(crate) fn run(
    file_system: &FileSystem,
    device: OwnedFd,
    ready: impl FnOnce(),
) -> io::Result<()> {
    let mut first = Worker::new(device);
    if !first.agree()? {
        return Ok(());
    }
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let others: Vec<Worker> =
        (1..threads.clamp(2, MOST_THREADS)).map_while(|_| first.further().ok()).collect();
    ready();
    std::thread::scope(|scope| {
        let others: Vec<_> = others
            .into_iter()
            .map(|mut worker| scope.spawn(move || worker.serve(file_system)))
            .collect();
        let served = first.serve(file_system);
        let ends = others.into_iter().map(|it| it.join().unwrap_or(Ok(())));
        ends.fold(served, io::Result::and)
    })?;
    file_system.end();
    Ok(())
}

/// One thread's queue and memory.
struct Worker {
    device: OwnedFd,
    request: Box<[u8]>,
    reply: Reply,
    scratch: Scratch,
}

impl Worker {
    fn new(device: OwnedFd) -> Self {
        Self {
            device,
            request: vec![0; REQUEST_BYTES].into(),
            reply: Reply::new(REQUEST_BYTES),
            scratch: Scratch::new(),
        }
    }

    /// A queue of its own, so that threads do not wait for each other.
    fn further(&self) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let device = open("/dev/fuse", flags, Mode::empty())?;
        let number = self.device.as_fd().as_raw_fd().cast_unsigned();
        // SAFETY: FUSE_DEV_IOC_CLONE reads one u32, a descriptor's number, which lives through
        // the call.
        unsafe { ioctl(&device, Setter::<CLONE, u32>::new(number))? };
        Ok(Self::new(device))
    }

    /// The first request says what the kernel can do. `false` where the file system is gone.
    fn agree(&mut self) -> io::Result<bool> {
        let Some(length) = self.next()? else { return Ok(false) };
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::Unsupported, what));
        let Some((header, body)) = Header::parse(&mut self.request[..length]) else {
            return wrong("the kernel's first request is malformed");
        };
        if header.opcode != opcode::INIT {
            return wrong("the kernel's first request is not FUSE_INIT");
        }
        self.reply.start();
        let agreed = wire::init(Fields(body), &mut self.reply).is_some();
        let result = if agreed { Ok(()) } else { Err(Errno::PROTO) };
        write(&self.device, self.reply.finish(header.unique, result))?;
        if agreed { Ok(true) } else { wrong("the kernel speaks FUSE older than 7.31") }
    }

    fn serve(&mut self, file_system: &FileSystem) -> io::Result<()> {
        while let Some(length) = self.next()? {
            let Some((header, body)) = Header::parse(&mut self.request[..length]) else { continue };
            let (reply, scratch) = (&mut self.reply, &mut self.scratch);
            reply.start();
            // A defect in one request is that request's error, not the end of all.
            let answered =
                catch_unwind(AssertUnwindSafe(|| file_system.answer(header, body, reply, scratch)));
            let (waits, result) = answered.unwrap_or((Waits::Yes, Err(Errno::IO)));
            if waits == Waits::No {
                continue;
            }
            match write(&self.device, self.reply.finish(header.unique, result)) {
                // Whoever asked is gone.
                Ok(_) | Err(Errno::NOENT | Errno::INTR) => {}
                Err(Errno::NODEV) => return Ok(()),
                Err(error) => tracing::warn!("the kernel did not take an answer: {error}"),
            }
        }
        Ok(())
    }

    /// Bytes of the next request; `None` when the file system was unmounted.
    fn next(&mut self) -> io::Result<Option<usize>> {
        loop {
            match read(&self.device, &mut *self.request) {
                Ok(length) => return Ok(Some(length)),
                Err(Errno::NODEV) => return Ok(None),
                // A request that was taken back.
                Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
