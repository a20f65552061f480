//! The board's control socket: HTTP and JSON on `board.sock`, for the user who runs the board.

use crate::device::{Button, Power};
use crate::radio::{Receiver, check_position};
use crate::screen::{NotTaken, Screen};
use crate::status::{Board, Status};
use crate::trusted_screen::ShownPrompt;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use board::modem::Position;
use serde::Deserialize;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What the routes act on.
#[derive(Clone)]
pub struct Controls {
    /// The power button.
    pub power: Power,
    /// What is told about the device.
    pub board: Arc<Board>,
    /// The trusted screen.
    pub screen: Arc<Screen>,
    /// The satellite receiver.
    pub receiver: Arc<Receiver>,
}

/// The routes.
pub fn routes(controls: Controls) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/power", post(power))
        .route("/v1/keys", post(keys))
        .route("/v1/screen", get(screen))
        .route("/v1/position", post(position))
        .with_state(controls)
}

async fn status(State(controls): State<Controls>) -> Json<Status> {
    Json(controls.board.status())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Press {
    action: Button,
}

async fn power(State(controls): State<Controls>, Json(press): Json<Press>) -> Json<Status> {
    controls.power.press(press.action).await;
    Json(controls.board.status())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    keys: Zeroizing<String>,
}

async fn keys(State(controls): State<Controls>, Json(Keys { keys }): Json<Keys>) -> Response {
    match controls.screen.type_keys(&keys) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(NotTaken::TooManyKeys) => {
            (StatusCode::TOO_MANY_REQUESTS, NotTaken::TooManyKeys.to_string()).into_response()
        }
        Err(why) => (StatusCode::UNPROCESSABLE_ENTITY, why.to_string()).into_response(),
    }
}

async fn screen(State(controls): State<Controls>) -> Json<Option<ShownPrompt>> {
    Json(controls.screen.standing().map(Into::into))
}

async fn position(
    State(controls): State<Controls>,
    Json(position): Json<Position>,
) -> Result<StatusCode, (StatusCode, &'static str)> {
    let position =
        check_position(position).map_err(|why| (StatusCode::UNPROCESSABLE_ENTITY, why))?;
    controls.receiver.set(position);
    Ok(StatusCode::NO_CONTENT)
}
