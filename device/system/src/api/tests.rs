//! The local API over its socket: files.

use crate::tests::Bench;
use futures_util::stream;
use http_link::Error;
use serde_json::{Value, json};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A folder with what makes archives hard.
fn fill(folder: &Path) {
    std::fs::create_dir(folder.join("sub")).unwrap();
    std::fs::write(folder.join("sub/large"), vec![7; 3 << 20]).unwrap();
    std::fs::write(folder.join("empty"), b"").unwrap();
    std::fs::write(folder.join(std::ffi::OsStr::from_bytes(b"not-\xff-utf8")), b"x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("link")).unwrap();
    std::fs::hard_link(folder.join("empty"), folder.join("sub/again")).unwrap();
}

fn tar_of(folder: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    treetar::pack_folder(folder, &mut tar).unwrap();
    tar
}

#[tokio::test]
async fn a_folder_goes_in_and_comes_out_the_same() {
    let bench = Bench::in_use().await;
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let tar = tar_of(folder.path());
    let pieces: Vec<_> = tar.chunks(10_007).map(|p| io::Result::Ok(p.to_vec().into())).collect();
    let api = bench.api();
    let sent = api.put("/v1/files").stream(None, stream::iter(pieces)).send_json().await;
    let sent: Value = sent.unwrap();
    assert_eq!((&sent["files"], &sent["dirs"]), (&json!(3), &json!(1)));
    assert_eq!((&sent["links"], &sent["skipped"]), (&json!(2), &json!([])));

    let back = api.get("/v1/files/tar").send().await.unwrap().bytes(16 << 20).await.unwrap();
    let differences = treetar::compare_tar_with_folder(&back[..], folder.path()).unwrap();
    assert!(differences.is_empty(), "{differences:?}");

    let listing: Value = api.get("/v1/files?path=sub").send_json().await.unwrap();
    let names: Vec<_> =
        listing["entries"].as_array().unwrap().iter().map(|e| &e["display"]).collect();
    assert_eq!(names, ["again", "large"]);
    let odd = api.get("/v1/files/content?path=not-%FF-utf8").send().await.unwrap();
    assert_eq!(odd.bytes(10).await.unwrap(), b"x");
    let large = api.get("/v1/files/content?path=/sub/large").send().await.unwrap();
    assert_eq!(large.bytes(4 << 20).await.unwrap(), vec![7; 3 << 20]);
}

#[tokio::test]
async fn a_replacing_import_ends_with_the_folder_as_it_is() {
    let bench = Bench::in_use().await;
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let put = async |path: &str, folder: &Path| -> Value {
        bench.api().put(path).bytes(tar_of(folder)).send_json().await.unwrap()
    };
    assert_eq!(put("/v1/files?replace=true", folder.path()).await["removed"], 0);
    // Added, changed, renamed, removed, and a link where a folder was.
    std::fs::write(folder.path().join("added"), b"1").unwrap();
    std::fs::write(folder.path().join("empty"), b"no more").unwrap();
    std::fs::rename(folder.path().join("sub/large"), folder.path().join("moved")).unwrap();
    std::fs::remove_dir_all(folder.path().join("sub")).unwrap();
    std::os::unix::fs::symlink("moved", folder.path().join("sub")).unwrap();
    let compare = async || {
        let back = bench.api().get("/v1/files/tar").send().await.unwrap();
        let back = back.bytes(16 << 20).await.unwrap();
        treetar::compare_tar_with_folder(&back[..], folder.path()).unwrap()
    };
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("merged"), b"2").unwrap();
    assert_eq!(put("/v1/files", other.path()).await["removed"], 0);
    assert!(!compare().await.is_empty());
    assert_eq!(put("/v1/files?replace=true", folder.path()).await["removed"], 1);
    assert_eq!(compare().await, []);
    let odd = bench.api().put("/v1/files?replace=maybe").bytes(tar_of(folder.path())).send().await;
    assert!(matches!(odd, Err(Error::Refused(r)) if r.error == "bad_request"));
}

#[tokio::test]
async fn nonsense_and_absent_paths_are_refused() {
    let bench = Bench::in_use().await;
    for (path, status) in [
        ("/v1/files?path=%zz", 400),
        ("/v1/files?path=..", 400),
        ("/v1/files?path=nowhere", 404),
        ("/v1/files/content?path=nowhere", 404),
        ("/v1/files/content?path=a%00b", 400),
        ("/v1/nothing", 404),
    ] {
        let answer = bench.api().get(path).send().await;
        assert!(matches!(&answer, Err(Error::Refused(r)) if r.status == status), "{path}");
    }
    let nonsense = bench.api().put("/v1/files").bytes(vec![b'?'; 2048]).send().await;
    assert!(matches!(nonsense, Err(Error::Refused(r)) if r.error == "bad_archive"));
    let malformed =
        bench.api().post("/v1/attest").bytes("{").header("content-type", "application/json");
    assert!(matches!(malformed.send().await, Err(Error::Refused(r)) if r.error == "bad_request"));
}

#[tokio::test]
async fn a_transfer_breaks_off_when_the_device_is_lost() {
    let bench = Bench::in_use().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("large"), vec![7; 24 << 20]).unwrap();
    let api = bench.api();
    api.put("/v1/files").bytes(tar_of(folder.path())).send().await.unwrap();
    let answer = api.get("/v1/files/tar").send().await.unwrap();
    bench.device.enter_lost_mode("lost").unwrap();
    assert!(answer.bytes(64 << 20).await.is_err(), "the rest came although the key is gone");
}

#[tokio::test]
async fn sync_says_how_it_ended() {
    let mut bench = Bench::in_use().await;
    // This cloud has no sync: the run begins, and its last line says why it failed.
    let answer = bench.api().post("/v1/sync/upload").send().await.unwrap();
    let lines = String::from_utf8(answer.bytes(1 << 20).await.unwrap()).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["done"], &last["error"]), (&json!(false), &json!("not_found")));
    let again = bench.api().post("/v1/sync/restore").send().await;
    assert!(again.is_ok(), "the run that failed is over");
    bench.reboot().await;
    for path in ["/v1/sync/upload", "/v1/sync/restore"] {
        let refused = bench.api().post(path).send().await;
        assert!(matches!(refused, Err(Error::Refused(r)) if r.error == "locked"));
    }
}

#[tokio::test]
async fn s2_1_1_an_installed_application_is_there_again_after_a_restart_until_it_is_removed() {
    const UUID: &str = "8e3f1a52-94c6-4f0e-8d51-6d2a1c5b7e90";
    let bench = Bench::in_use().await;
    let api = bench.api();
    let image = format!("ta-counter {UUID}");
    let installed: Value = api.put("/v1/ta").bytes(image).send_json().await.unwrap();
    assert_eq!((&installed["name"], &installed["signer"]), (&json!("ta-counter"), &json!("maker")));
    let command = json!({ "command": { "add": 2 } });
    let called: Value =
        api.post(&format!("/v1/ta/{UUID}/call")).json(&command).send_json().await.unwrap();
    assert_eq!(called["reply"], json!({ "add": 2 }));

    bench.tee.reboot();
    assert!(bench.device.applications().unwrap().is_empty());
    bench.device.load_applications();
    let listed: Value = api.get("/v1/ta").send_json().await.unwrap();
    assert_eq!(listed["applications"], json!([installed]));
    api.delete(&format!("/v1/ta/{UUID}?signer=maker")).send().await.unwrap();
    bench.tee.reboot();
    bench.device.load_applications();
    assert!(bench.device.applications().unwrap().is_empty());
}

#[tokio::test]
async fn s2_1_1_what_is_no_image_and_no_uuid_is_refused() {
    let bench = Bench::in_use().await;
    let api = bench.api();
    let code = |error: Result<_, Error>| match error {
        Err(Error::Refused(refusal)) => refusal.error,
        other => panic!("{:?}", other.map(drop)),
    };
    let refused = api.put("/v1/ta").bytes(&b"\xFF\xFF"[..]).send().await;
    assert_eq!(code(refused), "tee_security");
    let refused = api.put("/v1/ta").bytes(vec![0; (16 << 20) + 1]).send().await;
    assert_eq!(code(refused), "bad_request");
    assert_eq!(code(api.delete("/v1/ta/counter").send().await), "bad_request");
    let none = "/v1/ta/8e3f1a52-94c6-4f0e-8d51-6d2a1c5b7e90";
    assert_eq!(code(api.delete(none).send().await), "not_found");
    let by = api.delete(&format!("{none}?signer=somebody")).send().await;
    assert_eq!(code(by), "bad_request");
}
