//! The modem, as the daemon asks it: HTTP on its Unix socket, `GET /position`.

use crate::error::Error;
use effects::UnixMillis;
use http_link::Client;
use serde::Deserialize;
use std::path::Path;
use wire::find::Position;

/// The modem behind `radio.sock`.
#[derive(Clone)]
pub struct Modem(Client);

/// What the modem measured. It may leave out when: then it was now.
#[derive(Deserialize)]
struct Fix {
    lat: f64,
    lon: f64,
    accuracy_m: f64,
    at_ms: Option<u64>,
}

impl Modem {
    /// The modem at `socket`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self(Client::unix(socket))
    }

    /// Where the device is; `now` dates a measurement that carries no time.
    pub async fn position(&self, now: UnixMillis) -> Result<Position, Error> {
        let answer = self.0.get("/position").send_json::<Fix>().await;
        let fix = answer.map_err(|error| Error::NoPosition(error.to_string()))?;
        let Fix { lat, lon, accuracy_m, at_ms } = fix;
        let sensible = (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon);
        if !sensible || !accuracy_m.is_finite() || accuracy_m < 0.0 {
            return Err(Error::NoPosition("the modem says an impossible one".into()));
        }
        Ok(Position { lat, lon, accuracy_m, at_ms: at_ms.unwrap_or(now.0) })
    }
}
