//! Trusted applications that were installed: the TEE judges their images and runs them; what is
//! kept here is handed to it again at each start.

use super::{Device, Folders};
use crate::error::Error;
use board::{argument, channel};
use effects::durable;
use serde::Serialize;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use tee_api::{Identity, Signer, TaId, TeeError};
use tee_client::{Installed, LoginMethod, Target};

/// One of `GET /v1/ta`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Application {
    /// Its UUID.
    pub uuid: String,
    /// `maker`, or SHA-256 of the signer's AVB public-key blob, hexadecimal.
    pub signer: String,
    /// Its name in its signed image.
    pub name: String,
    /// The rollback index of its image.
    pub version: u64,
    /// Whether it came with the system; else it was installed.
    pub built_in: bool,
    /// How many sessions it has.
    pub sessions: u32,
}

impl From<Installed> for Application {
    fn from(installed: Installed) -> Self {
        let Installed { identity, name, version, built_in, sessions } = installed;
        let (uuid, signer) = (identity.uuid.to_string(), signer_text(identity.signer));
        Self { uuid, signer, name, version, built_in, sessions }
    }
}

/// Which trusted application a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplicationId {
    uuid: TaId,
    signer: Option<Signer>,
}

impl ApplicationId {
    /// From a UUID, and a signer as [`Application::signer`] has it; without one the maker's is
    /// meant, else the only one of that UUID.
    pub fn parse(uuid: &str, signer: Option<&str>) -> Result<Self, Error> {
        let uuid = uuid.parse().map_err(|error| Error::BadRequest(format!("{uuid} is {error}")))?;
        let bad = || Error::BadRequest("a signer is `maker` or 64 hexadecimal digits".into());
        let signer = signer.map(|text| signer_of(text).ok_or_else(bad)).transpose()?;
        Ok(Self { uuid, signer })
    }
}

impl Device {
    /// The trusted applications that the TEE has.
    pub fn applications(&self) -> Result<Vec<Application>, Error> {
        Ok(self.tee.installed()?.into_iter().map(Application::from).collect())
    }

    /// Installs a signed image: the TEE takes it, then it is kept, durably.
    pub fn install_application(&self, image: &[u8]) -> Result<Application, Error> {
        self.refuse_if_erased()?;
        let installed = self.tee.load(image)?;
        self.folders.make_applications()?;
        durable::replace(&self.folders.application(installed.identity), image, 0o600)
            .map_err(Error::io("keeping the image"))?;
        Ok(installed.into())
    }

    /// Removes one that was installed. What it stored stays, sealed, for when it comes back.
    pub fn remove_application(&self, id: ApplicationId) -> Result<(), Error> {
        let same = |it: &Installed| {
            it.identity.uuid == id.uuid && id.signer.is_none_or(|by| by == it.identity.signer)
        };
        let found: Vec<_> = self.tee.installed()?.into_iter().filter(same).collect();
        let identity = match &found[..] {
            [one] => one.identity,
            [] => return Err(Error::NotFound(format!("trusted application {}", id.uuid))),
            _ => return Err(Error::BadRequest("several signers have one: name one".into())),
        };
        self.tee.remove(identity)?;
        let path = self.folders.application(identity);
        match fs::remove_file(&path).and_then(|()| durable::sync_folder_of(&path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("removing the image")(error))
            }
            _ => Ok(()),
        }
    }

    /// Runs a command in a session of its own; JSON stands for the CBOR of the same form.
    pub fn call_application(&self, id: ApplicationId, command: &Value) -> Result<Value, Error> {
        let malformed = |error: channel::ChannelError| Error::BadRequest(error.to_string());
        let command = channel::encode(command).map_err(malformed)?;
        let ApplicationId { uuid, signer } = id;
        let target = Target { uuid, signer, login: LoginMethod::User };
        let reply = self.tee.call(target, command)?;
        channel::decode(&reply).map_err(|error| {
            TeeError::Communication(format!("the reply has no form in JSON: {error}")).into()
        })
    }

    /// Hands the TEE what was installed before. What it refuses now stays where it is, for a
    /// person to see to.
    pub fn load_applications(&self) {
        let Ok(entries) = fs::read_dir(self.folders.applications()) else { return };
        let images = entries.flatten().map(|entry| entry.path());
        for path in images.filter(|path| path.extension().is_some_and(|it| it == "img")) {
            let loaded = fs::read(&path).map_err(Error::io("reading a trusted application"));
            if let Err(error) = loaded.and_then(|image| Ok(self.tee.load(&image)?)) {
                tracing::warn!(%error, path = %path.display(), "a trusted application is not there");
            }
        }
    }
}

impl Folders {
    fn applications(&self) -> PathBuf {
        self.system().join("ta")
    }

    fn application(&self, Identity { uuid, signer }: Identity) -> PathBuf {
        self.applications().join(format!("{uuid}-{}.img", signer_text(signer)))
    }

    fn make_applications(&self) -> Result<(), Error> {
        let folder = self.applications();
        let made = fs::create_dir_all(&folder).and_then(|()| durable::sync_folder_of(&folder));
        made.map_err(Error::io("making the folder of trusted applications"))
    }
}

fn signer_text(signer: Signer) -> String {
    match signer {
        Signer::Maker => "maker".to_owned(),
        Signer::Key(digest) => argument::hex(&digest),
    }
}

fn signer_of(text: &str) -> Option<Signer> {
    if text == "maker" {
        return Some(Signer::Maker);
    }
    argument::unhex(text)?.try_into().ok().map(Signer::Key)
}
