//! Programs of the system: their connections, sessions and requests.

use super::Os;
use crate::ree::{Connection, MAX_CONNECTIONS, MAX_SESSIONS};
use crate::ta::{Job, Task};
use board::channel::ChannelError;
use rustix::io::Errno;
use tee_api::ree::{Reply, Request};
use tee_api::{TaId, TeeError};

impl Os {
    pub(super) fn connect(&mut self) {
        // A peer that is gone already, or one too many: its end closes.
        if let Ok(connection) = Connection::accept(&self.doors.listener)
            && self.connections.len() < MAX_CONNECTIONS
        {
            self.connections.insert(self.next_connection, connection);
            self.next_connection += 1;
        }
    }

    pub(super) fn serve_connection(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.busy {
            return self.disconnect(id);
        }
        match connection.receive() {
            Ok(Request::Filed { number, outcome }) => {
                if self.files.filed(id, number, outcome) {
                    self.run_files();
                } else {
                    self.disconnect(id);
                }
            }
            Ok(Request::KeepFiles) => self.keep_files(id),
            // Who keeps files does nothing else on that connection.
            Ok(_) if self.files.is_keeper(id) => self.disconnect(id),
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

    /// A program offers to keep files.
    fn keep_files(&mut self, id: u64) {
        let Some(connection) = self.connections.get(&id) else { return };
        let may_keep = self.files.may_keep(connection.login.uid);
        if !may_keep || !connection.sessions.is_empty() {
            let reason = "only the system keeps files, on a connection of its own";
            return self.reply(id, &Reply::Refused(TeeError::Denied(reason.into())));
        }
        if !self.files.add_keeper(id) {
            let reason = "enough programs wait to keep files";
            self.reply(id, &Reply::Refused(TeeError::Resources(reason.into())));
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
            Request::KeepFiles | Request::Filed { .. } => {
                Err(TeeError::BadState("this connection does not keep files".into()))
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
        let ta = self.tas.iter().position(|ta| ta.identity.uuid == name);
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

    pub(crate) fn reply(&mut self, id: u64, reply: &Reply) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
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
        for at in 0..self.tas.len() {
            self.forget(at, id);
        }
        for (session, ta) in connection.sessions {
            if let Some(ta) = ta {
                self.submit(ta, Job { connection: None, session, task: Task::Close });
            }
        }
    }
}
