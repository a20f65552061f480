//! The daemon's tasks: two sockets, the link to the cloud, what falls due.

use crate::device::{Device, Ending, Events, blocking};
use crate::error::Error;
use crate::{api, screen};
use device_link::push;
use http_link::serve::{Limits, bind_unix, serve_unix};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the activation screen waits before it asks the cloud again whose device it is.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// For requests that run when the daemon ends.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// The daemon's listening sockets.
pub struct Sockets {
    api: UnixListener,
    screen: UnixListener,
    trusted_url: PathBuf,
}

impl Sockets {
    /// Binds `holdfast.sock` and `screen.sock` in `run`: the screen for its owner alone, the API
    /// for everybody, since each user has keys; it knows who asks.
    pub fn bind(run: &Path) -> io::Result<Self> {
        Ok(Self {
            api: bind_unix(&run.join("holdfast.sock"), 0o666)?,
            screen: bind_unix(&run.join("screen.sock"), 0o600)?,
            trusted_url: run.join("trusted-screen.url"),
        })
    }
}

/// Serves `device` until `stop` is ready or the device ends by itself, and says why it did.
/// `ready` is called once the local API can be reached.
pub async fn run(
    device: Arc<Device>,
    sockets: Sockets,
    ready: impl FnOnce(),
    stop: impl Future<Output = ()>,
) -> Option<Ending> {
    let Sockets { api, screen, trusted_url } = sockets;
    let (stopping, stopped) = watch::channel(false);
    let limits = Limits { connections: 64, shutdown: LAST_REQUESTS, ..Limits::default() };
    let app = api::router(device.clone());
    let api = tokio::spawn(serve_unix(api, app, limits, told(stopped.clone())));
    let app = screen::router(device.clone(), trusted_url);
    let screen = tokio::spawn(serve_unix(screen, app, limits, told(stopped)));
    let mut background = JoinSet::new();
    background.spawn(keep_link(device.clone()));
    background.spawn(keep_time(device.clone()));
    background.spawn(ask_whose(device.clone()));
    background.spawn(keep_clock(device.clone()));
    background.spawn(keep_update(device.clone()));
    background.spawn(keep_certificates(device.clone()));
    ready();
    let mut ending = device.ending();
    tokio::select! {
        () = stop => {}
        _ = ending.wait_for(Option::is_some) => {}
    }
    background.abort_all();
    stopping.send_replace(true);
    let _ = tokio::join!(api, screen);
    *ending.borrow()
}

async fn told(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Keeps the link of the session that stands.
async fn keep_link(device: Arc<Device>) {
    let mut sessions = device.session();
    loop {
        let session = sessions.borrow_and_update().clone();
        let link = async {
            let Some(session) = session else { return std::future::pending().await };
            let events = Events::new(device.clone(), session.clone());
            push::run(&session, &events, &**device.clock(), &**device.entropy()).await;
        };
        tokio::select! {
            () = link => {}
            changed = sessions.changed() => if changed.is_err() { return },
        }
        device.link_is_down();
    }
}

/// Does what falls due; sleeps until something does, or until something changes.
async fn keep_time(device: Arc<Device>) {
    let mut revision = device.revision();
    loop {
        revision.borrow_and_update();
        let next = device.tick().await;
        let sleep = async {
            match next {
                Some(next) => tokio::time::sleep(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            changed = revision.changed() => if changed.is_err() { return },
        }
    }
}

/// Sets the TEE's secure clock after the start, and once a day.
async fn keep_clock(device: Arc<Device>) {
    let mut failures = 0;
    loop {
        failures = match device.set_secure_clock().await {
            Ok(_) => 0,
            Err(Error::NoCloud) => return,
            Err(error) => {
                tracing::info!(%error, "the secure clock was not set");
                failures + 1
            }
        };
        tokio::time::sleep(device_link::clock::pause(failures)).await;
    }
}

/// Once keys with certificates of the cloud attested something: looks daily whether they lapse.
async fn keep_certificates(device: Arc<Device>) {
    let mut failures = 0;
    loop {
        failures = match device.provision_if_due(false).await {
            Ok(_) => 0,
            Err(Error::NoCloud) => return,
            Err(error) => {
                tracing::info!(%error, "certificates for keys that attest were not renewed");
                failures + 1
            }
        };
        tokio::time::sleep(device_link::clock::pause(failures)).await;
    }
}

/// Goes on with an update that was interrupted, and tells the cloud what it has not heard.
async fn keep_update(device: Arc<Device>) {
    loop {
        let again = device.go_on_with_update().await;
        let sleep = async {
            match again {
                Some(again) => tokio::time::sleep(again).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            () = device.update_wakes() => {}
        }
    }
}

/// While activation is due, finds out whose device this is.
async fn ask_whose(device: Arc<Device>) {
    loop {
        let due = blocking(&device, Device::status).await.is_ok_and(|s| s.lock.activation_due);
        if !due || device.owner_hint().is_some() {
            return;
        }
        match device.ask_whose().await {
            Ok(()) => return,
            Err(error) => tracing::info!(%error, "the owner's hint is not known yet"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}
