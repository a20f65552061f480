//! Devices: the list, and a page for each with its map and what can be done from afar.

use super::map::{self, View};
use super::page::{Frame, Moment, PageFault, shortened, show};
use super::session::{Background, Posted, Visitor};
use crate::api::devices::{view, views};
use crate::app::App;
use crate::fault::Fault;
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cloud_find::CommandView;
use effects::UnixMillis;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use std::collections::BTreeMap;
use wire::device::Device;
use wire::find::{Command, Outcome, Position};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/devices", get(list))
        .route("/live/devices", get(live_list))
        .route("/devices/{device}", get(page))
        .route("/live/devices/{device}", get(live_page))
        .route("/devices/{device}/map.svg", get(map_image))
        .route("/devices/{device}/locate", post(locate))
        .route("/devices/{device}/sound", post(sound))
        .route("/devices/{device}/lost", post(lost))
        .route("/devices/{device}/erase", get(confirm_erase).post(erase))
}

/// What the script puts into the page: texts by the name of their place; `null` hides one.
type News = BTreeMap<String, Option<String>>;

/// A device in words.
struct Card {
    id: String,
    name: String,
    serial: String,
    boot: Badge,
    lock: Badge,
    level: &'static str,
    patch: String,
    attested: Moment,
    presence: String,
    condition: Option<String>,
    find_enabled: bool,
    erased: bool,
    lost: Option<String>,
    place: Option<Place>,
}

/// A word with a tone: `good`, `warn` or `bad`.
struct Badge {
    tone: &'static str,
    text: &'static str,
}

/// A position in words.
struct Place {
    words: String,
    accuracy: String,
    at: Moment,
    at_ms: u64,
}

impl Place {
    fn new(position: &Position, now: UnixMillis) -> Self {
        let side = |degrees: f64, sides: [&str; 2]| {
            format!("{:.4}° {}", degrees.abs(), sides[usize::from(degrees < 0.0)])
        };
        let (north, east) = (side(position.lat, ["N", "S"]), side(position.lon, ["E", "W"]));
        Self {
            words: format!("{north}, {east}"),
            accuracy: format!("± {:.0} m", position.accuracy_m),
            at: Moment::new(UnixMillis(position.at_ms), now),
            at_ms: position.at_ms,
        }
    }
}

impl Card {
    fn new(device: Device, now: UnixMillis) -> Self {
        let boot = match &*device.statement.boot_state {
            "green" => Badge { tone: "good", text: "Verified boot: green" },
            "yellow" => Badge { tone: "warn", text: "Own key: yellow" },
            "orange" => Badge { tone: "bad", text: "Unverified: orange" },
            _ => Badge { tone: "bad", text: "Refused: red" },
        };
        let lock = match device.statement.locked {
            true => Badge { tone: "good", text: "Bootloader locked" },
            false => Badge { tone: "bad", text: "Bootloader unlocked" },
        };
        let level = match &*device.statement.security_level {
            "strongbox" => "Secure element",
            "trusted_environment" => "Trusted environment",
            _ => "Software only",
        };
        let patch = device.statement.os_patch_level;
        let presence = match device.connected {
            true => "Connected now".to_owned(),
            false => {
                format!("Last seen {}", Moment::new(UnixMillis(device.last_seen_ms), now).words)
            }
        };
        let condition = match (device.erased, device.lost.is_some()) {
            (true, _) => Some("Erased".to_owned()),
            (false, true) => Some("Lost mode".to_owned()),
            (false, false) => None,
        };
        Self {
            boot,
            lock,
            level,
            patch: format!("{}-{:02}", patch / 100, patch % 100),
            attested: Moment::new(UnixMillis(device.attested_at_ms), now),
            presence,
            condition,
            find_enabled: device.find_enabled,
            erased: device.erased,
            place: device.position.as_ref().map(|position| Place::new(position, now)),
            lost: device.lost,
            id: device.device_id,
            name: device.name,
            serial: shortened(&device.serial),
        }
    }

    fn news(&self, news: &mut News) {
        let mut put = |name: &str, text: Option<String>| {
            news.insert(format!("{name}-{}", self.id), text);
        };
        put("presence", Some(self.presence.clone()));
        put("condition", self.condition.clone());
        put("lost", self.lost.clone());
        put("erased", self.erased.then(String::new));
        put("place", self.place.as_ref().map(|place| place.words.clone()));
        put("accuracy", self.place.as_ref().map(|place| place.accuracy.clone()));
        put("measured", self.place.as_ref().map(|place| place.at.words.clone()));
        put("map", self.place.as_ref().map(|place| place.at_ms.to_string()));
    }
}

async fn cards(app: &App, visitor: &Visitor) -> Result<Vec<Card>, Fault> {
    let now = app.clock.now();
    let devices = views(app, &visitor.caller.subject).await?;
    Ok(devices.into_iter().map(|device| Card::new(device, now)).collect())
}

async fn card(app: &App, visitor: &Visitor, device: &str) -> Result<Card, Fault> {
    let record = app.accounts.device(&visitor.caller.subject, device).await?;
    Ok(Card::new(view(app, record).await?, app.clock.now()))
}

#[derive(Template)]
#[template(path = "devices.html")]
struct ListPage {
    frame: Frame,
    cards: Vec<Card>,
}

async fn list(State(app): State<App>, visitor: Visitor) -> Result<Response, PageFault> {
    let cards = cards(&app, &visitor).await?;
    let frame =
        Frame { live: "/live/devices".into(), ..Frame::new(&visitor, "devices", "Devices") };
    show(&ListPage { frame, cards })
}

async fn live_list(
    State(app): State<App>,
    Background(visitor): Background,
) -> Result<Json<News>, Fault> {
    let mut news = News::new();
    cards(&app, &visitor).await?.iter().for_each(|card| card.news(&mut news));
    Ok(Json(news))
}

/// A command in words.
struct Order {
    what: &'static str,
    when: Moment,
    outcome: String,
    tone: &'static str,
}

impl Order {
    fn new(command: &CommandView, now: UnixMillis) -> Self {
        let what = match command.command {
            Command::Locate => "Locate",
            Command::Sound => "Play a sound",
            Command::Lost { .. } => "Lost mode",
            Command::Erase => "Erase",
        };
        let (tone, outcome) = match &command.outcome {
            Outcome::Pending => ("wait", "on its way".to_owned()),
            Outcome::Done { .. } => ("good", "done".to_owned()),
            Outcome::Failed { reason } => ("bad", format!("failed: {reason}")),
        };
        Self { what, when: Moment::new(command.issued_at, now), outcome, tone }
    }
}

/// How many commands a page shows.
const ORDERS: u32 = 6;

async fn orders(app: &App, device_id: &str) -> Result<Vec<Order>, Fault> {
    let now = app.clock.now();
    let recent = app.find.recent(device_id, ORDERS).await?;
    Ok(recent.iter().map(|command| Order::new(command, now)).collect())
}

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    frame: Frame,
    card: Card,
    orders: Vec<Order>,
    zoom: usize,
    closer: Option<usize>,
    farther: Option<usize>,
}

#[derive(Deserialize)]
struct Zoom {
    zoom: Option<usize>,
}

impl Zoom {
    fn level(&self) -> usize {
        self.zoom.unwrap_or(View::USUAL).min(View::CLOSEST)
    }
}

async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Path(device): Path<String>,
    Query(zoom): Query<Zoom>,
) -> Result<Response, PageFault> {
    let card = card(&app, &visitor, &device).await?;
    let orders = orders(&app, &card.id).await?;
    let live = format!("/live/devices/{}", card.id);
    let frame = Frame { live, ..Frame::new(&visitor, "devices", &card.name) };
    let zoom = zoom.level();
    let (closer, farther) = ((zoom < View::CLOSEST).then_some(zoom + 1), zoom.checked_sub(1));
    show(&DevicePage { frame, card, orders, zoom, closer, farther })
}

async fn live_page(
    State(app): State<App>,
    Background(visitor): Background,
    Path(device): Path<String>,
) -> Result<Json<News>, Fault> {
    let card = card(&app, &visitor, &device).await?;
    let mut news = News::new();
    card.news(&mut news);
    for (at, order) in orders(&app, &card.id).await?.into_iter().enumerate() {
        news.insert(format!("what-{at}"), Some(order.what.to_owned()));
        news.insert(format!("when-{at}"), Some(order.when.words));
        news.insert(format!("tone-{at}"), Some(order.tone.to_owned()));
        news.insert(format!("outcome-{at}"), Some(order.outcome));
    }
    Ok(Json(news))
}

async fn map_image(
    State(app): State<App>,
    Background(visitor): Background,
    Path(device): Path<String>,
    Query(zoom): Query<Zoom>,
) -> Result<Response, Fault> {
    let record = app.accounts.device(&visitor.caller.subject, &device).await?;
    let position = app.find.state(&record.device_id).await?.position;
    let position = position.ok_or_else(|| Fault::not_found("position"))?;
    let svg = map::draw(&position, zoom.level());
    Ok(([(CONTENT_TYPE, "image/svg+xml")], svg).into_response())
}

async fn issue(
    app: &App,
    visitor: &Visitor,
    device: &str,
    command: &Command,
) -> Result<Response, PageFault> {
    let subject = &visitor.caller.subject;
    let record = app.accounts.device(subject, device).await?;
    app.find.issue(&record.device_id, &subject.0, command).await?;
    Ok(Redirect::to(&format!("/devices/{}", record.device_id)).into_response())
}

#[derive(Deserialize)]
struct Nothing {}

async fn locate(
    State(app): State<App>,
    Path(device): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageFault> {
    issue(&app, &posted.visitor, &device, &Command::Locate).await
}

async fn sound(
    State(app): State<App>,
    Path(device): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageFault> {
    issue(&app, &posted.visitor, &device, &Command::Sound).await
}

#[derive(Deserialize)]
struct LostForm {
    message: String,
}

async fn lost(
    State(app): State<App>,
    Path(device): Path<String>,
    posted: Posted<LostForm>,
) -> Result<Response, PageFault> {
    let command = Command::Lost { message: posted.form.message };
    issue(&app, &posted.visitor, &device, &command).await
}

#[derive(Template)]
#[template(path = "erase.html")]
struct ErasePage {
    frame: Frame,
    card: Card,
}

async fn confirm_erase(
    State(app): State<App>,
    visitor: Visitor,
    Path(device): Path<String>,
) -> Result<Response, PageFault> {
    let card = card(&app, &visitor, &device).await?;
    let frame = Frame::new(&visitor, "devices", format!("Erase {}", card.name));
    show(&ErasePage { frame, card })
}

#[derive(Deserialize)]
struct EraseForm {
    sure: Option<String>,
}

async fn erase(
    State(app): State<App>,
    Path(device): Path<String>,
    posted: Posted<EraseForm>,
) -> Result<Response, PageFault> {
    if posted.form.sure.as_deref() != Some("yes") {
        return Ok(Redirect::to(&format!("/devices/{device}/erase")).into_response());
    }
    issue(&app, &posted.visitor, &device, &Command::Erase).await
}
