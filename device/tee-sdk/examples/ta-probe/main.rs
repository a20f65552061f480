//! A trusted application that tries what no trusted application may: for tests of the trusted
//! OS, and the smallest example of a TA.

mod engine;
mod protocol;
mod work;

use protocol::{Change, Command, Other, Probe, Reply};
use rustix::io::Errno;
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::process::ExitCode;
use tee_sdk::engine::{Attributes, Hash, KeyType, Span, Usage};
use tee_sdk::{
    Batch, Context, Login, Peer, Placement, Protocol, Question, Step, TaId, TeeError, Transaction,
    TrustedApplication,
};

/// What its confirmations are for.
const BINDING: &[u8] = b"the probe's only key";

fn main() -> ExitCode {
    tee_sdk::run::<App>()
}

const MAC_KEY: Attributes =
    Attributes::new(KeyType::Hmac { hash: Hash::Sha256, bytes: 32 }, Usage::MAC);
/// One that no probe's image declares.
#[derive(Debug)]
enum Undeclared {}

impl Protocol for Undeclared {
    const TA: TaId = TaId(*b"holdfast-gatekpr");
    const NAME: &'static str = "ta-gatekeeper";
    type Command = Command;
    type Reply = Reply;
}

#[derive(Default)]
struct App {
    sessions: BTreeMap<u32, Login>,
    other: Option<Peer<Other>>,
    worker: work::Worker,
}

impl TrustedApplication for App {
    type Protocol = Probe;

    fn open(&mut self, _: &mut Context<'_>, session: u32, login: Login) -> Result<(), TeeError> {
        self.sessions.insert(session, login);
        Ok(())
    }

    fn begin(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: Command,
    ) -> Result<Step<Self>, TeeError> {
        match command {
            Command::Confirm(text) => {
                let (extra, binding) = (ByteBuf::from(*b"extra"), ByteBuf::from(BINDING));
                Ok(Step::confirm(Transaction { text, extra, binding }, |_, _, given| {
                    Ok(Step::Done(Reply::Confirmed(given.message, given.token)))
                }))
            }
            Command::Ask(ask) => {
                Ok(Step::ask(Question::from(ask), |_, _, _| Ok(Step::Done(Reply::Done))))
            }
            Command::AskThePerson => {
                let question = Question::confirm("May it?", "The probe asks.");
                Ok(Step::ask(question, |_, _, _| Ok(Step::Done(Reply::Done))))
            }
            command => self.invoke(context, session, command).map(Step::Done),
        }
    }

    fn invoke(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: Command,
    ) -> Result<Reply, TeeError> {
        Ok(match command {
            Command::OpenFile(path) => outcome(open_file(&path)),
            Command::Socket => outcome(socket()),
            Command::Fork => outcome(fork()),
            Command::Trace(pid) => outcome(trace(pid)),
            Command::MapExecutable => outcome(map_executable()),
            Command::Panic => panic!("as asked"),
            Command::Sessions => Reply::Number(self.sessions.len()),
            Command::Derive(label) => {
                let key = context.derive_from_huk(&label, &[], MAC_KEY)?;
                Reply::Bytes(ByteBuf::from(key.mac(context, b"probe")?))
            }
            Command::Put(name, value) => {
                context.storage_put(&name, &value)?;
                Reply::Done
            }
            Command::Get(name) => match context.storage_get(&name)? {
                Some(value) => Reply::Bytes(ByteBuf::from(value.to_vec())),
                None => return Err(TeeError::NotFound(name)),
            },
            Command::Change(changes) => {
                context.storage(Placement::Ree).commit(batch(&changes))?;
                Reply::Done
            }
            Command::Read(name) => match context.storage(Placement::Ree).get(&name)? {
                Some(content) => Reply::Bytes(ByteBuf::from(content.to_vec())),
                None => return Err(TeeError::NotFound(name)),
            },
            Command::List(after) => {
                Reply::Names(context.storage(Placement::Ree).list(after.as_deref())?)
            }
            Command::EraseAll => {
                context.erase_all_storage()?;
                Reply::Done
            }
            Command::Work(work, place, times) => {
                self.worker.run(context, work, place, times)?;
                Reply::Done
            }
            Command::LeaveFactory => {
                context.leave_factory()?;
                Reply::Done
            }
            Command::Nothing => Reply::Done,
            Command::WhoAmI => Reply::Login(self.sessions[&session].clone()),
            Command::Compute { attentive } => compute(context, attentive)?,
            Command::Allocate(bytes) => allocate(bytes),
            Command::CallOther(command) => context.call_once::<Other>(*command)?,
            Command::KeepSessionWithOther => {
                self.other = Some(context.connect::<Other>()?);
                Reply::Done
            }
            Command::CallUndeclared => {
                context.connect::<Undeclared>()?;
                Reply::Done
            }
            Command::Clock(clock) => outcome(read_clock(clock)),
            Command::Execute => outcome(execute()),
            Command::Signal(pid) => outcome(signal(pid)),
            Command::Unlock => outcome(unlock()),
            Command::Redeem(message, token) => {
                context.redeem(&message, BINDING, &token)?;
                Reply::Done
            }
            Command::SignAll(count) => Reply::Number(engine::sign_all(context, count)?),
            Command::OnMemory { encrypt, offset, bytes, output } => {
                let input = Span { offset, bytes };
                Reply::Number(engine::on_memory(context, encrypt, input, output)?)
            }
            Command::SlowKey => {
                engine::slow_key(context)?;
                Reply::Done
            }
            Command::Confirm(_) | Command::Ask(_) | Command::AskThePerson => {
                return Err(TeeError::BadState("this command asks the person".into()));
            }
        })
    }

    fn close(&mut self, session: u32) {
        self.sessions.remove(&session);
    }
}

fn batch(changes: &[Change]) -> Batch {
    changes.iter().fold(Batch::default(), |batch, change| match change {
        Change::Put(name, content) => batch.put(name, content),
        Change::Write(name, offset, content) => batch.write(name, *offset, content),
        Change::Truncate(name, size) => batch.truncate(name, *size),
        Change::Delete(name) => batch.delete(name),
        Change::Rename(from, to) => batch.rename(from, to),
    })
}

fn outcome(result: Result<(), Errno>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(error) => Reply::Errno(error.raw_os_error()),
    }
}

fn open_file(path: &str) -> Result<(), Errno> {
    use rustix::fs::{Mode, OFlags, open};
    open(path, OFlags::RDONLY, Mode::empty()).map(drop)
}

fn socket() -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketType, socket};
    socket(AddressFamily::INET, SocketType::STREAM, None).map(drop)
}

fn fork() -> Result<(), Errno> {
    // SAFETY: the process has one thread; the call ends it anyway.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::PERM),
        _ => Ok(()),
    }
}

fn trace(pid: i32) -> Result<(), Errno> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: attaching reads and writes nothing of this process; the call ends it anyway.
    match unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, none, none) } {
        -1 => Err(Errno::PERM),
        _ => Ok(()),
    }
}

fn map_executable() -> Result<(), Errno> {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    let all = ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC;
    // SAFETY: a new mapping at an address of the kernel's choice; the call ends the process.
    unsafe { mmap_anonymous(std::ptr::null_mut(), 4096, all, MapFlags::PRIVATE) }.map(drop)
}

/// Until cancelled; an inattentive one until somebody ends the process.
fn compute(context: &mut Context<'_>, attentive: bool) -> Result<Reply, TeeError> {
    let mut sum = 0_u64;
    loop {
        sum = (0..100_000).fold(sum, |sum, it| std::hint::black_box(sum ^ it));
        if attentive && context.is_cancelled() {
            return Err(TeeError::Cancelled);
        }
    }
}

fn allocate(bytes: usize) -> Reply {
    let memory = std::hint::black_box(vec![1_u8; bytes]);
    Reply::Number(memory.iter().map(|byte| usize::from(*byte)).sum())
}

/// As the C library does it, which asks the kernel only where the processor does not tell.
fn read_clock(clock: i32) -> Result<(), Errno> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec`, which outlives it.
    match unsafe { libc::clock_gettime(clock, &raw mut time) } {
        0 => Ok(()),
        _ => Err(Errno::PERM),
    }
}

fn execute() -> Result<(), Errno> {
    let nothing = [std::ptr::null()];
    // SAFETY: both tables end with a null pointer; where the call works this program is gone.
    unsafe {
        libc::fexecve(tee_api::ta::CHANNEL_FD, nothing.as_ptr(), nothing.as_ptr());
    }
    Err(Errno::PERM)
}

fn signal(pid: i32) -> Result<(), Errno> {
    use rustix::process::{Pid, Signal, kill_process};
    kill_process(Pid::from_raw(pid).ok_or(Errno::SRCH)?, Signal::KILL)
}

fn unlock() -> Result<(), Errno> {
    // SAFETY: takes two numbers; what it changes is how this thread's `rdtsc` ends.
    match unsafe { libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_ENABLE) } {
        0 => Ok(()),
        _ => Err(Errno::PERM),
    }
}
