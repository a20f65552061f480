//! Many writes at once: one thread reads, two seal and write, one `syncfs` at the end.

use crate::area::{Area, Directory, Kind};
use crate::content::BLOCK_BYTES;
use crate::error::VaultError;
use crate::header::{Attributes, NodeKind};
use crate::node::{CHUNK_BYTES, NewNode};
use snapshot::path::TreePath;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

/// Threads that seal and write.
const WRITERS: usize = 2;
/// Chunks of 1 MiB in memory.
const BUFFERS: usize = 16;

/// Writes many entries into an area. Nothing is durable before [`Batch::finish`] returned.
///
/// A failure of one entry (its place is taken by something else, say) is kept for the end and
/// the rest goes on; every other failure ends the batch.
pub struct Batch {
    area: Area,
    shared: Arc<Shared>,
    /// One for each writer.
    queues: Vec<SyncSender<Job>>,
    files: usize,
    writers: Vec<JoinHandle<()>>,
    current: Option<Current>,
}

/// An entry that was left out.
pub type Failure = (TreePath, VaultError);

/// The file that is being given.
struct Current {
    pending: Arc<Pending>,
    /// Bytes given so far, those in the buffer not counted.
    position: u64,
    buffer: Buffer,
}

struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
}

struct Job {
    file: Arc<Pending>,
    /// Index of the first block.
    first: u64,
    ends: bool,
    buffer: Buffer,
}

/// A file whose chunks are under way.
struct Pending {
    path: TreePath,
    attributes: Attributes,
    size: u64,
    /// All chunks go to one writer: two that write one file would wait for each other.
    writer: usize,
    directory: Arc<Directory>,
    name: Vec<u8>,
    node: OnceLock<NewNode>,
    /// Chunks under way, and one while more may come.
    left: AtomicUsize,
    failed: AtomicBool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    buffers: Vec<Buffer>,
    under_way: HashSet<TreePath>,
    fatal: Option<VaultError>,
    failures: Vec<Failure>,
}

impl Area {
    /// Begins to write many entries.
    #[must_use]
    pub fn batch(&self) -> Batch {
        let shared = Arc::new(Shared::default());
        shared.state().buffers.extend((0..BUFFERS).map(|_| Buffer::new()));
        let (mut queues, mut writers) = (Vec::new(), Vec::new());
        for _ in 0..WRITERS {
            let (queue, jobs) = sync_channel(BUFFERS);
            let (area, shared) = (self.clone(), Arc::clone(&shared));
            queues.push(queue);
            writers.push(std::thread::spawn(move || write_all(&area, &shared, &jobs)));
        }
        Batch { area: self.clone(), shared, queues, files: 0, writers, current: None }
    }
}

impl Batch {
    /// A directory: made, or given these attributes where it is there.
    pub fn directory(&mut self, path: &TreePath, attributes: Attributes) -> Result<(), VaultError> {
        if path.is_root() {
            return self.area.change_attributes(path, attributes);
        }
        self.make_parents(path, attributes)?;
        self.wait_for(path);
        match self.area.make_directory(path, attributes) {
            Err(VaultError::Exists { path }) => match self.area.metadata(&path)?.kind {
                Kind::Directory => self.area.change_attributes(&path, attributes),
                _ => Err(VaultError::NotADirectory { path }),
            },
            made => made,
        }
    }

    /// A symbolic link, in place of a file or link that is there.
    pub fn symlink(
        &mut self,
        path: &TreePath,
        target: &[u8],
        attributes: Attributes,
    ) -> Result<(), VaultError> {
        self.make_parents(path, attributes)?;
        self.wait_for(path);
        self.area.make_symlink(path, target, attributes)
    }

    /// A further name of the file at `target`.
    pub fn hard_link(&mut self, target: &TreePath, path: &TreePath) -> Result<(), VaultError> {
        self.make_parents(path, Attributes { mode: 0o755, ..Attributes::default() })?;
        self.wait_for(target);
        self.wait_for(path);
        self.area.make_hard_link(target, path)
    }

    /// Sets mode, time and owner of what is there.
    pub fn set_attributes(
        &mut self,
        path: &TreePath,
        attributes: Attributes,
    ) -> Result<(), VaultError> {
        self.wait_for(path);
        self.area.change_attributes(path, attributes)
    }

    /// Begins a file of `size` bytes; all of them follow.
    pub fn begin_file(
        &mut self,
        path: &TreePath,
        attributes: Attributes,
        size: u64,
    ) -> Result<(), VaultError> {
        self.check()?;
        self.make_parents(path, attributes)?;
        self.wait_for(path);
        let (directory, name) = self.area.place_of(path)?;
        self.files += 1;
        let pending = Arc::new(Pending {
            path: path.clone(),
            attributes,
            size,
            writer: self.files % WRITERS,
            directory,
            name,
            node: OnceLock::new(),
            left: AtomicUsize::new(1),
            failed: AtomicBool::new(false),
        });
        if size > CHUNK_BYTES as u64 {
            pending.node(&self.area)?;
        }
        self.shared.state().under_way.insert(path.clone());
        self.current = Some(Current { pending, position: 0, buffer: self.shared.take_buffer() });
        Ok(())
    }

    /// Room for the next bytes of the file: never empty. [`Batch::filled`] says how many came.
    ///
    /// # Panics
    /// Where no file was begun.
    pub fn space(&mut self) -> &mut [u8] {
        if self.current().buffer.filled == CHUNK_BYTES {
            self.dispatch();
        }
        let buffer = &mut self.current().buffer;
        &mut buffer.bytes[buffer.filled..]
    }

    /// So many bytes were put at the front of [`Batch::space`].
    pub fn filled(&mut self, bytes: usize) {
        self.current().buffer.filled += bytes;
    }

    /// The next bytes of the file.
    pub fn data(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.space();
            let (now, later) = bytes.split_at(bytes.len().min(space.len()));
            space[..now.len()].copy_from_slice(now);
            self.filled(now.len());
            bytes = later;
        }
    }

    /// So many zero bytes. Long stretches cost nothing.
    pub fn hole(&mut self, mut bytes: u64) -> Result<(), VaultError> {
        let block = BLOCK_BYTES as u64;
        let into_block = self.current().buffer.filled as u64 % block;
        let zeros = if into_block == 0 { 0 } else { (block - into_block).min(bytes) };
        self.zeros(zeros);
        bytes -= zeros;
        let whole = bytes / block;
        if whole > 0 {
            if self.current().buffer.filled > 0 {
                self.dispatch();
            }
            let area = self.area.clone();
            let current = self.current();
            let first = current.position / block;
            current.pending.node(&area)?.hole(first..first + whole);
            current.position += whole * block;
        }
        self.zeros(bytes - whole * block);
        Ok(())
    }

    fn zeros(&mut self, bytes: u64) {
        self.data(&[0; BLOCK_BYTES][..bytes as usize]);
    }

    /// Ends the file. Refused where it got more or fewer bytes than announced: then the name
    /// keeps what it had.
    pub fn end_file(&mut self) -> Result<(), VaultError> {
        let current = self.current();
        let (given, size) = (current.position + current.buffer.filled as u64, current.pending.size);
        if given != size {
            let path = current.pending.path.clone();
            self.abandon();
            return Err(VaultError::Length { path });
        }
        if self.current().buffer.filled > 0 || size == 0 {
            self.dispatch();
        }
        let current = self.current.take().expect("a file was begun");
        self.shared.give_buffer(current.buffer);
        current.pending.part_done(&self.area, &self.shared);
        self.check()
    }

    /// Drops the file that was begun: its name keeps what it had.
    pub fn abandon(&mut self) {
        if let Some(current) = self.current.take() {
            current.pending.failed.store(true, Ordering::Relaxed);
            self.shared.give_buffer(current.buffer);
            current.pending.part_done(&self.area, &self.shared);
        }
    }

    /// Waits until all is written, makes it durable, and says which files were left out.
    pub fn finish(mut self) -> Result<Vec<Failure>, VaultError> {
        self.stop();
        let mut state = self.shared.state();
        if let Some(error) = state.fatal.take() {
            return Err(error);
        }
        let failures = std::mem::take(&mut state.failures);
        drop(state);
        self.area.sync()?;
        Ok(failures)
    }

    fn make_parents(&mut self, path: &TreePath, attributes: Attributes) -> Result<(), VaultError> {
        let Some((parent, _)) = path.split() else { return Ok(()) };
        match self.area.directory(&parent) {
            Err(VaultError::NotFound { .. }) => {
                self.directory(&parent, Attributes { mode: 0o755, ..attributes })
            }
            found => found.map(drop),
        }
    }

    fn current(&mut self) -> &mut Current {
        self.current.as_mut().expect("a file was begun")
    }

    /// Hands the buffer to the writers.
    fn dispatch(&mut self) {
        let buffer = self.shared.take_buffer();
        let current = self.current();
        let buffer = std::mem::replace(&mut current.buffer, buffer);
        let first = current.position / BLOCK_BYTES as u64;
        current.position += buffer.filled as u64;
        let ends = current.position == current.pending.size;
        current.pending.left.fetch_add(1, Ordering::Relaxed);
        let job = Job { file: Arc::clone(&current.pending), first, ends, buffer };
        let queue = &self.queues[job.file.writer];
        queue.send(job).expect("the writers run until their queues close");
    }

    fn wait_for(&self, path: &TreePath) {
        let mut state = self.shared.state();
        while state.under_way.contains(path) {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn check(&self) -> Result<(), VaultError> {
        self.shared.state().fatal.take().map_or(Ok(()), Err)
    }

    fn stop(&mut self) {
        self.abandon();
        self.queues.clear();
        for writer in self.writers.drain(..) {
            writer.join().expect("a writer does not panic");
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Pending {
    fn node(&self, area: &Area) -> Result<&NewNode, VaultError> {
        if let Some(node) = self.node.get() {
            return Ok(node);
        }
        let mut node = NewNode::create(area, &self.path, &self.directory, NodeKind::File)?;
        node.announce(self.size);
        Ok(self.node.get_or_init(|| node))
    }

    fn write(&self, area: &Area, job: &Job, sealed: &mut Vec<u8>) -> Result<(), VaultError> {
        let plain = &job.buffer.bytes[..job.buffer.filled];
        self.node(area)?.write_chunk(job.first, job.ends, plain, sealed)
    }

    /// One part fewer; with the last, the file takes its place.
    fn part_done(&self, area: &Area, shared: &Shared) {
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        if !self.failed.load(Ordering::Relaxed) {
            let finished =
                self.node(area).and_then(|node| node.finish(self.attributes, &self.name));
            if let Err(error) = finished {
                shared.failed(self, error);
            }
        }
        shared.state().under_way.remove(&self.path);
        shared.changed.notify_all();
    }
}

impl Shared {
    fn failed(&self, file: &Pending, error: VaultError) {
        file.failed.store(true, Ordering::Relaxed);
        let mut state = self.state();
        if error.concerns_one_entry() {
            state.failures.push((file.path.clone(), error));
        } else {
            state.fatal.get_or_insert(error);
        }
    }

    fn take_buffer(&self) -> Buffer {
        let mut state = self.state();
        loop {
            if let Some(buffer) = state.buffers.pop() {
                return buffer;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_buffer(&self, mut buffer: Buffer) {
        buffer.filled = 0;
        self.state().buffers.push(buffer);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: vec![0; CHUNK_BYTES].into_boxed_slice(), filled: 0 }
    }
}

/// What a writer does until the queue closes.
fn write_all(area: &Area, shared: &Shared, jobs: &Receiver<Job>) {
    let mut sealed = Vec::new();
    for job in jobs {
        if !job.file.failed.load(Ordering::Relaxed)
            && let Err(error) = job.file.write(area, &job, &mut sealed)
        {
            shared.failed(&job.file, error);
        }
        shared.give_buffer(job.buffer);
        job.file.part_done(area, shared);
    }
}
