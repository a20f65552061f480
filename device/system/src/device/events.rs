//! What the owner orders from afar, and what falls due by itself.

use super::{Device, blocking};
use crate::error::Error;
use crate::record::shortened;
use device_link::find;
use device_link::push::{Delivery, Handler};
use device_link::session::DeviceSession;
use effects::UnixMillis;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tee_api::gatekeeper::Command as Gatekeeper;
use wire::device::Ack;
use wire::find::{Command, Position, Report};
use wire::push::Event;

/// The longest message on the lock screen: what gatekeeper keeps.
const MAX_MESSAGE_BYTES: usize = 1024;
/// How often an erased device tries to tell that it is.
const LAST_WORDS: u32 = 5;

/// The link's end in the device.
pub struct Events {
    device: Arc<Device>,
    session: Arc<DeviceSession>,
}

impl Events {
    /// Events of `session` for `device`.
    #[must_use]
    pub const fn new(device: Arc<Device>, session: Arc<DeviceSession>) -> Self {
        Self { device, session }
    }

    async fn effect(&self, delivery: Delivery) -> Result<(), Error> {
        let Delivery { id, event } = delivery;
        if self.device.inbox().has_seen(id) {
            return Ok(());
        }
        match event {
            Some(Event::Push { registration_id, sealed }) => {
                let deliver =
                    move |device: &Device| device.deliver(id, &registration_id, &sealed.0);
                return blocking(&self.device, deliver).await;
            }
            Some(Event::Command { command_id, command: Command::Erase })
                if self.device.find().enabled =>
            {
                return self.erase(id, command_id).await;
            }
            Some(Event::Command { command_id, command }) => {
                let report = self.obey(command_id, command).await;
                find::report(&self.session, &report).await?;
            }
            None => tracing::warn!(id, "an event that this version does not know"),
        }
        blocking(&self.device, move |device| {
            device.inbox().mark_seen(id).map_err(Error::io("the inbox"))
        })
        .await
    }

    /// Does what the owner wants and says what came of it.
    async fn obey(&self, command_id: u64, command: Command) -> Report {
        if !self.device.find().enabled {
            return find::failed(command_id, "find-device is off on this device".into());
        }
        let done = match command {
            Command::Locate => self.device.position().await.map(Some),
            Command::Sound => {
                self.device.sound();
                Ok(None)
            }
            Command::Lost { message } => {
                let lost = move |device: &Device| device.enter_lost_mode(&message);
                match blocking(&self.device, lost).await {
                    Ok(()) => Ok(self.device.position().await.ok()),
                    Err(error) => Err(error),
                }
            }
            Command::Erase => blocking(&self.device, Device::erase).await.map(|_| None),
        };
        match done {
            Ok(position) => find::done(command_id, position),
            Err(error) => find::failed(command_id, error.to_string()),
        }
    }

    /// Erases; then there is nothing durable left to remember the event in, so the device tells
    /// the cloud before it ends.
    async fn erase(&self, id: u64, command_id: u64) -> Result<(), Error> {
        let report = self.obey(command_id, Command::Erase).await;
        if report.failed.is_some() {
            return Ok(find::report(&self.session, &report).await?);
        }
        let ack = Ack { ids: vec![id] };
        for attempt in 0..LAST_WORDS {
            let told = async {
                find::report(&self.session, &report).await?;
                self.session.send(|client| client.post("/v1/devices/self/ack").json(&ack)).await
            };
            match told.await {
                Ok(_) => break,
                Err(error) => tracing::warn!(%error, "the cloud does not know of the erasure yet"),
            }
            tokio::time::sleep(Duration::from_secs(1 << attempt)).await;
        }
        self.device.end_after_erasure();
        Ok(())
    }
}

impl Handler for Events {
    fn handle(&self, delivery: Delivery) -> BoxFuture<'_, Result<(), String>> {
        self.effect(delivery).map(|done| done.map_err(|error| error.to_string())).boxed()
    }

    fn last_event_id(&self) -> Option<u64> {
        self.device.inbox().last_event_id()
    }

    fn connected(&self, connected: bool) {
        self.device.set_connected(connected);
    }
}

impl Device {
    /// The time that decides: the cloud's, once it told.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.cloud.as_ref().map_or_else(|| self.clock.now(), |cloud| cloud.time().now())
    }

    /// The link is gone.
    pub fn link_is_down(&self) {
        self.set_connected(false);
    }

    fn set_connected(&self, connected: bool) {
        let before = std::mem::replace(&mut self.live().connected, connected);
        if before != connected {
            self.touch();
        }
        if connected {
            self.wake_update();
        }
    }

    /// Where the device is.
    pub async fn position(&self) -> Result<Position, Error> {
        self.modem.position(self.now()).await
    }

    /// Sounds the alarm.
    pub fn sound(&self) {
        self.live().alarm.sound(self.clock.monotonic());
        self.touch();
    }

    /// Somebody holds the phone and silences it.
    pub fn dismiss_alarm(&self) {
        self.live().alarm.dismiss();
        self.touch();
    }

    /// Locks the device until its owner's account ends it; the TEE holds that, also over a
    /// restart. The area's key is wiped.
    pub fn enter_lost_mode(&self, message: &str) -> Result<(), Error> {
        // A thief who leaves a prompt open does not hold this up.
        self.tee.take_prompt_away();
        let message = shortened(message.to_owned(), MAX_MESSAGE_BYTES);
        self.tee.do_gatekeeper(Gatekeeper::EnterLostMode { message })?;
        self.close();
        self.refresh()?;
        Ok(())
    }

    /// Does what is due by now; says how long until something is due again.
    pub async fn tick(&self) -> Option<Duration> {
        if let Some(session) = self.lost_report_due() {
            let report = match self.position().await {
                Ok(position) => {
                    let report =
                        Report { command_id: None, failed: None, position: Some(position) };
                    find::report(&session, &report).await.map_err(Error::from)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = report {
                tracing::info!(%error, "no position report");
            }
            self.live().reports.reported(self.clock.monotonic());
        }
        let now = self.clock.monotonic();
        if self.live().alarm.end_if_due(now) {
            self.touch();
        }
        let idle = self.idle_restart(now);
        if idle.is_some_and(|left| left.is_zero()) {
            tracing::info!(
                "nobody unlocked the device for as long as its owner chose: it restarts"
            );
            self.restart();
        }
        let lost = self.session.borrow().is_some();
        let live = self.live();
        let report = (lost && live.lock.lost.is_some()).then(|| live.reports.due_in(now));
        [live.alarm.remaining(now), report, idle].into_iter().flatten().min()
    }

    fn lost_report_due(&self) -> Option<Arc<DeviceSession>> {
        let session = self.session.borrow().clone()?;
        let live = self.live();
        let due = live.lock.lost.is_some() && live.reports.due_in(self.clock.monotonic()).is_zero();
        due.then_some(session)
    }
}
