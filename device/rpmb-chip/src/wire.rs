//! What goes over the socket: batches of eMMC commands, as the kernel's `MMC_IOC_MULTI_CMD` has
//! them.
//!
//! A batch is one byte with the number of commands, then the commands. A command is four bytes:
//! the opcode (25 writes frames, 18 reads them), a zero byte, the number of frames (big-endian);
//! 25 has its frames behind it. The answer is a zero byte and the frames of every command 18, one
//! after the other; one byte of 1 and the end of the connection, if the batch was none. A batch is
//! done as a whole before another one is begun.
//!
//! This file stands alone (no other crate, no other module): the shim that is loaded into other
//! people's programs includes it.

use std::io::{self, Read, Write};

/// `WRITE_MULTIPLE_BLOCK`.
pub const WRITE: u8 = 25;
/// `READ_MULTIPLE_BLOCK`.
pub const READ: u8 = 18;
/// Bytes of a frame.
pub const FRAME: usize = 512;
/// The most commands of a batch.
pub const MAX_COMMANDS: usize = 8;
/// The most frames of a command: 512 KiB, as in the kernel.
pub const MAX_FRAMES: u16 = 1024;

const DONE: u8 = 0;
const REFUSED: u8 = 1;

/// One command of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// CMD25 with these frames.
    Write(Vec<u8>),
    /// CMD18 for so many frames.
    Read(u16),
}

/// Sends a batch. One that breaks a limit is `InvalidInput` and nothing is sent.
pub fn send(to: &mut impl Write, batch: &[Command]) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    if batch.len() > MAX_COMMANDS {
        return Err(invalid());
    }
    let mut bytes = vec![batch.len() as u8];
    for command in batch {
        let (opcode, frames, data) = match command {
            Command::Write(data) if data.len() % FRAME != 0 => return Err(invalid()),
            Command::Write(data) => (WRITE, data.len() / FRAME, &data[..]),
            Command::Read(frames) => (READ, usize::from(*frames), &[][..]),
        };
        let frames = u16::try_from(frames).ok().filter(|frames| (1..=MAX_FRAMES).contains(frames));
        let [high, low] = frames.ok_or_else(invalid)?.to_be_bytes();
        bytes.extend([opcode, 0, high, low]);
        bytes.extend_from_slice(data);
    }
    to.write_all(&bytes)?;
    to.flush()
}

/// Receives a batch; `None` where the peer left before one began. `InvalidData`: it is none.
pub fn receive(from: &mut impl Read) -> io::Result<Option<Vec<Command>>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut count = [0];
    if from.read(&mut count)? == 0 {
        return Ok(None);
    }
    if usize::from(count[0]) > MAX_COMMANDS {
        return Err(invalid());
    }
    let mut batch = Vec::new();
    for _ in 0..count[0] {
        let mut head = [0; 4];
        from.read_exact(&mut head)?;
        let frames = u16::from_be_bytes([head[2], head[3]]);
        if head[1] != 0 || !(1..=MAX_FRAMES).contains(&frames) {
            return Err(invalid());
        }
        batch.push(match head[0] {
            WRITE => {
                let mut data = vec![0; usize::from(frames) * FRAME];
                from.read_exact(&mut data)?;
                Command::Write(data)
            }
            READ => Command::Read(frames),
            _ => return Err(invalid()),
        });
    }
    Ok(Some(batch))
}

/// Answers a batch with the frames that its reads got.
pub fn answer(to: &mut impl Write, reads: &[Vec<u8>]) -> io::Result<()> {
    let mut bytes = vec![DONE];
    bytes.extend(reads.concat());
    to.write_all(&bytes)?;
    to.flush()
}

/// Says that something was no batch.
pub fn refuse(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[REFUSED])
}

/// Receives the answer to `batch`: the frames of each of its reads.
pub fn receive_answer(from: &mut impl Read, batch: &[Command]) -> io::Result<Vec<Vec<u8>>> {
    let mut status = [0];
    from.read_exact(&mut status)?;
    if status[0] != DONE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut reads = Vec::new();
    for command in batch {
        if let Command::Read(frames) = command {
            let mut data = vec![0; usize::from(*frames) * FRAME];
            from.read_exact(&mut data)?;
            reads.push(data);
        }
    }
    Ok(reads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(batch: &[Command]) -> Vec<u8> {
        let mut bytes = Vec::new();
        send(&mut bytes, batch).unwrap();
        bytes
    }

    #[test]
    fn batches_survive_a_round_trip() {
        let batch = [Command::Write(vec![7; 1024]), Command::Read(2), Command::Write(vec![1; 512])];
        let sent = bytes(&batch);
        assert_eq!(receive(&mut sent.as_slice()).unwrap().unwrap(), batch);
        let mut reply = Vec::new();
        answer(&mut reply, &[vec![3; 1024]]).unwrap();
        assert_eq!(receive_answer(&mut reply.as_slice(), &batch).unwrap(), [vec![3; 1024]]);
        assert_eq!(receive(&mut &[][..]).unwrap(), None);
    }

    #[test]
    fn what_is_no_batch_is_refused_at_both_ends() {
        let sent = bytes(&[Command::Write(vec![7; 512]), Command::Read(1)]);
        for length in 1..sent.len() {
            assert!(receive(&mut &sent[..length]).is_err(), "{length} bytes");
        }
        for wrong in [
            &[9][..],
            &[1, 17, 0, 0, 1],
            &[1, 18, 1, 0, 1],
            &[1, 18, 0, 0, 0],
            &[1, 18, 0, 4, 1],
            &[1, 25, 0, 0xff, 0xff],
        ] {
            assert!(receive(&mut &wrong[..]).is_err(), "{wrong:?}");
        }
        for wrong in [
            vec![Command::Read(1); 9],
            vec![Command::Read(0)],
            vec![Command::Read(1025)],
            vec![Command::Write(vec![0; 100])],
            vec![Command::Write(Vec::new())],
        ] {
            assert!(send(&mut Vec::new(), &wrong).is_err(), "{wrong:?}");
        }
        assert!(receive_answer(&mut &[1_u8][..], &[]).is_err());
    }
}
