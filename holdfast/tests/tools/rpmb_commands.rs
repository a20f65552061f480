//! `holdfast rpmb`: its own client, Debian's mmc-utils, an attacker at the socket, and a server
//! that dies at any moment.

use crate::document::{Reader, blocks};
use rpmb::{Frame, OperationResult, Request, host, join, split};
use rpmb_chip::client::Client;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

const KEY: &[u8; 32] = b"AAAABBBBCCCCDDDDEEEEFFFFGGGGHHHH";
const NONCE: [u8; 16] = [9; 16];

fn holdfast() -> Command {
    Command::new(env!("CARGO_BIN_EXE_holdfast"))
}

/// A server in a folder with the files that the commands need.
struct Chip {
    folder: TempDir,
    server: Child,
    ready: Value,
}

impl Chip {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes);
        put("key", KEY).unwrap();
        put("other-key", &[7; 32]).unwrap();
        put("block", &[0xb1; 256]).unwrap();
        put("blocks", &[0xb2; 3 * 256]).unwrap();
        let (server, ready) = Self::serve(folder.path());
        Self { folder, server, ready }
    }

    /// Starts one and waits until it says that it listens.
    fn serve(folder: &Path) -> (Child, Value) {
        let mut server = holdfast()
            .args(["rpmb", "serve", "--state", ".", "--socket", "rpmb.sock"])
            .args(["--size-kib", "128"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it said {line:?}"));
        (server, ready)
    }

    /// SIGKILL, and a new server over the same file.
    fn dies_and_returns(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        (self.server, self.ready) = Self::serve(self.folder.path());
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("rpmb.sock")
    }

    fn client(&self) -> Client {
        Client::connect(&self.socket()).unwrap()
    }

    fn exchange(&self, request: &[u8]) -> Vec<u8> {
        self.client().exchange(request, 1).unwrap()
    }

    fn counter(&self) -> u32 {
        let answer = self.exchange(&host::read_counter(&NONCE));
        host::check_counter(KEY, &NONCE, &answer).unwrap()
    }

    fn block(&self, address: u16) -> [u8; 256] {
        let answer = self.exchange(&host::read(&NONCE, address, 1));
        host::check_read(KEY, &NONCE, address, 1, &answer).unwrap()[0]
    }

    /// `holdfast rpmb …`.
    fn run(&self, line: &str) -> Output {
        let words = line.split_whitespace();
        holdfast().arg("rpmb").args(words).current_dir(self.folder.path()).output().unwrap()
    }

    /// The JSON of a command that ends with `code`.
    fn json(&self, line: &str, code: i32) -> Value {
        let output = self.run(line);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}: {errors}");
        assert_eq!(errors.is_empty(), code == 0, "{line}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

impl Drop for Chip {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn s3_1_2_the_client_programs_writes_and_reads() {
    let chip = Chip::start();
    assert_eq!(chip.ready["created"], true);
    assert_eq!(chip.ready["blocks"], 512);
    let no_key = chip.json("read-counter --json rpmb.sock", 1);
    assert_eq!((&no_key["ok"], &no_key["result"]), (&false.into(), &7.into()));
    assert_eq!(chip.json("write-key --json rpmb.sock key", 0)["ok"], true);
    assert_eq!(chip.json("write-key --json rpmb.sock other-key", 1)["result"], 1);

    let counter = chip.json("read-counter --json rpmb.sock key", 0);
    assert_eq!(counter, serde_json::json!({"ok": true, "counter": 0, "checked": true}));
    let written = chip.json("write-block --json rpmb.sock 0x02 block key", 0);
    assert_eq!(written["counter"], 1);
    let written = chip.json("write-block --json rpmb.sock 3 blocks key", 0);
    assert_eq!((&written["counter"], &written["blocks"]), (&2.into(), &3.into()));
    let read = chip.json("read-block --json rpmb.sock 2 4 out key", 0);
    assert_eq!(read["bytes"], 1024);
    let out = std::fs::read(chip.folder.path().join("out")).unwrap();
    assert_eq!((&out[..256], &out[256..]), (&[0xb1; 256][..], &[0xb2; 768][..]));
    let text = String::from_utf8(chip.run("read-counter rpmb.sock").stdout).unwrap();
    assert_eq!(text, "Counter value: 0x00000002\n");
}

#[test]
fn s3_1_2_what_the_chip_refuses_is_exit_code_1_with_its_reason() {
    let chip = Chip::start();
    chip.json("write-key --json rpmb.sock key", 0);
    let foreign = chip.json("write-block --json rpmb.sock 0 block other-key", 1);
    assert!(foreign["reason"].as_str().unwrap().contains("not authentic"), "{foreign}");
    assert_eq!(chip.json("write-block --json rpmb.sock 512 block key", 1)["result"], 4);
    assert_eq!(chip.json("write-block --json rpmb.sock 510 blocks key", 1)["result"], 4);
    assert_eq!(chip.json("read-block --json rpmb.sock 511 2 out key", 1)["result"], 4);
    chip.json("read-block --json rpmb.sock 0 1 out other-key", 1);
    assert!(!chip.folder.path().join("out").exists(), "nothing unauthentic is written");
    assert_eq!(chip.counter(), 0);
    // The command line and what it names; the environment.
    for (line, code) in [
        ("write-block rpmb.sock 65536 block key", 2),
        ("write-block rpmb.sock 0 key key", 2),
        ("write-block rpmb.sock 0 block block", 2),
        ("read-block rpmb.sock 0 0 out", 2),
        ("read-block --json rpmb.sock 0 1 -", 2),
        ("read-counter nothing.sock", 3),
        ("write-key rpmb.sock nothing", 3),
        ("serve --state . --socket other.sock", 3),
        ("serve --state other --socket rpmb.sock", 3),
        ("serve --state key --socket other.sock", 1),
        ("serve --state new --socket other.sock --size-kib 100", 2),
    ] {
        chip.json(line, code);
    }
}

#[test]
fn s3_1_2_a_recorded_write_is_refused_whenever_it_comes_again() {
    let mut chip = Chip::start();
    host::check_key(&chip.exchange(&host::program_key(KEY))).unwrap();
    let recorded = host::write(KEY, 0, 5, &[[1; 256]]);
    host::check_write(KEY, 1, 5, &chip.exchange(&recorded)).unwrap();
    let newer = host::write(KEY, 1, 5, &[[2; 256]]);
    host::check_write(KEY, 2, 5, &chip.exchange(&newer)).unwrap();
    for _ in 0..2 {
        for old in [&recorded, &newer] {
            let answer = split(&chip.exchange(old)).unwrap();
            assert_eq!(answer[0].result, OperationResult::Counter as u16);
        }
        assert_eq!((chip.counter(), chip.block(5)), (2, [2; 256]));
        chip.dies_and_returns();
        assert_eq!(chip.ready["created"], false);
    }
}

#[test]
fn s3_1_2_a_server_killed_at_any_moment_loses_nothing_and_repeats_no_counter() {
    let mut chip = Chip::start();
    host::check_key(&chip.exchange(&host::program_key(KEY))).unwrap();
    let mut counter = 0;
    for round in 0..24_u8 {
        // Acknowledged writes, then one whose answer nobody waits for.
        for _ in 0..round % 3 {
            let content = [[counter as u8; 256]; 4];
            let answer = chip.exchange(&host::write(KEY, counter, 8, &content));
            counter += 1;
            host::check_write(KEY, counter, 8, &answer).unwrap();
        }
        let content = [[counter as u8; 256]; 4];
        let mut socket = UnixStream::connect(chip.socket()).unwrap();
        let frames = host::write(KEY, counter, 8, &content);
        let head = [1, 25, 0, 0, (frames.len() / 512) as u8];
        socket.write_all(&[&head[..], &frames].concat()).unwrap();
        if round % 2 == 0 {
            let _ = socket.read(&mut [0]);
        }
        chip.dies_and_returns();
        let now = chip.counter();
        let acknowledged = counter + u32::from(round % 2 == 0);
        assert!((acknowledged..=counter + 1).contains(&now), "{now} after {counter}");
        if now > 0 {
            let due = [(now - 1) as u8; 256];
            assert!((8..12).all(|address| chip.block(address) == due), "torn in round {round}");
        }
        counter = now;
    }
}

#[test]
fn a_hostile_client_harms_nobody_else() {
    let chip = Chip::start();
    host::check_key(&chip.exchange(&host::program_key(KEY))).unwrap();
    let silent = UnixStream::connect(chip.socket()).unwrap();
    let half = [2, 25, 0, 0, 9, 1, 2, 3];
    for wrong in [&[255_u8; 600][..], &[1, 18, 0, 0xff, 0xff], &[0x80], &half, &[1, 99, 0, 0, 1]] {
        let mut socket = UnixStream::connect(chip.socket()).unwrap();
        let _ = socket.write_all(wrong);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let _ = socket.read_to_end(&mut said);
        assert!(said.len() <= 1, "{wrong:?} got {} bytes", said.len());
    }
    for kind in [0, 8, 0x0300, 0xffff] {
        let frames = split(&chip.exchange(&join(&[Frame { kind, ..Frame::default() }]))).unwrap();
        assert_eq!(frames[0].result, OperationResult::General as u16);
    }
    let lonely = Frame { kind: Request::ReadResult.code(), ..Frame::default() };
    chip.exchange(&join(&[lonely]));
    assert_eq!(chip.counter(), 0);
    drop(silent);
}

#[test]
fn the_server_ends_cleanly_and_takes_over_from_a_dead_one() {
    let mut chip = Chip::start();
    chip.dies_and_returns();
    let pid = i32::try_from(chip.server.id()).unwrap();
    // SAFETY: a signal to a child that was not waited for.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    assert_eq!(chip.server.wait().unwrap().code(), Some(0));
    assert!(!chip.socket().exists());
    // What is no socket is not taken away.
    std::fs::write(chip.socket(), "mine").unwrap();
    chip.json("serve --state . --socket rpmb.sock", 3);
    assert_eq!(std::fs::read(chip.socket()).unwrap(), b"mine");
}

/// Debian's mmc-utils, unchanged, with the shim.
struct Mmc(PathBuf);

impl Mmc {
    fn find() -> Option<Self> {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/shim");
        let shim = match std::env::var_os("HOLDFAST_RPMB_SHIM") {
            Some(path) => Some(PathBuf::from(path)),
            None => std::fs::read_dir(target).into_iter().flatten().flatten().find_map(|folder| {
                Some(folder.path().join("debug/librpmb_shim.so")).filter(|path| path.exists())
            }),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mmc = std::env::split_paths(&path).any(|folder| folder.join("mmc").is_file());
        if let (true, Some(shim)) = (mmc, shim) {
            return Some(Self(shim.canonicalize().unwrap()));
        }
        assert!(std::env::var_os("CI").is_none(), "mmc-utils or librpmb_shim.so is absent");
        eprintln!("not run: it needs mmc-utils, and librpmb_shim.so (`cargo xtask shim`)");
        None
    }

    fn run(&self, chip: &Chip, line: &str, input: &[u8]) -> (bool, String) {
        self.on(chip, line, input, |_| ())
    }

    fn on(
        &self,
        chip: &Chip,
        line: &str,
        input: &[u8],
        more: impl FnOnce(&mut Command),
    ) -> (bool, String) {
        let mut command = Command::new("mmc");
        command.arg("rpmb").args(line.split_whitespace()).current_dir(chip.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("LD_PRELOAD", &self.0);
        more(&mut command);
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

#[test]
fn s3_1_2_debians_mmc_utils_use_the_chip_unchanged() {
    let Some(mmc) = Mmc::find() else { return };
    let mut chip = Chip::start();
    let (_, said) = mmc.run(&chip, "read-counter rpmb.sock", b"");
    assert!(said.contains("retcode 0x0007"), "no key yet: {said}");
    let (ok, said) = mmc.run(&chip, "write-key rpmb.sock -", KEY);
    assert!(ok, "{said}");
    let (_, said) = mmc.run(&chip, "write-key rpmb.sock other-key", b"");
    assert!(said.contains("retcode 0x0001"), "a key is programmed once: {said}");
    let (ok, said) = mmc.run(&chip, "read-counter rpmb.sock", b"");
    assert!(ok && said.contains("Counter value: 0x00000000"), "{said}");

    let (ok, said) = mmc.run(&chip, "write-block rpmb.sock 0x02 block key", b"");
    assert!(ok, "{said}");
    assert_eq!(chip.counter(), 1);
    assert_eq!(chip.block(2), [0xb1; 256]);
    chip.json("write-block --json rpmb.sock 3 blocks key", 0);
    let (ok, said) = mmc.run(&chip, "read-block rpmb.sock 0x02 4 out key", b"");
    assert!(ok, "{said}");
    let out = std::fs::read(chip.folder.path().join("out")).unwrap();
    assert_eq!((&out[..256], &out[256..]), (&[0xb1; 256][..], &[0xb2; 768][..]));

    chip.dies_and_returns();
    let (_, said) = mmc.run(&chip, "read-block rpmb.sock 0x02 1 out2 other-key", b"");
    assert!(said.contains("MAC"), "another key is noticed: {said}");
    let (_, said) = mmc.run(&chip, "write-block rpmb.sock 0x02 block other-key", b"");
    assert!(said.contains("0x0002"), "authentication failure: {said}");
    let (_, said) = mmc.run(&chip, "read-block rpmb.sock 0x200 1 out3", b"");
    assert!(said.contains("0x0004"), "address failure: {said}");
    assert_eq!(chip.counter(), 2);
}

#[test]
fn mmc_utils_reach_the_chip_through_any_file_that_the_environment_names() {
    let Some(mmc) = Mmc::find() else { return };
    let chip = Chip::start();
    host::check_key(&chip.exchange(&host::program_key(KEY))).unwrap();
    for name in ["mmcblk0rpmb", "other"] {
        std::fs::write(chip.folder.path().join(name), "").unwrap();
    }
    let named = |line: &str| {
        mmc.on(&chip, line, b"", |command| {
            command.env("HOLDFAST_RPMB_SOCKET", chip.socket());
            command.env("HOLDFAST_RPMB_DEVICE", chip.folder.path().join("mmcblk0rpmb"));
        })
    };
    let (ok, said) = named("read-counter mmcblk0rpmb");
    assert!(ok && said.contains("0x00000000"), "{said}");
    let (ok, said) = named("read-counter other");
    assert!(!ok && said.contains("Inappropriate ioctl"), "{said}");
}

#[test]
fn the_page_about_rpmb_works_as_written() {
    let home = tempfile::tempdir().unwrap();
    let mut reader = Reader::at(home.path());
    let mut said = String::new();
    for block in blocks("docs/rpmb.md") {
        if block.terminal {
            let ready = reader.starts(&block.text);
            assert_eq!(ready["blocks"], 16_384);
        } else {
            said.push_str(&reader.types(&block.text));
        }
    }
    assert!(said.contains(r#"{"checked":true,"counter":1,"ok":true}"#), "{said}");
    reader.leaves();
}
