//! Power, as the device's programs see it: a pipe that carries nothing and ends; what process 1
//! of the normal world can ask the power chip for; and the chip's register that tells the next
//! boot why there is power again.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Why the device has power: the reset-reason register of the power chip. A person who presses
/// the button clears it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// A person pressed the power button.
    #[default]
    PowerButton,
    /// The device restarted by itself, for no reason that a bootloader must know of.
    Restart,
    /// The device restarted because dm-verity found a block that is not the one that was signed
    /// (libavb's `RESTART_CAUSED_BY_HASHTREE_CORRUPTION`).
    Verity,
}

/// What process 1 of the normal world asks the power chip for: it says so with the code that it
/// ends with. It can ask for nothing else, and no other process of that world can ask at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerRequest {
    /// Off and on again.
    Restart,
    /// The same, and the next boot is told that dm-verity found corruption.
    RestartForVerity,
    /// Off, until a person presses the button: dm-verity found corruption.
    StopForVerity,
}

impl PowerRequest {
    const ALL: [Self; 3] = [Self::Restart, Self::RestartForVerity, Self::StopForVerity];

    /// The exit code that asks for this.
    #[must_use]
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::Restart => 80,
            Self::RestartForVerity => 81,
            Self::StopForVerity => 82,
        }
    }

    /// What an exit code asks for, if anything.
    #[must_use]
    pub fn from_exit_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|request| request.exit_code() == code)
    }

    /// What the register will say, where the device comes up again.
    #[must_use]
    pub const fn reason(self) -> Option<ResetReason> {
        match self {
            Self::Restart => Some(ResetReason::Restart),
            Self::RestartForVerity => Some(ResetReason::Verity),
            Self::StopForVerity => None,
        }
    }
}

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
    fn a_request_is_known_by_its_code_and_no_ordinary_end_is_one() {
        for request in PowerRequest::ALL {
            assert_eq!(PowerRequest::from_exit_code(request.exit_code()), Some(request));
        }
        // Success, failure, usage, a panic, a program that did not start.
        for code in [0, 1, 2, 101, 127, -1] {
            assert_eq!(PowerRequest::from_exit_code(code), None);
        }
    }

    #[test]
    fn notices_that_power_is_gone() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let waiting = std::thread::spawn(move || wait_for_loss(&read));
        drop(write);
        waiting.join().unwrap();
    }
}
