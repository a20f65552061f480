//! The trusted OS: TAs, the connections that call them, and the one loop that serves all.

mod jobs;
mod requests;
mod screen;

use crate::boot::Boot;
use crate::clock::SecureClock;
use crate::confirmation::Confirmations;
use crate::log::Log;
use crate::prompts::Prompts;
use crate::ree::Connection;
use crate::secrets::{MasterSecrets, SecretBox};
use crate::spawner::Spawner;
use crate::storage::{FileStorage, SecureStorage};
use crate::ta::Ta;
use board::Silicon;
use board::channel::{self, ChannelError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;
use tee_api::TeeError;
use tee_api::boot::Reply as BootReply;

/// The descriptors that the loop waits on, besides those of TAs and connections.
pub(crate) struct Doors {
    /// End of file: power is gone.
    pub(crate) power: OwnedFd,
    /// Where programs of the system connect.
    pub(crate) listener: OwnedFd,
    /// The bootloaders, until they close it.
    pub(crate) boot: Option<OwnedFd>,
}

/// The trusted OS.
pub(crate) struct Os {
    pub(crate) silicon: Rc<dyn Silicon>,
    pub(crate) secrets: Rc<SecretBox<MasterSecrets>>,
    /// Or why there is none.
    pub(crate) storage: Result<SecureStorage, TeeError>,
    /// Objects in files that the system keeps.
    pub(crate) files: FileStorage,
    pub(crate) boot: Boot,
    /// Loaded when somebody first asks.
    pub(crate) clock: Option<SecureClock>,
    pub(crate) prompts: Prompts,
    pub(crate) confirmations: Confirmations,
    pub(crate) tas: Vec<Ta>,
    pub(crate) spawner: Spawner,
    pub(crate) log: Log,
    pub(crate) doors: Doors,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) next_connection: u64,
    pub(crate) next_session: u32,
}

/// For a look without waiting.
const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Who wants attention.
#[derive(Debug, Clone, Copy)]
enum Event {
    PowerGone,
    Boot,
    Connect,
    Screen,
    SpawnerGone,
    Ta(usize),
    Connection(u64),
}

impl Os {
    /// Starts all TAs, says `Up`, and serves until power is gone.
    pub(crate) fn run(&mut self) -> Result<(), ChannelError> {
        let (name, pid) = self.spawner.process();
        self.log.process(name, pid);
        for ta in 0..self.tas.len() {
            self.start(ta)?;
        }
        if let Some(boot) = &self.doors.boot {
            channel::send(boot, &BootReply::Up)?;
        }
        loop {
            for event in self.wait()? {
                match event {
                    Event::PowerGone => return Ok(()),
                    Event::SpawnerGone => return Err(ChannelError::Closed),
                    Event::Boot => self.serve_boot(),
                    Event::Connect => self.connect(),
                    Event::Screen => self.serve_screen()?,
                    Event::Ta(ta) => self.serve_ta(ta),
                    Event::Connection(id) => self.serve_connection(id),
                }
            }
        }
    }

    /// Waits for somebody; until they come, tidies up.
    fn wait(&mut self) -> Result<Vec<Event>, Errno> {
        self.let_slow_keeper_go();
        if self.storage.as_ref().is_ok_and(SecureStorage::has_freed) {
            let ready = self.ready(false)?;
            if !ready.is_empty() {
                return Ok(ready);
            }
            self.tidy();
        }
        self.ready(true)
    }

    fn tidy(&mut self) {
        if let Ok(storage) = &mut self.storage
            && let Err(error) = storage.overwrite_freed()
        {
            eprintln!("tee-os: {error}");
        }
    }

    /// Who wants attention; waits for somebody, or only looks.
    fn ready(&self, wait: bool) -> Result<Vec<Event>, Errno> {
        let mut events = vec![
            (Event::PowerGone, self.doors.power.as_fd(), PollFlags::IN),
            (Event::SpawnerGone, self.spawner.as_fd(), PollFlags::IN),
            (Event::Connect, self.doors.listener.as_fd(), PollFlags::IN),
            (Event::Screen, self.prompts.as_fd(), PollFlags::IN),
        ];
        events.extend(self.doors.boot.iter().map(|fd| (Event::Boot, fd.as_fd(), PollFlags::IN)));
        let running = self.tas.iter().enumerate();
        let running = running.filter_map(|(at, ta)| Some((at, ta.channel.as_ref()?)));
        events.extend(running.map(|(at, fd)| (Event::Ta(at), fd.as_fd(), PollFlags::IN)));
        events.extend(self.connections.iter().map(|(&id, connection)| {
            // While its request is worked on, only its end is of interest.
            let flags = if connection.busy { PollFlags::empty() } else { PollFlags::IN };
            (Event::Connection(id), connection.as_fd(), flags)
        }));
        let mut fds: Vec<PollFd<'_>> =
            events.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let patience = self.files.time_left().map(timespec);
        let timeout = if wait { patience.as_ref() } else { Some(&NO_TIME) };
        rustix::io::retry_on_intr(|| poll(&mut fds, timeout))?;
        let ready = fds.iter().zip(&events).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, (event, ..))| *event).collect())
    }

    /// A keeper of files that took too long for one operation does not get another.
    fn let_slow_keeper_go(&mut self) {
        if self.files.time_left().is_some_and(|left| left.is_zero())
            && let Some(keeper) = self.files.keeper()
        {
            eprintln!("tee-os: the program that keeps files does not answer");
            self.disconnect(keeper);
        }
    }

    fn serve_boot(&mut self) {
        let Some(channel) = &self.doors.boot else { return };
        let served = channel::receive_with_fds(channel).and_then(|(request, fds)| {
            let (reply, fd) = match &mut self.storage {
                Ok(storage) => self.boot.handle(&*self.silicon, storage, request, fds),
                Err(error) => (Boot::without_storage(&request, error), None),
            };
            let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
            channel::send_with_fds(channel, &reply, &fds)
        });
        if served.is_err() {
            self.doors.boot = None;
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: duration.subsec_nanos().into() }
}
