//! An emulated board inside the test: everything that the trusted OS inherits.

use board::report::{Record, RefusalKind, Verdict};
use board::secure::{Request, answer};
use board::silicon::{CryptoEngine, Fuses, Huk, MonotonicCounter, Rpmb, Timer, Trng};
use board::ui::{FromScreen, Mark, Prompt, ToScreen, Typed};
use board::{LifeCycle, SiliconError, channel};
use crypto::kdf::hkdf_sha256;
use crypto::mac::hmac_sha256;
use factory::{AvbKey, KeySize};
use rpmb::{MemoryStore, RpmbDevice};
use rpmb_chip::FileStore;
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

/// Who made the board: their key, and what they sign.
pub(crate) struct Maker {
    pub(crate) key: AvbKey,
    version: AtomicU64,
    admitted: Mutex<Vec<[u8; 32]>>,
}

impl Maker {
    /// With a fresh key.
    pub(crate) fn new() -> Arc<Self> {
        Self::with(AvbKey::generate(KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn with(key: AvbKey) -> Arc<Self> {
        Arc::new(Self { key, version: AtomicU64::new(1), admitted: Mutex::default() })
    }

    /// The version of the TAs in the next power-on's tee image.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(SeqCst)
    }

    pub(crate) fn set_version(&self, version: u64) {
        self.version.store(version, SeqCst);
    }

    /// Who may sign TAs besides, from the next power-on.
    pub(crate) fn admitted(&self) -> Vec<[u8; 32]> {
        self.admitted.lock().unwrap().clone()
    }

    pub(crate) fn admit(&self, digest: [u8; 32]) {
        self.admitted.lock().unwrap().push(digest);
    }
}

/// Fuses, HUK, RPMB, clock: what outlives power-off, and the clock.
pub(crate) struct TestBoard {
    pub(crate) maker: Arc<Maker>,
    huk: [u8; 32],
    counters: Mutex<[u64; 8]>,
    factory: AtomicBool,
    uptime_ms: AtomicU64,
    rpmb: Mutex<RpmbDevice<MemoryStore>>,
    /// In the place of the one in memory.
    durable_rpmb: Mutex<Option<RpmbDevice<FileStore>>>,
}

impl TestBoard {
    pub(crate) fn new(maker: Arc<Maker>) -> Arc<Self> {
        Arc::new(Self {
            maker,
            huk: crypto::random_array(),
            counters: Mutex::default(),
            factory: AtomicBool::new(true),
            uptime_ms: AtomicU64::new(1000),
            rpmb: Mutex::new(RpmbDevice::new(MemoryStore::new(16_384))),
            durable_rpmb: Mutex::default(),
        })
    }

    /// The same board with another HUK: what a chip from elsewhere is soldered to.
    pub(crate) fn with_chip_of(other: &Self) -> Arc<Self> {
        let board = Self::new(Arc::clone(&other.maker));
        *board.rpmb.lock().unwrap() = RpmbDevice::new(other.rpmb.lock().unwrap().store().clone());
        board
    }

    /// Gives the board a chip whose content is a file.
    pub(crate) fn solder(&self, chip: FileStore) {
        *self.durable_rpmb.lock().unwrap() = Some(RpmbDevice::new(chip));
    }

    pub(crate) fn reset_clock(&self) {
        self.uptime_ms.store(1000, SeqCst);
    }

    pub(crate) fn advance_ms(&self, ms: u64) {
        self.uptime_ms.fetch_add(ms, SeqCst);
    }

    /// Serves the secure channel until its other end closes.
    pub(crate) fn serve(self: &Arc<Self>, socket: OwnedFd) {
        let board = Arc::clone(self);
        std::thread::spawn(move || {
            while let Ok(request) = channel::receive::<Request>(&socket) {
                if channel::send(&socket, &answer(&*board, request)).is_err() {
                    return;
                }
            }
        });
    }
}

impl Fuses for TestBoard {
    fn root_key_hashes(&self) -> Result<Vec<[u8; 32]>, SiliconError> {
        Ok(vec![[0; 32], self.maker.key.digest()])
    }

    fn serial(&self) -> Result<String, SiliconError> {
        Ok("HF-TEST-0001".into())
    }

    fn life_cycle(&self) -> Result<LifeCycle, SiliconError> {
        Ok(if self.factory.load(SeqCst) { LifeCycle::Factory } else { LifeCycle::Deployed })
    }

    fn deploy(&self) -> Result<(), SiliconError> {
        self.factory.store(false, SeqCst);
        Ok(())
    }
}

impl Huk for TestBoard {
    fn derive(&self, label: &str, context: &[u8]) -> Result<[u8; 32], SiliconError> {
        Ok(*hkdf_sha256(&self.huk, &[], &[label.as_bytes(), &[0], context]).expose())
    }

    fn mac(&self, label: &str, data: &[u8]) -> Result<[u8; 32], SiliconError> {
        Ok(hmac_sha256(&self.huk, &[label.as_bytes(), &[1], data]))
    }
}

impl Trng for TestBoard {
    fn random(&self, bytes: usize) -> Result<Vec<u8>, SiliconError> {
        let mut out = vec![0; bytes];
        crypto::random(&mut out);
        Ok(out)
    }
}

impl MonotonicCounter for TestBoard {
    fn counter(&self, location: u8) -> Result<u64, SiliconError> {
        Ok(self.counters.lock().unwrap()[usize::from(location)])
    }

    fn raise_counter(&self, location: u8, value: u64) -> Result<(), SiliconError> {
        let counter = &mut self.counters.lock().unwrap()[usize::from(location)];
        if value < *counter {
            return Err(SiliconError::Refused("a counter only rises".into()));
        }
        *counter = value;
        Ok(())
    }
}

impl Rpmb for TestBoard {
    fn rpmb(&self, frames: &[u8]) -> Result<Vec<u8>, SiliconError> {
        Ok(match &mut *self.durable_rpmb.lock().unwrap() {
            Some(chip) => chip.exchange(frames),
            None => self.rpmb.lock().unwrap().exchange(frames),
        })
    }
}

impl CryptoEngine for TestBoard {}

impl Timer for TestBoard {
    fn uptime_ms(&self) -> Result<u64, SiliconError> {
        Ok(self.uptime_ms.load(SeqCst))
    }
}

/// The trusted screen with a person in front of it.
#[derive(Default)]
pub(crate) struct Screen {
    state: Mutex<ScreenState>,
    changed: Condvar,
}

#[derive(Default)]
struct ScreenState {
    answers: VecDeque<Option<String>>,
    shown: Vec<Prompt>,
    marks: Vec<Option<Mark>>,
    standing: Option<u64>,
    cancelled: u32,
}

impl Screen {
    /// The person will type this at the next prompt.
    pub(crate) fn will_type(&self, text: &str) {
        self.state.lock().unwrap().answers.push_back(Some(text.into()));
    }

    /// Waits until a prompt stands that nobody answers.
    pub(crate) fn wait_for_prompt(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.standing.is_none()).unwrap());
    }

    /// Waits until the TEE took a prompt away.
    pub(crate) fn wait_for_cancel(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.cancelled == 0).unwrap());
    }

    /// The person will turn the next prompt away.
    pub(crate) fn will_cancel(&self) {
        self.state.lock().unwrap().answers.push_back(None);
    }

    /// All prompts so far.
    pub(crate) fn shown(&self) -> Vec<Prompt> {
        self.state.lock().unwrap().shown.clone()
    }

    /// What stood beside the prompts.
    pub(crate) fn marks(&self) -> Vec<Option<Mark>> {
        self.state.lock().unwrap().marks.clone()
    }

    /// The number of the prompt that nobody answers.
    pub(crate) fn standing(&self) -> Option<u64> {
        self.state.lock().unwrap().standing
    }

    /// Serves the screen's channel until its other end closes.
    pub(crate) fn serve(self: &Arc<Self>, socket: OwnedFd) {
        let screen = Arc::clone(self);
        std::thread::spawn(move || {
            while let Ok(message) = channel::receive::<ToScreen>(&socket) {
                if let Some(answer) = screen.take(message) {
                    channel::send(&socket, &answer).unwrap();
                }
                screen.changed.notify_all();
            }
        });
    }

    fn take(&self, message: ToScreen) -> Option<FromScreen> {
        let mut state = self.state.lock().unwrap();
        match message {
            ToScreen::Show { id, prompt, mark } => {
                state.shown.push(prompt);
                state.marks.push(mark);
                match state.answers.pop_front() {
                    Some(Some(text)) => Some(FromScreen::Entered { id, text: Typed::new(text) }),
                    Some(None) => Some(FromScreen::Cancelled { id }),
                    None => {
                        state.standing = Some(id);
                        None
                    }
                }
            }
            ToScreen::Cancel { id } => {
                assert_eq!(state.standing.take(), Some(id));
                state.cancelled += 1;
                None
            }
        }
    }
}

/// The boot log, as it comes in.
#[derive(Default)]
pub(crate) struct BootLog {
    records: Mutex<Vec<Record>>,
    changed: Condvar,
}

impl BootLog {
    /// Reads records until the other ends close.
    pub(crate) fn serve(self: &Arc<Self>, pipe: OwnedFd) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in std::io::BufReader::new(std::fs::File::from(pipe)).lines() {
                let Ok(line) = line else { return };
                log.records.lock().unwrap().push(serde_json::from_str(&line).unwrap());
                log.changed.notify_all();
            }
        });
    }

    /// Waits until something of `kind` was refused that often.
    pub(crate) fn wait_for_refusals(&self, kind: RefusalKind, count: u64) {
        let due = |record: &Record| match record {
            Record::Refused(refusal) => refusal.kind == kind && refusal.count >= count,
            _ => false,
        };
        let records = self.records.lock().unwrap();
        drop(self.changed.wait_while(records, |records| !records.iter().any(due)).unwrap());
    }

    /// The processes of `name` so far, oldest first; waits until there are `count`.
    pub(crate) fn processes(&self, name: &str, count: usize) -> Vec<i32> {
        let pids = |records: &Vec<Record>| -> Vec<i32> {
            let pid = |record: &Record| match record {
                Record::Process { name: found, pid } if found == name => Some(*pid),
                _ => None,
            };
            records.iter().filter_map(pid).collect()
        };
        let records = self.records.lock().unwrap();
        let records =
            self.changed.wait_while(records, |records| pids(records).len() < count).unwrap();
        pids(&records)
    }

    /// The verdicts on images of `name`, oldest first; waits until there are `count`.
    pub(crate) fn verdicts(&self, name: &str, count: usize) -> Vec<Verdict> {
        let verdicts = |records: &Vec<Record>| -> Vec<Verdict> {
            let verdict = |record: &Record| match record {
                Record::TrustedApplication(application) if application.name == name => {
                    Some(application.verdict.clone())
                }
                _ => None,
            };
            records.iter().filter_map(verdict).collect()
        };
        let records = self.records.lock().unwrap();
        let records =
            self.changed.wait_while(records, |records| verdicts(records).len() < count).unwrap();
        verdicts(&records)
    }

    /// What the kernel was found to lack.
    pub(crate) fn weaknesses(&self) -> Vec<String> {
        let weakness = |record: &Record| match record {
            Record::Weakness { what, .. } => Some(what.clone()),
            _ => None,
        };
        self.records.lock().unwrap().iter().filter_map(weakness).collect()
    }
}
