//! A trusted application as the OS sees it: a process, and the requests that wait for it.

use crate::image::Program;
use crate::os::Seen;
use rustix::fd::OwnedFd;
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, VecDeque};
use tee_api::engine::Handle;
use tee_api::ta::ToTa;
use tee_api::{Identity, Login, TeeError, ui};
use tee_engine::Engine;

/// Sessions that somebody has, and the TA of each (its place among the OS's); `None` once that
/// TA died.
pub(crate) type Sessions = BTreeMap<u32, Option<usize>>;

/// Who waits for a TA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A program of the system, on this connection.
    Connection(u64),
    /// Another TA: its place among the OS's.
    Ta(usize),
}

/// A request for a TA.
pub(crate) struct Job {
    /// Who waits for the answer; `None` once they are gone.
    pub(crate) caller: Option<Caller>,
    /// The session that it is about.
    pub(crate) session: u32,
    /// What is to be done.
    pub(crate) task: Task,
    /// Whether the caller withdrew it after it was begun.
    pub(crate) cancelled: bool,
}

/// What a TA is to do.
pub(crate) enum Task {
    /// Begin the session.
    Open(Login),
    /// Run a command.
    Invoke(ByteBuf),
    /// Go on with a command that asked the person.
    Resume {
        /// The TA's number for its question.
        question: u32,
        /// What the person said.
        answer: Result<ui::Said, TeeError>,
    },
    /// Go on with a command that waited for a key.
    Made {
        /// The TA's number for it.
        question: u32,
        /// The key.
        key: Result<Handle, TeeError>,
    },
    /// End the session.
    Close,
}

impl Job {
    /// Something to do in `session`.
    pub(crate) const fn new(caller: Option<Caller>, session: u32, task: Task) -> Self {
        Self { caller, session, task, cancelled: false }
    }

    /// Whether the TA has heard of it, or must.
    pub(crate) const fn is_begun(&self) -> bool {
        matches!(self.task, Task::Close | Task::Resume { .. } | Task::Made { .. })
    }

    /// The message to the TA; takes the command or the answer out of the job.
    pub(crate) fn message(&mut self) -> ToTa {
        let session = self.session;
        match &mut self.task {
            Task::Open(login) => ToTa::Open { session, login: login.clone() },
            Task::Invoke(command) => ToTa::Invoke { session, command: std::mem::take(command) },
            Task::Resume { question, answer } => {
                let answer = std::mem::replace(answer, Err(TeeError::Cancelled));
                ToTa::Answered { question: *question, answer }
            }
            Task::Made { question, key } => {
                let key = std::mem::replace(key, Err(TeeError::Cancelled));
                ToTa::Made { question: *question, key }
            }
            Task::Close => ToTa::Close { session },
        }
    }
}

/// A TA's process.
pub(crate) struct Process {
    /// Its one channel.
    pub(crate) channel: OwnedFd,
    /// Its number.
    pub(crate) pid: i32,
}

/// A trusted application.
pub(crate) struct Ta {
    /// Who it is.
    pub(crate) identity: Identity,
    /// What runs, and what it may.
    pub(crate) program: Program,
    /// Whether it came with the system.
    pub(crate) built_in: bool,
    /// Whether it was removed: its place is free.
    pub(crate) removed: bool,
    /// `None` while it does not run.
    pub(crate) process: Option<Process>,
    /// What it works on.
    pub(crate) current: Option<Job>,
    /// What waits for the TA.
    pub(crate) queue: VecDeque<Job>,
    /// What waits for the person, by the TA's number for its question.
    pub(crate) asking: BTreeMap<u32, Job>,
    /// What waits for a key, in the same way.
    pub(crate) making: BTreeMap<u32, Job>,
    /// Sessions that it opened with other TAs.
    pub(crate) sessions: Sessions,
    /// The TA whose answer its current job waits for.
    pub(crate) calling: Option<usize>,
    /// Whether it waits in a system call: until that is answered it has nothing to say.
    pub(crate) waiting: bool,
    /// Whether this process has answered anything yet.
    pub(crate) proven: bool,
    /// The keys and operations of this process.
    pub(crate) engine: Engine,
    /// How often it was given something to do.
    pub(crate) stretch: u64,
    /// What it worked on when somebody looked last.
    pub(crate) seen: Option<Seen>,
}

impl Ta {
    /// Not running yet.
    pub(crate) fn new(program: Program, built_in: bool) -> Self {
        Self {
            identity: program.identity,
            program,
            built_in,
            removed: false,
            process: None,
            current: None,
            queue: VecDeque::new(),
            asking: BTreeMap::new(),
            making: BTreeMap::new(),
            sessions: Sessions::new(),
            calling: None,
            waiting: false,
            proven: false,
            engine: Engine::new(),
            stretch: 0,
            seen: None,
        }
    }

    /// As `ta-keymint`.
    pub(crate) fn name(&self) -> &str {
        &self.program.name
    }

    /// Everything that it works on, or that waits for it, for the person or for a key.
    pub(crate) fn jobs(&mut self) -> impl Iterator<Item = &mut Job> {
        let waiting = self.asking.values_mut().chain(self.making.values_mut());
        self.current.iter_mut().chain(&mut self.queue).chain(waiting)
    }
}
