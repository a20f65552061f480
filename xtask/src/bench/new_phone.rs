//! Our turn of the restore: a second device of the same owner gets all files of the first. Nothing
//! is erased before, as nothing is before the peers' turns.

use super::contest::Turn;
use super::disk;
use super::story::tree_cpu_s;
use crate::shell::{output, run, target_dir};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The owner of both.
const LOGIN: &str = "owner@example.org";
const PASSWORD: &str = "kelp-holds-42!";
const PIN: &str = "246810";

/// One turn: MiB a second of the second device's restore.
pub(crate) fn restore(folder: &Path, mib: f64) -> Result<Turn> {
    let home = disk::scratch("new-phone")?;
    let servers = home.join("servers");
    let keycenter = Server::start(&servers, &["keycenter", "serve", "--listen", "127.0.0.1:0"])?;
    let key_url = keycenter.said("url")?;
    let arguments = ["cloud", "serve", "--listen", "127.0.0.1:0", "--keycenter", &key_url];
    let cloud = Server::start(&servers, &arguments)?;
    let url = cloud.said("url")?;
    let account = json!({
        "email": LOGIN, "phone": "+4915112345678", "password": PASSWORD, "country": "DE",
    });
    let ca = servers.join("cloud/ca.pem");
    post(Command::new("curl").arg("--cacert").arg(ca), &format!("{url}/v1/accounts"), &account)?;

    let first = Phone::in_use(home.join("first"), &servers, &url)?;
    let pack = format!(
        "tar -C '{}' -c . | curl -sS --fail-with-body --unix-socket '{}' -T - http://x/v1/files",
        folder.display(),
        first.socket().display()
    );
    output(Command::new("sh").args(["-ec", &pack]))?;
    first.asks("/v1/sync/upload", &json!({}))?;
    drop(first);

    let second = Phone::in_use(home.join("second"), &servers, &url)?;
    disk::quiesce()?;
    let cpu = tree_cpu_s(std::process::id());
    let said = second.asks("/v1/sync/restore", &json!({}))?;
    let done: Value = serde_json::from_str(said.lines().last().unwrap_or_default())?;
    let cpu_s = Some(tree_cpu_s(std::process::id()) - cpu);
    let ms = done["ms"].as_f64().with_context(|| format!("the restore says {done}"))?;
    Ok(Turn { value: mib / ms * 1000.0, cpu_s })
}

/// One part of Holdfast alone, until it is dropped.
struct Server {
    child: Child,
    ready: Value,
}

impl Server {
    /// Starts it and waits for the line that says where it listens.
    fn start(state: &Path, arguments: &[&str]) -> Result<Self> {
        let mut child = holdfast(state, arguments)?
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("holdfast did not start")?;
        let stdout = child.stdout.take().context("a pipe was asked for")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready = serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?;
        Ok(Self { child, ready })
    }

    fn said(&self, key: &str) -> Result<String> {
        let value = self.ready[key].as_str();
        Ok(value.with_context(|| format!("no {key} in {}", self.ready))?.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = run(Command::new("kill").arg(self.child.id().to_string()));
        let _ = self.child.wait();
    }
}

/// A device that is on.
struct Phone {
    state: PathBuf,
    _board: Server,
}

impl Phone {
    /// Makes one, signs its owner in, sets and opens the screen lock.
    fn in_use(state: PathBuf, servers: &Path, cloud: &str) -> Result<Self> {
        let mut make = holdfast(&state, &["device", "make", "--enrol", cloud])?;
        make.arg("--cloud-ca").arg(servers.join("cloud/ca.pem"));
        make.arg("--maker-credential").arg(servers.join("cloud/maker.json"));
        output(&mut make)?;
        let board = Server::start(&state, &["device", "boot"])?;
        let phone = Self { state, _board: board };
        phone.until_up()?;
        phone.asks("/v1/account/sign-in", &json!({ "login": LOGIN, "password": PASSWORD }))?;
        phone.types(&format!("boat Seven\n{PIN}\n{PIN}\n"))?;
        phone.asks("/v1/lock/enrol", &json!({}))?;
        phone.types(&format!("{PIN}\n"))?;
        phone.asks("/v1/lock/unlock", &json!({}))?;
        Ok(phone)
    }

    fn until_up(&self) -> Result<()> {
        for _ in 0..400 {
            let mut status = holdfast(&self.state, &["device", "status"])?;
            if status.stdout(Stdio::null()).status()?.success() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        bail!("the device in {} does not boot", self.state.display())
    }

    fn socket(&self) -> PathBuf {
        self.state.join("device/run/holdfast.sock")
    }

    /// The local API.
    fn asks(&self, path: &str, body: &Value) -> Result<String> {
        let mut curl = Command::new("curl");
        curl.arg("--unix-socket").arg(self.socket());
        post(&mut curl, &format!("http://x{path}"), body)
    }

    /// The board's scripted keys.
    fn types(&self, keys: &str) -> Result<String> {
        let mut curl = Command::new("curl");
        curl.arg("--unix-socket").arg(self.state.join("device/board.sock"));
        post(&mut curl, "http://x/v1/keys", &json!({ "keys": keys }))
    }
}

fn holdfast(state: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(target_dir()?.join("debug/holdfast"));
    command.args(arguments).arg("--state").arg(state);
    Ok(command)
}

fn post(curl: &mut Command, url: &str, body: &Value) -> Result<String> {
    curl.args(["-sS", "--fail-with-body", "-H", "content-type: application/json", "-d"]);
    output(curl.arg(body.to_string()).arg(url)).with_context(|| format!("POST {url}"))
}
