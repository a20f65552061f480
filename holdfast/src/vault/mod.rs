//! `holdfast vault`: an encrypted folder, with a password or with the device's TEE too.

pub(crate) mod args;
mod device;
mod password;
mod unlock;

use crate::exit::{Exit, Lacking, Misused};
use anyhow::Result;
use args::{At, Password, Vault};
use password::Source;
use serde_json::json;
use std::path::Path;
use vault_fuse::{Checked, Config, Cost, Locking, MasterKey, VaultError};

const VARIABLE: &str = "HOLDFAST_PASSWORD";
const NEW_VARIABLE: &str = "HOLDFAST_NEW_PASSWORD";

/// Runs the command.
pub(crate) fn run(asked: Vault) -> Result<Exit> {
    match asked {
        Vault::Create { at, password, tee, cost } => {
            let lanes = Cost::default().lanes;
            let (memory_kib, passes) = (cost.argon2_memory * 1024, cost.argon2_passes);
            create(&at, &password, tee, Cost { memory_kib, passes, lanes })
        }
        Vault::Unlock { at, password, mount, foreground } if foreground => {
            unlock::foreground(&at.folder, &mount, &password)
        }
        Vault::Unlock { at, password, mount, .. } => start(&at, &password, &mount),
        Vault::Lock { at, force } => lock(&at, force),
        Vault::Status { at } => status(&at),
        Vault::Passwd { at, password, new_password_fd } => {
            change_password(&at, &password, new_password_fd)
        }
        Vault::Check { at, password } => check(&at, &password),
    }
    .map_err(told)
}

/// Says whose fault an error is.
fn told(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    match error.downcast_ref() {
        Some(VaultError::NoVault(_) | VaultError::NotEmpty(_)) => Misused(text).into(),
        Some(VaultError::NeedsDevice | VaultError::Mount { .. }) => Lacking(text).into(),
        _ if matches!(error.downcast_ref(), Some(keystore_client::Error::Unreachable { .. })) => {
            Lacking(text).into()
        }
        _ => error,
    }
}

/// A vault whose password was right.
struct Opened {
    config: Config,
    master: MasterKey,
    device: Option<crypto::secret::Secret<32>>,
}

fn opened(folder: &Path, password: &Password) -> Result<Opened> {
    let config = Config::read(folder)?;
    let password = current(password)?;
    opened_with(config, &password)
}

fn opened_with(config: Config, password: &[u8]) -> Result<Opened> {
    let device = config.device_key().map(|alias| device::secret(alias, config.id())).transpose()?;
    let master = config.unlock(password, device.as_ref())?;
    Ok(Opened { config, master, device })
}

fn current(password: &Password) -> Result<password::Secret> {
    let descriptor = password.password_fd;
    Source { descriptor, variable: VARIABLE, prompt: "Password: ", twice: false }.read()
}

fn create(at: &At, password: &Password, tee: bool, cost: Cost) -> Result<Exit> {
    let descriptor = password.password_fd;
    let prompt = "Password of the new vault: ";
    let password = Source { descriptor, variable: VARIABLE, prompt, twice: true }.read()?;
    let id = Config::fresh_id();
    let alias = tee.then(|| device::alias(&id));
    let secret = match &alias {
        Some(alias) => {
            device::make(alias)?;
            Some(device::secret(alias, &id)?)
        }
        None => None,
    };
    let device = alias.as_deref().zip(secret.as_ref());
    let (config, master) = Config::create(&at.folder, &id, &password, cost, device)?;
    vault_fuse::create(&at.folder, &config, &master)?;
    let folder = at.folder.display();
    let bound = if tee { ", bound to this device" } else { "" };
    let line = format!("{folder}: an empty vault{bound}. Without its password nobody opens it.");
    said(at, json!({ "vault": at.folder, "id": id, "device_key": alias }), &line)
}

fn start(at: &At, password: &Password, mount: &Path) -> Result<Exit> {
    // Refused here already, before the terminal asks.
    let config = Config::read(&at.folder)?;
    if let Some(it) = vault_fuse::mounted(&at.folder)? {
        let place = it.mount.display();
        return Err(VaultError::InUse(format!("process {} has it at {place}", it.pid)).into());
    }
    let pid = unlock::background(&at.folder, mount, &current(password)?)?;
    let line = format!("{}: unlocked at {}", at.folder.display(), mount.display());
    said(at, json!({ "vault": at.folder, "id": config.id(), "mount": mount, "pid": pid }), &line)
}

fn lock(at: &At, force: bool) -> Result<Exit> {
    let folder = at.folder.display();
    match vault_fuse::lock(&at.folder, force)? {
        Locking::Locked => said(at, json!({ "locked": true }), &format!("{folder}: locked")),
        Locking::WasLocked => {
            said(at, json!({ "locked": true }), &format!("{folder}: it was locked already"))
        }
        Locking::Busy(users) => {
            let mut line = format!("{folder}: in use, and stays unlocked");
            for user in &users {
                let path = user.path.display();
                line.push_str(&format!("\n  {} (process {}): {path}", user.program, user.pid));
            }
            if users.is_empty() {
                line.push_str(" by somebody whose processes you may not see");
            }
            said(at, json!({ "locked": false, "users": users }), &line)?;
            Ok(Exit::Failed)
        }
    }
}

fn status(at: &At) -> Result<Exit> {
    let config = Config::read(&at.folder)?;
    let mounted = vault_fuse::mounted(&at.folder)?;
    let state = match &mounted {
        Some(it) => format!("unlocked at {}, by process {}", it.mount.display(), it.pid),
        None => "locked".to_owned(),
    };
    let key = match config.device_key() {
        Some(alias) => format!("the password and the device's key {alias}"),
        None => "the password".to_owned(),
    };
    let line = format!(
        "{}: {state}\n  id       {}\n  opens by {key}\n  backend  FUSE: each file its own key, AES-256-GCM \
         in blocks of 4096 bytes",
        at.folder.display(),
        config.id()
    );
    let json = json!({
        "vault": at.folder,
        "id": config.id(),
        "backend": "fuse",
        "device_key": config.device_key(),
        "unlocked": mounted.is_some(),
        "mount": mounted.as_ref().map(|it| &it.mount),
        "pid": mounted.as_ref().map(|it| it.pid),
    });
    said(at, json, &line)
}

fn change_password(at: &At, password: &Password, new: Option<u32>) -> Result<Exit> {
    let Opened { mut config, master, device } = opened(&at.folder, password)?;
    let source =
        Source { descriptor: new, variable: NEW_VARIABLE, prompt: "New password: ", twice: true };
    config.change_password(&master, &source.read()?, device.as_ref())?;
    config.write()?;
    let line = format!("{}: the password was changed", at.folder.display());
    said(at, json!({ "changed": true }), &line)
}

fn check(at: &At, password: &Password) -> Result<Exit> {
    let Opened { master, .. } = opened(&at.folder, password)?;
    let checked = vault_fuse::check(&at.folder, &master)?;
    let Checked { directories, files, others, bytes, problems } = &checked;
    let mut line = format!(
        "{}: {files} files with {bytes} bytes, {directories} directories, {others} links and \
         others: ",
        at.folder.display()
    );
    match problems.len() {
        0 => line.push_str("all as they were written"),
        count => line.push_str(&format!("{count} problems")),
    }
    for problem in problems {
        let (path, backing) = (problem.path.display(), problem.backing.display());
        line.push_str(&format!("\n  {path}: {} ({backing})", problem.what));
    }
    said(at, serde_json::to_value(&checked)?, &line)?;
    Ok(if problems.is_empty() { Exit::Held } else { Exit::Failed })
}

fn said(at: &At, json: serde_json::Value, line: &str) -> Result<Exit> {
    if at.json {
        println!("{json}");
    } else {
        println!("{line}");
    }
    Ok(Exit::Held)
}
