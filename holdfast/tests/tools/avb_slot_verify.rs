//! `holdfast avb slot-verify` against recorded verdicts of AOSP libavb 1.3.0.

use crate::data::{holdfast, test_data};
use crate::images::Set;
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

/// A case that was made here: what the samples do not show, through the command.
#[test]
fn judges_a_case_made_here() {
    let root = tempfile::tempdir().expect("a folder");
    Set::new().write(&root.path().join("base"), "_b");
    let base = root.path().join("base");
    std::fs::rename(base.join("key.avbpubkey"), base.join("maker.avbpubkey")).expect("renamed");
    let case = |input: Value| {
        let case = serde_json::json!({
            "partitions": {
                "vbmeta_b.img": "base/vbmeta_b.img",
                "boot_b.img": "base/boot_b.img",
                "system_b.img": "base/system_b.img",
            },
            "input": input,
        });
        let path = root.path().join("cases/one/case.json");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        std::fs::write(&path, case.to_string()).expect("written");
        path
    };
    let input = |key: &str, libavb: &str, stored: u64| {
        serde_json::json!({
            "suffix": "_b", "requested": ["boot"], "flags": 0, "hashtree_error_mode": 2,
            "device_unlocked": false, "trusted_key": key, "libavb_version": libavb,
            "stored_rollback": { "0": stored }, "persistent_values": { "kept": "00ff" },
        })
    };
    let (code, answer) = slot_verify(&case(input("maker", "1.4", 3)));
    assert_eq!((code, &answer["result"]), (Some(0), &"OK".into()));
    assert_eq!(answer["persist"]["kept"], "00ff");
    assert_eq!(answer["rollback"], serde_json::json!({ "0": 3 }));
    assert_eq!(answer["hashtree_mode"], 2);
    let cmdline = answer["cmdline"].as_str().expect("text");
    assert!(cmdline.contains("avb_version=1.4") && cmdline.contains("veritymode=eio"), "{cmdline}");
    for (input, code, result) in [
        (input("maker", "1.3", 4), 1, "ERROR_ROLLBACK_INDEX"),
        (input("none", "1.3", 0), 1, "ERROR_PUBLIC_KEY_REJECTED"),
    ] {
        let (got, answer) = slot_verify(&case(input));
        assert_eq!((got, &answer["result"]), (Some(code), &result.into()));
    }
    for (input, due) in [
        (input("maker", "1.5", 0), "libavb_version"),
        (input("../base/maker", "1.3", 0), "trusted_key"),
    ] {
        let path = case(input);
        let output = holdfast(&["avb", "slot-verify", "--input", &path.to_string_lossy()]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(due), "{output:?}");
    }
}
