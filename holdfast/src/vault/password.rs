//! Passwords: from a descriptor, the environment, or the terminal.

use crate::exit::{Lacking, Misused};
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::fd::AsRawFd as _;
use zeroize::Zeroizing;

/// A longer one is a mistake: a file that was meant for something else.
const MAX_BYTES: u64 = 4096;

/// A password.
pub(super) type Secret = Zeroizing<Vec<u8>>;

/// Where a password may come from.
pub(super) struct Source<'a> {
    pub(super) descriptor: Option<u32>,
    pub(super) variable: &'a str,
    pub(super) prompt: &'a str,
    /// It is new: whoever types it types it twice.
    pub(super) twice: bool,
}

impl Source<'_> {
    pub(super) fn read(&self) -> Result<Secret> {
        let password = if let Some(number) = self.descriptor {
            let path = format!("/dev/fd/{number}");
            let file = File::open(&path).map_err(|error| Misused(format!("{path}: {error}")))?;
            whole(file)?
        } else if let Some(text) = std::env::var_os(self.variable) {
            Zeroizing::new(text.into_encoded_bytes())
        } else {
            self.ask()?
        };
        if password.is_empty() {
            return Err(Misused("the password is empty".into()).into());
        }
        Ok(password)
    }

    fn ask(&self) -> Result<Secret> {
        let variable = self.variable;
        let terminal = File::options().read(true).write(true).open("/dev/tty").map_err(|_| {
            Lacking(format!("there is no terminal: give --password-fd or {variable}"))
        })?;
        let first = ask_terminal(&terminal, self.prompt)?;
        if self.twice && ask_terminal(&terminal, "Once more: ")? != first {
            return Err(Misused("the two passwords differ".into()).into());
        }
        Ok(first)
    }
}

fn whole(file: impl Read) -> Result<Secret> {
    // Taken at once, so that no copy of it stays behind in a smaller buffer.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
    file.take(MAX_BYTES + 1).read_to_end(&mut text).context("the password was not read")?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Misused(format!("the password is longer than {MAX_BYTES} bytes")).into());
    }
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    Ok(text)
}

fn ask_terminal(mut terminal: &File, prompt: &str) -> Result<Secret> {
    terminal.write_all(prompt.as_bytes())?;
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize));
    let read = {
        let _quiet = Quiet::new(terminal)?;
        BufReader::new(terminal.take(MAX_BYTES)).read_until(b'\n', &mut line)
    };
    terminal.write_all(b"\n")?;
    read?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(line)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet<'a>(&'a File, libc::termios);

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> Result<Self> {
        // SAFETY: a `termios` is numbers only, and zeros are values of all of them.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the call fills the structure, which lives through it.
        if unsafe { libc::tcgetattr(terminal.as_raw_fd(), &raw mut before) } != 0 {
            return Err(std::io::Error::last_os_error()).context("/dev/tty is no terminal");
        }
        let mut quiet = before;
        quiet.c_lflag &= !libc::ECHO;
        set(terminal, &quiet);
        Ok(Self(terminal, before))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        set(self.0, &self.1);
    }
}

fn set(terminal: &File, how: &libc::termios) {
    // SAFETY: the call reads the structure, which lives through it.
    unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSAFLUSH, how) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_at_the_end_does_not_count_and_a_file_is_no_password() {
        assert_eq!(&**whole(&b"secret\n"[..]).unwrap(), b"secret");
        assert_eq!(&**whole(&b"secret\n\n"[..]).unwrap(), b"secret\n");
        assert!(whole(&[b'a'; 5000][..]).is_err());
    }
}
