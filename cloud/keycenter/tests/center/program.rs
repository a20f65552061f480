//! The program as it is started, over TLS: our own client and a stranger's.

use super::*;
use keycenter_client::{Credential, KeyCenter, KeyType};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast-keycenter");

struct Program {
    child: Child,
    folder: TempDir,
    url: String,
    ca: String,
}

impl Program {
    fn start(folder: TempDir) -> Self {
        std::fs::write(folder.path().join("root-key.pem"), root_key()).unwrap();
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--state"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("one JSON line when it listens");
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self { child, folder, url: text("url"), ca: text("ca") }
    }

    fn client(&self) -> http_link::Client {
        let ca = std::fs::read(&self.ca).unwrap();
        http_link::Client::new(&self.url, &ca, http_link::Connector::Tcp).unwrap()
    }

    fn credential(&self) -> Credential {
        let file = std::fs::read(self.folder.path().join("bootstrap/cloud.json")).unwrap();
        Credential::from_json(&file).unwrap()
    }

    /// Peak resident memory so far, KiB.
    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn signal(&mut self, name: &str) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn our_client_and_the_program_understand_each_other() {
    let program = Program::start(tempfile::tempdir().unwrap());
    let cloud = KeyCenter::new(program.client(), program.credential());
    cloud.create_key("pii", KeyType::Aes128Gcm96).await.unwrap();
    cloud.create_key("pii-index", KeyType::Hmac).await.unwrap();
    cloud.create_key("user-1", KeyType::Aes256Gcm96).await.unwrap();
    let sealed = cloud.encrypt("pii", b"+4930123456", b"row").await.unwrap();
    assert_eq!(&cloud.decrypt("pii", &sealed, b"row").await.unwrap()[..], b"+4930123456");
    assert!(cloud.decrypt("pii", &sealed, b"other").await.is_err());
    let opened = cloud.decrypt_batch("pii", &[(&sealed, b"row"), (&sealed, b"x")]).await.unwrap();
    assert!(opened[0].is_ok() && opened[1].is_err());
    let tag = cloud.hmac("pii-index", b"+4930123456").await.unwrap();
    assert!(tag.starts_with("vault:v1:"));
    assert_eq!(cloud.data_key("user-1").await.unwrap_err().status(), Some(403));

    let key = EcdsaKey::generate(Curve::P256).unwrap();
    let spki = key.public_key_spki().unwrap();
    cloud.configure_jwt(&spki, "holdfast-account").await.unwrap();
    cloud.configure_jwt(&spki, "holdfast-account").await.unwrap();
    let now = effects::SystemClock::default().now().seconds();
    let claims = json!({
        "iss": "holdfast-account", "aud": "keycenter", "sub": "1", "purpose": "owner",
        "iat": now, "exp": now + 300, "jti": "one",
    });
    let jwt = jws::sign(&claims, |message| key.sign_fixed(message)).unwrap();
    let owner = KeyCenter::new(program.client(), Credential::owner_once(jwt));
    let made = owner.data_key("user-1").await.unwrap();
    let again = owner.unwrap_data_key("user-1", &made.wrapped).await.unwrap();
    assert_eq!(made.plaintext.expose(), again.plaintext.expose());
    assert!(owner.policy("owner").await.unwrap().contains("identity.sub"));
    assert_eq!(owner.key("user-1").await.unwrap().unwrap().kind, "aes256-gcm96");
    cloud.delete_key("user-1").await.unwrap();
    cloud.delete_key("user-1").await.unwrap();
    assert!(owner.unwrap_data_key("user-1", &made.wrapped).await.is_err());
    assert!(cloud.key("user-1").await.unwrap().is_none());
    let resident = program.resident_kib();
    assert!(resident < 35 * 1024, "{resident} KiB resident");
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill_at_any_moment() {
    let mut folder = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..4_u64 {
        let mut program = Program::start(folder);
        let cloud = KeyCenter::new(program.client(), program.credential());
        for name in &acknowledged {
            assert!(cloud.key(name).await.unwrap().is_some(), "{name} is lost");
        }
        let pid = program.child.id().to_string();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(60 + 37 * round));
            Command::new("kill").args(["-KILL", &pid]).status().unwrap()
        });
        for number in 0.. {
            let name = format!("user-{round}-{number}");
            match cloud.create_key(&name, KeyType::Aes256Gcm96).await {
                Ok(()) => acknowledged.push(name),
                Err(_) => break,
            }
        }
        killer.join().unwrap();
        program.child.wait().unwrap();
        folder = std::mem::replace(&mut program.folder, tempfile::tempdir().unwrap());
    }
    assert!(!acknowledged.is_empty());
    let audit =
        Command::new(PROGRAM).args(["audit", "--state"]).arg(folder.path()).output().unwrap();
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stderr));
}

#[test]
fn ends_cleanly_on_a_signal_and_keeps_others_out() {
    for signal in ["-TERM", "-INT"] {
        let mut program = Program::start(tempfile::tempdir().unwrap());
        let second = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--state"])
            .arg(program.folder.path())
            .output()
            .unwrap();
        assert_eq!(second.status.code(), Some(3));
        let text = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(text.contains("another Key Center"), "{text}");
        assert!(program.signal(signal).success());
    }
}

#[test]
fn a_port_in_use_is_said_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["serve", "--listen", &taken.local_addr().unwrap().to_string(), "--state"])
        .arg(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3));
    assert!(text.contains("--listen"), "{text}");
}

/// hvac, the most used Python client of Vault, unchanged.
#[test]
fn hvac_works_with_it_unchanged() {
    let Some(python) = python_with_hvac() else {
        assert!(std::env::var_os("CI").is_none(), "hvac cannot be installed, and CI needs it");
        println!("skipped: hvac cannot be installed (needs python3 with venv, and PyPI)");
        return;
    };
    let program = Program::start(tempfile::tempdir().unwrap());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/center/hvac_story.py");
    let output = Command::new(python)
        .arg(script)
        .args([&program.url, &program.ca])
        .arg(program.folder.path().join("bootstrap/cloud.json"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
}

/// A Python with hvac, in an environment that is made once and kept beside the build.
fn python_with_hvac() -> Option<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hvac");
    let python = folder.join("bin/python");
    let ready = || {
        Command::new(&python).args(["-c", "import hvac"]).output().is_ok_and(|o| o.status.success())
    };
    if !ready() {
        Command::new("python3").args(["-m", "venv"]).arg(&folder).output().ok()?;
        let install = ["-m", "pip", "install", "--quiet", "hvac==2.4.0"];
        Command::new(&python).args(install).output().ok()?;
    }
    ready().then_some(python)
}
