//! The trusted OS: TAs, the connections that call them, and the one loop that serves all.

mod calls;
mod events;
mod install;
mod jobs;
mod making;
mod requests;
mod screen;
mod watch;

pub(crate) use events::{Event, Events};
pub(crate) use watch::{Seen, Watch};

use events::Ready;

use crate::boot::Boot;
use crate::clock::SecureClock;
use crate::confirmation::Confirmations;
use crate::log::Log;
use crate::memory::Desk;
use crate::prompts::Prompts;
use crate::ree::Connection;
use crate::secrets::{MasterSecrets, SecretBox};
use crate::spawner::Spawner;
use crate::storage::{FileStorage, SecureStorage};
use crate::ta::Ta;
use crate::workers::Workers;
use board::Silicon;
use board::channel::{self, ChannelError};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;
use tee_api::TeeError;
use tee_api::boot::Reply as BootReply;
use tee_engine::shared_secret::Agreement;

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
    /// On the key of hardware auth tokens.
    pub(crate) agreement: Agreement,
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
    /// Who may sign TAs besides the maker.
    pub(crate) signers: Vec<[u8; 32]>,
    pub(crate) spawner: Spawner,
    pub(crate) log: Log,
    pub(crate) doors: Doors,
    pub(crate) events: Events,
    pub(crate) watch: Watch,
    pub(crate) workers: Workers,
    pub(crate) desk: Desk,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) next_connection: u64,
    pub(crate) next_session: u32,
}

impl Os {
    /// Starts all TAs, says `Up`, and serves until power is gone.
    pub(crate) fn run(&mut self) -> Result<(), ChannelError> {
        let (name, pid) = self.spawner.process();
        self.log.process(name, pid);
        self.watch_doors()?;
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
                    Event::Tick => self.tick(),
                    Event::Made => self.serve_workers(),
                    Event::Ta(ta) => self.serve_ta(ta),
                    Event::Connection(id) => self.serve_connection(id),
                }
            }
        }
    }

    fn watch_doors(&self) -> Result<(), Errno> {
        self.events.watch(&self.doors.power, Event::PowerGone)?;
        self.events.watch(&self.spawner, Event::SpawnerGone)?;
        self.events.watch(&self.doors.listener, Event::Connect)?;
        self.events.watch(&self.prompts, Event::Screen)?;
        self.events.watch(&self.watch, Event::Tick)?;
        self.events.watch(&self.workers, Event::Made)?;
        let boot = self.doors.boot.as_ref();
        boot.map_or(Ok(()), |boot| self.events.watch(boot, Event::Boot))
    }

    /// Waits for somebody; until they come, tidies up.
    fn wait(&mut self) -> Result<Ready, Errno> {
        self.let_slow_keeper_go();
        if self.storage.as_ref().is_ok_and(SecureStorage::has_freed) {
            let ready = self.events.ready(Some(Duration::ZERO))?;
            if !ready.is_empty() {
                return Ok(ready);
            }
            self.tidy();
        }
        if !self.is_working()
            && let Some(ready) = self.events.ready_soon()?
        {
            return Ok(ready);
        }
        self.events.ready(self.files.time_left())
    }

    /// Whether a TA computes: it needs the processor more than the trusted OS does.
    fn is_working(&self) -> bool {
        self.tas.iter().any(|ta| ta.current.is_some())
    }

    fn tidy(&mut self) {
        if let Ok(storage) = &mut self.storage
            && let Err(error) = storage.overwrite_freed()
        {
            eprintln!("tee-os: {error}");
        }
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
