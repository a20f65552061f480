//! The README's examples, as written.

use crate::document::Reader;
use crate::run::{Up, state};
use std::path::Path;

#[test]
fn the_examples_with_curl_and_tar_work_as_written() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let examples: Vec<&str> =
        readme.lines().filter(|line| line.contains("curl --unix-socket DIR")).collect();
    assert!(examples.len() >= 2, "{examples:?}");

    let state = state();
    let mut up = Up::start(state.path(), &[]);
    up.ready();
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("Pictures")).unwrap();
    std::fs::write(home.path().join("Pictures/kelp"), "a picture").unwrap();
    let mut reader = Reader::at(home.path());
    let said: Vec<String> = examples
        .iter()
        .map(|line| reader.types(&line.replace("DIR", state.path().to_str().unwrap())))
        .collect();
    assert!(said[0].contains(r#""boot_state":"green""#), "{}", said[0]);
    assert!(
        said[1].contains(r#""files":1,"#) && said[1].contains(r#""skipped":[]"#),
        "{}",
        said[1]
    );
    assert_eq!(up.end(libc::SIGINT), Some(0));
}
