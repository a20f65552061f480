//! Power: turns the device on and off, and watches its processes.
//!
//! One thread owns all of that. It is the parent of the device's processes (and gets those
//! whose parent ended), so it can always tell whether anything still runs.

use crate::backend::Powered;
use crate::places::{Places, next_boot_no};
use crate::radio::{Radio, Wiring};
use crate::restarts::Restarts;
use crate::rom;
use crate::screen::Screen;
use crate::sockets::listen_at;
use crate::status::{Board, children};
use board::power::{PowerRequest, ResetReason};
use board::report::{BootArgs, Record};
use board::secure;
use board::{channel, fds};
use effects::{Clock, Entropy};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel as queue};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long processes may take to notice that power is gone.
const GRACE: Duration = Duration::from_secs(2);
/// How often children that appear during the killing are looked for.
const KILL_AGAIN: Duration = Duration::from_millis(20);
/// The longest line of the boot log and of the console.
const MAX_LINE_BYTES: u64 = 64 * 1024;
const TEE_SOCKET: &str = "tee.sock";
const RADIO_SOCKET: &str = "radio.sock";
/// Programs without which the device does not go on.
const VITAL: [&str; 2] = ["tee-os", INIT];
/// Process 1 of the normal world: the one that can ask for a restart.
const INIT: &str = "init";

/// What a person can do with the power button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Button {
    /// Turns on; nothing where it is on.
    On,
    /// Turns off; nothing where it is off.
    Off,
    /// Off and on again.
    Reset,
}

enum Event {
    Pressed(Button, tokio::sync::oneshot::Sender<()>),
    Log(u64, Record),
    /// From the trusted OS's own log.
    TeeLog(u64, Record),
    Firmware(u64, OwnedFd),
    Ended(Pid, WaitStatus),
}

/// The power button.
#[derive(Clone)]
pub struct Power(Sender<Event>);

impl Power {
    /// Presses `button` and waits until the device is on (its first stage runs) or off (none of
    /// its processes is left).
    pub async fn press(&self, button: Button) {
        let (done, waiting) = tokio::sync::oneshot::channel();
        if self.0.send(Event::Pressed(button, done)).is_ok() {
            let _ = waiting.await;
        }
    }
}

/// What stays the same over power cycles.
pub struct Parts {
    /// Where the device is kept.
    pub places: Places,
    /// The trusted screen.
    pub screen: Arc<Screen>,
    /// What is told about the device.
    pub board: Arc<Board>,
    /// The modem.
    pub radio: Radio,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// How long a slot on trial may take to prove itself before the watchdog resets the device.
    pub trial: Duration,
}

/// Starts the thread that owns the device's processes. The device is off.
pub fn start(parts: Parts) -> io::Result<Power> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let (events, inbox) = queue();
    let (spawned, wakeups) = queue();
    let to_reaper = events.clone();
    thread::Builder::new().name("reaper".into()).spawn(move || reap(&to_reaper, &wakeups))?;
    let own = events.clone();
    thread::Builder::new().name("power".into()).spawn(move || {
        let device = Device {
            parts,
            events: own,
            spawned,
            running: None,
            count: 0,
            wanted: None,
            restarts: Restarts::default(),
            trial_ends: None,
        };
        device.serve(&inbox);
    })?;
    Ok(Power(events))
}

/// Collects the ends of child processes; sleeps while there are none.
fn reap(events: &Sender<Event>, wakeups: &Receiver<()>) {
    loop {
        let goes_on = match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => events.send(Event::Ended(pid, status)).is_ok(),
            Err(Errno::CHILD) => wakeups.recv().is_ok(),
            _ => true,
        };
        if !goes_on {
            return;
        }
    }
}

struct Device {
    parts: Parts,
    events: Sender<Event>,
    spawned: Sender<()>,
    running: Option<Running>,
    /// Counts power-ons of this program, so that news of an old one is told apart.
    count: u64,
    /// What process 1 of the normal world asked for when it ended.
    wanted: Option<ResetReason>,
    restarts: Restarts,
    /// When the watchdog looks whether the slot has proved itself.
    trial_ends: Option<Instant>,
}

/// A device with power.
struct Running {
    /// Dropping it is the loss of power.
    power: OwnedFd,
    bl1: Pid,
    /// Answers the trusted side; holds the fuses and the RPMB chip.
    silicon: JoinHandle<()>,
    /// Takes in the boot log; ends with the last process that writes there.
    log: JoinHandle<()>,
    /// For the modem's firmware, once it comes.
    wiring: Option<Wiring>,
}

impl Device {
    fn serve(mut self, inbox: &Receiver<Event>) {
        loop {
            match self.next(inbox) {
                Ok(Event::Pressed(button, done)) => {
                    self.press(button, inbox);
                    let _ = done.send(());
                }
                Ok(other) => self.take(other),
                Err(RecvTimeoutError::Timeout) => self.watch(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.parts.board.is_refused() && self.running.is_some() {
                self.power_off(inbox);
                self.try_again(inbox);
            }
            if let Some(reason) = self.wanted.take() {
                self.restart(reason, inbox);
            }
        }
    }

    /// The next event; a time-out is the end of a trial.
    fn next(&self, inbox: &Receiver<Event>) -> Result<Event, RecvTimeoutError> {
        match self.trial_ends {
            Some(end) => inbox.recv_timeout(end.saturating_duration_since(Instant::now())),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// The watchdog: a slot that hangs gives the other one its turn.
    fn watch(&mut self) {
        self.trial_ends = None;
        if self.running.is_some() && self.is_on_trial() {
            let seconds = self.parts.trial.as_secs();
            let reason = format!("this slot is on trial and did not prove itself in {seconds} s");
            self.parts.board.refuse("watchdog", "POLICY", reason);
        }
    }

    /// Off and on again, because the device asked for it. There is an end to that.
    fn restart(&mut self, reason: ResetReason, inbox: &Receiver<Event>) {
        if self.running.is_none() {
            return; // somebody pressed the button meanwhile, or it was refused
        }
        if !self.restarts.allow(self.parts.board.uptime()) {
            self.parts.board.refuse("power", "POLICY", Restarts::TOO_MANY);
            self.power_off(inbox);
            return;
        }
        self.power_off(inbox);
        self.power_on_or_say_why(reason);
        self.try_again(inbox);
    }

    /// A slot that was refused before it ever proved itself is tried again while it has tries;
    /// then the ROM falls back to the other one. Each turn uses a try up, so there is an end.
    fn try_again(&mut self, inbox: &Receiver<Event>) {
        while self.running.is_none() && self.parts.board.is_refused() && self.is_on_trial() {
            self.power_off(inbox);
            self.power_on_or_say_why(ResetReason::Restart);
        }
    }

    fn is_on_trial(&self) -> bool {
        let flash = OpenOptions::new().read(true).open(self.parts.places.flash());
        let tried = self.parts.board.slot();
        tried.zip(flash.ok()).is_some_and(|(slot, flash)| rom::is_on_trial(&flash, slot))
    }

    fn press(&mut self, button: Button, inbox: &Receiver<Event>) {
        self.wanted = None;
        self.restarts = Restarts::default();
        if button != Button::On {
            self.power_off(inbox);
        }
        if button != Button::Off && self.running.is_none() {
            // What is left of a device that went down by itself goes first.
            self.power_off(inbox);
            self.power_on_or_say_why(ResetReason::PowerButton);
            self.try_again(inbox);
        }
    }

    fn power_on_or_say_why(&mut self, reset: ResetReason) {
        self.trial_ends = Some(Instant::now() + self.parts.trial);
        if let Err(error) = self.power_on(reset) {
            self.parts.board.refuse("rom", "POLICY", error.to_string());
            self.parts.board.powered_off();
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Log(count, record) if count == self.count => self.parts.board.note(record),
            Event::TeeLog(count, record) if count == self.count => {
                self.parts.board.note_from_tee(record);
            }
            Event::Firmware(count, image) if count == self.count => self.start_modem(&image),
            Event::Ended(pid, status) => self.ended(pid, status),
            Event::Log(..) | Event::TeeLog(..) | Event::Firmware(..) | Event::Pressed(..) => {}
        }
    }

    fn ended(&mut self, pid: Pid, status: WaitStatus) {
        let Some(running) = &self.running else { return };
        let how = describe(status);
        if pid == running.bl1 && status.exit_status() != Some(0) {
            let reason = format!("the level-1 bootloader {how}; its console output says more");
            self.parts.board.refuse("bl1", "POLICY", reason);
        }
        let name = self.parts.board.name_of(pid.as_raw_nonzero().get());
        let request = status.exit_status().and_then(PowerRequest::from_exit_code);
        if let (Some(INIT), Some(request)) = (name.as_deref(), request) {
            self.obey(request);
        } else if let Some(name) = name.filter(|name| VITAL.contains(&name.as_str())) {
            let reason = format!("{name} {how}, and the device can't go on without it");
            self.parts.board.refuse(&name, "POLICY", reason);
        }
    }

    fn obey(&mut self, request: PowerRequest) {
        self.wanted = request.reason();
        if self.wanted.is_none() {
            let reason = "a block of the system on the flash is not the one that was signed, and \
                          its maker wants the device to stop then; flash a good image, or press \
                          the power button to try again";
            self.parts.board.refuse("system", "ERROR_VERIFICATION", reason);
        }
    }

    fn power_on(&mut self, reset: ResetReason) -> io::Result<()> {
        let parts = &self.parts;
        let before = parts.board.slot();
        let boot_no = next_boot_no(&parts.places.boots())?;
        parts.board.powered_on(boot_no, reset);
        fs::create_dir_all(parts.places.data())?;
        fs::create_dir_all(parts.places.run())?;
        let (clock, entropy) = (parts.clock.clone(), parts.entropy.clone());
        let silicon = Powered::up(&parts.places.board(), clock, entropy);
        let silicon = silicon.map_err(io::Error::other)?;
        parts.board.stands_on(silicon.kind());
        for (what, mend) in silicon.weaknesses() {
            parts.board.note(Record::Weakness { what, mend });
        }
        let flash = OpenOptions::new().read(true).write(true).open(parts.places.flash());
        let flash = flash.map_err(|error| {
            io::Error::other(format!("{}: {error}", parts.places.flash().display()))
        })?;
        let first = match rom::verify(&flash, silicon.silicon()) {
            Ok(verified) => verified,
            Err(refused) => {
                parts.board.tries(refused.slot);
                parts.board.note(Record::Stage(refused.stage));
                parts.board.powered_off();
                return Ok(());
            }
        };
        parts.board.tries(Some(first.slot));
        // What the system of one slot came to says nothing about the other one.
        let elsewhere = reset == ResetReason::Verity && before != Some(first.slot);
        let reset = if elsewhere { ResetReason::Restart } else { reset };
        parts.board.note(Record::Stage(first.stage));
        let arguments = BootArgs {
            slot: first.slot,
            boot_no,
            reset,
            data_dir: fs::canonicalize(parts.places.data())?,
            run_dir: fs::canonicalize(parts.places.run())?,
            bl1_index: first.index,
            tee_index: 0,
        };
        self.run(&first.image, &arguments, flash, silicon)
    }

    /// Wires the first stage up and starts it.
    fn run(
        &mut self,
        image: &OwnedFd,
        arguments: &BootArgs,
        flash: File,
        silicon: Powered,
    ) -> io::Result<()> {
        self.count += 1;
        let run = self.parts.places.run();
        let tee_listener = listen_at(&run, TEE_SOCKET, SocketType::SEQPACKET)?;
        let radio_listener = listen_at(&run, RADIO_SOCKET, SocketType::STREAM)?;
        let (secure, secure_far) = seqpacket()?;
        let (screen, screen_far) = seqpacket()?;
        let (modem, modem_far) = seqpacket()?;
        let (log, log_far) = pipe_with(PipeFlags::CLOEXEC)?;
        let (tee_log, tee_log_far) = pipe_with(PipeFlags::CLOEXEC)?;
        let (console, console_far) = pipe_with(PipeFlags::CLOEXEC)?;
        let (power_far, power) = pipe_with(PipeFlags::CLOEXEC)?;
        let nothing = OwnedFd::from(OpenOptions::new().read(true).write(true).open("/dev/null")?);
        let bl1 = rom::launch(image, arguments)?
            .give(nothing.as_fd(), 0)
            .give(nothing.as_fd(), 1)
            .give(console_far.as_fd(), 2)
            .give(secure_far.as_fd(), fds::SECURE)
            .give(flash.as_fd(), fds::FLASH)
            .give(log_far.as_fd(), fds::LOG)
            .give(tee_listener.as_fd(), fds::TEE_LISTENER)
            .give(screen_far.as_fd(), fds::TRUSTED_UI)
            .give(power_far.as_fd(), fds::POWER)
            .give(modem_far.as_fd(), fds::MODEM)
            .give(tee_log_far.as_fd(), fds::TEE_LOG)
            .in_new_session()
            .dying_with_parent()
            .spawn()?;
        let _ = self.spawned.send(());
        self.parts
            .board
            .note(Record::Process { name: "bl1".into(), pid: bl1.as_raw_nonzero().get() });
        self.hear_tee(tee_log)?;
        let log = self.attend(log, console, modem)?;
        let silicon = serve("secure", move || answer(&secure, &silicon))?;
        let trusted = self.parts.screen.clone();
        serve("screen", move || trusted.serve(screen))?;
        let wiring = Wiring {
            listener: radio_listener,
            log: log_far,
            power: power_far,
            console: console_far,
            nothing,
        };
        self.running = Some(Running { power, bl1, silicon, log, wiring: Some(wiring) });
        Ok(())
    }

    /// Listens to what the stages say. Gives the thread that takes in the log.
    fn attend(&self, log: OwnedFd, console: OwnedFd, modem: OwnedFd) -> io::Result<JoinHandle<()>> {
        let count = self.count;
        let (to_log, to_firmware) = (self.events.clone(), self.events.clone());
        let log = serve("log", move || {
            lines(log, |line| match serde_json::from_slice(line) {
                Ok(record) => drop(to_log.send(Event::Log(count, record))),
                Err(error) => eprintln!("boot log: {error}: {}", String::from_utf8_lossy(line)),
            });
        })?;
        serve("console", move || {
            lines(console, |line| eprintln!("device: {}", String::from_utf8_lossy(line)));
        })?;
        serve("modem", move || {
            // A boot that stopped before the modem's turn has told why.
            if let Ok(image) = Radio::receive_firmware(&modem) {
                let _ = to_firmware.send(Event::Firmware(count, image));
            }
        })?;
        Ok(log)
    }

    /// Listens to what the trusted OS says in its own log.
    fn hear_tee(&self, log: OwnedFd) -> io::Result<()> {
        let (count, events) = (self.count, self.events.clone());
        let heard = serve("tee-log", move || {
            lines(log, |line| match serde_json::from_slice(line) {
                Ok(record) => drop(events.send(Event::TeeLog(count, record))),
                Err(error) => eprintln!("the TEE's log: {error}"),
            });
        });
        heard.map(drop)
    }

    fn start_modem(&mut self, image: &OwnedFd) {
        let Some(wiring) = self.running.as_mut().and_then(|running| running.wiring.take()) else {
            return;
        };
        match self.parts.radio.start(image, &wiring) {
            Ok(pid) => {
                let _ = self.spawned.send(());
                let pid = pid.as_raw_nonzero().get();
                self.parts.board.note(Record::Process { name: "baseband".into(), pid });
            }
            Err(error) => {
                let reason = format!("the modem's firmware does not start: {error}");
                self.parts.board.refuse("baseband", "POLICY", reason);
            }
        }
    }

    /// Takes the power away and waits until no process is left; after a while it kills them.
    fn power_off(&mut self, inbox: &Receiver<Event>) {
        let threads = self.running.take().map(|Running { power, silicon, log, .. }| {
            drop(power);
            (silicon, log)
        });
        self.parts.board.powered_off();
        let deadline = Instant::now() + GRACE;
        let mut late = Vec::new();
        while !children().is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Each kill may give this process the grandchildren as children.
                kill_children();
            }
            match inbox.recv_timeout(left.max(KILL_AGAIN)) {
                Ok(pressed @ Event::Pressed(..)) => late.push(pressed),
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        // Nobody can ask it any more, so it ends; only then may another power-on open the chip.
        if let Some((silicon, log)) = threads {
            let _ = silicon.join();
            let _ = log.join();
        }
        // The last words.
        while let Ok(event) = inbox.try_recv() {
            match event {
                pressed @ Event::Pressed(..) => late.push(pressed),
                event => self.take(event),
            }
        }
        for pressed in late {
            let _ = self.events.send(pressed);
        }
    }
}

/// Children of this process are not reaped while their numbers are used: the reaper waits for
/// them to end, and a child that ended keeps its number until then.
fn kill_children() {
    for pid in children().into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn seqpacket() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

fn serve(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(256 * 1024).spawn(work)
}

/// Answers the trusted side until it hangs up.
fn answer(socket: &OwnedFd, silicon: &Powered) {
    while let Ok(request) = channel::receive(socket) {
        if channel::send(socket, &secure::answer(silicon.silicon(), request)).is_err() {
            return;
        }
    }
}

/// Gives each line; one that is too long comes in pieces.
fn lines(pipe: OwnedFd, mut each: impl FnMut(&[u8])) {
    let mut reader = BufReader::new(File::from(pipe));
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => each(line.strip_suffix(b"\n").unwrap_or(&line)),
        }
    }
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let writer = thread::spawn(move || {
            let chunk = [b'x'; 4096];
            for _ in 0..64 {
                rustix::io::write(&write, &chunk).unwrap();
            }
        });
        let mut longest = 0;
        lines(read, |line| longest = longest.max(line.len()));
        writer.join().unwrap();
        assert_eq!(longest as u64, MAX_LINE_BYTES);
    }
}
