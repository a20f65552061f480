//! Each step of the story, looked at from outside: what a step claims must show in processes,
//! files, other programs and the servers' answers, so that a step that only says so fails here.

use crate::run::{Told, Up, holdfast, path, sh, state, tell};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bootimg::gpt::{Gpt, HEAD_BYTES, TAIL_BYTES};
use effects::{Clock as _, SystemClock};
use http_link::{Client, Error};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// A word that is in every file of the folder, in their names and in a link's target.
const CANARY: &str = "Zostera-marina-1758";

/// A story that stays up, and what it said.
struct Run {
    state: tempfile::TempDir,
    folder: tempfile::TempDir,
    told: Told,
    ready: Value,
    up: Up,
    runtime: tokio::runtime::Runtime,
}

impl Run {
    fn start() -> Self {
        let (state, folder) = (state(), tempfile::tempdir().unwrap());
        fill(folder.path());
        let mut up = Up::start(state.path(), &["--folder", folder.path().to_str().unwrap()]);
        let mut lines = Vec::new();
        let ready = loop {
            let line = up.next().expect("the story comes to its end");
            if let Some(ready) = line.get("ready") {
                break ready.clone();
            }
            if line["step"] == "cloud.start" {
                two_servers_run(&line["evidence"]);
            }
            lines.push(line);
        };
        let told = Told { code: None, lines, stderr: String::new() };
        assert!(told.failed().is_empty(), "{told}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { state, folder, told, ready, up, runtime }
    }

    fn text(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap_or_else(|| panic!("no {key}: {}", self.ready))
    }

    fn evidence(&self, step: &str) -> &Value {
        &self.told.held(step)["evidence"]
    }

    /// The device's local API.
    fn device(&self) -> Client {
        Client::unix(Path::new(self.text("socket")))
    }

    /// The board's own control, which a laboratory has.
    fn board(&self) -> Client {
        Client::unix(&path(&self.state, "device/board.sock"))
    }

    /// The cloud, for a client that trusts `ca` alone.
    fn cloud(&self, ca: &Path) -> Client {
        let _inside = self.runtime.enter();
        let tcp = http_link::Connector::Tcp;
        Client::new(self.text("console"), &fs::read(ca).unwrap(), tcp).unwrap()
    }

    fn ca(&self) -> PathBuf {
        PathBuf::from(self.text("ca"))
    }

    fn get(&self, client: &Client, path: &str) -> Value {
        self.runtime
            .block_on(client.get(path).send_json())
            .unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    fn post(&self, client: &Client, path: &str, body: &Value) -> Result<Value, Error> {
        self.runtime.block_on(client.post(path).json(body).send_json())
    }

    fn owner(&self) -> Value {
        serde_json::from_slice(&fs::read(self.text("credentials")).unwrap()).unwrap()
    }

    /// Polls until `holds`.
    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..400 {
            if holds() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{what}: not after 20 s");
    }
}

/// Words that compress and noise that does not, in a few folders.
fn fill(folder: &Path) {
    fs::create_dir_all(folder.join(format!("deep/{CANARY}"))).unwrap();
    for number in 0..40_u32 {
        let mut bytes = CANARY.as_bytes().repeat(1 + number as usize * 97);
        bytes.extend((0..number * 1000).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
        let parent = if number % 2 == 0 { "deep".to_owned() } else { format!("deep/{CANARY}") };
        fs::write(folder.join(parent).join(format!("{CANARY}-{number}")), bytes).unwrap();
    }
    std::os::unix::fs::symlink(CANARY, folder.join("link")).unwrap();
}

fn refused(answer: Result<Value, Error>, word: &str) {
    match answer {
        Err(Error::Refused(refusal)) => assert_eq!(refusal.error, word, "{}", refusal.reason),
        Err(error) => panic!("{word} was due, not {error}"),
        Ok(answer) => panic!("{word} was due, not {answer}"),
    }
}

#[test]
fn every_step_of_the_story_shows_from_outside() {
    let run = Run::start();
    the_cloud_has_a_ca_of_its_own(&run);
    the_flash_image_is_what_it_is_said_to_be(&run);
    what_runs_is_what_was_verified(&run);
    the_tee_answers_a_challenge_of_ours(&run);
    the_secure_clock_says_what_time_it_is(&run);
    the_account_has_rules_and_one_password(&run);
    only_the_pin_opens_the_lock(&run);
    the_device_was_erased_and_restored(&run);
    nothing_stored_is_readable(&run);
    a_developers_call_arrives(&run);
    the_owner_finds_and_locks_the_device(&run);
    drop(run.up);
}

/// At that moment: the story starts them anew after it copied what they keep.
fn two_servers_run(evidence: &Value) {
    for (part, program) in [("cloud", "holdfast-cloud"), ("keycenter", "holdfast-keycenter")] {
        let exe = fs::read_link(format!("/proc/{}/exe", evidence[part]["pid"])).unwrap();
        assert!(exe.ends_with(program), "{exe:?}");
    }
}

/// A client that trusts somebody else's CA is not talked into it.
fn the_cloud_has_a_ca_of_its_own(run: &Run) {
    let challenge = |ca: &Path| run.post(&run.cloud(ca), "/v1/attest/challenge", &json!({}));
    assert!(challenge(&run.ca()).is_ok());
    let answer = challenge(&path(&run.state, "keycenter/ca.pem"));
    assert!(!matches!(answer, Ok(_) | Err(Error::Refused(_))), "{answer:?}");
}

/// The partition table of a flash image.
fn table(flash: &fs::File) -> Gpt {
    let length = flash.metadata().unwrap().len();
    let head = read(flash, 0, HEAD_BYTES as u64);
    let tail = read(flash, length - TAIL_BYTES as u64, TAIL_BYTES as u64);
    Gpt::parse(&head, &tail, length).unwrap().gpt
}

fn read(flash: &fs::File, at: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    flash.read_exact_at(&mut bytes, at).unwrap();
    bytes
}

/// The content of partitions of slot a, by their names without suffix.
fn partitions(run: &Run) -> BTreeMap<String, Vec<u8>> {
    let flash = fs::File::open(path(&run.state, "device/flash.img")).unwrap();
    let table = table(&flash);
    let wanted = table.partitions().iter().filter_map(|it| Some((it.name.strip_suffix("_a")?, it)));
    wanted
        .map(|(name, it)| (name.to_owned(), read(&flash, it.offset_bytes(), it.size_bytes())))
        .collect()
}

fn the_flash_image_is_what_it_is_said_to_be(run: &Run) {
    let parts = partitions(run);
    let image = avb::VbmetaImage::parse_prefix(&parts["vbmeta"]).unwrap().0;
    let descriptors = image.descriptors().unwrap();
    let boot = descriptors.iter().find_map(|it| match it {
        avb::Descriptor::Hash(hash) if hash.partition_name == "boot" => Some(hash),
        _ => None,
    });
    let boot = boot.expect("vbmeta describes boot");
    let content = &parts["boot"][..usize::try_from(boot.image_size).unwrap()];
    let salted = crypto::digest::sha256(&[&boot.salt, content].concat());
    assert_eq!(boot.digest, salted, "boot is not what vbmeta says");
    let digest = crypto::digest::sha256(content);
    assert_eq!(run.evidence("boot.kernel")["digest"], hex(&digest));
    let system = descriptors.iter().find_map(|it| match it {
        avb::Descriptor::Hashtree(tree) if tree.partition_name == "system" => Some(tree),
        _ => None,
    });
    let root = &system.expect("vbmeta describes system").root_digest;
    assert_eq!(run.evidence("boot.system")["digest"], hex(root));
    // The fuses hold the hash of the root public key and nothing of it readable elsewhere.
    let hash = run.evidence("device.manufacture")["root_key_hash"].as_str().unwrap().to_owned();
    let fuses = fs::read(path(&run.state, "device/board/fuses.cbor")).unwrap();
    assert!(contains(&fuses, &unhex(&hash)), "the fuses do not hold the root key's hash");
    let state = run.evidence("attest");
    assert_eq!(state["verified_boot_key"], hash.as_str());
}

/// Each process of the chain runs from sealed memory, with bytes that the flash image holds.
fn what_runs_is_what_was_verified(run: &Run) {
    let status = run.get(&run.board(), "/v1/status");
    let parts = partitions(run);
    let namespace =
        |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    let processes = status["processes"].as_array().unwrap();
    let mut seen = Vec::new();
    for process in processes {
        let (name, pid) = (process["name"].as_str().unwrap(), process["pid"].to_string());
        let Some(partition) = holds(name) else { continue };
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        assert!(exe.to_string_lossy().starts_with("/memfd:"), "{name} runs from {exe:?}");
        let program = fs::File::open(format!("/proc/{pid}/exe")).unwrap();
        let seals = rustix::fs::fcntl_get_seals(&program).unwrap();
        assert!(seals.contains(rustix::fs::SealFlags::WRITE), "{name}: {seals:?}");
        let bytes = fs::read(format!("/proc/{pid}/exe")).unwrap();
        assert!(bytes.len() > 100_000, "{name} has {} bytes", bytes.len());
        assert!(contains(&parts[partition], &bytes), "{name} is not what {partition} holds");
        // A process of the TEE was started before it moved: its process number stays the board's.
        let kinds = if partition == "tee" { &["user", "mnt", "net"][..] } else { &ALL_SPACES };
        for kind in kinds {
            assert_ne!(namespace(&pid, kind), namespace("self", kind), "{name} shares {kind}");
        }
        seen.push(name);
    }
    for due in ["tee-os", "ta-keymint", "ta-gatekeeper", "init", "system"] {
        assert!(seen.contains(&due), "{due} does not run: {processes:?}");
    }
}

const ALL_SPACES: [&str; 6] = ["user", "mnt", "pid", "net", "ipc", "uts"];

/// The partition whose image holds the program of this name as it stands.
fn holds(process: &str) -> Option<&'static str> {
    match process {
        "tee-os" | "ta-keymint" | "ta-gatekeeper" => Some("tee"),
        "init" => Some("boot"),
        "system" => Some("system"),
        _ => None,
    }
}

fn the_tee_answers_a_challenge_of_ours(run: &Run) {
    let challenge: [u8; 32] = crypto::random_array();
    let ask = json!({ "challenge": BASE64.encode(challenge) });
    let answer = run.post(&run.device(), "/v1/attest", &ask).unwrap();
    let chain: Vec<Vec<u8>> = answer["chain"]
        .as_array()
        .unwrap()
        .iter()
        .map(|der| BASE64.decode(der.as_str().unwrap()).unwrap())
        .collect();
    let pem = fs::read_to_string(path(&run.state, "maker/root_ca.pem")).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    assert_eq!(chain.last().unwrap(), &BASE64.decode(body).unwrap(), "another maker's root");
    let root = keyattest::verify_issued(&chain[1..]).unwrap().root;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let statement =
        keyattest::verify_chain(&chain, &[root], &|_| None, now.as_secs()).expect("it verifies");
    assert_eq!(statement.description.attestation_challenge, challenge);
    let root_of_trust = statement.description.hardware_enforced.root_of_trust.unwrap();
    assert!(root_of_trust.device_locked);
    let claimed = &run.evidence("attest")["verified_boot_hash"];
    assert_eq!(*claimed, hex(&root_of_trust.verified_boot_hash.unwrap()));
    // The cloud never gave that challenge.
    let evidence = json!({ "chain": answer["chain"] });
    assert!(run.post(&run.cloud(&run.ca()), "/v1/attest", &evidence).is_err());
}

/// S2.1.1: set by the cloud's token, and right within what it says of itself.
fn the_secure_clock_says_what_time_it_is(run: &Run) {
    let time = || run.get(&run.device(), "/v1/status")["time"].clone();
    run.until("the secure clock is set", || time()["trusted"] == true);
    let clock = SystemClock::default();
    let (before, said, after) = (clock.now().0, time(), clock.now().0);
    let (error, unix_ms) = (said["error_ms"].as_u64().unwrap(), said["unix_ms"].as_u64().unwrap());
    assert!((before - error..=after + error).contains(&unix_ms), "{said}");
    assert!(error < 30_100, "{said}");
}

fn the_account_has_rules_and_one_password(run: &Run) {
    let cloud = run.cloud(&run.ca());
    let owner = run.owner();
    let sign_in = |password: &Value| {
        run.post(&cloud, "/v1/sessions", &json!({ "login": owner["email"], "password": password }))
    };
    let session = sign_in(&owner["password"]).unwrap();
    assert_eq!(session["account_id"], run.evidence("account.sign_up")["account_id"]);
    assert!(sign_in(&json!("Another1-pass")).is_err());
    for (number, weak) in ["short1-", "onlyletters", "12345678", "Password1!"].iter().enumerate() {
        let account = json!({
            "country": "DE", "email": format!("weak{number}@example.org"),
            "phone": format!("+4915100000{number:03}"), "password": weak,
        });
        assert!(run.post(&cloud, "/v1/accounts", &account).is_err(), "{weak} was taken");
    }
    // The device is bound to that account and no other.
    let status = run.get(&run.device(), "/v1/status");
    assert_eq!(status["device_id"], run.evidence("device.bind")["device_id"]);
}

/// Types on the trusted screen while the device asks for the PIN.
fn unlock_with(run: &Run, pin: &str) -> Result<Value, Error> {
    let keys = json!({ "keys": format!("{pin}\n") });
    run.runtime.block_on(run.board().post("/v1/keys").json(&keys).send()).unwrap();
    run.post(&run.device(), "/v1/lock/unlock", &json!({}))
}

fn only_the_pin_opens_the_lock(run: &Run) {
    let owner = run.owner();
    let pin = owner["pin"].as_str().unwrap();
    run.post(&run.device(), "/v1/lock/lock", &json!({})).unwrap();
    let wrong: String = pin.chars().map(|c| if c == '7' { '3' } else { '7' }).collect();
    refused(unlock_with(run, &wrong), "wrong_pin");
    unlock_with(run, pin).unwrap();
    assert_eq!(run.get(&run.device(), "/v1/status")["ce_open"], true);
}

/// The board counts boots, the TEE counts erasures; what came back is the folder, says diff.
fn the_device_was_erased_and_restored(run: &Run) {
    let status = run.get(&run.device(), "/v1/status");
    assert_eq!(status["lock"]["erasures"], 1, "{status}");
    assert_eq!(status["boot_no"], 2, "{status}");
    let back = tempfile::tempdir().unwrap();
    let (socket, back) = (run.text("socket"), back.path().display());
    sh(&format!(
        "curl -sS --fail-with-body --unix-socket {socket} http://x/v1/files/tar | tar -C {back} -xp
         diff -r --no-dereference {} {back}",
        run.folder.path().display()
    ));
    let times = |folder: &str| {
        sh(&format!("cd {folder} && find . -mindepth 1 -printf '%p %m %T@ %l %y\\n' | sort"))
    };
    assert_eq!(times(&back.to_string()), times(run.folder.path().to_str().unwrap()));
}

/// Neither on the flash nor in the cloud does a name or a word of the folder stand.
fn nothing_stored_is_readable(run: &Run) {
    for place in ["device/data", "device/flash.img", "cloud/blocks", "cloud/cloud.db", "keycenter"]
    {
        let at = path(&run.state, place);
        let found = sh(&format!(
            "grep -rlaF -- {CANARY} {0} || true; find {0} | grep -F -- {CANARY} || true",
            at.display()
        ));
        assert_eq!(found, "", "{CANARY} is readable");
    }
    let size = |place: &str| {
        let size = sh(&format!("du -sb {}", path(&run.state, place).display()));
        size.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let bytes = run.evidence("vault.import")["bytes"].as_u64().unwrap();
    assert!(size("device/data") > bytes, "the files are not on the device");
    // The noise, at least, can't be made smaller.
    assert!(size("cloud/blocks") > bytes / 4, "the files are not in the cloud");
}

fn a_developers_call_arrives(run: &Run) {
    let developer = fs::read(path(&run.state, "cloud/developer.json")).unwrap();
    let developer: Value = serde_json::from_slice(&developer).unwrap();
    let app = json!({ "app": "org.example.tide" });
    let registration = run.post(&run.device(), "/v1/push/registrations", &app).unwrap();
    let message = json!({
        "registration_id": registration["registration_id"],
        "message": { "title": CANARY, "body": "at noon" },
    });
    let cloud = run.cloud(&run.ca());
    let send = |credential: &str| {
        let post = cloud.post("/v1/push/messages").bearer(credential).json(&message);
        run.runtime.block_on(post.send_json::<Value>())
    };
    assert!(send("guessed").is_err(), "anybody may push");
    send(developer["credential"].as_str().unwrap()).unwrap();
    run.until("the notification", || {
        let shown = run.get(&run.device(), "/v1/notifications").to_string();
        // The story's own is there too: it was not only reported.
        shown.contains(CANARY)
    });
}

/// The commands of the story, as the cloud remembers them, and one of a person's own.
fn the_owner_finds_and_locks_the_device(run: &Run) {
    let cloud = run.cloud(&run.ca());
    let owner = run.owner();
    let login = json!({ "login": owner["email"], "password": owner["password"] });
    let session = run.post(&cloud, "/v1/sessions", &login).unwrap();
    let token = session["token"].as_str().unwrap();
    let device = run.evidence("device.bind")["device_id"].as_str().unwrap();
    let commands = format!("/v1/devices/{device}/commands");
    let outcome = |id: u64| {
        let get = cloud.get(&format!("{commands}/{id}")).bearer(token).send_json::<Value>();
        run.runtime.block_on(get).unwrap()
    };
    // Locate, sound, lost, erase.
    let story: Vec<Value> = (1..=4).map(outcome).collect();
    assert!(story.iter().all(|it| it["state"] == "done"), "{story:?}");
    assert_eq!(&story[0]["position"], run.evidence("find.locate"));
    assert!(story[2]["position"].is_object(), "a lost device tells where it is: {story:?}");

    let command = |token: &str, body: &Value| {
        let post = cloud.post(&commands).bearer(token).json(body);
        run.runtime.block_on(post.send_json::<Value>())
    };
    let lost = json!({ "kind": "lost", "message": CANARY });
    assert!(command("guessed", &lost).is_err(), "anybody may lock it");
    let id = command(token, &lost).unwrap()["command_id"].as_u64().unwrap();
    run.until("lost mode", || outcome(id)["state"] == "done");
    assert_eq!(run.get(&run.device(), "/v1/status")["ce_open"], false);
    refused(run.post(&run.device(), "/v1/sync/upload", &json!({})), "locked");
    refused(unlock_with(run, owner["pin"].as_str().unwrap()), "lost_mode");
    let screen = sh(&format!("curl -sS {}", run.text("phone")));
    assert!(screen.contains(CANARY), "the message is not on the lock screen: {screen}");
    let end = |password: &Value| {
        run.post(&run.device(), "/v1/lost-mode/end", &json!({ "password": password }))
    };
    refused(end(&json!("Another1-pass")), "wrong_password");
    end(&owner["password"]).unwrap();
    unlock_with(run, owner["pin"].as_str().unwrap()).unwrap();
}

/// Bits flipped by a stranger, and the device powered on by the documented command: refused in
/// every partition that the story attacks, and up again once all is put right.
#[test]
fn a_flipped_bit_in_any_partition_stops_the_boot_with_a_reason() {
    let state = state();
    let told = tell(state.path(), &[]);
    assert_eq!(told.code, Some(0), "{told}");
    let image = path(&state, "device/flash.img");
    let flash = fs::File::options().read(true).write(true).open(image).unwrap();
    let table = table(&flash);
    let mut partitions = 0;
    for step in told.lines.iter().filter_map(|line| line["step"].as_str()) {
        let Some(name) = step.strip_prefix("attack.flip.") else { continue };
        let evidence = &told.held(step)["evidence"];
        let partition = evidence["partition"].as_str().unwrap();
        assert!(partition == name || partition == format!("{name}_a"), "{partition}");
        let place = table.partition(partition).unwrap();
        let number = |key: &str| evidence[key].as_u64().unwrap();
        // The first bit, the very bit of the story, and the last one.
        for (byte, bit) in [(0, 0), (number("byte"), number("bit")), (place.size_bytes() - 1, 7)] {
            flip(&flash, place.offset_bytes() + byte, bit);
            let board = power_on(&state);
            let reason = board["refused"]["reason"].as_str().unwrap_or_default();
            assert_ne!(reason, "", "{partition}, byte {byte}, bit {bit}: {board}");
            flip(&flash, place.offset_bytes() + byte, bit);
        }
        partitions += 1;
    }
    assert_eq!(partitions, 9, "{told}");
    let board = power_on(&state);
    assert_eq!(board["ready"], true, "{board}");
}

fn flip(flash: &fs::File, at: u64, bit: u64) {
    let byte = read(flash, at, 1)[0];
    flash.write_all_at(&[byte ^ (1 << bit)], at).unwrap();
}

/// Powers the device on, waits for what comes of it, and powers it off.
fn power_on(state: &tempfile::TempDir) -> Value {
    let mut boot = holdfast()
        .args(["device", "boot", "--state"])
        .arg(state.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = || {
        let mut status = holdfast();
        let output = status.args(["device", "status", "--json", "--state"]).arg(state.path());
        let said: Value = serde_json::from_slice(&output.output().unwrap().stdout).unwrap();
        said["board"].clone()
    };
    let settled = (0..400).find_map(|_| {
        std::thread::sleep(Duration::from_millis(25));
        let board = status();
        (board["ready"] == true || board["refused"].is_object()).then_some(board)
    });
    // SAFETY: a signal to a child that was not waited for.
    unsafe { libc::kill(i32::try_from(boot.id()).unwrap(), libc::SIGINT) };
    boot.wait().unwrap();
    settled.expect("it boots or is refused within 10 s")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}
