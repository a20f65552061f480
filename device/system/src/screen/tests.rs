//! The pages over their socket.

use crate::tests::Bench;
use http_link::Request;
use wire::push::Message;

async fn page(bench: &Bench, path: &str) -> (u16, String) {
    let answer = bench.screen().get(path).send_any().await.unwrap();
    let status = answer.status().as_u16();
    (status, String::from_utf8(answer.bytes(1 << 20).await.unwrap()).unwrap())
}

fn press(bench: &Bench, path: &str) -> Request {
    let press = bench.screen().post(path).header("origin", "http://localhost");
    press.header("content-type", "application/x-www-form-urlencoded")
}

#[tokio::test]
async fn every_answer_carries_the_policy() {
    let bench = Bench::new().await;
    for path in ["/", "/phone.js", "/nowhere", "/files"] {
        let answer = bench.screen().get(path).send_any().await.unwrap();
        let policy = answer.header(&http::header::CONTENT_SECURITY_POLICY).unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'"));
        assert!(policy.contains("frame-src 'none';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"));
        assert!(policy.contains("require-trusted-types-for 'script'"));
        assert_eq!(answer.header(&http::header::X_CONTENT_TYPE_OPTIONS), Some("nosniff"));
    }
}

#[tokio::test]
async fn other_sites_cannot_press_buttons_or_read_pages() {
    let bench = Bench::in_use().await;
    for origin in ["http://evil.example", "null", "http://localhost:81"] {
        let foreign = bench.screen().post("/lock").header("origin", origin);
        assert_eq!(foreign.send_any().await.unwrap().status(), 403, "{origin}");
    }
    let no_origin = bench.screen().post("/lock").send_any().await.unwrap();
    assert_eq!(no_origin.status(), 403);
    let rebound = bench.screen().get("/").header("host", "evil.example");
    assert_eq!(rebound.send_any().await.unwrap().status(), 403);
    assert!(!bench.device.is_locked());
    assert_eq!(press(&bench, "/lock").send_any().await.unwrap().status(), 303);
    assert!(bench.device.is_locked());
}

#[tokio::test]
async fn shows_no_files_and_no_message_text_while_locked() {
    let bench = Bench::in_use().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret.txt"), b"secret content").unwrap();
    let mut tar = Vec::new();
    treetar::pack_folder(folder.path(), &mut tar).unwrap();
    bench.api().put("/v1/files").bytes(tar).send().await.unwrap();
    deliver(&bench, "Bank", "your code is 4711");
    assert!(page(&bench, "/files").await.1.contains("secret.txt"));
    assert!(page(&bench, "/").await.1.contains("4711"));
    let (status, content) = page(&bench, "/files/content?path=secret.txt").await;
    assert_eq!((status, content.as_str()), (200, "secret content"));

    bench.device.lock();
    let (_, lock_screen) = page(&bench, "/").await;
    assert!(lock_screen.contains("Bank") && !lock_screen.contains("4711"), "{lock_screen}");
    for path in ["/files", "/files/content?path=secret.txt"] {
        let (status, body) = page(&bench, path).await;
        assert_eq!((status, body.as_str()), (303, ""), "{path}");
    }
    let cleared = press(&bench, "/notifications/clear").send_any().await.unwrap();
    assert_eq!(cleared.status(), 303);
    assert_eq!(bench.device.notifications().len(), 1, "nothing is changed from outside");
}

#[tokio::test]
async fn hostile_names_and_messages_stay_text() {
    let bench = Bench::in_use().await;
    let hostile = "<img src=x onerror=alert(1)>\"'&";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(hostile), b"x").unwrap();
    let odd = std::ffi::OsString::from_vec(b"\xff\xfe\n.txt".to_vec());
    std::fs::write(folder.path().join(odd), b"y").unwrap();
    let mut tar = Vec::new();
    treetar::pack_folder(folder.path(), &mut tar).unwrap();
    bench.api().put("/v1/files").bytes(tar).send().await.unwrap();
    deliver(&bench, hostile, hostile);
    let (_, files) = page(&bench, "/files").await;
    let (_, home) = page(&bench, "/").await;
    for html in [&files, &home] {
        assert!(!html.contains("<img"), "{html}");
    }
    assert!(files.contains("path=%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%22%27%26"));
    assert!(files.contains("path=%FF%FE%0A.txt"));
    let odd = bench.screen().get("/files/content?path=%FF%FE%0A.txt").send().await.unwrap();
    let disposition = odd.header(&http::header::CONTENT_DISPOSITION).unwrap();
    assert_eq!(disposition, "attachment; filename=\"___.txt\"; filename*=UTF-8''%FF%FE%0A.txt");

    bench.device.enter_lost_mode(hostile).unwrap();
    let (_, lost) = page(&bench, "/").await;
    assert!(lost.contains("&#60;img") && !lost.contains("<img"), "{lost}");
    assert!(!lost.contains("notes-title"), "a finder reads no notifications");
}

#[tokio::test]
async fn the_prompt_shows_the_trusted_screen_and_its_outcome_is_told() {
    let bench = Bench::in_use().await;
    bench.device.lock();
    bench.tee.types(&["999999", "123456"]);
    assert_eq!(press(&bench, "/unlock").send_any().await.unwrap().status(), 303);
    bench.until("the answer", |device| device.notice().is_some()).await;
    assert!(page(&bench, "/").await.1.contains("wrong PIN, the 1st"));
    assert_eq!(press(&bench, "/unlock").send_any().await.unwrap().status(), 303);
    bench.until("it opens", |device| !device.is_locked()).await;
    assert!(page(&bench, "/").await.1.contains("<h1>Home</h1>"));
}

#[tokio::test]
async fn events_tell_of_every_change() {
    use futures_util::StreamExt as _;
    let bench = Bench::in_use().await;
    let mut events = bench.screen().get("/events").send().await.unwrap().stream();
    let first = String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(first.starts_with("data: {") && first.contains("\"state\":\"open\""), "{first}");
    bench.device.lock();
    let second = String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(second.contains("\"state\":\"locked\""), "{second}");
}

#[test]
fn the_pages_script_is_small() {
    assert!(super::JS.len() < 15 * 1024);
}

use std::os::unix::ffi::OsStringExt as _;

fn deliver(bench: &Bench, title: &str, body: &str) {
    let message = Message { title: title.into(), body: body.into() };
    bench.device.notify(message).unwrap();
}
