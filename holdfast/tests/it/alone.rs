//! Each part alone, driven by documented commands and curl: docs/alone.md, line by line, and what
//! goes wrong.

use crate::document::{Reader, blocks};
use crate::run::{holdfast, state};
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

#[test]
fn the_page_about_each_part_alone_works_as_written() {
    let home = state();
    let [keycenter, cloud] = free_ports();
    let mut reader = Reader::at(home.path());
    let mut said = Vec::new();
    for block in blocks("docs/alone.md") {
        // The default ports may be somebody else's on this machine.
        let text = block
            .text
            .replace("keycenter serve", &format!("keycenter serve --listen 127.0.0.1:{keycenter}"))
            .replace("cloud serve", &format!("cloud serve --listen 127.0.0.1:{cloud}"))
            .replace("localhost:8200", &format!("localhost:{keycenter}"))
            .replace("localhost:8443", &format!("localhost:{cloud}"));
        if block.terminal {
            let line = reader.starts(&text);
            let known = line["url"].is_string() || line["phone_screen"].is_string();
            assert!(known, "{text} said {line}");
            until_up(&text, &home.path().join("holdfast-alone"));
        } else {
            said.push(reader.types(&text));
        }
    }
    let said = said.join("\n");
    for due in [
        "the system is up: true",
        r#""boot_state":"green""#,
        r#""enrolled":true"#,
        r#""unlocked":true"#,
        r#""done":true"#,
        r#""title":"High tide""#,
        r#""alarm_ms":"#,
        "423",
    ] {
        assert!(said.contains(due), "{due} is missing in what was said:\n{said}");
    }
    let bound = std::fs::read_to_string(home.path().join("bound.json")).unwrap();
    assert!(bound.contains("trusted_environment"), "{bound}");
    reader.leaves();
}

#[test]
fn two_servers_do_not_share_a_state() {
    let home = state();
    let mut reader = Reader::at(home.path());
    reader.types("export HOLDFAST_STATE=$HOME/state");
    let keycenter = reader.starts("holdfast keycenter serve --listen 127.0.0.1:0");
    let url = keycenter["url"].as_str().unwrap().to_owned();
    let serve = ["cloud", "serve", "--listen", "127.0.0.1:0", "--keycenter", &url];
    let cloud = reader.starts(&format!("holdfast {}", serve.join(" ")));
    assert!(cloud["url"].is_string());
    let folder = home.path().join("state");
    let second = run(&folder, &["keycenter", "serve", "--listen", "127.0.0.1:0"]);
    says(&second, 3, "another Key Center");
    says(&run(&folder, &serve), 3, "another cloud");
    reader.leaves();
}

/// A person looks at the phone before going on; so does this.
pub(crate) fn until_up(command: &str, state: &Path) {
    if command != "holdfast device boot" {
        return;
    }
    for _ in 0..600 {
        if run(state, &["device", "status"]).status.success() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the device did not boot");
}

#[test]
fn a_device_without_a_cloud_keeps_files_behind_its_lock() {
    let home = state();
    let folder = home.path().join("state");
    succeeds(&run(&folder, &["device", "make"]));
    let twice = run(&folder, &["device", "make"]);
    says(&twice, 1, "there is a device");
    says(&run(&folder, &["device", "status"]), 1, "");
    says(&run(&folder, &["device", "run", "true"]), 3, "the device is off");

    let mut reader = Reader::at(home.path());
    reader.types("export HOLDFAST_STATE=$HOME/state");
    let screens = reader.starts("holdfast device boot");
    assert!(screens["trusted_screen"].is_string(), "{screens}");
    until_up("holdfast device boot", &folder);
    let socket = r#"--fail-with-body -sS --unix-socket "$HOLDFAST_STATE/device/run/holdfast.sock""#;
    let keys = r#"--fail-with-body -sS --unix-socket "$HOLDFAST_STATE/device/board.sock""#;
    reader.types(&format!(
        "curl {keys} -H 'content-type: application/json' -d '{{\"keys\": \"boat Seven\\n13579\\n13579\\n13579\\n\"}}' http://x/v1/keys
        curl {socket} -X POST http://x/v1/lock/enrol
        curl {socket} -X POST http://x/v1/lock/unlock
        mkdir in; echo kept > in/file
        tar -C in -c . | curl {socket} -T - http://x/v1/files"
    ));
    let out = reader.types(&format!("curl {socket} 'http://x/v1/files/content?path=file'"));
    assert_eq!(out, "kept\n");
    let no_account = format!("curl {socket} -X POST http://x/v1/sync/upload || true");
    assert!(reader.types(&no_account).contains("not_bound"));

    // Two boards over one set of fuses would each believe their own.
    says(&run(&folder, &["device", "boot"]), 3, "another holdfast-board");
    // `up` does not take over a device that its cloud could not know.
    reader.leaves();
    let up = run(&folder, &["up", "--once", "--listen", "127.0.0.1:0"]);
    assert_eq!(up.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&up.stdout).contains("was made without a cloud"));
}

#[test]
fn what_is_missing_is_named_and_is_the_environment_s_fault() {
    let home = state();
    let folder = home.path().join("state");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let url = "https://localhost:1";

    says(&run(&folder, &["device", "boot"]), 3, "no state folder");
    says(&run(&folder, &["device", "status"]), 3, "no state folder");
    says(&run(&folder, &["keycenter", "serve", "--listen", &address]), 3, &address);
    says(&run(&folder, &["device", "boot"]), 3, "there is no device");
    says(&run(&folder, &["device", "make", "--enrol", url]), 3, "--cloud-ca");
    says(&run(&folder, &["cloud", "serve"]), 2, "--keycenter");
    says(&run(&home.path().join("two"), &["cloud", "serve", "--keycenter", url]), 3, "ca.pem");

    let stages = holdfast()
        .args(["device", "make", "--state"])
        .arg(&folder)
        .env("HOLDFAST_STAGES", home.path())
        .output()
        .unwrap();
    says(&stages, 3, "HOLDFAST_STAGES");
}

#[test]
fn a_cloud_says_that_its_key_center_is_not_there() {
    let home = state();
    let mut reader = Reader::at(home.path());
    reader.types("export HOLDFAST_STATE=$HOME/state");
    let keycenter = reader.starts("holdfast keycenter serve --listen 127.0.0.1:0");
    let url = keycenter["url"].as_str().unwrap().to_owned();
    reader.leaves();
    let folder = home.path().join("state");
    let serve = ["cloud", "serve", "--listen", "127.0.0.1:0", "--keycenter", &url];
    let cloud = run(&folder, &serve);
    says(&cloud, 3, "Key Center");
    says(&cloud, 3, url.strip_prefix("https://").unwrap());
}

fn run(state: &Path, arguments: &[&str]) -> Output {
    holdfast().args(arguments).env("HOLDFAST_STATE", state).output().expect("holdfast runs")
}

fn succeeds(output: &Output) {
    says(output, 0, "");
}

fn says(output: &Output, code: i32, what: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(what), "{what:?} is not in {stderr:?}");
}

/// Two ports that are free now.
pub(crate) fn free_ports() -> [u16; 2] {
    let held = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    held.map(|listener| listener.local_addr().expect("bound").port())
}
