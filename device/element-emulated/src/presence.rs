//! Whether somebody is there: the touch that a key's policy may ask for.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// How long a command waits for a touch.
pub const TOUCH_WITHIN: Duration = Duration::from_secs(15);

/// Where touches come from.
pub trait Presence: Send {
    /// Waits for a touch from now on; false where none came in time.
    fn touched(&mut self) -> bool;
}

/// A door with nobody behind it: no touch ever comes.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl Presence for Nobody {
    fn touched(&mut self) -> bool {
        false
    }
}

/// Touches that another thread passes on.
#[derive(Debug)]
pub struct Touches(Receiver<()>);

impl Touches {
    /// A receiver, and what sends to it.
    #[must_use]
    pub fn new() -> (Sender<()>, Self) {
        let (sender, receiver) = channel();
        (sender, Self(receiver))
    }
}

impl Presence for Touches {
    fn touched(&mut self) -> bool {
        // A touch from before the question is no answer to it.
        while self.0.try_recv().is_ok() {}
        self.0.recv_timeout(TOUCH_WITHIN).is_ok()
    }
}
