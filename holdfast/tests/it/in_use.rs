//! A device that somebody uses: `up` leaves that person's files alone.

use crate::run::{Up, sh, state, tell};

#[test]
fn what_a_person_put_on_the_device_stays() {
    let state = state();
    let chosen = tempfile::tempdir().unwrap();
    std::fs::write(chosen.path().join("first"), "of the first run").unwrap();
    let folder = chosen.path().to_str().unwrap();
    let first = tell(state.path(), &["--folder", folder]);
    assert_eq!(first.code, Some(0), "{first}");

    let mut up = Up::start(state.path(), &[]);
    let socket = up.ready()["socket"].as_str().unwrap().to_owned();
    let own = tempfile::tempdir().unwrap();
    std::fs::write(own.path().join("own"), "a person's").unwrap();
    std::fs::write(own.path().join("first"), "changed by a person").unwrap();
    let put = format!(
        "tar -C {} -c . | curl -sS --fail-with-body --unix-socket {socket} -T - http://x/v1/files",
        own.path().display()
    );
    sh(&put);
    assert_eq!(up.end(libc::SIGINT), Some(0));

    // Lost and Recovered play on a copy, the person's files with it.
    let again = tell(state.path(), &[]);
    assert_eq!(again.code, Some(0), "{again}");
    assert_eq!(again.held("vault.import")["existing"], true);
    assert_eq!(again.held("restore")["evidence"]["compared"], "identical");

    // A folder that is named adds to what is there.
    let more = tempfile::tempdir().unwrap();
    std::fs::write(more.path().join("more"), "of the third run").unwrap();
    let mut up = Up::start(state.path(), &["--folder", more.path().to_str().unwrap()]);
    let socket = up.ready()["socket"].as_str().unwrap().to_owned();
    for (name, content) in
        [("own", "a person's"), ("first", "changed by a person"), ("more", "of the third run")]
    {
        let get = format!(
            "curl -sS --fail-with-body --unix-socket {socket} 'http://x/v1/files/content?path={name}'"
        );
        assert_eq!(sh(&get), content);
    }
    assert_eq!(up.end(libc::SIGINT), Some(0));
}
