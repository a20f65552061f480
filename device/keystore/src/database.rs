//! The database: two threads, one that writes and one that reads, each with a connection.
//!
//! Changes that wait at the same time share a transaction: one barrier on the disk for all of
//! them, which is what lets every use of a key be in the audit log before its answer. Each is in a
//! savepoint of its own, so a refusal of one is not felt by the others; what is answered is
//! durable.

use crate::audit::{Chain, Event};
use crate::error::Error;
use crypto::secret::Secret;
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection};
use std::fmt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::Runtime;

/// The layout; another one is not opened.
const VERSION: i64 = 1;
/// Changes that share a transaction at most.
const GROUP: usize = 64;
/// Jobs that may wait; more block their senders.
const WAITING: usize = 256;
/// What a thread needs; the SQL runs on sqlx's own.
const STACK_BYTES: usize = 512 * 1024;

/// The two threads. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Database {
    writer: Lane<Writing>,
    reader: Lane<Reading>,
}

/// A thread that does one job after the other.
struct Lane<C> {
    jobs: Option<SyncSender<Box<dyn Job<C>>>>,
    thread: Option<JoinHandle<()>>,
}

impl<C> fmt::Debug for Lane<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("thread", &self.thread).finish_non_exhaustive()
    }
}

/// A connection, and the runtime that drives it.
pub(crate) struct Reading {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Reading {
    /// Runs statements.
    pub(crate) fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.runtime.block_on(work(&mut self.connection))
    }

    fn close(self) {
        // What is committed stays, whether or not the log is folded in now.
        let _ = self.runtime.block_on(self.connection.close());
    }

    fn statement(&mut self, sql: &'static str) -> Result<(), Error> {
        self.run(async |db| Ok(sqlx::query(sql).execute(db).await.map(drop)?))
    }
}

/// The connection that writes, and the end of the audit log.
pub(crate) struct Writing {
    db: Reading,
    chain: Chain,
}

impl Writing {
    /// Runs statements inside the transaction.
    pub(crate) fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.db.run(work)
    }

    /// Appends to the audit log inside the transaction.
    pub(crate) fn audit(&mut self, event: &Event<'_>) -> Result<(), Error> {
        self.append(&event.line())
    }

    /// The same, for a line that was made before.
    pub(crate) fn append(&mut self, line: &str) -> Result<(), Error> {
        let Self { db, chain } = self;
        db.run(async |db| chain.append(db, line).await)
    }

    /// One job between two savepoints.
    fn apart(&mut self, job: &mut dyn Job<Self>) -> Result<(), Error> {
        let mark = self.chain.mark();
        self.db.statement("SAVEPOINT job")?;
        if !job.work(self) {
            self.db.statement("ROLLBACK TO job")?;
            self.chain.go_back(mark);
        }
        self.db.statement("RELEASE job")
    }

    fn together(&mut self, group: &mut [Box<dyn Job<Self>>]) -> Result<(), Error> {
        let mark = self.chain.mark();
        let done = self.transaction(group);
        if done.is_err() {
            self.chain.go_back(mark);
            // Where the commit failed for good, SQLite has rolled back by itself.
            let _ = self.db.statement("ROLLBACK");
        }
        done
    }

    fn transaction(&mut self, group: &mut [Box<dyn Job<Self>>]) -> Result<(), Error> {
        self.db.statement("BEGIN IMMEDIATE")?;
        for job in group {
            self.apart(&mut **job)?;
        }
        self.db.statement("COMMIT")
    }
}

/// Something to do on a thread of the database.
trait Job<C>: Send {
    /// Does it; whether it came to its end.
    fn work(&mut self, on: &mut C) -> bool;
    /// Tells who waits.
    fn tell(self: Box<Self>, committed: &Result<(), Error>);
}

struct Task<T, F> {
    work: Option<F>,
    result: Option<Result<T, Error>>,
    reply: SyncSender<Result<T, Error>>,
}

impl<C, T: Send, F: FnOnce(&mut C) -> Result<T, Error> + Send> Job<C> for Task<T, F> {
    fn work(&mut self, on: &mut C) -> bool {
        let result = self.work.take().map(|work| work(on));
        let done = matches!(result, Some(Ok(_)));
        self.result = result;
        done
    }

    fn tell(self: Box<Self>, committed: &Result<(), Error>) {
        let result = match (committed, self.result) {
            (Err(error), _) => Err(error.clone()),
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(Error::failed("a job was not begun")),
        };
        // Who does not wait any more is told nothing.
        let _ = self.reply.send(result);
    }
}

impl Database {
    /// Opens or makes the database at `path`.
    pub(crate) fn open(path: &Path, audit_key: &Secret<32>) -> Result<Self, Error> {
        // On a thread of its own: the caller may be inside a runtime.
        let opened = thread::scope(|scope| scope.spawn(|| open(path, audit_key)).join());
        let (writing, reading) = opened.map_err(|_| gone())??;
        Ok(Self {
            writer: Lane::start("keystore", |jobs| write(writing, jobs))?,
            reader: Lane::start("keystore-read", |jobs| read(reading, jobs))?,
        })
    }

    /// Changes something; it is durable when this returns.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writing) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.writer.ask(work)
    }

    /// Changes something that need not be durable before what comes next: it is redone if lost.
    pub(crate) fn post(
        &self,
        work: impl FnOnce(&mut Writing) -> Result<(), Error> + Send + 'static,
    ) {
        // A database that ended has nothing to redo.
        drop(self.writer.send(work));
    }

    /// Reads what is durable.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.reader.ask(|reading| reading.run(work))
    }
}

impl<C: 'static> Lane<C> {
    fn start(
        name: &str,
        work: impl FnOnce(&Receiver<Box<dyn Job<C>>>) + Send + 'static,
    ) -> Result<Self, Error> {
        let (jobs, queue) = sync_channel(WAITING);
        let thread = thread::Builder::new().name(name.into()).stack_size(STACK_BYTES);
        let thread = thread.spawn(move || work(&queue));
        let thread = thread.map_err(|error| Error::failed(error.to_string()))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut C) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.send(work)?.recv().map_err(|_| gone())?
    }

    fn send<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut C) -> Result<T, Error> + Send + 'static,
    ) -> Result<Receiver<Result<T, Error>>, Error> {
        let (reply, answer) = sync_channel(1);
        let task = Task { work: Some(work), result: None, reply };
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(Box::new(task)).map_err(|_| gone())?;
        Ok(answer)
    }
}

impl<C> Drop for Lane<C> {
    /// What was posted is done, and the file closed, before anybody opens it again.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn gone() -> Error {
    Error::failed("the keystore's database has ended; restart the device")
}

fn write(mut writing: Writing, jobs: &Receiver<Box<dyn Job<Writing>>>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(GROUP - 1));
        let committed = writing.together(&mut group);
        group.into_iter().for_each(|job| job.tell(&committed));
    }
    writing.db.close();
}

fn read(mut reading: Reading, jobs: &Receiver<Box<dyn Job<Reading>>>) {
    while let Ok(mut job) = jobs.recv() {
        job.work(&mut reading);
        job.tell(&Ok(()));
    }
    reading.close();
}

fn open(path: &Path, audit_key: &Secret<32>) -> Result<(Writing, Reading), Error> {
    let mut db = connect(path)?;
    db.run(async |db| {
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *db).await?;
        if version != 0 && version != VERSION {
            let said = format!("the keystore's database has layout {version}, not {VERSION}");
            return Err(Error::failed(said));
        }
        sqlx::raw_sql(include_str!("schema.sql")).execute(&mut *db).await?;
        sqlx::query("PRAGMA user_version = 1").execute(db).await?;
        Ok(())
    })?;
    let chain = db.run(async |db| Chain::open(db, audit_key).await)?;
    Ok((Writing { db, chain }, connect(path)?))
}

/// Every commit on the disk; what is deleted is overwritten.
fn connect(path: &Path) -> Result<Reading, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| Error::failed(error.to_string()))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .auto_vacuum(SqliteAutoVacuum::Full)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
        .foreign_keys(true)
        .pragma("secure_delete", "ON");
    let connection = runtime.block_on(SqliteConnection::connect_with(&options))?;
    Ok(Reading { runtime, connection })
}
