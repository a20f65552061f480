//! A maker and its devices: the routes of [`wire::attest`] below `/v1/makers`.

use super::attest::ders;
use crate::app::App;
use crate::caller::{Body, Maker};
use crate::fault::Fault;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use cloud_attest::{Device, Error};
use http::StatusCode;
use keyattest::RevocationStatus;
use keyattest::x509::SerialNumber;
use serde::Deserialize;
use wire::attest::{
    Alarm, BulkEnrolled, BulkEnrolment, DeviceRecord, EnrolmentResult, Revoke, RevokeCertificate,
};

/// The largest production run in one request.
const BULK_BYTES: usize = 8 * 1024 * 1024;
const BULK_DEVICES: usize = 1000;
/// Devices of one answer, where none is said, and at most.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1000;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/makers/devices/bulk", post(enrol))
        .route("/v1/makers/devices", get(list))
        .route("/v1/makers/devices/{serial}", get(look_up))
        .route("/v1/makers/devices/{serial}/revoke", post(revoke))
        .route("/v1/makers/certificates/{serial}/revoke", post(revoke_certificate))
        .route("/v1/makers/alarms", get(alarms))
        .layer(DefaultBodyLimit::max(BULK_BYTES))
}

/// Each device on its own: one that is refused keeps no other out.
async fn enrol(
    State(app): State<App>,
    Maker(maker): Maker,
    Body(run): Body<BulkEnrolment>,
) -> Result<Json<BulkEnrolled>, Fault> {
    if run.chains.len() > BULK_DEVICES {
        return Err(invalid("chains: at most 1000 in one request"));
    }
    let mut results = Vec::with_capacity(run.chains.len());
    for chain in &run.chains {
        let chain = ders(chain);
        let enrolled = match chain.last() {
            Some(root) => match app.attest.register_maker(&maker, root).await {
                Ok(_) => app.attest.enrol_device(&chain).await,
                Err(error) => Err(error),
            },
            None => Err(keyattest::Refusal::ChainLength(0).into()),
        };
        results.push(match enrolled {
            Ok(device) => EnrolmentResult::Enrolled { serial: device.serial },
            Err(Error::Refused(refusal)) => EnrolmentResult::Refused {
                error: refusal.code().to_owned(),
                reason: refusal.to_string(),
            },
            Err(error) => return Err(error.into()),
        });
    }
    Ok(Json(BulkEnrolled { results }))
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    after: String,
    limit: Option<u32>,
}

async fn list(
    State(app): State<App>,
    Maker(maker): Maker,
    Query(page): Query<Page>,
) -> Result<Json<Vec<DeviceRecord>>, Fault> {
    let limit = page.limit.unwrap_or(PAGE).min(PAGE_MAX);
    let devices = app.attest.devices_of_maker(&maker, &page.after, limit).await?;
    Ok(Json(devices.into_iter().map(record).collect()))
}

async fn look_up(
    State(app): State<App>,
    Maker(maker): Maker,
    Path(serial): Path<String>,
) -> Result<Json<DeviceRecord>, Fault> {
    Ok(Json(record(app.attest.device_of_maker(&maker, &serial).await?)))
}

async fn revoke(
    State(app): State<App>,
    Maker(maker): Maker,
    Path(serial): Path<String>,
    Body(asked): Body<Revoke>,
) -> Result<StatusCode, Fault> {
    let device = app.attest.device_of_maker(&maker, &serial).await?;
    app.attest.revoke_device(&maker, &device.public_key, &asked.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke_certificate(
    State(app): State<App>,
    Maker(maker): Maker,
    Path(serial): Path<String>,
    Body(asked): Body<RevokeCertificate>,
) -> Result<StatusCode, Fault> {
    let serial = SerialNumber::from_hex(&serial)
        .map_err(|_| invalid("serial: hexadecimal digits of at most 20 bytes"))?;
    let status = match &*asked.status {
        "REVOKED" => RevocationStatus::Revoked,
        "SUSPENDED" => RevocationStatus::Suspended,
        _ => return Err(invalid("status: REVOKED or SUSPENDED")),
    };
    app.attest.revoke_certificate(&maker, &serial, status, &asked.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn alarms(State(app): State<App>, Maker(maker): Maker) -> Result<Json<Vec<Alarm>>, Fault> {
    let alarms = app.attest.alarms(&maker).await?;
    let shown = |alarm: cloud_attest::Alarm| Alarm {
        serial: alarm.serial,
        kind: alarm.kind.code().to_owned(),
        detail: alarm.detail,
        first_at_ms: alarm.first_at.0,
        last_at_ms: alarm.last_at.0,
        times: alarm.times,
    };
    Ok(Json(alarms.into_iter().map(shown).collect()))
}

fn record(device: Device) -> DeviceRecord {
    let (at, reason) = device.revoked.unzip();
    DeviceRecord {
        serial: device.serial,
        certificate: device.certificate.into(),
        enrolled_at_ms: device.enrolled_at.0,
        revoked_at_ms: at.map(|at| at.0),
        revoked_reason: reason,
    }
}

fn invalid(reason: &str) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, "invalid", reason)
}
