//! The way to a TPM: one command there, one response back.

use crate::address::Address;
use crate::error::TpmError;
use crate::wire::{HEADER_BYTES, MAX_BYTES};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a TPM may take: making a key on a slow chip takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Carries commands to a TPM.
pub trait Link: Send {
    /// Sends `command` and gives the bytes of the response, at most [`MAX_BYTES`].
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// Opens the way to the TPM at `address`.
pub fn open(address: &Address) -> Result<Box<dyn Link>, TpmError> {
    let link: io::Result<Box<dyn Link>> = match address {
        Address::Device(path) => OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map(|file| Box::new(Device(file)) as Box<dyn Link>),
        Address::Unix(path) => unix(path).map(|socket| Box::new(Stream(socket)) as Box<dyn Link>),
        Address::Tcp(at) => tcp(at).map(|socket| Box::new(Stream(socket)) as Box<dyn Link>),
    };
    link.map_err(|error| unreachable(address, error))
}

/// Nobody answers at `address`.
pub(crate) fn unreachable(address: &Address, error: io::Error) -> TpmError {
    TpmError::Unreachable { address: address.to_string(), error }
}

fn unix(path: &std::path::Path) -> io::Result<UnixStream> {
    let socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn tcp(at: &str) -> io::Result<TcpStream> {
    let at = at.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let socket = TcpStream::connect_timeout(&at, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A character device: one `read` gives one response.
struct Device(File);

impl Link for Device {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut response = vec![0; MAX_BYTES];
        let length = self.0.read(&mut response)?;
        response.truncate(length);
        Ok(response)
    }
}

/// A socket: responses follow each other without a frame; their header says how long they are.
struct Stream<S>(S);

impl<S: Read + Write + Send> Link for Stream<S> {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut response = vec![0; HEADER_BYTES];
        self.0.read_exact(&mut response)?;
        let [_, _, size @ .., _, _, _, _] = &response[..] else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let size = size.try_into().map(u32::from_be_bytes).map_or(0, |size| size as usize);
        if !(HEADER_BYTES..=MAX_BYTES).contains(&size) {
            let problem = format!("a response of {size} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        response.resize(size, 0);
        self.0.read_exact(&mut response[HEADER_BYTES..])?;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(bytes).unwrap();
        drop(far.shutdown(std::net::Shutdown::Write));
        Stream(near).transmit(&[1, 2, 3])
    }

    #[test]
    fn takes_whole_answers_and_no_huge_short_or_cut_off_ones() {
        let whole = [0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0, 7];
        assert_eq!(answered(&whole).unwrap(), whole);
        assert_eq!(answered(&[&whole[..], &[9]].concat()).unwrap(), whole);
        for end in 0..whole.len() {
            assert!(answered(&whole[..end]).is_err(), "{end}");
        }
        for size in [0_u32, 9, 4097, u32::MAX] {
            let header = [&[0x80, 1][..], &size.to_be_bytes(), &[0; 4]].concat();
            assert!(answered(&header).is_err(), "{size}");
        }
    }
}
