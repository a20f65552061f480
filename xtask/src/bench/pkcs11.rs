//! Keys through PKCS #11: one program on our module and on SoftHSM2, which keeps its keys in the
//! process of its caller. Ours are in the TEE of a device that is booted for the bench.

use super::contest::{Contest, Contestant, OURS, Turn};
use super::disk::scratch;
use crate::library::PKCS11;
use crate::peers::absent;
use crate::shell::{output, run, target_dir};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

/// Where Debian has SoftHSM2.
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// What is measured: the bench program's word, the contest's name, its unit.
const CONTESTS: &[(&str, &str, &str)] = &[
    ("sign", "pkcs11: P-256 signatures, one thread", "/s"),
    ("sign8", "pkcs11: P-256 signatures, 8 threads", "/s"),
    ("rsa", "pkcs11: RSA-2048 signatures", "/s"),
    ("gcm", "pkcs11: AES-256-GCM, messages of 1 MiB", "MiB/s"),
    ("generate", "pkcs11: P-256 pairs made and deleted, durably", "/s"),
];

/// All of them.
pub(crate) fn contests() -> Result<Vec<Contest>> {
    if !Path::new(SOFTHSM).exists() {
        absent("SoftHSM2 is missing: keys through PKCS #11 are not measured")?;
        return Ok(Vec::new());
    }
    let module = PKCS11.build()?;
    let program = PKCS11.example("pkcs11-bench")?;
    let ours = Rc::new(Module::ours(program.clone(), module)?);
    let peer = Rc::new(Module::softhsm(program)?);
    let contest = |&(what, name, unit): &(&'static str, &str, &'static str)| Contest {
        name: name.to_owned(),
        unit,
        more_is_better: true,
        contestants: vec![contestant(OURS, &ours, what), contestant("SoftHSM2", &peer, what)],
    };
    Ok(CONTESTS.iter().map(contest).collect())
}

fn contestant(name: &str, module: &Rc<Module>, what: &'static str) -> Contestant {
    let module = Rc::clone(module);
    let turn = move || {
        let said: Value = serde_json::from_str(&output(&mut module.command(what))?)?;
        let value = said["value"].as_f64().context("pkcs11-bench says a value")?;
        // Of ours, most is done in other processes: no figure of one process would be fair.
        Ok(Turn { value, cpu_s: None })
    };
    Contestant { name: name.to_owned(), turn: Box::new(turn) }
}

/// A module with a token.
struct Module {
    program: PathBuf,
    library: PathBuf,
    variable: (&'static str, PathBuf),
    _device: Option<Device>,
}

impl Module {
    fn ours(program: PathBuf, library: PathBuf) -> Result<Self> {
        let state = scratch("pkcs11")?;
        let device = Device::start(&state)?;
        Self { program, library, variable: ("HOLDFAST_STATE", state), _device: Some(device) }
            .prepared()
    }

    fn softhsm(program: PathBuf) -> Result<Self> {
        let folder = scratch("softhsm")?;
        let tokens = folder.join("tokens");
        std::fs::create_dir_all(&tokens)?;
        let settings = folder.join("softhsm2.conf");
        std::fs::write(&settings, format!("directories.tokendir = {}\n", tokens.display()))?;
        let variable = ("SOFTHSM2_CONF", settings);
        Self { program, library: SOFTHSM.into(), variable, _device: None }.prepared()
    }

    fn prepared(self) -> Result<Self> {
        run(&mut self.command("setup"))?;
        Ok(self)
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(&self.library).arg(what).env_remove("HOLDFAST_SOCKET");
        command.env(self.variable.0, &self.variable.1);
        command
    }
}

/// A device that works alone, until this is dropped.
struct Device(Child);

impl Device {
    fn start(state: &Path) -> Result<Self> {
        let holdfast = |arguments: &[&str]| -> Result<Command> {
            let mut command = Command::new(target_dir()?.join("debug/holdfast"));
            command.args(arguments).env("HOLDFAST_STATE", state).stdout(Stdio::null());
            Ok(command)
        };
        run(&mut holdfast(&["device", "make"])?)?;
        let device = Self(holdfast(&["device", "boot"])?.stderr(Stdio::null()).spawn()?);
        for _ in 0..600 {
            let status = holdfast(&["device", "status"])?.stderr(Stdio::null()).status()?;
            if status.success() {
                return Ok(device);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the device did not boot")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let id = self.0.id().to_string();
        // Ctrl-C ends it cleanly; what is left of it is ended here.
        let _ = Command::new("kill").args(["-INT", &id]).status();
        let _ = self.0.wait();
    }
}
