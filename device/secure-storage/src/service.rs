//! The engine inside a program that has one thread and never waits.
//!
//! Requests go in, each with a ticket; one operation at a time comes out, for the REE's keeper of
//! files or for RPMB; its outcome goes in; answers come out. Requests to change objects that wait
//! while a commit is under way share the next one.

use crate::Error;
use crate::change::{Change, Quota};
use crate::io::{ANCHOR_BYTES, Anchor, AnchorError, FileError, FileId, Files, Keys, Owner};
use crate::store::{Batch, Store};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use zeroize::Zeroizing;

/// The most requests that one commit answers.
const MAX_GROUP: usize = 32;

/// What an owner wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Change objects: all changes or none, durably. → [`Reply::Done`]
    Change {
        /// How much the owner may have.
        quota: Quota,
        /// What to do, in order.
        changes: Vec<Change>,
    },
    /// Read. → [`Reply::Bytes`]
    Read {
        /// The object.
        name: String,
        /// From where on.
        offset: u32,
        /// How much; fewer bytes come where the object ends.
        length: u32,
    },
    /// How large an object is. → [`Reply::Size`]
    Size {
        /// The object.
        name: String,
    },
    /// The names of objects, sorted. → [`Reply::Names`]
    List {
        /// Only names behind this one.
        after: Option<String>,
    },
    /// Forget all objects of all owners for good. → [`Reply::Done`]
    EraseAll,
}

/// What comes back.
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is done, and durable.
    Done,
    /// Content.
    Bytes(Zeroizing<Vec<u8>>),
    /// Bytes of an object.
    Size(u32),
    /// Names.
    Names(Vec<String>),
}

/// One thing to do outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// See [`Files::create`].
    Create {
        /// The file.
        file: FileId,
        /// Its size.
        bytes: u32,
    },
    /// See [`Files::write`].
    Write {
        /// The file.
        file: FileId,
        /// Where.
        offset: u32,
        /// What.
        bytes: Vec<u8>,
        /// Whether all of the file must be durable then.
        sync: bool,
    },
    /// See [`Files::read`].
    Read {
        /// The file.
        file: FileId,
        /// Where.
        offset: u32,
        /// How much.
        length: u32,
    },
    /// See [`Files::remove`].
    Remove {
        /// The file.
        file: FileId,
    },
    /// See [`Files::list`].
    List,
    /// See [`Anchor::load`].
    LoadAnchor,
    /// See [`Anchor::store`].
    StoreAnchor(Box<[u8; ANCHOR_BYTES]>),
}

/// What came of it. One that does not belong to the operation counts as a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// What was read.
    Bytes(Vec<u8>),
    /// The files that there are.
    Files(Vec<FileId>),
    /// What the anchor holds.
    Anchor(Box<[u8; ANCHOR_BYTES]>),
    /// An operation on files failed.
    Failed(FileError),
    /// An operation on the anchor failed.
    AnchorFailed(AnchorError),
}

/// What the engine and its surroundings leave for each other.
#[derive(Default)]
struct Mailbox {
    requests: VecDeque<(u64, Owner, Request)>,
    answers: VecDeque<(u64, Result<Reply, Error>)>,
    operation: Option<Operation>,
    outcome: Option<Outcome>,
    /// How often another keeper took over.
    keeper: u64,
}

type Shared = Rc<RefCell<Mailbox>>;

/// The engine, running.
pub struct Service {
    mailbox: Shared,
    task: Pin<Box<dyn Future<Output = ()>>>,
}

impl Service {
    /// With nothing opened yet: that takes a request.
    #[must_use]
    pub fn new(keys: Rc<dyn Keys>) -> Self {
        let mailbox = Shared::default();
        let task = Box::pin(serve(Outside(mailbox.clone()), keys));
        Self { mailbox, task }
    }

    /// Takes a request of `owner`; its answer will have this ticket.
    pub fn submit(&mut self, ticket: u64, owner: Owner, request: Request) {
        self.mailbox.borrow_mut().requests.push_back((ticket, owner, request));
        self.run();
    }

    /// The next operation to perform; there is none while one is being performed.
    pub fn operation(&mut self) -> Option<Operation> {
        self.mailbox.borrow_mut().operation.take()
    }

    /// Tells what came of the operation.
    pub fn complete(&mut self, outcome: Outcome) {
        self.mailbox.borrow_mut().outcome = Some(outcome);
        self.run();
    }

    /// Another program keeps the files now: what failed before may succeed.
    pub fn keeper_changed(&mut self) {
        self.mailbox.borrow_mut().keeper += 1;
    }

    /// The next answer, with its ticket.
    pub fn answer(&mut self) -> Option<(u64, Result<Reply, Error>)> {
        self.mailbox.borrow_mut().answers.pop_front()
    }

    fn run(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        // It goes on for ever; what it waits for is in the mailbox.
        let _ = self.task.as_mut().poll(&mut context);
    }
}

/// The engine's end of the mailbox.
#[derive(Clone)]
struct Outside(Shared);

impl Outside {
    async fn perform(&self, operation: Operation) -> Outcome {
        self.0.borrow_mut().operation = Some(operation);
        std::future::poll_fn(|_| match self.0.borrow_mut().outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        })
        .await
    }

    async fn perform_on_file<T>(
        &self,
        operation: Operation,
        take: impl FnOnce(Outcome) -> Option<T>,
    ) -> Result<T, FileError> {
        match self.perform(operation).await {
            Outcome::Failed(error) => Err(error),
            outcome => take(outcome).ok_or_else(foreign),
        }
    }

    async fn done(&self, operation: Operation) -> Result<(), FileError> {
        self.perform_on_file(operation, |it| (it == Outcome::Done).then_some(())).await
    }

    async fn request(&self) -> (u64, Owner, Request) {
        std::future::poll_fn(|_| match self.0.borrow_mut().requests.pop_front() {
            Some(request) => Poll::Ready(request),
            None => Poll::Pending,
        })
        .await
    }

    fn answer(&self, ticket: u64, answer: Result<Reply, Error>) {
        self.0.borrow_mut().answers.push_back((ticket, answer));
    }
}

fn foreign() -> FileError {
    FileError::Failed("the system's answer is of another kind".into())
}

impl Files for Outside {
    async fn create(&self, file: FileId, bytes: u32) -> Result<(), FileError> {
        self.done(Operation::Create { file, bytes }).await
    }

    async fn write(
        &self,
        file: FileId,
        offset: u32,
        bytes: Vec<u8>,
        sync: bool,
    ) -> Result<(), FileError> {
        self.done(Operation::Write { file, offset, bytes, sync }).await
    }

    async fn read(&self, file: FileId, offset: u32, length: u32) -> Result<Vec<u8>, FileError> {
        self.perform_on_file(Operation::Read { file, offset, length }, |outcome| match outcome {
            Outcome::Bytes(bytes) => Some(bytes),
            _ => None,
        })
        .await
    }

    async fn remove(&self, file: FileId) -> Result<(), FileError> {
        self.done(Operation::Remove { file }).await
    }

    async fn list(&self) -> Result<Vec<FileId>, FileError> {
        self.perform_on_file(Operation::List, |outcome| match outcome {
            Outcome::Files(files) => Some(files),
            _ => None,
        })
        .await
    }
}

impl Anchor for Outside {
    async fn load(&self) -> Result<[u8; ANCHOR_BYTES], AnchorError> {
        match self.perform(Operation::LoadAnchor).await {
            Outcome::Anchor(block) => Ok(*block),
            Outcome::AnchorFailed(error) => Err(error),
            _ => Err(AnchorError("the RPMB's answer is of another kind".into())),
        }
    }

    async fn store(&self, block: [u8; ANCHOR_BYTES]) -> Result<(), AnchorError> {
        match self.perform(Operation::StoreAnchor(Box::new(block))).await {
            Outcome::Done => Ok(()),
            Outcome::AnchorFailed(error) => Err(error),
            _ => Err(AnchorError("the RPMB's answer is of another kind".into())),
        }
    }
}

/// The store, or why there is none as long as the same program keeps the files.
enum State {
    Closed,
    Open(Box<Store<Outside, Outside>>),
    Refused(u64, Error),
}

/// One request, or one commit, after the other.
async fn serve(outside: Outside, keys: Rc<dyn Keys>) {
    let mut state = State::Closed;
    loop {
        let (ticket, owner, request) = outside.request().await;
        if request == Request::EraseAll {
            let erased = Store::<Outside, Outside>::erase(&outside, &*keys).await;
            state = State::Closed;
            outside.answer(ticket, erased.map(|()| Reply::Done));
            continue;
        }
        let store = match opened(&mut state, &outside, &keys).await {
            Ok(store) => store,
            Err(error) => {
                outside.answer(ticket, Err(error));
                continue;
            }
        };
        match request {
            Request::Change { quota, changes } => {
                commit(&outside, store, ticket, Batch { owner, quota, changes }).await;
            }
            request => outside.answer(ticket, look(store, &owner, request).await),
        }
        if store.is_compaction_due() {
            // What it did not do is due again later; nothing is lost.
            let _ = store.compact().await;
        }
    }
}

/// The store as it is, or opened now.
async fn opened<'s>(
    state: &'s mut State,
    outside: &Outside,
    keys: &Rc<dyn Keys>,
) -> Result<&'s mut Store<Outside, Outside>, Error> {
    let keeper = outside.0.borrow().keeper;
    let is_open = matches!(state, State::Open(store) if !store.is_doubtful());
    if let State::Refused(of, error) = state
        && *of == keeper
    {
        return Err(error.clone());
    }
    if !is_open {
        *state = State::Closed;
        match Store::open(outside.clone(), outside.clone(), keys.clone()).await {
            Ok(store) => *state = State::Open(Box::new(store)),
            Err(error) => {
                if matches!(error, Error::Security(_)) {
                    *state = State::Refused(keeper, error.clone());
                }
                return Err(error);
            }
        }
    }
    match state {
        State::Open(store) => {
            store.meet_keeper(keeper);
            Ok(store)
        }
        _ => Err(Error::Unreachable("it is not open".into())),
    }
}

/// Commits `first` and what else waits, and answers.
async fn commit(outside: &Outside, store: &mut Store<Outside, Outside>, ticket: u64, first: Batch) {
    let mut tickets = VecDeque::from([ticket]);
    let mut batches = vec![first];
    while batches.len() < MAX_GROUP
        && let Some((ticket, batch)) = outside.next_change()
    {
        tickets.push_back(ticket);
        batches.push(batch);
    }
    while !batches.is_empty() {
        for outcome in store.commit(&batches).await {
            batches.remove(0);
            if let Some(ticket) = tickets.pop_front() {
                outside.answer(ticket, outcome.map(|()| Reply::Done));
            }
        }
    }
}

impl Outside {
    /// The request that waits longest, where it is one to change objects.
    fn next_change(&self) -> Option<(u64, Batch)> {
        let requests = &mut self.0.borrow_mut().requests;
        if !matches!(requests.front(), Some((_, _, Request::Change { .. }))) {
            return None;
        }
        match requests.pop_front() {
            Some((ticket, owner, Request::Change { quota, changes })) => {
                Some((ticket, Batch { owner, quota, changes }))
            }
            _ => None,
        }
    }
}

/// Answers a request that changes nothing.
async fn look(
    store: &Store<Outside, Outside>,
    owner: &Owner,
    request: Request,
) -> Result<Reply, Error> {
    match request {
        Request::Read { name, offset, length } => {
            store.read(owner, &name, offset, length).await.map(Reply::Bytes)
        }
        Request::Size { name } => store.size(owner, &name).map(Reply::Size),
        Request::List { after } => Ok(Reply::Names(store.list(owner, after.as_deref()))),
        Request::Change { .. } | Request::EraseAll => {
            Err(Error::Parameters("request changes something"))
        }
    }
}
