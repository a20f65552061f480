//! Devices: the routes of [`wire::device`], but for the link.

use super::{attest, link};
use crate::app::App;
use crate::caller::{Body, Device, Source, User};
use crate::fault::Fault;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use cloud_account::{Attested, DeviceRecord, Subject};
use http::StatusCode;
use wire::attest::Statement;
use wire::device::{Ack, Bind, Bound, Device as DeviceView, Token, TokenRequest};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/devices", post(bind).get(list))
        .route("/v1/devices/token", post(token))
        .route("/v1/devices/self/link", get(link::open))
        .route("/v1/devices/self/ack", post(acknowledge))
}

/// A device with an open bootloader, or one that did not verify its system, may be anyone's
/// (S2.5.2): it gets no session here.
async fn bind(
    State(app): State<App>,
    User(user): User,
    Source(source): Source,
    Body(request): Body<Bind>,
) -> Result<(StatusCode, Json<Bound>), Fault> {
    let proved = attest::verify(&app, &request.chain).await?;
    let statement = Statement::from(&proved);
    if !statement.locked || !["green", "yellow"].contains(&&*statement.boot_state) {
        let reason = "the device's bootloader is unlocked or its system did not verify; \
                      restore the official system and lock the bootloader";
        return Err(Fault::new(StatusCode::FORBIDDEN, "device_not_trusted", reason));
    }
    let leaf_key = proved.public_key.as_der().to_vec();
    let attested = Attested { statement, leaf_key };
    let bound = app.accounts.bind(&user, &attested, &request.name, source).await?;
    Ok((StatusCode::CREATED, Json(bound)))
}

async fn token(
    State(app): State<App>,
    Source(source): Source,
    Body(request): Body<TokenRequest>,
) -> Result<Json<Token>, Fault> {
    Ok(Json(app.accounts.device_token(&request, source).await?))
}

async fn list(State(app): State<App>, User(user): User) -> Result<Json<Vec<DeviceView>>, Fault> {
    Ok(Json(views(&app, &user.subject).await?))
}

async fn acknowledge(
    State(app): State<App>,
    device: Device,
    Body(request): Body<Ack>,
) -> Result<StatusCode, Fault> {
    app.push.acknowledge(&device.id, &request.ids).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The devices of an account, as their owner sees them.
pub(crate) async fn views(app: &App, subject: &Subject) -> Result<Vec<DeviceView>, Fault> {
    let mut views = Vec::new();
    for record in app.accounts.devices(subject).await? {
        views.push(view(app, record).await?);
    }
    Ok(views)
}

/// A device as its owner sees it.
pub(crate) async fn view(app: &App, record: DeviceRecord) -> Result<DeviceView, Fault> {
    let find = app.find.state(&record.device_id).await?;
    let connected = app.push.connected(&record.device_id);
    let last_seen = if connected { app.clock.now() } else { record.last_seen };
    let serial = record.masked_serial();
    Ok(DeviceView {
        serial: serial.clone(),
        statement: Statement { serial, ..record.statement },
        device_id: record.device_id,
        name: record.name,
        attested_at_ms: record.attested_at.0,
        last_seen_ms: last_seen.0,
        connected,
        find_enabled: find.enabled,
        lost: find.lost,
        erased: find.erased,
        position: find.position,
    })
}
