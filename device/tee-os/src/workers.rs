//! Threads for what would keep others waiting: keys that take long to make, operations that take
//! long, and the second half of a batch. The trusted OS itself stays on one processor; these have
//! the others.
//!
//! A worker computes, and knows nothing else: it gets what it works on whole, and gives back what
//! came of it.

use crate::uptime;
use board::look::look;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_bytes::ByteBuf;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tee_api::TeeError;
use tee_api::engine::Attributes;
use tee_engine::{Key, Task};

/// The most threads.
const MAX_WORKERS: usize = 3;
/// Enough for the largest RSA key.
const STACK_BYTES: usize = 256 * 1024;
/// How long a worker looks for more before it sleeps, and the trusted OS for the end of a batch.
const SOON: Duration = Duration::from_micros(60);

/// What a worker does alone.
pub(crate) enum Order {
    /// Make a key.
    Generate(Attributes),
    /// Run an operation.
    Run(Task),
}

/// What came of it.
pub(crate) enum Made {
    /// A key.
    Key(Result<Key, TeeError>),
    /// Of an operation.
    Bytes(Result<ByteBuf, TeeError>),
}

/// Who ordered: a TA's place, which of its processes, and for which of its commands, where it does
/// not wait itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Customer {
    pub(crate) ta: usize,
    pub(crate) process: i32,
    pub(crate) question: Option<u32>,
}

/// The threads, and what they share with the trusted OS.
pub(crate) struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    work: Mutex<Work>,
    /// How much of `work` nobody took yet.
    untaken: AtomicUsize,
    /// Something is to be done, and a worker sleeps.
    due: Condvar,
    /// The batch is done, and the trusted OS sleeps.
    done: Condvar,
    /// Readable while something lies in `made`.
    ready: OwnedFd,
}

#[derive(Default)]
struct Work {
    orders: VecDeque<(Customer, Order)>,
    made: Vec<(Customer, Made)>,
    batch: Batch,
    /// How many workers sleep.
    sleeping: usize,
}

/// Operations that the trusted OS waits for; everybody who has time takes the next one.
#[derive(Default)]
struct Batch {
    waiting: Vec<(usize, Task)>,
    in_progress: usize,
    results: Vec<Option<Result<ByteBuf, TeeError>>>,
    /// The trusted OS sleeps until it is done.
    awaited: bool,
}

impl Batch {
    /// In the order of `tasks`. What was refused is done.
    fn new(tasks: Vec<Result<Task, TeeError>>) -> Self {
        let mut batch = Self::default();
        for (at, task) in tasks.into_iter().enumerate() {
            match task {
                Ok(task) => {
                    batch.waiting.push((at, task));
                    batch.results.push(None);
                }
                Err(refused) => batch.results.push(Some(Err(refused))),
            }
        }
        // The first one first.
        batch.waiting.reverse();
        batch
    }

    const fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.in_progress == 0
    }
}

impl Workers {
    /// Starts the threads: on the processors of this process but its own. Each locks itself in
    /// with `lock_in` before it works; one that can't, does not work.
    pub(crate) fn start<E: std::fmt::Display + 'static>(
        processors: &CpuSet,
        lock_in: fn() -> Result<(), E>,
    ) -> std::io::Result<Self> {
        // One heap for all: what a thread of its own would keep is not much.
        // SAFETY: sets a number of the allocator.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
        let own = sched_getaffinity(None)?;
        let others = without(processors, &own);
        let count = usize::try_from(others.count()).unwrap_or(1).clamp(1, MAX_WORKERS);
        let shared = Arc::new(Shared {
            work: Mutex::default(),
            untaken: AtomicUsize::new(0),
            due: Condvar::new(),
            done: Condvar::new(),
            ready: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        for _ in 0..count {
            let shared = Arc::clone(&shared);
            let run = move || {
                let _ = sched_setaffinity(None, &others);
                match lock_in() {
                    Ok(()) => shared.work_for_good(),
                    Err(error) => eprintln!("tee-os: a worker: {error}"),
                }
            };
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run)?;
        }
        Ok(Self { shared })
    }

    /// Has something done; [`Workers::take_made`] gives what came of it.
    pub(crate) fn order(&self, customer: Customer, order: Order) {
        let mut work = self.shared.lock();
        work.orders.push_back((customer, order));
        self.shared.announce(work);
    }

    /// A TA's process is gone: what it ordered is not begun any more.
    pub(crate) fn forget(&self, ta: usize) {
        let mut work = self.shared.lock();
        work.orders.retain(|(customer, _)| customer.ta != ta);
        self.shared.announce(work);
    }

    /// What was made since the last time.
    pub(crate) fn take_made(&self) -> Vec<(Customer, Made)> {
        let mut count = [0; 8];
        // Nothing to read: another one was quicker.
        let _ = rustix::io::read(&self.shared.ready, &mut count);
        std::mem::take(&mut self.shared.lock().made)
    }

    /// Runs all of `tasks`, on this thread and on those that have time; the results in their order.
    pub(crate) fn run_all(
        &self,
        tasks: Vec<Result<Task, TeeError>>,
    ) -> Vec<Result<ByteBuf, TeeError>> {
        let mut work = self.shared.lock();
        work.batch = Batch::new(tasks);
        self.shared.announce(work);
        while self.shared.run_one() {}
        let results = self.shared.finish_batch().results;
        results.into_iter().map(|result| result.unwrap_or(Err(TeeError::Cancelled))).collect()
    }
}

impl AsFd for Workers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.ready.as_fd()
    }
}

impl Shared {
    /// No code that holds it panics; what it keeps is whole at all times.
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was put in, or taken away.
    fn announce(&self, work: MutexGuard<'_, Work>) {
        let untaken = work.orders.len() + work.batch.waiting.len();
        self.untaken.store(untaken, Ordering::Release);
        if untaken > 0 && work.sleeping > 0 {
            drop(work);
            self.due.notify_all();
        }
    }

    fn work_for_good(&self) -> ! {
        loop {
            while self.run_one() || self.serve_order() {}
            // A program that wants much wants more at once.
            let more = || (self.untaken.load(Ordering::Acquire) > 0).then_some(());
            if look(SOON, uptime::now, more).is_some() {
                continue;
            }
            let mut work = self.lock();
            work.sleeping += 1;
            while work.orders.is_empty() && work.batch.waiting.is_empty() {
                work = self.due.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
            work.sleeping -= 1;
        }
    }

    /// Takes the next operation of the batch and runs it; `false` where there is none.
    fn run_one(&self) -> bool {
        let mut work = self.lock();
        let Some((at, task)) = work.batch.waiting.pop() else { return false };
        work.batch.in_progress += 1;
        self.untaken.fetch_sub(1, Ordering::Release);
        drop(work);
        let result = task.run();
        let mut work = self.lock();
        work.batch.results[at] = Some(result);
        work.batch.in_progress -= 1;
        if work.batch.awaited && work.batch.is_done() {
            drop(work);
            self.done.notify_one();
        }
        true
    }

    /// Takes the next order and serves it; `false` where there is none.
    fn serve_order(&self) -> bool {
        let mut work = self.lock();
        let Some((customer, order)) = work.orders.pop_front() else { return false };
        self.untaken.fetch_sub(1, Ordering::Release);
        drop(work);
        let made = match order {
            Order::Generate(attributes) => Made::Key(Key::generate(attributes)),
            Order::Run(task) => Made::Bytes(task.run()),
        };
        self.lock().made.push((customer, made));
        // A counter that is full is readable as well.
        let _ = rustix::io::write(&self.ready, &1_u64.to_ne_bytes());
        true
    }

    /// Waits for what the workers still have of the batch.
    fn finish_batch(&self) -> Batch {
        let done = || self.lock().batch.is_done().then_some(());
        let is_done = look(SOON, uptime::now, done).is_some();
        let mut work = self.lock();
        work.batch.awaited = !is_done;
        while !work.batch.is_done() {
            work = self.done.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut work.batch)
    }
}

/// The processors of `all` that are not in `own`; `all` where that leaves none.
fn without(all: &CpuSet, own: &CpuSet) -> CpuSet {
    let mut others = CpuSet::new();
    let rest = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu) && !own.is_set(cpu));
    rest.for_each(|cpu| others.set(cpu));
    if others.count() > 0 { others } else { *all }
}
