//! Programs of the system: their connections, sessions and requests.

use super::{Event, Os};
use crate::memory::SharedMemory;
use crate::ree::{Connection, MAX_CONNECTIONS, MAX_PER_PROCESS, MAX_PER_USER, MAX_SESSIONS, Peer};
use crate::ta::{Caller, Job, Sessions, Task};
use board::channel::ChannelError;
use board::report::RefusalKind;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use tee_api::ree::{Reply, Request};
use tee_api::{Login, LoginMethod, Signer, TaId, TeeError};

impl Os {
    pub(super) fn connect(&mut self) {
        // A peer that is gone already, or one too many: its end closes.
        let Ok(connection) = Connection::accept(&self.doors.listener) else { return };
        if !self.has_room_for(connection.peer) {
            return self.log.refused(RefusalKind::Connection, connection.peer.uid);
        }
        if self.events.watch(&connection, Event::Connection(self.next_connection)).is_ok() {
            self.connections.insert(self.next_connection, connection);
            self.next_connection += 1;
        }
    }

    fn has_room_for(&self, peer: Peer) -> bool {
        let peers = || self.connections.values().map(|connection| connection.peer);
        self.connections.len() < MAX_CONNECTIONS
            && peers().filter(|other| other.uid == peer.uid).count() < MAX_PER_USER
            && peers().filter(|other| other.pid == peer.pid).count() < MAX_PER_PROCESS
    }

    pub(super) fn serve_connection(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.receive() {
            Ok((Request::Filed { number, outcome }, _)) => {
                if self.files.filed(id, number, outcome) {
                    self.run_files();
                } else {
                    self.hang_up(id);
                }
            }
            Ok((Request::KeepFiles, _)) => self.keep_files(id),
            // Who keeps files does nothing else on that connection.
            Ok(_) if self.files.is_keeper(id) => self.hang_up(id),
            Ok((Request::Cancel, _)) => self.cancel(Caller::Connection(id)),
            Ok((request, fds)) if !connection.busy => {
                connection.busy = true;
                if let Err(refused) = self.serve_request(id, request, fds) {
                    self.reply(id, &Reply::Refused(refused));
                }
            }
            Err(ChannelError::Os(Errno::AGAIN)) => {}
            Err(ChannelError::Closed) => self.disconnect(id),
            Ok(_) | Err(_) => self.hang_up(id),
        }
    }

    /// Ends a connection on which came what must not come there.
    fn hang_up(&mut self, id: u64) {
        if let Some(connection) = self.connections.get(&id) {
            self.log.refused(RefusalKind::Message, connection.peer.uid);
        }
        self.disconnect(id);
    }

    /// A program offers to keep files.
    fn keep_files(&mut self, id: u64) {
        let Some(connection) = self.connections.get(&id) else { return };
        let may_keep = self.files.may_keep(connection.peer.uid);
        if !may_keep || !connection.sessions.is_empty() {
            let reason = "only the system keeps files, on a connection of its own";
            return self.reply(id, &Reply::Refused(TeeError::Denied(reason.into())));
        }
        if !self.files.add_keeper(id) {
            let reason = "enough programs wait to keep files";
            self.reply(id, &Reply::Refused(TeeError::Resources(reason.into())));
        }
    }

    fn serve_request(
        &mut self,
        id: u64,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<(), TeeError> {
        let caller = Some(Caller::Connection(id));
        match request {
            Request::Open { ta, signer, login } => self.open(id, ta, signer, login)?,
            Request::Invoke { session, command } => {
                let ta = self.session(id, session)?.ok_or(TeeError::TargetDead)?;
                self.submit(ta, Job::new(caller, session, Task::Invoke(command)));
            }
            Request::Close { session } => {
                match self.session(id, session)? {
                    Some(ta) => self.submit(ta, Job::new(caller, session, Task::Close)),
                    None => self.reply(id, &Reply::Closed),
                }
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.sessions.remove(&session);
                }
            }
            Request::Share => {
                let memory = SharedMemory::new(fds)?;
                let connection = self.connections.get_mut(&id).ok_or(TeeError::TargetDead)?;
                connection.memory = Some(memory);
                self.reply(id, &Reply::Shared);
            }
            Request::Load => {
                let loaded = self.load(id, &fds)?;
                self.reply(id, &Reply::Loaded(loaded));
            }
            Request::Remove(identity) => {
                self.remove(id, identity)?;
                self.reply(id, &Reply::Removed);
            }
            Request::List => {
                let all = self.installed();
                self.reply(id, &Reply::Listed(all));
            }
            // Served before, and without an answer here.
            Request::Cancel | Request::KeepFiles | Request::Filed { .. } => {}
        }
        Ok(())
    }

    fn open(
        &mut self,
        id: u64,
        uuid: TaId,
        signer: Option<Signer>,
        method: LoginMethod,
    ) -> Result<(), TeeError> {
        let at = self.named(uuid, signer)?;
        let connection = self.connections.get(&id).ok_or(TeeError::TargetDead)?;
        self.admit(at, &connection.sessions, self.sessions_of_process(connection.peer.pid, at))?;
        let login = connection.login(method);
        self.begin_session(at, Caller::Connection(id), login);
        Ok(())
    }

    /// Submits the opening of a new session.
    pub(super) fn begin_session(&mut self, at: usize, caller: Caller, login: Login) {
        let session = self.next_session;
        self.next_session = self.next_session.wrapping_add(1);
        self.submit(at, Job::new(Some(caller), session, Task::Open(login)));
    }

    /// The TA that a caller means: the maker's, else the only one of that UUID.
    fn named(&self, uuid: TaId, signer: Option<Signer>) -> Result<usize, TeeError> {
        let found: Vec<usize> = (0..self.tas.len())
            .filter(|&at| !self.tas[at].removed && self.tas[at].identity.uuid == uuid)
            .filter(|&at| signer.is_none_or(|signer| self.tas[at].identity.signer == signer))
            .collect();
        let of_maker = |at: &&usize| self.tas[**at].identity.signer == Signer::Maker;
        match (&found[..], found.iter().find(of_maker)) {
            (_, Some(&at)) | (&[at], None) => Ok(at),
            ([], None) => Err(TeeError::NotFound(format!("trusted application {uuid}"))),
            _ => {
                let reason = format!("several signers have a trusted application {uuid}: name one");
                Err(TeeError::BadParameters(reason))
            }
        }
    }

    /// Whether one more session with the TA at `at` may begin, for a caller with the sessions
    /// `own`; `taken` of the TA's are the caller's program's.
    pub(super) fn admit(&self, at: usize, own: &Sessions, taken: usize) -> Result<(), TeeError> {
        let full = |whose: &str| Err(TeeError::Resources(format!("too many sessions {whose}")));
        let most = self.tas[at].program.limits.sessions;
        if own.len() >= MAX_SESSIONS {
            full("of one caller")
        } else if self.sessions_with(at) >= most {
            full("with this trusted application")
        } else if taken >= most.div_ceil(2) {
            full("of one program with this trusted application")
        } else {
            Ok(())
        }
    }

    fn sessions_of_process(&self, pid: i32, at: usize) -> usize {
        let same = self.connections.values().filter(|connection| connection.peer.pid == pid);
        same.map(|connection| count(&connection.sessions, at)).sum()
    }

    /// Sessions that the TA at `at` has, and those that are about to begin.
    pub(super) fn sessions_with(&self, at: usize) -> usize {
        let ta = &self.tas[at];
        let jobs = ta.current.iter().chain(&ta.queue);
        let beginning = jobs.filter(|job| matches!(job.task, Task::Open(_))).count();
        let connections = self.connections.values().map(|connection| &connection.sessions);
        let all = connections.chain(self.tas.iter().map(|ta| &ta.sessions));
        beginning + all.map(|sessions| count(sessions, at)).sum::<usize>()
    }

    fn session(&self, id: u64, session: u32) -> Result<Option<usize>, TeeError> {
        let sessions = self.connections.get(&id).map(|connection| &connection.sessions);
        find(sessions, session)
    }

    pub(crate) fn reply(&mut self, id: u64, reply: &Reply) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Reply::Refused(error) = reply {
            self.log.refused_with(error, connection.peer.uid);
        }
        if connection.reply(reply).is_err() {
            self.disconnect(id);
        }
    }

    /// A program of the system is gone: its sessions end, and so does what it waited for.
    pub(super) fn disconnect(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if self.files.is_keeper(id) {
            self.files.remove_keeper(id);
            self.run_files();
        }
        self.abandon(Caller::Connection(id), connection.sessions);
    }
}

/// How many of `sessions` are with the TA at `at`.
fn count(sessions: &Sessions, at: usize) -> usize {
    sessions.values().filter(|ta| **ta == Some(at)).count()
}

/// The TA of a session that its caller names; `None` inside where that TA died.
pub(super) fn find(sessions: Option<&Sessions>, session: u32) -> Result<Option<usize>, TeeError> {
    let found = sessions.and_then(|sessions| sessions.get(&session));
    found.copied().ok_or_else(|| TeeError::NotFound(format!("session {session}")))
}
