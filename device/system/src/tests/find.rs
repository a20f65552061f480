//! Find-device, push: what comes down the link.

use super::Bench;
use crate::fake_cloud::{FakeCloud, PASSWORD};
use effects::Clock as _;
use http_link::Error;
use serde_json::{Value, json};
use std::time::Duration;
use wire::find::Command;
use wire::push::Event;

const MINUTE: Duration = Duration::from_secs(60);

async fn reported(bench: &Bench, command_id: u64) -> wire::find::Report {
    let answers = || bench.cloud.reports().into_iter().find(|r| r.command_id == Some(command_id));
    bench.until("the report", |_| answers().is_some()).await;
    answers().unwrap()
}

#[tokio::test]
async fn s2_5_1_locate_reports_the_position() {
    let bench = Bench::in_use().await;
    let command = bench.cloud.command(Command::Locate);
    let report = reported(&bench, command).await;
    let position = report.position.unwrap();
    assert_eq!((position.lat, position.lon), (53.55, 9.99));
    assert!(position.at_ms > bench.clock.now().0 + (1 << 40), "dated by the cloud's clock");
    bench.until("the acknowledgement", |_| !bench.cloud.acknowledged().is_empty()).await;
}

#[tokio::test]
async fn s2_5_1_commands_are_refused_while_find_device_is_off() {
    let bench = Bench::new().await;
    let bind = json!({"token": "user-a1"});
    bench.api().post("/v1/account/bind").json(&bind).send().await.unwrap();
    for command in [Command::Locate, Command::Sound, Command::Erase] {
        let command = bench.cloud.command(command);
        assert!(reported(&bench, command).await.failed.is_some());
    }
    assert!(!bench.device.alarm_sounds());
    assert_eq!(bench.status().await["erased"], false);
}

#[tokio::test]
async fn s2_5_1_the_alarm_sounds_until_it_is_dismissed_on_the_phone() {
    let bench = Bench::in_use().await;
    let command = bench.cloud.command(Command::Sound);
    assert_eq!(reported(&bench, command).await.failed, None);
    assert!(bench.device.alarm_sounds());
    bench.clock.advance(MINUTE * 4);
    let find: Value = bench.api().get("/v1/find").send_json().await.unwrap();
    assert_eq!(find["alarm_ms"], 60_000);
    let press = bench.screen().post("/alarm/dismiss").header("origin", "http://localhost");
    assert_eq!(press.send_any().await.unwrap().status(), 303);
    assert!(!bench.device.alarm_sounds());
    bench.device.sound();
    bench.clock.advance(MINUTE * 6);
    assert!(!bench.device.alarm_sounds());
    let before = *bench.device.revision().borrow();
    bench.device.tick().await;
    assert!(*bench.device.revision().borrow() > before, "the screen is told of its end");
}

#[tokio::test]
async fn s2_5_1_lost_mode_locks_wipes_the_key_and_reports_every_quarter_of_an_hour() {
    let mut bench = Bench::in_use().await;
    let command = bench.cloud.command(Command::Lost { message: "Please call 123".into() });
    assert!(reported(&bench, command).await.position.is_some());
    let status = bench.status().await;
    assert_eq!(status["lost"], "Please call 123");
    assert_eq!((&status["locked"], &status["ce_open"]), (&json!(true), &json!(false)));
    let unlock = bench.api().post("/v1/lock/unlock").send().await;
    assert!(matches!(unlock, Err(Error::Refused(r)) if r.status == 423 && r.error == "lost_mode"));

    let periodic = |bench: &Bench| {
        bench.cloud.reports().iter().filter(|report| report.command_id.is_none()).count()
    };
    bench.until("the first report", |_| periodic(&bench) == 1).await;
    bench.clock.advance(MINUTE * 14);
    assert_eq!(bench.device.tick().await, Some(MINUTE));
    assert_eq!(periodic(&bench), 1);
    bench.clock.advance(MINUTE);
    assert_eq!(bench.device.tick().await, Some(MINUTE * 15));
    assert_eq!(periodic(&bench), 2);

    bench.reboot().await;
    assert_eq!(bench.status().await["lost"], "Please call 123", "it outlives a restart");
}

#[tokio::test]
async fn s2_5_2_the_accounts_password_ends_lost_mode() {
    let bench = Bench::in_use().await;
    let end = |password: &str| {
        let body = json!({"password": password});
        bench.api().post("/v1/lost-mode/end").json(&body).send()
    };
    assert!(matches!(end(PASSWORD).await, Err(Error::Refused(r)) if r.error == "not_lost"));
    let command = bench.cloud.command(Command::Lost { message: "lost".into() });
    reported(&bench, command).await;
    assert!(matches!(end("guess").await, Err(Error::Refused(r)) if r.error == "wrong_password"));
    end(PASSWORD).await.unwrap();
    assert_eq!(bench.status().await["lost"], json!(null));
    bench.tee.types(&["123456"]);
    bench.api().post("/v1/lock/unlock").send().await.unwrap();
    assert_eq!(bench.status().await["ce_open"], true);
}

#[tokio::test]
async fn s2_5_1_erase_destroys_the_keys_reports_and_ends() {
    let mut bench = Bench::in_use().await;
    let command = bench.cloud.command(Command::Erase);
    assert_eq!(reported(&bench, command).await.failed, None);
    bench.until("the daemon ends", |device| device.ending().borrow().is_some()).await;
    // Once or more: whether the last acknowledgement arrived, the daemon that ends can't know.
    assert!(!bench.cloud.acknowledged().is_empty());
    bench.reboot().await;
    assert_eq!(bench.status().await["activation"], "due");
}

#[tokio::test]
async fn s5_4_a_message_becomes_one_notification_whatever_is_delivered_twice() {
    let mut bench = Bench::in_use().await;
    let app = json!({"app": "org.example.news"});
    let registered: Value =
        bench.api().post("/v1/push/registrations").json(&app).send_json().await.unwrap();
    let id = registered["registration_id"].as_str().unwrap().to_owned();
    let event = bench.cloud.send(FakeCloud::message(&id, "Hello", "world"));
    bench.until("the notification", |device| device.notifications().len() == 1).await;
    bench.until("the acknowledgement", |_| bench.cloud.acknowledged().contains(&event)).await;

    bench.reboot().await;
    bench.until("the link is up", |device| device.is_connected()).await;
    let last = bench.cloud.links().last().unwrap().0.clone();
    assert_eq!(last, Some(event.to_string()), "the link goes on where it was");
    let shown: Value = bench.api().get("/v1/notifications").send_json().await.unwrap();
    assert_eq!(shown["notifications"][0]["title"], "Hello");
    assert_eq!(shown["notifications"][0]["app"], "org.example.news");
    assert_eq!(bench.device.notifications().len(), 1);
}

#[tokio::test]
async fn a_message_that_nobody_can_open_is_dropped_and_holds_up_nothing() {
    let bench = Bench::in_use().await;
    let foreign = bench.cloud.send(FakeCloud::message("r-unknown", "x", "y"));
    let sealed = wire::Base64(vec![0; 40]);
    let registration_id = "r-holdfast.system".to_owned();
    let broken = bench.cloud.send(Event::Push { registration_id, sealed });
    let good = bench.cloud.send(FakeCloud::message("r-holdfast.system", "good", ""));
    bench.until("the good one", |device| device.notifications().len() == 1).await;
    bench.until("all acknowledged", |_| bench.cloud.acknowledged().len() == 3).await;
    assert_eq!(bench.cloud.acknowledged(), [foreign, broken, good]);
}

#[tokio::test]
async fn an_event_is_not_acknowledged_before_its_effect_is_durable() {
    let bench = Bench::in_use().await;
    bench.cloud.refuse_reports(true);
    let command = bench.cloud.command(Command::Locate);
    bench.until("the link broke and came again", |_| bench.cloud.links().len() >= 2).await;
    assert_eq!(bench.cloud.acknowledged(), [0; 0]);
    bench.cloud.refuse_reports(false);
    reported(&bench, command).await;
    bench.until("the acknowledgement", |_| bench.cloud.acknowledged().len() == 1).await;
}

#[tokio::test]
async fn find_device_reaches_the_cloud_and_the_tee() {
    let bench = Bench::in_use().await;
    assert!(bench.cloud.find_enabled());
    let status = bench.status().await;
    assert_eq!(status["find_enabled"], true);
    assert_eq!(status["lock"]["activation_armed"], true);
    bench.device.boot_succeeded().unwrap();
    assert!(bench.tee.boot_was_successful());
}
