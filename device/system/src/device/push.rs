//! Push: registrations, and messages that become notifications.

use super::{Device, blocking};
use crate::error::Error;
use crate::record::{Notification, PushRegistration};
use device_link::push::{self, hashed_id, open_message};
use serde::Serialize;
#[cfg(test)]
use std::io;
use std::sync::Arc;
use wire::push::Register;

/// The longest package name.
const MAX_APP_BYTES: usize = 255;
/// Applications that may be registered.
const MAX_REGISTRATIONS: usize = 500;

/// An application that is registered for push.
#[derive(Debug, Clone, Serialize)]
pub struct Registered {
    /// Its package name.
    pub app: String,
    /// What a developer addresses.
    pub registration_id: String,
}

impl Device {
    /// Registers `app` for push; again gives the same registration.
    pub async fn register_app(self: &Arc<Self>, app: &str) -> Result<Registered, Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if app.is_empty() || app.len() > MAX_APP_BYTES || !app.bytes().all(plain) {
            return Err(Error::BadRequest("an application has a package name".into()));
        }
        let session = self.bound_session()?;
        if let Some(known) = self.registrations().into_iter().find(|known| known.app == app) {
            return Ok(known);
        }
        if self.registrations().len() >= MAX_REGISTRATIONS {
            return Err(Error::BadRequest("too many applications are registered".into()));
        }
        let request = Register { app: app.to_owned(), hashed_ids: self.hashed_ids() };
        let answer = push::register(&session, &request).await?;
        let registration = PushRegistration {
            app: app.to_owned(),
            registration_id: answer.registration_id.clone(),
            content_key: answer.content_key.0.into(),
        };
        blocking(self, move |device| {
            let keep = |record: &mut crate::record::Record| {
                record.registrations.retain(|known| known.app != registration.app);
                record.registrations.push(registration);
            };
            Ok(device.userdata().change(keep)?)
        })
        .await?;
        Ok(Registered { app: app.to_owned(), registration_id: answer.registration_id })
    }

    /// The applications that are registered.
    #[must_use]
    pub fn registrations(&self) -> Vec<Registered> {
        let userdata = self.userdata();
        let known = userdata.record().registrations.iter();
        known
            .map(|known| Registered {
                app: known.app.clone(),
                registration_id: known.registration_id.clone(),
            })
            .collect()
    }

    /// The notifications, newest first.
    #[must_use]
    pub fn notifications(&self) -> Vec<Notification> {
        self.inbox().notifications().cloned().collect()
    }

    /// Removes one notification, or all.
    pub fn clear_notifications(&self, id: Option<u64>) -> Result<(), Error> {
        self.refuse_if_erased()?;
        self.inbox().clear(id).map_err(Error::io("the inbox"))?;
        self.touch();
        Ok(())
    }

    /// A notification that no cloud brought.
    #[cfg(test)]
    pub(crate) fn notify(&self, message: wire::push::Message) -> io::Result<()> {
        self.inbox().deliver(1 << 60, "test", message, self.now().0)?;
        self.touch();
        Ok(())
    }

    /// Turns a sealed message into a notification. One that nobody here can open is dropped:
    /// it could not be opened the next time either.
    pub(super) fn deliver(
        &self,
        id: u64,
        registration_id: &str,
        sealed: &[u8],
    ) -> Result<(), Error> {
        let registration = {
            let userdata = self.userdata();
            let mut known = userdata.record().registrations.iter();
            known.find(|known| known.registration_id == registration_id).cloned()
        };
        let opened = registration.and_then(|registration| {
            let key = registration.content_key.as_slice().try_into().ok()?;
            Some((registration.app, open_message(registration_id, key, sealed).ok()?))
        });
        let now = self.now().0;
        let mut inbox = self.inbox();
        let kept = match opened {
            Some((app, message)) => inbox.deliver(id, &app, message, now),
            None => {
                tracing::warn!(id, "a message that nobody here can open was dropped");
                inbox.mark_seen(id)
            }
        };
        kept.map_err(Error::io("the inbox"))?;
        drop(inbox);
        self.touch();
        Ok(())
    }

    /// Device identifier, serial number, Android id: hashed here, so that they stay here.
    fn hashed_ids(&self) -> Vec<String> {
        let serial = self.live().serial.clone().unwrap_or_default();
        let android_id: String =
            self.userdata().record().android_id.iter().map(|byte| format!("{byte:02x}")).collect();
        [("device", &serial), ("serial", &serial), ("android", &android_id)]
            .map(|(kind, value)| hashed_id(kind, value))
            .to_vec()
    }
}
