//! `holdfast avb slot-verify` against recorded verdicts of AOSP libavb 1.3.0.

use crate::data::{holdfast, test_data};
use serde_json::Value;
use std::path::Path;

#[test]
fn s2_2_answers_with_the_fields_that_libavb_gave() {
    let Some(samples) = test_data("boot-ota/slot-verify") else { return };
    let mut count = 0;
    for case in std::fs::read_dir(samples.join("cases")).expect("the folder of cases is there") {
        let case = case.expect("an entry").path().join("case.json");
        let text = std::fs::read_to_string(&case).expect("the case is there");
        let expected = &serde_json::from_str::<Value>(&text).expect("JSON")["expected"];
        let (code, answer) = slot_verify(&case);
        assert_eq!(&answer, expected, "{}", case.display());
        assert_eq!(code, Some(i32::from(expected["result"] != "OK")), "{}", case.display());
        count += 1;
    }
    assert!(count >= 60, "only {count} cases");
}

fn slot_verify(case: &Path) -> (Option<i32>, Value) {
    let output = holdfast(&["avb", "slot-verify", "--input", &case.to_string_lossy(), "--json"]);
    let answer = serde_json::from_slice(&output.stdout).expect("one JSON object");
    (output.status.code(), answer)
}

#[test]
fn says_what_is_wrong_with_a_case() {
    let folder = tempfile::tempdir().expect("a folder");
    let case = folder.path().join("case.json");
    for (text, code, due) in [
        ("{", 2, "EOF"),
        (r#"{"partitions":{},"input":{}}"#, 2, "missing field"),
        (&input(r#""flags":-1,"hashtree_error_mode":1"#), 2, "flags"),
        (&input(r#""flags":0,"hashtree_error_mode":6"#), 2, "hashtree_error_mode"),
    ] {
        std::fs::write(&case, text).expect("it is written");
        let output = holdfast(&["avb", "slot-verify", "--input", &case.to_string_lossy()]);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(due), "{text}: {output:?}");
    }
    let missing = holdfast(&["avb", "slot-verify", "--input", "/nowhere/case.json"]);
    assert_eq!(missing.status.code(), Some(3));
}

fn input(numbers: &str) -> String {
    format!(
        r#"{{"partitions":{{}},"input":{{"suffix":"","requested":[],{numbers},
        "device_unlocked":false,"trusted_key":"any"}}}}"#
    )
}
