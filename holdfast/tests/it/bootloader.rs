//! The bootloader's lock, the four boot states and the user's own key: docs/boot.md, line by
//! line, and a device that its owner gives a system of their own.

use crate::document::{Reader, blocks};
use crate::run::{holdfast, path, sh, state};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use board::flash::Flash;
use effects::SystemEntropy;
use factory::{AvbKey, FlashPlan, KeySize, Release, RollbackIndexes, Stages, VerityErrorMode};
use http_link::Client;
use keyattest::{RootOfTrust, VerifiedBootState};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Output, Stdio};

#[test]
fn the_page_about_boot_works_as_written() {
    let home = state();
    let mut reader = Reader::at(home.path());
    let mut said = Vec::new();
    for block in blocks("docs/boot.md") {
        if block.terminal {
            reader.starts(&block.text);
            reader.types("until holdfast device status > /dev/null; do sleep 0.1; done");
        } else {
            said.push(reader.types(&block.text));
        }
    }
    let said = said.join("\n");
    for due in [
        "the bootloader is unlocked, the device erased; it booted orange",
        "the bootloader is locked, the device erased; it booted green",
        r#""locked":false"#,
        "from the next boot on the maker's key alone is trusted",
    ] {
        assert!(said.contains(due), "{due} is missing in what was said:\n{said}");
    }
    reader.leaves();
}

/// A device that was made, and its power.
struct Owned {
    state: tempfile::TempDir,
    board: Option<(Child, Value)>,
    runtime: tokio::runtime::Runtime,
}

impl Owned {
    fn make() -> Self {
        let state = state();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let owned = Self { state, board: None, runtime };
        owned.says(&["make"], 0, "");
        owned
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = holdfast();
        command.arg("device").args(arguments).env("HOLDFAST_STATE", self.state.path());
        command.output().unwrap()
    }

    /// Runs `holdfast device …`; gives its standard output.
    fn says(&self, arguments: &[&str], code: i32, on_stderr: &str) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(on_stderr), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Powers the device on and waits for what comes of it.
    fn power_on(&mut self) -> Value {
        let mut command = holdfast();
        let command = command.args(["device", "boot"]).env("HOLDFAST_STATE", self.state.path());
        let mut board = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(board.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.board = Some((board, serde_json::from_str(&line).unwrap()));
        for _ in 0..1200 {
            let status = self.run(&["status", "--json"]);
            let status: Value = serde_json::from_slice(&status.stdout).unwrap();
            let up = status["board"]["ready"] == true && status["system"].is_object();
            if up || status["board"]["refused"].is_object() {
                return status;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        panic!("neither up nor refused within 30 s");
    }

    fn power_off(&mut self) {
        let (mut board, _) = self.board.take().unwrap();
        // SAFETY: a signal to a child that was not waited for.
        unsafe { libc::kill(i32::try_from(board.id()).unwrap(), libc::SIGINT) };
        assert_eq!(board.wait().unwrap().code(), Some(0));
    }

    /// What stands on the phone's screen.
    fn phone(&self) -> String {
        let (_, screens) = self.board.as_ref().unwrap();
        sh(&format!("curl -sSL {}", screens["phone_screen"].as_str().unwrap()))
    }

    /// The person will say yes on the trusted screen.
    fn agrees(&self) {
        let board = Client::unix(&path(&self.state, "device/board.sock"));
        let keys = board.post("/v1/keys").json(&json!({ "keys": "\n" })).send();
        self.runtime.block_on(keys).unwrap();
    }

    /// What the TEE attests of this boot.
    fn attested(&self) -> RootOfTrust {
        let system = Client::unix(&path(&self.state, "device/run/holdfast.sock"));
        let challenge = json!({ "challenge": BASE64.encode(b"whose system is this?") });
        let answer = system.post("/v1/attest").json(&challenge).send_json();
        let answer: Value = self.runtime.block_on(answer).unwrap();
        let der = |der: &Value| BASE64.decode(der.as_str().unwrap()).unwrap();
        let chain: Vec<Vec<u8>> = answer["chain"].as_array().unwrap().iter().map(der).collect();
        let root = keyattest::verify_issued(&chain[1..]).unwrap().root;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let statement = keyattest::verify_chain(&chain, &[root], &|_| None, now.as_secs()).unwrap();
        statement.description.hardware_enforced.root_of_trust.unwrap()
    }

    fn flash(&self) -> Flash {
        open(&path(&self.state, "device/flash.img"))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some((board, _)) = &mut self.board {
            let _ = board.kill();
            let _ = board.wait();
        }
    }
}

fn open(path: &Path) -> Flash {
    Flash::open(OpenOptions::new().read(true).write(true).open(path).unwrap()).unwrap()
}

/// Puts a system that `key` signed into slot a; the maker's bootloaders and TEE stay.
fn flash_own_system(owned: &Owned, key: &AvbKey) {
    let stages = Stages::load(&Stages::folder().unwrap()).unwrap();
    let release = Release {
        version: "own".into(),
        os_version: "16".into(),
        security_patch: "2026-11-05".into(),
    };
    let plan = FlashPlan {
        stages: &stages,
        release,
        // Older than the maker's: an owner counts for themselves.
        rollback: RollbackIndexes::all(1),
        cloud: None,
        files: Vec::new(),
        ta_signers: Vec::new(),
        updates: None,
        verity_error_mode: VerityErrorMode::Managed,
    };
    let image = path(&owned.state, "own.img");
    plan.build(key, &image, &SystemEntropy).unwrap();
    let (from, to) = (open(&image), owned.flash());
    for name in ["vbmeta_a", "boot_a", "baseband_a", "system_a"] {
        to.write_at(name, 0, &from.read(name).unwrap()).unwrap();
    }
}

fn hex(bytes: &[u8]) -> String {
    board::argument::hex(bytes)
}

#[test]
fn s2_2_an_owner_unlocks_flashes_a_system_of_their_own_and_locks_it_under_their_key() {
    let mut owned = Owned::make();
    owned.says(&["unlock"], 3, "the device is off");
    let status = owned.power_on();
    let maker = status["system"]["boot_key"].as_str().unwrap().to_owned();
    assert_eq!(status["system"]["boot_state"], "green");
    assert!(!owned.phone().contains("boot-warning"));
    owned.says(&["lock"], 1, "is locked already");
    let key = AvbKey::generate(KeySize::Rsa2048).unwrap();
    let key_file = path(&owned.state, "own.pkmd");
    fs::write(&key_file, key.public_blob()).unwrap();
    let key_file = key_file.to_str().unwrap();
    owned.says(&["set-custom-key", key_file], 1, "unlock the bootloader");

    owned.agrees();
    let said: Value = serde_json::from_str(&owned.says(&["unlock", "--json"], 0, "")).unwrap();
    assert_eq!(
        (&said["boot_state"], &said["bootloader_locked"]),
        (&json!("orange"), &json!(false))
    );
    assert_eq!(said["erasures"], 1);
    let root = owned.attested();
    assert!(!root.device_locked);
    assert_eq!(root.verified_boot_state, VerifiedBootState::Unverified);
    assert_eq!(root.verified_boot_key, [0; 32]);
    let shown = owned.phone();
    assert!(shown.contains("The bootloader is unlocked"), "{shown}");
    assert!(shown.contains(&fingerprint(&maker)), "{shown}");

    owned.power_off();
    flash_own_system(&owned, &key);
    let status = owned.power_on();
    assert_eq!(status["system"]["boot_state"], "orange", "{status}");
    assert_eq!(status["system"]["boot_key"], hex(&key.digest()));
    owned.says(&["lock"], 1, "would not boot once the bootloader is locked");
    owned.says(&["set-custom-key", key_file], 0, "");
    owned.agrees();
    let said: Value = serde_json::from_str(&owned.says(&["lock", "--json"], 0, "")).unwrap();
    assert_eq!((&said["boot_state"], &said["bootloader_locked"]), (&json!("yellow"), &json!(true)));
    let root = owned.attested();
    assert!(root.device_locked);
    assert_eq!(root.verified_boot_state, VerifiedBootState::SelfSigned);
    assert_eq!(root.verified_boot_key, key.digest());
    let shown = owned.phone();
    assert!(shown.contains("another system than its maker"), "{shown}");
    assert!(shown.contains(&fingerprint(&hex(&key.digest()))), "{shown}");
    owned.says(&["set-custom-key", "--clear"], 1, "unlock the bootloader");

    owned.power_off();
    // A third party's system is red, and so is the owner's with one flipped bit.
    let mut byte = [0];
    owned.flash().read_at("boot_a", 9000, &mut byte).unwrap();
    owned.flash().write_at("boot_a", 9000, &[byte[0] ^ 1]).unwrap();
    let status = owned.power_on();
    assert_eq!(status["board"]["refused"]["code"], "ERROR_VERIFICATION", "{status}");
    let shown = owned.phone();
    let reason = status["board"]["refused"]["reason"].as_str().unwrap();
    assert!(shown.contains("data-boot=red") && shown.contains("does not start"), "{shown}");
    assert!(shown.contains(reason), "{reason} is not in {shown}");
    owned.power_off();
    flash_own_system(&owned, &AvbKey::generate(KeySize::Rsa2048).unwrap());
    let status = owned.power_on();
    assert_eq!(status["board"]["refused"]["code"], "ERROR_PUBLIC_KEY_REJECTED", "{status}");
}

/// As a person compares it.
fn fingerprint(digest: &str) -> String {
    [0, 4, 8, 12].map(|at| &digest[at..at + 4]).join(" ")
}
