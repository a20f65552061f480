//! The JSON API. One module a service, as in `wire`; each handler is a call of its service.

mod account;
mod attest;
mod attestation;
pub(crate) mod devices;
mod eid;
mod find;
mod link;
mod push;
mod registry;
mod update;

use crate::app::App;
use axum::Router;
use axum::extract::DefaultBodyLimit;

/// The largest body of a request, where the route does not say another.
const BODY_BYTES: usize = 256 * 1024;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .merge(account::routes())
        .merge(attest::routes())
        .merge(attestation::routes())
        .merge(devices::routes())
        .merge(eid::routes())
        .merge(find::routes())
        .merge(push::routes())
        .merge(update::routes())
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        // Whole production runs come here: this part has a limit of its own.
        .merge(registry::routes())
}
