//! The cloud of the story: the Key Center and the cloud, two processes.

use crate::programs::{Program, beside};
use crate::radio::authority;
use crate::state::State;
use anyhow::{Context, Result};
use http_link::{Client, Connector};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::process::Command;

/// Where a server listens: its first line on standard output.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Listening {
    pub(crate) url: String,
    pub(crate) ca: PathBuf,
}

/// Two running servers.
#[derive(Debug)]
pub(crate) struct Cloud {
    running: Option<Running>,
    pub(crate) keycenter_at: Listening,
    pub(crate) at: Listening,
    state: State,
}

#[derive(Debug)]
struct Running {
    keycenter: Program,
    server: Program,
}

impl Cloud {
    /// Starts both; what they keep lies in the state folder.
    pub(crate) async fn start(
        state: &State,
        listen: SocketAddr,
        keycenter_listen: SocketAddr,
    ) -> Result<Self> {
        let (keycenter, keycenter_at) = start_keycenter(state, keycenter_listen).await?;
        let (server, at) = start_server(state, listen, &keycenter_at).await?;
        let running = Some(Running { keycenter, server });
        Ok(Self { running, keycenter_at, at, state: state.clone() })
    }

    /// Ends both for a moment, so that their databases can be copied.
    pub(crate) async fn pause(&mut self) -> Result<()> {
        if let Some(Running { keycenter, server }) = self.running.take() {
            server.stop().await?;
            keycenter.stop().await?;
        }
        Ok(())
    }

    /// Starts both again where they were.
    pub(crate) async fn resume(&mut self) -> Result<()> {
        let (keycenter, _) = start_keycenter(&self.state, address(&self.keycenter_at.url)?).await?;
        let (server, _) =
            start_server(&self.state, address(&self.at.url)?, &self.keycenter_at).await?;
        self.running = Some(Running { keycenter, server });
        Ok(())
    }

    /// A client that trusts this cloud's CA alone.
    pub(crate) fn client(&self) -> Result<Client> {
        let ca = std::fs::read(&self.at.ca)
            .with_context(|| format!("{} can't be read", self.at.ca.display()))?;
        Ok(Client::new(&self.at.url, &ca, Connector::Tcp)?)
    }

    /// `host:port` as the device names it, and the address where that is: for the board's radio.
    pub(crate) fn radio_routes(&self, named: &str) -> Result<Vec<String>> {
        let keycenter = &self.keycenter_at.url;
        Ok(vec![
            format!("{}={}", authority(named)?, address(&self.at.url)?),
            format!("{}={}", authority(keycenter)?, address(keycenter)?),
        ])
    }

    /// A credential that the cloud made on its first start: `maker` or `developer`.
    pub(crate) fn credential(&self, whose: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Credential {
            credential: String,
        }
        let path = self.state.path(&format!("cloud/{whose}.json"));
        let json = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let credential: Credential = serde_json::from_slice(&json)?;
        Ok(credential.credential)
    }

    /// The process ids: Key Center, cloud.
    pub(crate) fn pids(&self) -> [Option<u32>; 2] {
        let pid = |of: fn(&Running) -> &Program| self.running.as_ref().and_then(|it| of(it).pid());
        [pid(|it| &it.keycenter), pid(|it| &it.server)]
    }

    /// Ends both.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.pause().await
    }
}

async fn start_keycenter(state: &State, listen: SocketAddr) -> Result<(Program, Listening)> {
    let mut command = Command::new(beside("holdfast-keycenter")?);
    command.arg("serve").arg("--state").arg(state.folder("keycenter")?);
    command.arg("--listen").arg(listen.to_string());
    Program::start("the Key Center", command, state.folder("log")?.join("keycenter.log")).await
}

async fn start_server(
    state: &State,
    listen: SocketAddr,
    keycenter: &Listening,
) -> Result<(Program, Listening)> {
    let mut command = Command::new(beside("holdfast-cloud")?);
    command.arg("serve").arg("--state").arg(state.folder("cloud")?);
    command.arg("--listen").arg(listen.to_string());
    command.arg("--keycenter").arg(&keycenter.url);
    command.arg("--keycenter-ca").arg(&keycenter.ca);
    command.arg("--keycenter-credential").arg(state.path("keycenter/bootstrap/cloud.json"));
    Program::start("the cloud", command, state.folder("log")?.join("cloud.log")).await
}

/// The loopback address of a server that this process started.
fn address(url: &str) -> Result<SocketAddr> {
    let authority = authority(url)?;
    let port = authority.rsplit(':').next().unwrap_or_default();
    let port = port.parse().with_context(|| format!("{url:?} has no port"))?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}
