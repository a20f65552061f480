//! KeyMint as it really runs: its own process, locked in, with a trusted OS at the other end.

use board::channel;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde_bytes::ByteBuf;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command as Process};
use tee_api::Login;
use tee_api::keymint::{
    Algorithm, Authorizations, Bytes, Command, Digest, EcCurve, ErrorCode, KeyMint, KeyPurpose,
    KeySource, Reply,
};
use tee_api::ta::{CHANNEL_FD, FromTa, SyscallReply, ToTa};
use tee_sdk::testing::FakeOs;
use tee_sdk::{Protocol, TeeError, TrustedOs};

/// The process and the system's end of its channel.
struct Ta {
    process: Child,
    channel: Option<OwnedFd>,
    os: FakeOs,
}

impl Ta {
    fn start() -> Self {
        let pair =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.unwrap();
        let mut process = Process::new(env!("CARGO_BIN_EXE_ta-keymint"));
        let number = theirs.as_raw_fd();
        // SAFETY: `dup2` and `fcntl` are all that happens between fork and exec; both are
        // async-signal-safe and touch no memory.
        unsafe {
            process.pre_exec(move || {
                let done = if number == CHANNEL_FD {
                    libc::fcntl(number, libc::F_SETFD, 0)
                } else {
                    libc::dup2(number, CHANNEL_FD)
                };
                if done < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
            });
        }
        let process = process.spawn().unwrap();
        Self { process, channel: Some(ours), os: FakeOs::new() }
    }

    /// Sends a request and serves system calls until its answer comes.
    fn request(&mut self, request: &ToTa) -> Result<ByteBuf, TeeError> {
        let channel = self.channel.as_ref().unwrap();
        channel::send(channel, request).unwrap();
        loop {
            match channel::receive(channel).unwrap() {
                FromTa::Done(result) => return result,
                FromTa::Ask { .. } => panic!("KeyMint asks the person nothing"),
                FromTa::Generate { question, attributes } => {
                    let key = self.os.make_key(KeyMint::TA, attributes);
                    channel::send(channel, &ToTa::Made { question, key }).unwrap();
                }
                FromTa::Syscall(syscall) => {
                    let reply = self.os.call(KeyMint::TA, syscall);
                    let reply = reply.unwrap_or_else(SyscallReply::Refused);
                    channel::send(channel, &ToTa::Answer(reply)).unwrap();
                }
            }
        }
    }

    fn call(&mut self, command: &Command) -> Result<Reply, TeeError> {
        let command = ByteBuf::from(channel::encode(command).unwrap());
        let reply = self.request(&ToTa::Invoke { session: 1, command })?;
        Ok(channel::decode(&reply).unwrap())
    }
}

impl Drop for Ta {
    fn drop(&mut self) {
        self.channel = None;
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn makes_keys_and_signs_behind_its_locks_and_ends_with_its_channel() {
    let mut ta = Ta::start();
    ta.request(&ToTa::Open { session: 1, login: Login::User { uid: 0 } }).unwrap();
    let params = Authorizations {
        purpose: [KeyPurpose::Sign].into(),
        algorithm: Some(Algorithm::Ec),
        ec_curve: Some(EcCurve::P256),
        digest: [Digest::Sha2_256].into(),
        no_auth_required: true,
        certificate_not_before: Some(0),
        certificate_not_after: Some(253_402_300_799_000),
        ..Authorizations::default()
    };
    let generate =
        |params: &Authorizations| Command::GenerateKey { params: params.clone(), attest: None };
    let Ok(Reply::Key(key)) = ta.call(&generate(&params)) else { panic!("no key") };
    let begin = Command::Begin {
        key: KeySource::Blob(key.blob),
        purpose: KeyPurpose::Sign,
        params: Authorizations { digest: [Digest::Sha2_256].into(), ..Authorizations::default() },
        token: None,
    };
    let Ok(Reply::Begun(begun)) = ta.call(&begin) else { panic!("no operation") };
    let finish = Command::Finish {
        operation: begun.operation,
        input: ByteBuf::from(*b"message"),
        signature: None,
        token: None,
        confirmation: None,
    };
    let Ok(Reply::Output(signature)) = ta.call(&finish) else { panic!("no signature") };
    assert_eq!(signature[0], 0x30);

    let attestation_challenge = Some(Bytes::from(b"x"));
    let attested = Authorizations { attestation_challenge, ..params };
    let missing = ErrorCode::AttestationApplicationIdMissing;
    let refused = ta.call(&generate(&attested));
    assert!(matches!(refused, Ok(Reply::Refused(code)) if code == missing), "{refused:?}");

    ta.channel = None;
    assert!(ta.process.wait().unwrap().success());
}

#[test]
fn can_not_be_watched() {
    let mut ta = Ta::start();
    ta.request(&ToTa::Open { session: 1, login: Login::User { uid: 0 } }).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", ta.process.id())).unwrap();
    let line = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default().to_owned()
    };
    assert_eq!(line("NoNewPrivs:"), "1");
    assert_eq!(line("Seccomp:"), "2", "a filter is in force");
}
