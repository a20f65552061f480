//! Bodies for blocking code: a [`Write`] whose bytes become a request's or an answer's body, and
//! a [`Read`] over a body that comes in. Bounded: a fast side waits for a slow one.

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt as _};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Bytes that travel at once.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that may wait between the two sides.
const PIECES: usize = 4;

/// A blocking writer and the body that carries what is written.
pub fn writer() -> (PipeWriter, impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static) {
    let (sender, mut receiver) = mpsc::channel(PIECES);
    let writer = PipeWriter { sender, piece: Vec::new(), moved: Arc::default(), finished: false };
    (writer, futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)))
}

/// The writing end; see [`writer`]. Dropped without [`PipeWriter::finish`] the body breaks off
/// with an error, so that its reader never takes a part for the whole.
#[derive(Debug)]
pub struct PipeWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    moved: Arc<AtomicU64>,
    finished: bool,
}

impl PipeWriter {
    /// Counts the bytes that went on their way, for a progress bar.
    #[must_use]
    pub fn moved(&self) -> Arc<AtomicU64> {
        self.moved.clone()
    }

    /// Sends what is left and ends the body.
    pub fn finish(mut self) -> io::Result<()> {
        self.finished = true;
        self.pass_on()
    }

    fn pass_on(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        self.moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
        self.sender
            .blocking_send(Ok(piece.into()))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the other side hung up"))
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let space = PIECE_BYTES - self.piece.len();
        let taken = bytes.len().min(space);
        if self.piece.is_empty() {
            self.piece.reserve(PIECE_BYTES);
        }
        self.piece.extend_from_slice(&bytes[..taken]);
        if taken == space {
            self.pass_on()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        if !self.finished {
            let broken = io::Error::new(io::ErrorKind::UnexpectedEof, "the writer gave up");
            let _ = self.sender.blocking_send(Err(broken));
        }
    }
}

/// A blocking reader over `body`, which a task of this runtime drains.
pub fn reader<E>(body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static) -> PipeReader
where
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let mut body = body;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(io::Error::other);
            if sender.send(piece).await.is_err() {
                break;
            }
        }
    });
    PipeReader { receiver, piece: Bytes::new() }
}

/// The reading end; see [`reader`].
#[derive(Debug)]
pub struct PipeReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for PipeReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let given = out.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut out[..given]);
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn carries_bytes_in_order_and_tells_a_broken_end_from_a_whole_one() {
        for whole in [true, false] {
            let (mut writer, body) = writer();
            let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
            let expected = sent.clone();
            let writing = tokio::task::spawn_blocking(move || {
                writer.write_all(&sent)?;
                if whole { writer.finish() } else { Ok(()) }
            });
            let mut from = reader(body);
            let reading = tokio::task::spawn_blocking(move || {
                let mut got = Vec::new();
                from.read_to_end(&mut got).map(|_| got)
            });
            writing.await.unwrap().unwrap();
            let got = reading.await.unwrap();
            assert_eq!(got.ok(), whole.then_some(expected));
        }
    }
}
