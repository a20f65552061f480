//! One message a datagram over a SEQPACKET socket: CBOR, with descriptors beside it.

use crate::look::look;
use cbor4ii::core::dec::Read as _;
use cbor4ii::core::utils::SliceReader;
use cbor4ii::serde::Deserializer;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};
use std::cell::RefCell;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use zeroize::Zeroize;

/// The largest message. RPMB batches of 32 frames and attestation chains fit well.
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024;
/// The most descriptors beside one message.
pub const MAX_FDS: usize = 4;

/// Why a message did not go or come.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The other end is gone.
    #[error("the other end closed the channel")]
    Closed,
    /// The operating system refused.
    #[error("channel: {0}")]
    Os(#[from] Errno),
    /// Not CBOR, not the type that is due, or larger than [`MAX_MESSAGE_BYTES`].
    #[error("malformed message: {0}")]
    Malformed(String),
}

/// Messages up to this size are wiped from the buffers that they passed: a PIN may be in one, and
/// a larger one carries none.
const WIPED_BYTES: usize = 4096;

/// Encodes `message` as CBOR.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, ChannelError> {
    let bytes = cbor4ii::serde::to_vec(Vec::with_capacity(256), message)
        .map_err(|error| ChannelError::Malformed(error.to_string()))?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(ChannelError::Malformed(format!("{} bytes are too many", bytes.len())));
    }
    Ok(bytes)
}

/// Decodes CBOR that must end where the message ends.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ChannelError> {
    let mut decoder = Deserializer::new(SliceReader::new(bytes));
    let value =
        T::deserialize(&mut decoder).map_err(|error| ChannelError::Malformed(error.to_string()))?;
    match decoder.into_inner().fill(MAX_MESSAGE_BYTES) {
        Ok(rest) if rest.as_ref().is_empty() => Ok(value),
        Ok(rest) => {
            let count = rest.as_ref().len();
            Err(ChannelError::Malformed(format!("{count} bytes after the message")))
        }
    }
}

/// Sends `message`.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T) -> Result<(), ChannelError> {
    send_with_fds(socket, message, &[])
}

/// Sends `message` with up to [`MAX_FDS`] descriptors beside it.
pub fn send_with_fds<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> Result<(), ChannelError> {
    let mut bytes = encode(message)?;
    let sent = send_bytes(socket, &bytes, fds);
    wipe(&mut bytes);
    sent
}

fn send_bytes(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(ChannelError::Malformed(format!("{} descriptors are too many", fds.len())));
    }
    let iov = [IoSlice::new(bytes)];
    match retry_on_intr(|| sendmsg(&socket, &iov, &mut control, SendFlags::NOSIGNAL)) {
        Ok(_) => Ok(()),
        Err(Errno::PIPE | Errno::CONNRESET) => Err(ChannelError::Closed),
        Err(error) => Err(error.into()),
    }
}

/// Waits for a message.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<T, ChannelError> {
    receive_with_fds(socket).map(|(message, _)| message)
}

/// How long [`receive_soon`] looks before it sleeps: longer than a call that only computes a
/// signature, shorter than anybody's battery notices.
const SOON: Duration = Duration::from_micros(60);

/// Waits for an answer that is due within microseconds.
///
/// One waiter of a process looks for it a while; more than one would be in the way of those who
/// work on the answers.
pub fn receive_soon<T: DeserializeOwned>(socket: impl AsFd) -> Result<T, ChannelError> {
    static LOOKING: AtomicBool = AtomicBool::new(false);
    if !LOOKING.swap(true, Ordering::Acquire) {
        let began = Instant::now();
        let found = look(SOON, || began.elapsed(), || try_receive(&socket).transpose());
        LOOKING.store(false, Ordering::Release);
        if let Some(found) = found {
            return found;
        }
    }
    receive(socket)
}

/// Takes a message that is there already.
pub fn try_receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<Option<T>, ChannelError> {
    match receive_as(socket, RecvFlags::DONTWAIT) {
        Ok((message, _)) => Ok(Some(message)),
        Err(ChannelError::Os(Errno::AGAIN)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits for a message and takes the descriptors beside it (close-on-exec).
pub fn receive_with_fds<T: DeserializeOwned>(
    socket: impl AsFd,
) -> Result<(T, Vec<OwnedFd>), ChannelError> {
    receive_as(socket, RecvFlags::empty())
}

thread_local! {
    /// Where messages arrive; what was there is wiped once it was decoded.
    static ARRIVAL: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_MESSAGE_BYTES]);
}

fn receive_as<T: DeserializeOwned>(
    socket: impl AsFd,
    flags: RecvFlags,
) -> Result<(T, Vec<OwnedFd>), ChannelError> {
    ARRIVAL.with_borrow_mut(|bytes| {
        let (count, fds) = receive_into(bytes, socket, flags | RecvFlags::CMSG_CLOEXEC)?;
        let message = decode(&bytes[..count]);
        bytes[..count].zeroize();
        message.map(|message| (message, fds))
    })
}

fn receive_into(
    bytes: &mut [u8],
    socket: impl AsFd,
    flags: RecvFlags,
) -> Result<(usize, Vec<OwnedFd>), ChannelError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = {
        let mut iov = [IoSliceMut::new(bytes)];
        match retry_on_intr(|| recvmsg(&socket, &mut iov, &mut control, flags)) {
            Ok(got) => got,
            Err(Errno::CONNRESET) => return Err(ChannelError::Closed),
            Err(error) => return Err(error.into()),
        }
    };
    let fds: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if got.bytes == 0 {
        return Err(ChannelError::Closed);
    }
    if got.flags.contains(ReturnFlags::TRUNC) || got.flags.contains(ReturnFlags::CTRUNC) {
        bytes.zeroize();
        return Err(ChannelError::Malformed("larger than a message may be".into()));
    }
    Ok((got.bytes, fds))
}

/// Forgets a small message.
fn wipe(bytes: &mut [u8]) {
    if bytes.len() <= WIPED_BYTES {
        bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn carries_messages_and_descriptors() {
        let (a, b) = pair();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send_with_fds(&a, &("hello", 7_u8), &[write.as_fd()]).unwrap();
        let (message, fds): ((String, u8), _) = receive_with_fds(&b).unwrap();
        assert_eq!(message, ("hello".to_owned(), 7));
        rustix::io::write(&fds[0], b"x").unwrap();
        let mut byte = [0];
        rustix::io::read(&read, &mut byte).unwrap();
        assert_eq!(byte, *b"x");
    }

    #[test]
    fn tells_a_closed_end_from_a_malformed_message() {
        let (a, b) = pair();
        rustix::io::write(&a, &[0x01, 0x02]).unwrap();
        assert!(matches!(receive::<u8>(&b), Err(ChannelError::Malformed(_))));
        drop(a);
        assert!(matches!(receive::<u8>(&b), Err(ChannelError::Closed)));
    }

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }
}
