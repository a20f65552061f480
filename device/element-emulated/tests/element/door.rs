//! The socket for named programs, with the real program behind it.

use iso7816::{Command, Ne};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast-element");

/// An element that is served, until this is dropped.
struct Served {
    child: Child,
    folder: tempfile::TempDir,
}

impl Served {
    fn start(allowed: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("element");
        let made = Process::new(PROGRAM).arg("make").arg("--state").arg(&state).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let child = Process::new(PROGRAM)
            .args(["serve", "--state"])
            .arg(&state)
            .arg("--socket")
            .arg(folder.path().join("sock"))
            .arg("--allow")
            .arg(allowed)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut served = Self { child, folder };
        let mut line = String::new();
        BufReader::new(served.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("serial"), "{line}");
        served
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a command and takes its response; an error where the line is closed.
fn exchange(line: &mut UnixStream, command: &[u8]) -> std::io::Result<Vec<u8>> {
    line.write_all(&[&(command.len() as u16).to_be_bytes(), command].concat())?;
    let mut length = [0; 2];
    line.read_exact(&mut length)?;
    let mut response = vec![0; u16::from_be_bytes(length).into()];
    line.read_exact(&mut response)?;
    Ok(response)
}

fn select() -> Vec<u8> {
    let select = Command::new(0, 0xA4, 4, 0).with_data(&[0xA0, 0, 0, 3, 8]).with_ne(Ne::SHORT);
    select.encode().unwrap()
}

#[test]
fn s3_3_2_named_programs_reach_the_element_and_nothing_proved_remains() {
    let served = Served::start(&std::env::current_exe().unwrap());
    let mut line = UnixStream::connect(served.socket()).unwrap();
    assert!(exchange(&mut line, &[4]).unwrap().starts_with(&[0x3B]), "the ATR");
    assert!(exchange(&mut line, &select()).unwrap().ends_with(&[0x90, 0]));
    let verify = Command::new(0, 0x20, 0, 0x80).with_data(b"123456\xFF\xFF").encode().unwrap();
    assert_eq!(exchange(&mut line, &verify).unwrap(), [0x90, 0]);
    assert_eq!(exchange(&mut line, &[0, 0x20, 0, 0x80]).unwrap(), [0x90, 0]);
    drop(line);
    let mut next = UnixStream::connect(served.socket()).unwrap();
    exchange(&mut next, &select()).unwrap();
    assert_eq!(exchange(&mut next, &[0, 0x20, 0, 0x80]).unwrap(), [0x63, 0xC3]);
}

#[test]
fn s3_3_2_programs_that_are_not_named_are_turned_away() {
    let served = Served::start(Path::new("/bin/true"));
    let mut line = UnixStream::connect(served.socket()).unwrap();
    assert!(exchange(&mut line, &select()).is_err());
}

#[test]
fn a_folder_has_one_element_and_one_program_at_a_time() {
    let served = Served::start(Path::new("/bin/true"));
    let state = served.folder.path().join("element");
    for action in ["make", "serve"] {
        let mut second = Process::new(PROGRAM);
        second.arg(action).arg("--state").arg(&state);
        if action == "serve" {
            second.args(["--vpcd", "127.0.0.1:1"]);
        }
        let second = second.output().unwrap();
        assert_eq!(second.status.code(), Some(3));
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(said.contains("another program has the element"), "{said}");
    }
}

#[test]
fn killed_at_any_instant_the_acknowledged_is_there() {
    let mut served = Served::start(&std::env::current_exe().unwrap());
    let state = served.folder.path().join("element");
    let mut line = UnixStream::connect(served.socket()).unwrap();
    exchange(&mut line, &select()).unwrap();
    // The PIN changes again and again until the program is killed under it.
    let killer = std::thread::spawn({
        let id = served.child.id() as i32;
        move || {
            for _ in 0..3_000_000 {
                std::hint::spin_loop();
            }
            let pid = rustix::process::Pid::from_raw(id).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    });
    let pin = |number: u32| format!("{number:06}").into_bytes();
    let (mut known, mut sent) = (b"123456".to_vec(), b"123456".to_vec());
    for number in 0..1_000_000 {
        sent = pin(number);
        let data = [&known[..], &[0xFF; 2], &sent, &[0xFF; 2]].concat();
        let change = Command::new(0, 0x24, 0, 0x80).with_data(&data).encode().unwrap();
        match exchange(&mut line, &change) {
            Ok(answer) => assert_eq!(answer, [0x90, 0]),
            Err(_) => break,
        }
        known = sent.clone();
    }
    killer.join().unwrap();
    served.child.wait().unwrap();
    let key = element_emulated::binding::KeyFile::open(state.join("element.key")).unwrap();
    let storage = element_emulated::store::FileStorage(state.join("element.state"));
    let store = element_emulated::store::Store::open(Box::new(storage), Box::new(key)).unwrap();
    let value = &store.state().pin.value.0[..6];
    assert!(value == known || value == sent, "it is the last that was acknowledged, or the next");
}
