//! A cloud and a device that know each other: the ones of this run, or copies of them.

use super::clone;
use super::cloud::Cloud;
use super::device::{Device, Wiring};
use super::manufacture::MADE;
use crate::state::State;
use anyhow::{Context, Result};
use http_link::Client;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// Any free port of the loopback interface.
pub(crate) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What the story remembers from run to run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// How the device names its cloud.
    pub(crate) cloud_url: Option<String>,
    /// Where that cloud's Key Center listened when the device was enrolled.
    #[serde(default)]
    pub(crate) keycenter_url: Option<String>,
    /// The device was made, certificate and all.
    #[serde(default)]
    pub(crate) manufactured: bool,
    /// The whole story held once: from then on somebody may be using the device.
    #[serde(default)]
    pub(crate) in_use: bool,
    /// The folder that was named last: a run that names none goes on with it.
    #[serde(default)]
    pub(crate) folder: Option<String>,
}

impl Memory {
    const FILE: &str = "story.json";

    pub(crate) fn load(state: &State) -> Result<Self> {
        match std::fs::read(state.path(Self::FILE)) {
            Ok(json) => serde_json::from_slice(&json).with_context(|| state.damaged(Self::FILE)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).context(state.path(Self::FILE).display().to_string()),
        }
    }

    pub(crate) fn save(&self, state: &State) -> Result<()> {
        state.write_private(Self::FILE, &serde_json::to_vec_pretty(self)?)
    }
}

/// A running cloud and a device that is on.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) cloud: Cloud,
    pub(crate) client: Client,
    pub(crate) device: Device,
}

impl World {
    /// Copies everything of `state` into `to`, which is new. The cloud of `state` must not run;
    /// its device may be on: a copy is then what a power cut would leave.
    pub(crate) fn copy(state: &State, to: &State) -> Result<()> {
        clone::cloud(state, to)?;
        clone::device(&state.path("device"), &to.path("device"))?;
        clone::copy_file(&state.path(MADE), &to.path(MADE))?;
        to.folder("log")?;
        Ok(())
    }

    /// Starts the copies in `state` on ports of their own.
    pub(crate) async fn start_copy(state: &State, memory: &Memory) -> Result<Self> {
        let cloud = Cloud::start(state, ANY_PORT, ANY_PORT).await?;
        let client = cloud.client()?;
        let wiring = wiring(&cloud, memory)?;
        let log = state.path("log/board.log");
        let device = Device::boot(&state.path("device"), &wiring, log).await?;
        Ok(Self { state: state.clone(), cloud, client, device })
    }

    /// Ends device and cloud.
    pub(crate) async fn stop(self) -> Result<()> {
        let off = self.device.power_off().await;
        self.cloud.stop().await?;
        off
    }
}

/// The radio of a device whose cloud is `cloud`.
pub(crate) fn wiring(cloud: &Cloud, memory: &Memory) -> Result<Wiring> {
    let named = memory.cloud_url.as_deref().unwrap_or(&cloud.at.url);
    Ok(Wiring { radio: cloud.radio_routes(named)?, ..Wiring::default() })
}
