//! A trusted application as the OS sees it: a process, and the requests that wait for it.

use crate::image::Program;
use rustix::fd::OwnedFd;
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, VecDeque};
use tee_api::ta::{Login, ToTa};
use tee_api::{Identity, TeeError, ui};
use tee_engine::Engine;

/// A request for a TA.
pub(crate) struct Job {
    /// The connection that waits for the answer; `None` once it is gone.
    pub(crate) connection: Option<u64>,
    /// The session that it is about.
    pub(crate) session: u32,
    /// What is to be done.
    pub(crate) task: Task,
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
    /// End the session.
    Close,
}

impl Job {
    /// The message to the TA; takes the command or the answer out of the job.
    pub(crate) fn message(&mut self) -> ToTa {
        let session = self.session;
        match &mut self.task {
            Task::Open(login) => ToTa::Open { session, login: *login },
            Task::Invoke(command) => ToTa::Invoke { session, command: std::mem::take(command) },
            Task::Resume { question, answer } => {
                let answer = std::mem::replace(answer, Err(TeeError::Cancelled));
                ToTa::Answered { question: *question, answer }
            }
            Task::Close => ToTa::Close { session },
        }
    }
}

/// A trusted application.
pub(crate) struct Ta {
    /// As `ta-keymint`.
    pub(crate) name: String,
    /// Who it is.
    pub(crate) identity: Identity,
    /// Its process's channel; `None` while it does not run.
    pub(crate) channel: Option<OwnedFd>,
    /// What it works on.
    pub(crate) current: Option<Job>,
    /// What waits for the TA.
    pub(crate) queue: VecDeque<Job>,
    /// What waits for the person, by the TA's number for its question.
    pub(crate) asking: BTreeMap<u32, Job>,
    /// Whether this process has answered anything yet.
    pub(crate) proven: bool,
    /// The keys and operations of this process.
    pub(crate) engine: Engine,
}

impl Ta {
    /// Not running yet.
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            name: program.name.clone(),
            identity: Identity::of_maker(program.id),
            channel: None,
            current: None,
            queue: VecDeque::new(),
            asking: BTreeMap::new(),
            proven: false,
            engine: Engine::new(),
        }
    }
}
