//! The TEE's own door, the socket on which programs of the system call it: what a program sends
//! that is no request, and how it holds the door.
//!
//! Nothing here looks for a secret. What counts is that the door stands up to it: each attempt
//! ends with a second program calling a trusted application, which must answer in time.

use super::Attempt;
use super::noise::Noise;
use board::channel;
use board::exec::sealed;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix,
    SocketFlags, SocketType, connect, send, sendmsg, shutdown, socket_with,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tee_api::gatekeeper::{self, Gatekeeper};
use tee_api::keeper;
use tee_api::keymint::{self, KeyMint};
use tee_api::ree::{Reply, Request};
use tee_api::{LoginMethod, Protocol, TaId};

/// How long an answer may take while the door is under attack.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the kernel takes beside one message (`SCM_MAX_FD`).
const MAX_DESCRIPTORS: usize = 253;

/// How the door is attacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorAttack {
    /// Where the socket is.
    pub socket: PathBuf,
    /// What is done.
    pub way: DoorWay,
    /// How many messages, connections or sessions.
    pub count: u32,
    /// What the random bytes grow from: the same seed sends the same.
    pub seed: u64,
}

/// Ways to attack the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoorWay {
    /// Random bytes, and requests with random changes, as datagrams.
    Messages,
    /// Requests that are well formed, with commands that are not.
    Commands,
    /// Datagrams that are too large, and empty ones.
    Sizes,
    /// As many descriptors beside a message as the kernel takes.
    Descriptors,
    /// Connections that say nothing, or half of what is due, or never read.
    HalfOpen,
    /// Connections without end.
    Connections,
    /// Sessions without end, and those of others, guessed.
    Sessions,
    /// Trusted applications that nobody signed.
    Applications,
    /// Programs that offer to keep the TEE's files, and lie.
    Keepers,
    /// Another user's credentials.
    Identity,
}

impl DoorAttack {
    /// Does it, and then calls as another program.
    #[must_use]
    pub fn run(&self) -> Attempt {
        let mut noise = Noise::new(self.seed);
        let outcome = match self.way {
            DoorWay::Messages => self.messages(&mut noise),
            DoorWay::Commands => self.commands(&mut noise),
            DoorWay::Sizes => self.sizes(),
            DoorWay::Descriptors => self.descriptors(),
            DoorWay::HalfOpen => self.half_open(),
            DoorWay::Connections => self.connections(),
            DoorWay::Sessions => self.sessions(),
            DoorWay::Applications => self.applications(&mut noise),
            DoorWay::Keepers => self.keepers(&mut noise),
            DoorWay::Identity => self.identity(),
        };
        let attempt = format!("attack the door: {}", self.way.what());
        let target = self.socket.display().to_string();
        let (succeeded, detail) = match outcome {
            Ok(said) => (false, said),
            Err(Broken(why)) => (true, why),
        };
        Attempt { attempt, target, succeeded, detail }
    }

    fn connect(&self) -> Result<Door, Errno> {
        Door::open(&self.socket)
    }

    /// Random bytes, and real requests with some bytes changed.
    fn messages(&self, noise: &mut Noise) -> Outcome {
        let seeds = requests();
        let (mut sent, mut hung_up) = (0_u32, 0_u32);
        let mut door = self.connect().map_err(closed)?;
        while sent < self.count {
            let bytes = match noise.below(4) {
                0 => noise.bytes(300),
                _ => noise.change_one_of(&seeds),
            };
            sent += 1;
            let answered = door.say(&bytes).and_then(|()| door.hear());
            if answered.is_err() {
                hung_up += 1;
                door = self.connect().map_err(closed)?;
            }
        }
        if hung_up == 0 {
            return Err(Broken("it answered every one of the malformed messages".into()));
        }
        self.still_serves(&format!("{sent} messages, {hung_up} connections closed"))
    }

    fn commands(&self, noise: &mut Noise) -> Outcome {
        let mut refused = 0_u32;
        for (ta, seeds) in commands() {
            let mut door = self.connect().map_err(closed)?;
            let mut session = door.session(ta)?;
            for _ in 0..self.count / 2 {
                let command = noise.change_one_of(&seeds);
                let invoke = Request::Invoke { session, command: ByteBuf::from(command) };
                match door.ask(&invoke) {
                    Ok(Reply::Refused(_)) => refused += 1,
                    Ok(_) => {}
                    Err(_) => {
                        door = self.connect().map_err(closed)?;
                        session = door.session(ta)?;
                    }
                }
            }
        }
        if refused == 0 {
            return Err(Broken("no command was refused".into()));
        }
        self.still_serves(&format!("{refused} commands refused"))
    }

    fn sizes(&self) -> Outcome {
        let mut closed_on = 0_u32;
        for round in 0..self.count.max(1) {
            for size in [0, 1, channel::MAX_MESSAGE_BYTES + 1, 180 * 1024] {
                let door = self.connect().map_err(closed)?;
                // A request that would be good, was it not followed by so much.
                let mut bytes = requests().swap_remove(round as usize % 2);
                bytes.resize(size, 0);
                if door.say(&bytes).and_then(|()| door.hear()).is_err() {
                    closed_on += 1;
                }
            }
        }
        if closed_on == 0 {
            return Err(Broken("it answered datagrams of every size".into()));
        }
        self.still_serves(&format!("{closed_on} datagrams of odd sizes refused"))
    }

    fn descriptors(&self) -> Outcome {
        let null = File::open("/dev/null").or_else(|_| File::open("/")).map_err(local)?;
        let beside = vec![null.as_fd(); MAX_DESCRIPTORS];
        let mut sent = 0_u32;
        for _ in 0..self.count {
            let door = self.connect().map_err(closed)?;
            // Some of them are never asked for an answer.
            for _ in 0..4 {
                sent += u32::from(door.say_with(&requests()[0], &beside).is_ok());
            }
        }
        self.still_serves(&format!("{sent} messages with {MAX_DESCRIPTORS} descriptors each"))
    }

    fn half_open(&self) -> Outcome {
        let request = &requests()[0];
        let mut held = Vec::new();
        for number in 0..self.count {
            // One too many is closed; the others stay while the call below is made.
            let Ok(door) = self.connect() else { break };
            let _ = match number % 4 {
                0 => Ok(()),
                1 => door.say(&request[..request.len() / 2]),
                2 => door.say(request),
                _ => shutdown(&door.0, Shutdown::Write),
            };
            // Never read: until no more goes.
            for _ in 0..16 {
                let _ = send(&door.0, request, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            }
            held.push(door);
        }
        self.still_serves(&format!("{} connections half open", held.len()))
    }

    fn connections(&self) -> Outcome {
        let (mut held, mut refused) = (Vec::new(), 0_u32);
        for _ in 0..self.count {
            match self.connect().and_then(|door| door.greeted()) {
                Ok(door) if held.len() < 512 => held.push(door),
                Ok(_) => {}
                Err(_) => refused += 1,
            }
        }
        if refused == 0 {
            return Err(Broken(format!("{} connections, none refused", self.count)));
        }
        self.still_serves(&format!("{} connections, {refused} refused", self.count))
    }

    fn sessions(&self) -> Outcome {
        let door = self.connect().map_err(closed)?;
        let (mut opened, mut refused) = (Vec::new(), 0_u32);
        for _ in 0..self.count {
            match door.ask(&open(Gatekeeper::TA)) {
                Ok(Reply::Opened { session }) => opened.push(session),
                Ok(_) => refused += 1,
                Err(error) => return Err(Broken(format!("it hung up: {error}"))),
            }
        }
        if refused == 0 {
            return Err(Broken(format!("{} sessions on one connection", opened.len())));
        }
        for session in (0..self.count).filter(|session| !opened.contains(session)) {
            let invoke = Request::Invoke { session, command: status() };
            if let Ok(Reply::Done(_)) = door.ask(&invoke) {
                return Err(Broken(format!("session {session} is another program's")));
            }
        }
        let opened = opened.len();
        self.still_serves(&format!("{opened} sessions opened, {refused} refused"))
    }

    fn applications(&self, noise: &mut Noise) -> Outcome {
        let load = encoded(&Request::Load);
        for _ in 0..self.count {
            let image = sealed("ta-foreign", &noise.bytes(4096)).map_err(local)?;
            let door = self.connect().map_err(closed)?;
            for beside in [&[image.as_fd()][..], &[]] {
                let said = door.say_with(&load, beside).and_then(|()| door.hear());
                if !matches!(said, Ok(Reply::Refused(_)) | Err(_)) {
                    return Err(Broken("it took an application that nobody signed".into()));
                }
            }
        }
        self.still_serves(&format!("{} applications, none taken", 2 * self.count))
    }

    /// Offers to keep files, again and again, and says that things were done which nobody asked
    /// for. More than a few must be refused.
    fn keepers(&self, noise: &mut Noise) -> Outcome {
        let mut held = Vec::new();
        let (mut refused, mut lies) = (0_u32, 0_u32);
        for _ in 0..self.count {
            let door = self.connect().map_err(closed)?;
            door.say(&encoded(&Request::KeepFiles)).map_err(closed)?;
            for outcome in outcomes() {
                let number = noise.below(64) as u64;
                let lie = encoded(&Request::Filed { number, outcome });
                // Every other one changed.
                let lie = if lies % 2 == 0 {
                    lie.into_vec()
                } else {
                    noise.change_one_of(&[lie.into_vec()])
                };
                lies += u32::from(door.say(&lie).is_ok());
            }
            // A keeper that was taken hears nothing until there is work.
            match door.hear_now() {
                Ok(Reply::Refused(_)) | Err(Errno::CONNRESET) => refused += 1,
                _ => held.push(door),
            }
        }
        if refused == 0 {
            return Err(Broken(format!("{} programs keep files, none refused", held.len())));
        }
        self.still_serves(&format!("{lies} lies, {refused} of {} keepers refused", self.count))
    }

    fn identity(&self) -> Outcome {
        let own = rustix::process::getpid();
        for uid in [1_u32, 1000, 65_534] {
            // SAFETY: changes the user of this process alone, which ends soon.
            if unsafe { libc::setresuid(uid, uid, uid) } == 0 {
                return Err(Broken(format!("this process could become user {uid}")));
            }
            let forged = libc::ucred { pid: own.as_raw_nonzero().get() + 1, uid, gid: uid };
            let door = self.connect().map_err(closed)?;
            if door.say_as(&requests()[0], &forged).is_ok() {
                return Err(Broken(format!("the kernel took the credentials of user {uid}")));
            }
        }
        self.still_serves("three users, none of them believed")
    }

    /// Another program calls a trusted application and waits for its answer.
    fn still_serves(&self, said: &str) -> Outcome {
        let socket = self.socket.clone();
        let start = Instant::now();
        let call = in_another_program(move || Door::open(&socket).map_err(closed)?.call());
        match call {
            Ok(()) => Ok(format!("{said}; another call took {} ms", start.elapsed().as_millis())),
            Err(why) => Err(Broken(format!("{said}; then another program's call failed: {why}"))),
        }
    }
}

impl DoorWay {
    const fn what(self) -> &'static str {
        match self {
            Self::Messages => "malformed messages",
            Self::Commands => "malformed commands",
            Self::Sizes => "too large, empty",
            Self::Descriptors => "descriptors beside messages",
            Self::HalfOpen => "half-open connections",
            Self::Connections => "connections without end",
            Self::Sessions => "sessions without end",
            Self::Applications => "applications that nobody signed",
            Self::Keepers => "keepers of files that lie",
            Self::Identity => "another user's credentials",
        }
    }
}

/// What was seen where the door stood; what broke where it did not.
type Outcome = Result<String, Broken>;

/// The attack had an effect.
struct Broken(String);

fn closed(error: Errno) -> Broken {
    Broken(format!("nobody can connect: {error}"))
}

fn local(error: io::Error) -> Broken {
    Broken(format!("the attack could not be made: {error}"))
}

/// A connection to the door.
struct Door(OwnedFd);

impl Door {
    fn open(path: &Path) -> Result<Self, Errno> {
        let kind = SocketType::SEQPACKET;
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        rustix::net::sockopt::set_socket_timeout(
            &socket,
            rustix::net::sockopt::Timeout::Recv,
            Some(PATIENCE),
        )?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(socket))
    }

    /// Whether somebody serves this connection: one too many is closed at once.
    fn greeted(self) -> Result<Self, Errno> {
        match self.ask(&Request::Close { session: 0 }) {
            Ok(_) => Ok(self),
            Err(error) => Err(error),
        }
    }

    fn say(&self, bytes: &[u8]) -> Result<(), Errno> {
        send(&self.0, bytes, SendFlags::NOSIGNAL).map(drop)
    }

    fn say_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Errno::TOOBIG);
        }
        sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).map(drop)
    }

    /// Says it with forged credentials beside it.
    fn say_as(&self, bytes: &[u8], forged: &libc::ucred) -> Result<(), Errno> {
        let forged = rustix::net::UCred {
            pid: rustix::process::Pid::from_raw(forged.pid).ok_or(Errno::SRCH)?,
            uid: rustix::process::Uid::from_raw(forged.uid),
            gid: rustix::process::Gid::from_raw(forged.gid),
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmCredentials(forged)) {
            return Err(Errno::TOOBIG);
        }
        sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).map(drop)
    }

    fn hear(&self) -> Result<Reply, Errno> {
        match channel::receive(&self.0) {
            Ok(reply) => Ok(reply),
            Err(channel::ChannelError::Os(error)) => Err(error),
            Err(_) => Err(Errno::CONNRESET),
        }
    }

    /// What comes within a moment.
    fn hear_now(&self) -> Result<Reply, Errno> {
        let moment = Some(Duration::from_millis(50));
        let timeout = rustix::net::sockopt::Timeout::Recv;
        rustix::net::sockopt::set_socket_timeout(&self.0, timeout, moment)?;
        self.hear()
    }

    fn ask(&self, request: &Request) -> Result<Reply, Errno> {
        let bytes = channel::encode(request).map_err(|_| Errno::TOOBIG)?;
        self.say(&bytes)?;
        self.hear()
    }

    fn session(&self, ta: TaId) -> Result<u32, Broken> {
        match self.ask(&open(ta)) {
            Ok(Reply::Opened { session }) => Ok(session),
            Ok(_) => Err(Broken("it opens no session any more".into())),
            Err(error) => Err(Broken(format!("it opens no session any more: {error}"))),
        }
    }

    /// A call that every trusted OS answers.
    fn call(&self) -> Result<(), Broken> {
        let session = self.session(Gatekeeper::TA)?;
        match self.ask(&Request::Invoke { session, command: status() }) {
            Ok(Reply::Done(_)) => Ok(()),
            Ok(Reply::Refused(error)) => Err(Broken(format!("it refused: {error}"))),
            Ok(_) => Err(Broken("it answered something else".into())),
            Err(error) => Err(Broken(error.to_string())),
        }
    }
}

/// Runs `work` in a child process, which the TEE takes for another program.
fn in_another_program(work: impl FnOnce() -> Result<(), Broken>) -> Result<(), String> {
    let (mut read, write) = io::pipe().map_err(|error| error.to_string())?;
    // SAFETY: the probe has one thread, so the child may do whatever the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().to_string()),
        0 => {
            drop(read);
            let outcome = work();
            if let Err(Broken(why)) = &outcome {
                let _ = io::Write::write_all(&mut &write, why.as_bytes());
            }
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        child => {
            drop(write);
            let mut why = String::new();
            let _ = io::Read::read_to_string(&mut read, &mut why);
            let child = rustix::process::Pid::from_raw(child).expect("fork gives a number");
            let ended =
                rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
            let code = ended.ok().flatten().and_then(|(_, status)| status.exit_status());
            if code == Some(0) { Ok(()) } else { Err(why) }
        }
    }
}

/// Opens a session as the user that this program has.
const fn open(ta: TaId) -> Request {
    Request::Open { ta, signer: None, login: LoginMethod::User }
}

fn status() -> ByteBuf {
    encoded(&gatekeeper::Command::Status)
}

fn encoded<T: Serialize>(message: &T) -> ByteBuf {
    ByteBuf::from(channel::encode(message).expect("small messages encode"))
}

/// Well-formed requests: what random changes begin with.
fn requests() -> Vec<Vec<u8>> {
    let requests = [
        open(Gatekeeper::TA),
        open(KeyMint::TA),
        Request::List,
        Request::Invoke { session: 1, command: status() },
        Request::Close { session: 1 },
    ];
    requests.iter().map(|request| encoded(request).into_vec()).collect()
}

/// What a keeper of files may say that it did.
fn outcomes() -> [keeper::Outcome; 4] {
    [
        keeper::Outcome::Done,
        keeper::Outcome::Bytes(ByteBuf::from(vec![0xA5; 4096])),
        keeper::Outcome::Files(vec![[0x5A; 16]; 8]),
        keeper::Outcome::Missing,
    ]
}

/// Well-formed commands of the trusted applications that every device has. None of them erases
/// anything or asks the person.
fn commands() -> [(TaId, Vec<Vec<u8>>); 2] {
    use gatekeeper::Command as Gate;
    use keymint::Command as Key;
    let bytes = |length: usize| ByteBuf::from(vec![0xA5; length]);
    let gate = [
        Gate::Redeem { ticket: "a.b.c".into() },
        Gate::SetTime { token: "a.b.c".into() },
        Gate::CheckUserdata { digest: [7; 32] },
        Gate::Provision { ticket_key: bytes(91) },
    ];
    let key = [
        Key::Begin {
            key: keymint::KeySource::Blob(bytes(300)),
            purpose: keymint::KeyPurpose::Sign,
            params: keymint::Authorizations::default(),
            token: None,
        },
        Key::FactoryInstall { chain: vec![bytes(40), bytes(40)] },
    ];
    let gate = gate.iter().map(|command| encoded(command).into_vec()).collect();
    let key = key.iter().map(|command| encoded(command).into_vec()).collect();
    [(Gatekeeper::TA, gate), (KeyMint::TA, key)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{accept, bind, listen};

    /// Something at a door that answers whatever comes with the same words.
    fn open_house(socket: &Path, answer: Option<Reply>) -> OwnedFd {
        let kind = SocketType::SEQPACKET;
        let door = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        bind(&door, &SocketAddrUnix::new(socket).unwrap()).unwrap();
        listen(&door, 64).unwrap();
        let held = door.try_clone().unwrap();
        std::thread::spawn(move || {
            while let Ok(guest) = accept(&door) {
                let answer = answer.clone();
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 1 << 20];
                    while rustix::io::read(&guest, &mut buffer).is_ok_and(|got| got > 0) {
                        let Some(answer) = &answer else { return };
                        let _ = channel::send(&guest, answer);
                    }
                });
            }
        });
        held
    }

    fn attack(socket: &Path, way: DoorWay) -> Attempt {
        DoorAttack { socket: socket.to_owned(), way, count: 40, seed: 1 }.run()
    }

    /// The suite must be able to fail: a door that takes everything is reported, way by way.
    #[test]
    fn a_door_that_takes_everything_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("tee.sock");
        let _held = open_house(&socket, Some(Reply::Opened { session: 1 }));
        let ways = [
            DoorWay::Messages,
            DoorWay::Commands,
            DoorWay::Connections,
            DoorWay::Sessions,
            DoorWay::Keepers,
        ];
        for way in ways {
            let attempt = attack(&socket, way);
            assert!(attempt.succeeded, "{attempt:?}");
        }
    }

    #[test]
    fn a_door_behind_which_nobody_works_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("tee.sock");
        let _held = open_house(&socket, None);
        for way in [DoorWay::Sizes, DoorWay::Descriptors, DoorWay::HalfOpen] {
            let attempt = attack(&socket, way);
            assert!(attempt.succeeded && attempt.detail.contains("failed"), "{attempt:?}");
        }
        let nobody = attack(&folder.path().join("none.sock"), DoorWay::Messages);
        assert!(nobody.succeeded && nobody.detail.contains("nobody"), "{nobody:?}");
    }
}
