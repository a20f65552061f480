//! A package comes from the cloud: in one go where the connection holds, else in as many as it
//! takes, each behind the last byte that is here.

use super::jobs::{Course, Kind};
use super::{Device, Updates};
use crate::device::blocking;
use crate::error::{Error, UpdateRefused};
use device_link::session::DeviceSession;
use device_link::update::{Rest, package};
use device_update::partial::{Partial, PartialError};
use device_update::state::{Source, Update, Why};
use device_update::updater::UpdateError;
use futures_util::StreamExt as _;
use http_link::pipe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The reason of a download that goes on by itself once the cloud answers again.
pub(super) const UNREACHABLE: &str = "cloud_unreachable";
/// Tries in a row that bring nothing, before the download waits.
const TRIES: u32 = 4;
/// The pause after the first of them; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// How one connection ended.
enum Leg {
    /// All is here.
    Whole,
    /// It broke off.
    Broken(String),
    /// The cloud has another package there.
    Swapped,
}

impl Device {
    /// Begins the download, or finds it running, or its package here.
    pub fn download_update(self: &Arc<Self>) -> Result<watch::Receiver<Course>, Error> {
        let updates = self.updates()?;
        if let Some(running) = updates.jobs.running(Kind::Download)? {
            return Ok(running);
        }
        // Refused before anything runs, where it can be.
        let wants_bytes = updates.updater.wants_bytes()?;
        let session = wants_bytes.then(|| self.bound_session()).transpose()?;
        let course = updates.jobs.begin(Kind::Download)?;
        self.touch();
        let device = self.clone();
        tokio::spawn(async move {
            let begin = |device: &Self| Ok(device.updates()?.updater.begin_download()?);
            let ended = match (blocking(&device, begin).await, session) {
                (Ok(Some(update)), Some(session)) => device.download(&session, update).await,
                (begun, _) => begun.map(drop),
            };
            device.end_job(ended);
        });
        Ok(course)
    }

    /// To its end, or to a reason, which is noted.
    async fn download(
        self: &Arc<Self>,
        session: &DeviceSession,
        update: Update,
    ) -> Result<(), Error> {
        let ended = self.legs(session, update).await;
        if let Err(error) = &ended {
            let why = Why::new(error.code(), error.to_string());
            let noted = matches!(
                error,
                Error::Update(refused) if matches!(
                    **refused,
                    UpdateRefused::Updater(UpdateError::Partial(
                        PartialError::Hash { .. } | PartialError::Longer(_)
                    ))
                )
            );
            if !noted {
                let pause =
                    move |device: &Self| device.updates()?.updater.paused(why).map_err(Error::from);
                blocking(self, pause).await?;
            }
        }
        ended
    }

    async fn legs(self: &Arc<Self>, session: &DeviceSession, update: Update) -> Result<(), Error> {
        let mut stop = self.updates()?.jobs.stopping();
        let opened = update.clone();
        let open = move |device: &Self| Ok(device.updates()?.updater.open_partial(&opened)?);
        let mut partial = blocking(self, open).await?;
        let mut tries = 0;
        loop {
            let before = partial.bytes();
            let leg;
            (partial, leg) = self.leg(session, &update, partial, &mut stop).await?;
            if stop.has_changed().unwrap_or(true) {
                return Err(UpdateRefused::Stopped.into());
            }
            match leg {
                Leg::Whole => break,
                Leg::Swapped => {
                    let forget =
                        move |device: &Self| Ok(device.updates()?.updater.swapped(&mut partial)?);
                    blocking(self, forget).await?;
                    return Err(UpdateRefused::Swapped.into());
                }
                Leg::Broken(_) if partial.bytes() > before => tries = 0,
                Leg::Broken(reason) => {
                    tries += 1;
                    if tries == TRIES {
                        return Err(UpdateRefused::Unreachable(reason).into());
                    }
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE * (1 << tries)) => {}
                        _ = stop.changed() => return Err(UpdateRefused::Stopped.into()),
                    }
                }
            }
        }
        let finish = move |device: &Self| Ok(device.updates()?.updater.finish_download(partial)?);
        blocking(self, finish).await
    }

    /// One connection. What comes is written where it belongs; what does not come is no error.
    async fn leg(
        self: &Arc<Self>,
        session: &DeviceSession,
        update: &Update,
        partial: Partial,
        stop: &mut watch::Receiver<u64>,
    ) -> Result<(Partial, Leg), Error> {
        if partial.bytes() == update.size {
            return Ok((partial, Leg::Whole));
        }
        let Source::Cloud { url, .. } = &update.source else {
            return Err(UpdateError::NothingOffered.into());
        };
        let announced = (update.size, &*update.sha256);
        let asked = tokio::select! {
            asked = package(session, url, announced, partial.bytes()) => asked,
            _ = stop.changed() => {
                stop.mark_changed();
                return Ok((partial, Leg::Broken("stopped".into())));
            }
        };
        let pieces = match asked {
            Ok(Rest::Bytes(pieces)) => pieces,
            Ok(Rest::Swapped) => return Ok((partial, Leg::Swapped)),
            Err(error) if error.refusal().is_some_and(|it| it.status < 500) => {
                return Err(error.into());
            }
            Err(error) => return Ok((partial, Leg::Broken(error.to_string()))),
        };
        let mut stopped = stop.clone();
        let stopped = Box::pin(async move { drop(stopped.changed().await) });
        let from = pipe::reader(pieces.take_until(stopped));
        self.write(partial, from, update.size).await
    }

    async fn write(
        self: &Arc<Self>,
        mut partial: Partial,
        mut from: pipe::PipeReader,
        size: u64,
    ) -> Result<(Partial, Leg), Error> {
        let write = move |device: &Self| {
            let Updates { updater, jobs, .. } = device.updates()?;
            let moved = |done: u64| jobs.moved(Kind::Download, done, size);
            let leg = match partial.append(&mut from, &moved) {
                Ok(()) if partial.bytes() == size => Leg::Whole,
                Ok(()) => Leg::Broken("the cloud hung up".into()),
                Err(PartialError::Source(error)) => Leg::Broken(error.to_string()),
                Err(error) => {
                    if let PartialError::Longer(_) = error {
                        updater.wrong_bytes(&error)?;
                    }
                    return Err(UpdateError::from(error).into());
                }
            };
            Ok((partial, leg))
        };
        blocking(self, write).await
    }
}
