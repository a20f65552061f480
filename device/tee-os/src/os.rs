//! The trusted OS: TAs, the connections that call them, and the one loop that serves all.

use crate::boot::Boot;
use crate::log::Log;
use crate::prompts::{self, Prompts, Said};
use crate::ree::{Connection, MAX_CONNECTIONS, MAX_SESSIONS};
use crate::secrets::{MasterSecrets, SecretBox};
use crate::spawner::Spawner;
use crate::storage::SecureStorage;
use crate::ta::{Job, Ta, Task};
use board::Silicon;
use board::channel::{self, ChannelError};
use board::ui::Prompt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::rc::Rc;
use tee_api::boot::Reply as BootReply;
use tee_api::ree::{Reply, Request};
use tee_api::ta::{FromTa, SyscallReply, ToTa, Typed};
use tee_api::{TaId, TeeError};

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
    pub(crate) boot: Boot,
    pub(crate) prompts: Prompts,
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
        let timeout = if wait { None } else { Some(&NO_TIME) };
        rustix::io::retry_on_intr(|| poll(&mut fds, timeout))?;
        let ready = fds.iter().zip(&events).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, (event, ..))| *event).collect())
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

    fn connect(&mut self) {
        // A peer that is gone already, or one too many: its end closes.
        if let Ok(connection) = Connection::accept(&self.doors.listener)
            && self.connections.len() < MAX_CONNECTIONS
        {
            self.connections.insert(self.next_connection, connection);
            self.next_connection += 1;
        }
    }

    fn serve_screen(&mut self) -> Result<(), ChannelError> {
        if let Some(Said { asker: (ta, question), answer }) = self.prompts.receive()? {
            self.resume(ta, question, answer.map(|text| Typed(text.as_str().to_owned())));
        }
        Ok(())
    }

    fn serve_connection(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.busy {
            return self.disconnect(id);
        }
        match connection.receive() {
            Ok(request) => {
                connection.busy = true;
                if let Err(refused) = self.serve_request(id, request) {
                    self.reply(id, &Reply::Refused(refused));
                }
            }
            Err(ChannelError::Os(Errno::AGAIN)) => {}
            Err(_) => self.disconnect(id),
        }
    }

    fn serve_request(&mut self, id: u64, request: Request) -> Result<(), TeeError> {
        match request {
            Request::Open { ta } => self.open(id, ta),
            Request::Invoke { session, command } => {
                let ta = self.session(id, session)?.ok_or(TeeError::TargetDead)?;
                let task = Task::Invoke(command);
                self.submit(ta, Job { connection: Some(id), session, task });
                Ok(())
            }
            Request::Close { session } => {
                match self.session(id, session)? {
                    Some(ta) => {
                        let task = Task::Close;
                        self.submit(ta, Job { connection: Some(id), session, task });
                    }
                    None => self.reply(id, &Reply::Closed),
                }
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.sessions.remove(&session);
                }
                Ok(())
            }
        }
    }

    fn open(&mut self, id: u64, name: TaId) -> Result<(), TeeError> {
        let connection = self.connections.get(&id).ok_or(TeeError::TargetDead)?;
        if connection.sessions.len() >= MAX_SESSIONS {
            return Err(TeeError::Resources("too many sessions on this connection".into()));
        }
        let login = connection.login;
        let ta = self.tas.iter().position(|ta| ta.id == name);
        let ta = ta.ok_or_else(|| TeeError::NotFound("no such trusted application".into()))?;
        let session = self.next_session;
        self.next_session += 1;
        self.submit(ta, Job { connection: Some(id), session, task: Task::Open(login) });
        Ok(())
    }

    fn session(&self, id: u64, session: u32) -> Result<Option<usize>, TeeError> {
        let sessions = self.connections.get(&id).map(|connection| &connection.sessions);
        let found = sessions.and_then(|sessions| sessions.get(&session));
        found.copied().ok_or_else(|| TeeError::NotFound(format!("session {session}")))
    }

    /// Queues `job` and lets the TA work where it is free.
    fn submit(&mut self, ta: usize, job: Job) {
        self.tas[ta].queue.push_back(job);
        self.pump(ta);
    }

    fn pump(&mut self, at: usize) {
        let ta = &self.tas[at];
        if ta.current.is_some() || ta.queue.is_empty() {
            return;
        }
        if ta.channel.is_none() && self.start(at).is_err() {
            return self.bury(at);
        }
        let ta = &mut self.tas[at];
        let (Some(channel), Some(mut job)) = (&ta.channel, ta.queue.pop_front()) else { return };
        let sent = channel::send(channel, &job.message());
        ta.current = Some(job);
        if sent.is_err() {
            self.bury(at);
        }
    }

    fn start(&mut self, at: usize) -> Result<(), ChannelError> {
        let started = self.spawner.start(at)?;
        rustix::io::ioctl_fionbio(&started.channel, true)?;
        let ta = &mut self.tas[at];
        ta.channel = Some(started.channel);
        ta.proven = false;
        self.log.process(&ta.name, started.pid);
        Ok(())
    }

    fn serve_ta(&mut self, at: usize) {
        let ta = &mut self.tas[at];
        let Some(channel) = &ta.channel else { return };
        match (channel::receive(channel), &ta.current) {
            (Err(ChannelError::Os(Errno::AGAIN)), _) => {}
            (Ok(FromTa::Done(result)), Some(_)) => {
                ta.proven = true;
                if let Some(job) = ta.current.take() {
                    self.finish(at, job, result);
                }
                self.pump(at);
            }
            (Ok(FromTa::Syscall(syscall)), Some(_)) => {
                let reply = self.syscall(at, syscall).unwrap_or_else(SyscallReply::Refused);
                self.answer(at, reply);
            }
            (Ok(FromTa::Ask { question, title, detail, secret }), Some(_)) => {
                self.ask(at, question, prompts::prompt(title, detail, secret));
                self.pump(at);
            }
            // It panicked, or it does not keep to the protocol.
            _ => self.bury(at),
        }
    }

    /// The TA's current job waits for the person from now on.
    fn ask(&mut self, at: usize, question: u32, prompt: Result<Prompt, TeeError>) {
        let ta = &mut self.tas[at];
        ta.proven = true;
        let Some(job) = ta.current.take() else { return };
        // Whoever asked may be gone already.
        let heard = job.connection.ok_or(TeeError::Cancelled);
        ta.asking.insert(question, job);
        let asked = heard.and(prompt).and_then(|prompt| self.prompts.ask((at, question), prompt));
        if let Err(refused) = asked {
            self.resume(at, question, Err(refused));
        }
    }

    /// A job that waited for the person goes on, before all others.
    fn resume(&mut self, at: usize, question: u32, answer: Result<Typed, TeeError>) {
        let ta = &mut self.tas[at];
        if let Some(mut job) = ta.asking.remove(&question) {
            job.task = Task::Resume { question, answer };
            ta.queue.push_front(job);
            self.pump(at);
        }
    }

    fn answer(&mut self, at: usize, reply: SyscallReply) {
        let channel = self.tas[at].channel.as_ref();
        let sent = channel.is_some_and(|fd| channel::send(fd, &ToTa::Answer(reply)).is_ok());
        if !sent {
            self.bury(at);
        }
    }

    fn finish(&mut self, ta: usize, job: Job, result: Result<ByteBuf, TeeError>) {
        let connection = job.connection.and_then(|id| self.connections.get_mut(&id));
        let reply = match (job.task, result) {
            (Task::Close, _) => Reply::Closed,
            (_, Err(error)) => Reply::Refused(error),
            (Task::Invoke(_) | Task::Resume { .. }, Ok(bytes)) => Reply::Done(bytes),
            (Task::Open(_), Ok(_)) => {
                let session = job.session;
                match connection {
                    Some(connection) => connection.sessions.insert(session, Some(ta)),
                    // Who asked is gone: the session must not stay.
                    None => {
                        let close = Job { connection: None, session, task: Task::Close };
                        self.tas[ta].queue.push_back(close);
                        return;
                    }
                };
                Reply::Opened { session }
            }
        };
        if let Some(id) = job.connection {
            self.reply(id, &reply);
        }
    }

    fn reply(&mut self, id: u64, reply: &Reply) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.reply(reply).is_err() {
            self.disconnect(id);
        }
    }

    /// A TA died. Its sessions are dead; who waits only for a new session gets one from the
    /// next process, unless that would die the same way.
    fn bury(&mut self, at: usize) {
        let ta = &mut self.tas[at];
        ta.channel = None;
        eprintln!("tee-os: {} died", ta.name);
        let mut lost: Vec<Job> = ta.current.take().into_iter().collect();
        let (opens, rest): (Vec<Job>, Vec<Job>) =
            ta.queue.drain(..).partition(|job| ta.proven && matches!(job.task, Task::Open(_)));
        ta.queue.extend(opens);
        lost.extend(rest);
        lost.extend(std::mem::take(&mut ta.asking).into_values());
        let proven = std::mem::take(&mut ta.proven);
        self.prompts.withdraw(|(ta, _)| ta == at);
        for connection in self.connections.values_mut() {
            let sessions = connection.sessions.values_mut();
            sessions.filter(|ta| **ta == Some(at)).for_each(|ta| *ta = None);
        }
        for job in lost {
            self.finish(at, job, Err(TeeError::TargetDead));
        }
        // One that never answered anything starts again when it is next called, not in a loop.
        if proven && self.tas[at].channel.is_none() && self.start(at).is_ok() {
            self.pump(at);
        }
    }

    /// A program of the system is gone: its sessions end, and so does what it waited for.
    fn disconnect(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        for at in 0..self.tas.len() {
            self.forget(at, id);
        }
        for (session, ta) in connection.sessions {
            if let Some(ta) = ta {
                self.submit(ta, Job { connection: None, session, task: Task::Close });
            }
        }
    }

    /// Ends what connection `id` wanted of the TA at `at`. What the TA began it hears the end
    /// of: a question is turned away, a session is closed.
    fn forget(&mut self, at: usize, id: u64) {
        let ta = &mut self.tas[at];
        ta.queue.retain(|job| {
            let begun = matches!(job.task, Task::Close | Task::Resume { .. });
            begun || job.connection != Some(id)
        });
        let mut questions = Vec::new();
        for (&question, job) in &ta.asking {
            if job.connection == Some(id) {
                questions.push(question);
            }
        }
        let jobs = ta.current.iter_mut().chain(&mut ta.queue).chain(ta.asking.values_mut());
        jobs.filter(|job| job.connection == Some(id)).for_each(|job| job.connection = None);
        self.prompts.withdraw(|(ta, question)| ta == at && questions.contains(&question));
        for question in questions {
            self.resume(at, question, Err(TeeError::Cancelled));
        }
    }
}
