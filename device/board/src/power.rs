//! Power, as the device's programs see it: a pipe that carries nothing and ends.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;

/// Waits until power is gone: the board closed its end of [`crate::fds::POWER`], or died.
pub fn wait_for_loss(power: impl AsFd) {
    loop {
        let mut watched = [PollFd::new(&power, PollFlags::empty())];
        match poll(&mut watched, None) {
            Err(Errno::INTR) => {}
            Ok(_) if watched[0].revents().is_empty() => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_that_power_is_gone() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let waiting = std::thread::spawn(move || wait_for_loss(&read));
        drop(write);
        waiting.join().unwrap();
    }
}
