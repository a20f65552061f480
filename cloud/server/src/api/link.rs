//! A device's link as an event stream (WHATWG HTML, 9.2): `id` and `data` for each event, a
//! comment every 45 seconds of silence.

use crate::app::App;
use crate::caller::Device;
use crate::fault::Fault;
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use cloud_push::{HEARTBEAT, Link};
use futures_util::Stream;
use http::HeaderMap;
use std::convert::Infallible;
use tokio::sync::watch;

pub(super) async fn open(
    State(app): State<App>,
    device: Device,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Fault> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let link = app.push.link(&device.id, last).await?;
    app.accounts.note_seen(&device.id).await?;
    let open = Open { link, stopping: app.stopping.clone(), app };
    let events = futures_util::stream::unfold(open, |mut open| async move {
        let event = open.next().await?;
        Some((Ok(event), open))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("")))
}

/// A link that is up. When it goes down, the moment is noted.
struct Open {
    link: Link,
    stopping: watch::Receiver<bool>,
    app: App,
}

impl Open {
    /// The next event; `None` where the service stops or the log cannot be read.
    async fn next(&mut self) -> Option<Event> {
        let queued = tokio::select! {
            queued = self.link.next() => queued,
            _ = self.stopping.wait_for(|stop| *stop) => return None,
        };
        let queued = queued.inspect_err(|error| tracing::error!(%error, "a link broke")).ok()?;
        let data = serde_json::to_string(&queued.event).ok()?;
        Some(Event::default().id(queued.id.to_string()).data(data))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let (app, device_id) = (self.app.clone(), self.link.device_id().to_owned());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let noted = app.accounts.note_seen(&device_id).await;
            let also = app.push.note_seen(&device_id).await;
            if noted.is_err() || also.is_err() {
                tracing::warn!("the moment when a device was last seen could not be noted");
            }
        });
    }
}
