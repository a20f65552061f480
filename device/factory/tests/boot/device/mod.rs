//! A whole device for tests: made, flashed, run by the real board program.

use board::flash::Flash;
use effects::{SystemEntropy, UnixMillis};
use factory::{
    AvbKey, Backend, BoardOrder, FlashPlan, KeySize, Maker, Release, RollbackIndexes, Stages,
    VerityErrorMode, make_board,
};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
/// How long a boot may take on a busy machine before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all tests share: the stages and a maker, made once.
pub(crate) struct Workshop {
    pub(crate) stages: Stages,
    pub(crate) programs: PathBuf,
    pub(crate) maker: Maker,
    _folder: TempDir,
}

/// The workshop; `None`, and a line that says why, where a program was not built.
pub(crate) fn workshop() -> Option<&'static Workshop> {
    static WORKSHOP: OnceLock<Option<Workshop>> = OnceLock::new();
    WORKSHOP.get_or_init(open_workshop).as_ref()
}

fn open_workshop() -> Option<Workshop> {
    let programs = Stages::folder().unwrap();
    let stages = match Stages::load(&programs) {
        Ok(stages) => stages,
        Err(error) => return not_run(&error.to_string()),
    };
    for program in ["holdfast-board", "holdfast-probe"] {
        if !programs.join(program).is_file() {
            return not_run(&format!(
                "{program} is missing; cargo build -p board-emulated -p boot"
            ));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let maker = new_maker(folder.path());
    Some(Workshop { stages, programs, maker, _folder: folder })
}

fn not_run<T>(why: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("not run: {why}");
    None
}

pub(crate) fn new_maker(folder: &Path) -> Maker {
    Maker::open_or_create(folder, KeySize::Rsa2048, NOW, &SystemEntropy).unwrap()
}

impl Workshop {
    /// Builds a flash image at `path`.
    pub(crate) fn flash(&self, maker: &Maker, rollback: RollbackIndexes, path: &Path) {
        self.flash_signed(maker.avb_key(), &self.stages, rollback, path);
    }

    /// Builds a flash image of these programs at `path`.
    pub(crate) fn flash_signed(
        &self,
        key: &AvbKey,
        stages: &Stages,
        rollback: RollbackIndexes,
        path: &Path,
    ) {
        self.plan(stages, rollback).build(key, path, &SystemEntropy).unwrap();
    }

    /// What goes into a flash image of these programs.
    pub(crate) fn plan<'s>(&self, stages: &'s Stages, rollback: RollbackIndexes) -> FlashPlan<'s> {
        FlashPlan {
            stages,
            release: Release {
                version: "1.2.3".into(),
                os_version: "16".into(),
                security_patch: "2026-11-05".into(),
            },
            rollback,
            cloud: None,
            ta_signers: Vec::new(),
            files: Vec::new(),
            updates: None,
            verity_error_mode: VerityErrorMode::Managed,
        }
    }

    /// A fresh device that accepts images from `rollback` on.
    pub(crate) fn device(&self, rollback: RollbackIndexes) -> Device {
        let folder = tempfile::tempdir().unwrap();
        let order = BoardOrder {
            serial: "HF-TEST-1".into(),
            root_key_hash: self.maker.avb_key().digest(),
            second_root_key_hash: Some(self.maker.second_avb_key().digest()),
            bl1_rollback_index: rollback.bl1,
            tee_rollback_index: rollback.tee,
            backend: Backend::Emulated,
        };
        make_board(&folder.path().join("board"), &order, &SystemEntropy).unwrap();
        self.flash(&self.maker, rollback, &folder.path().join("flash.img"));
        Device { folder }
    }
}

/// A device that is off.
pub(crate) struct Device {
    pub(crate) folder: TempDir,
}

impl Device {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn open_flash(&self) -> Flash {
        let path = self.path("flash.img");
        Flash::open(OpenOptions::new().read(true).write(true).open(path).unwrap()).unwrap()
    }

    /// Flips one bit of a partition.
    pub(crate) fn flip(&self, partition: &str, bit: u64) {
        let flash = self.open_flash();
        let mut byte = [0];
        flash.read_at(partition, bit / 8, &mut byte).unwrap();
        flash.write_at(partition, bit / 8, &[byte[0] ^ 1 << (bit % 8)]).unwrap();
    }

    /// Runs the board program on it.
    pub(crate) fn run(&self, workshop: &Workshop) -> Board {
        let program = Command::new(workshop.programs.join("holdfast-board"));
        self.run_with(program)
    }

    /// Runs the board program as `command` starts it.
    pub(crate) fn run_with(&self, mut command: Command) -> Board {
        let log = File::create(self.path("log")).unwrap();
        let mut child = command
            .arg("--state")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let screens = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("the board said {line:?}; {}", fs::read_to_string(self.path("log")).unwrap())
        });
        Board { child, folder: self.folder.path().to_owned(), screens }
    }
}

/// A running board.
pub(crate) struct Board {
    pub(crate) child: Child,
    pub(crate) screens: Value,
    folder: PathBuf,
}

impl Board {
    /// Asks the control socket; gives status code and body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut socket = UnixStream::connect(self.folder.join("board.sock")).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nhost: board\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, serde_json::from_str(body).unwrap_or_default())
    }

    pub(crate) fn status(&self) -> Value {
        self.ask("GET", "/v1/status", &Value::Null).1
    }

    /// Waits until the device is ready or refuses to boot.
    pub(crate) fn outcome(&self) -> Value {
        self.wait_for(|status| status["ready"] == true || !status["refused"].is_null())
    }

    pub(crate) fn wait_for(&self, reached: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let status = self.status();
            if reached(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "{status:#}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the board and the stages wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The refusal as `(stage, code)`.
    pub(crate) fn refusal(&self) -> (String, String) {
        let status = self.outcome();
        let text = |field: &str| status["refused"][field].as_str().unwrap_or_default().to_owned();
        assert!(!status["refused"].is_null(), "it booted: {status:#}");
        assert_eq!(status["ready"], false);
        println!("{}: {}", text("stage"), text("reason"));
        (text("stage"), text("code"))
    }

    /// The pids of the device's processes with this name.
    pub(crate) fn pids(status: &Value, name: &str) -> Vec<i32> {
        let processes = status["processes"].as_array().unwrap();
        let named = processes.iter().filter(|process| process["name"] == name);
        named.map(|process| process["pid"].as_i64().unwrap().try_into().unwrap()).collect()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
