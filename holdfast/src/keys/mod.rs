//! `holdfast keys`: keys in the TEE of the device on this machine.

pub(crate) mod args;
mod data;
mod outside;
mod rules;

use crate::exit::{Exit, Lacking, Misused};
use anyhow::{Context as _, Result};
use args::{At, Keys, New};
use keymint::{Algorithm, Authorizations, Bytes};
use keystore_client::api::{
    AttestKey, Entry, Grant, Granted, Import, ImportWrapped, KeyInfo, KeyRef, NewKey, Ungrant,
};
use keystore_client::{Error, Keystore, SOCKET_VARIABLE};
use serde_json::{Value, json};
use std::path::Path;

/// Runs the command.
pub(crate) fn run(asked: &Keys) -> Result<Exit> {
    let json = asked.at().json;
    match done(&keystore(asked.at()), asked) {
        Ok(exit) => Ok(exit),
        Err(error) => match error.downcast::<Error>() {
            Ok(error) => refused(error, json),
            Err(error) => Err(error),
        },
    }
}

/// The socket that the environment names, else that of the device in the state folder.
fn keystore(at: &At) -> Keystore {
    match &at.state.dir {
        Some(state) if std::env::var_os(SOCKET_VARIABLE).is_none() => {
            Keystore::at(state.join("device/run/holdfast.sock"))
        }
        _ => Keystore::of_this_device(),
    }
}

fn done(keystore: &Keystore, asked: &Keys) -> Result<Exit> {
    match asked {
        Keys::Generate(new) => made(new, &keystore.generate(&new_key(new))?),
        Keys::Import { new, file, format } => {
            let data = Bytes(read(file)?);
            let mut key = new_key(new);
            // The key itself says it.
            key.params.rsa_public_exponent = new.rules.0.rsa_public_exponent;
            made(new, &keystore.import(&Import { key, format: *format, data })?)
        }
        Keys::ImportWrapped(wrapped) => {
            let info = keystore.import_wrapped(&ImportWrapped {
                alias: wrapped.alias.clone(),
                replace: wrapped.replace,
                wrapping_key: wrapped.wrapping_key.clone(),
                data: Bytes(read(&wrapped.file)?),
                masking_key: wrapped.masking_key.clone().unwrap_or_else(|| Bytes(vec![0; 32])),
                params: wrapped.rules.0.clone(),
                password_sid: wrapped.password_sid,
                biometric_sid: wrapped.biometric_sid,
            })?;
            said(&wrapped.at, &serde_json::to_value(&info)?, &line(&info))
        }
        Keys::List { at, prefix } => list(at, &keystore.list(prefix)?),
        Keys::Show { at, key } => {
            let info = keystore.show(key)?;
            if at.json { print_json(&info) } else { show(&info) }
        }
        Keys::Sign(asked) | Keys::Mac(asked) => data::sign(keystore, asked),
        Keys::Verify { data, signature } => data::verify(keystore, data, &read(signature)?),
        Keys::Encrypt(cipher) => data::encrypt(keystore, cipher),
        Keys::Decrypt(cipher) => data::decrypt(keystore, cipher),
        Keys::Attest { at, key, output } => attest(keystore, at, key, output.as_deref()),
        Keys::Provision(at) => {
            let provisioned = keystore.provision()?;
            let line = format!("{} keys have new certificates", provisioned.keys);
            said(at, &serde_json::to_value(&provisioned)?, &line)
        }
        Keys::Grant { at, key, to, access, revoke } => {
            let (key, to) = (key.clone(), to.clone());
            if *revoke {
                keystore.ungrant(&Ungrant { key: key.clone(), to })?;
                return said(at, &json!({ "revoked": key }), &format!("{key}: taken back"));
            }
            let granted = keystore.grant(&Grant { key, to, access: access.clone() })?;
            let Granted { grant, .. } = &granted;
            said(at, &serde_json::to_value(&granted)?, &format!("named by the grantee: {grant}"))
        }
        Keys::Delete { at, key } => {
            keystore.delete(key)?;
            said(at, &json!({ "deleted": key }), &format!("{key}: deleted"))
        }
    }
}

/// What was asked for, and what nobody should have to say.
fn new_key(new: &New) -> NewKey {
    let mut params = new.rules.0.clone();
    if params.user_auth_type.is_none() && params.user_secure_id.is_empty() {
        params.no_auth_required = true;
    }
    if params.algorithm == Some(Algorithm::Rsa) {
        params.rsa_public_exponent.get_or_insert(65_537);
    }
    let by = |key: &KeyRef| AttestKey { key: key.clone(), params: Authorizations::default() };
    let attest_key = new.attest_key.as_ref().map(by);
    let (replace, key_source) = (new.replace, new.key_source);
    NewKey { replace, attest_key, key_source, ..NewKey::new(&new.alias, params) }
}

fn made(new: &New, info: &KeyInfo) -> Result<Exit> {
    said(&new.at, &serde_json::to_value(info)?, &line(info))
}

fn line(info: &KeyInfo) -> String {
    format!("{}: id:{}", info.alias, info.id)
}

fn said(at: &At, json: &Value, line: &str) -> Result<Exit> {
    if at.json {
        println!("{json}")
    } else {
        println!("{line}")
    }
    Ok(Exit::Held)
}

fn print_json(value: &impl serde::Serialize) -> Result<Exit> {
    println!("{}", serde_json::to_string(value)?);
    Ok(Exit::Held)
}

fn list(at: &At, keys: &[Entry]) -> Result<Exit> {
    if at.json {
        return print_json(&json!({ "keys": keys }));
    }
    for Entry { alias, id, has_key, needs_unlock, .. } in keys {
        let kind = if *has_key { "" } else { "  certificates only" };
        let lock = if *needs_unlock { "  while unlocked" } else { "" };
        println!("id:{id}  {alias}{kind}{lock}");
    }
    Ok(Exit::Held)
}

fn show(info: &KeyInfo) -> Result<Exit> {
    println!("alias      {}", info.alias);
    println!("id         id:{}", info.id);
    println!("owner      {}", serde_json::to_string(&info.owner)?);
    println!("you may    {}", serde_json::to_string(&info.access)?);
    if let Some(left) = info.uses_left {
        println!("uses left  {left}");
    }
    let enforced = &info.characteristics;
    println!("in the TEE {}", serde_json::to_string(&enforced.hardware_enforced)?);
    println!("here       {}", serde_json::to_string(&enforced.software_enforced)?);
    println!("certificates {}", info.certificates.len());
    Ok(Exit::Held)
}

fn attest(keystore: &Keystore, at: &At, key: &KeyRef, output: Option<&Path>) -> Result<Exit> {
    let chain = keystore.show(key)?.certificates;
    if chain.is_empty() {
        return Err(Misused(format!("{key} has no certificate: it is symmetric")).into());
    }
    if at.json {
        return print_json(&json!({ "chain": chain }));
    }
    let pem = keyattest::pem::encode(&chain.iter().map(|der| &der[..]).collect::<Vec<_>>());
    match output {
        Some(path) => std::fs::write(path, pem).with_context(|| path.display().to_string())?,
        None => print!("{pem}"),
    }
    Ok(Exit::Held)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path);
    bytes.map_err(|error| Misused(format!("{}: {error}", path.display())).into())
}

/// Tells a refusal; what is no refusal is the environment's.
fn refused(error: Error, json: bool) -> Result<Exit> {
    let word = match &error {
        Error::Unreachable { .. } => return Err(Lacking(error.to_string()).into()),
        Error::Refused { code, .. } => json!({ "error": code.name(), "code": code.number() }),
        Error::System { error, .. } => json!({ "error": error }),
        _ => return Err(error.into()),
    };
    if json {
        let mut word = word;
        word["reason"] = json!(error.to_string());
        println!("{word}");
    }
    eprintln!("refused: {error}");
    Ok(Exit::Failed)
}
