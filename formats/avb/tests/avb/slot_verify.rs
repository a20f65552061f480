//! The verdicts of AOSP libavb 1.3.0, case by case: `boot-ota/slot-verify` of the test data.
//!
//! The data is found through HOLDFAST_TEST_DATA, or in `../shared/data` beside the workspace.

use crate::device::{Device, hex, test_data, unhex};
use avb::{
    HashtreeErrorMode, LIBAVB_1_3, SlotOutcome, SlotVerifyFlags, VbmetaVerdict, slot_verify,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[test]
fn s2_2_decides_as_libavb_does() {
    let Some(root) = test_data("boot-ota/slot-verify") else { return };
    let mut cases: Vec<PathBuf> = std::fs::read_dir(root.join("cases"))
        .expect("the folder of cases is there")
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(&root, case).err()).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn check(root: &Path, case: &Path) -> Result<(), String> {
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(case.join("case.json")).unwrap();
    let case: Value = serde_json::from_str(&text).unwrap();
    let device = device_of(root, &case);
    let input = &case["input"];
    let requested: Vec<&str> =
        input["requested"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
    // Where the flags are `true` or `false`, the cases were recorded without flags.
    let flags = input["flags"].as_u64().unwrap_or(0) as u32;
    let mode = input["hashtree_error_mode"].as_u64().unwrap() as u32;
    let outcome = slot_verify(
        &device,
        &requested,
        input["suffix"].as_str().unwrap(),
        SlotVerifyFlags::from_number(flags),
        HashtreeErrorMode::from_number(mode).unwrap(),
    );
    let got = recorded(&outcome, &device);
    if got == case["expected"] {
        Ok(())
    } else {
        Err(format!("{name}: {:?}\n  got  {got}\n  want {}", outcome.refusal, case["expected"]))
    }
}

/// The outcome in the form of `expected`.
fn recorded(outcome: &SlotOutcome, device: &Device) -> Value {
    let persist: BTreeMap<_, _> =
        device.persistent.borrow().iter().map(|(k, v)| (k.clone(), hex(v))).collect();
    let mut out = json!({ "result": outcome.result.name(), "persist": persist });
    let Some(data) = &outcome.data else { return out };
    let rollback: BTreeMap<_, _> = data
        .rollback_indexes
        .iter()
        .enumerate()
        .filter(|(_, index)| **index != 0)
        .map(|(location, index)| (location.to_string(), *index))
        .collect();
    out["cmdline"] = data.cmdline.as_str().into();
    out["rollback"] = json!(rollback);
    out["hashtree_mode"] = (data.hashtree_error_mode as u32).into();
    out["vbmeta"] = data
        .vbmeta_images
        .iter()
        .map(|v| json!({"partition": v.partition, "size": v.image.len(), "verify": v.verdict.name()}))
        .collect();
    out["loaded"] = data
        .loaded_partitions
        .iter()
        .map(
            |l| json!({"partition": l.partition, "size": l.data.len(), "verify": l.verdict.name()}),
        )
        .collect();
    let signed = data.vbmeta_images[0].verdict != VbmetaVerdict::OkNotSigned;
    assert!(signed || outcome.result.name() != "OK");
    out["vbmeta_digest"] = hex(&data.vbmeta_digest(avb::Hash::Sha256)).into();
    out
}

/// The device of a case.
fn device_of(root: &Path, case: &Value) -> Device {
    let input = &case["input"];
    let mut device = Device {
        unlocked: input["device_unlocked"].as_bool().unwrap(),
        libavb: Some(LIBAVB_1_3),
        ..Device::default()
    };
    for (file, path) in case["partitions"].as_object().unwrap() {
        let name = file.strip_suffix(".img").unwrap().to_owned();
        let bytes = std::fs::read(root.join(path.as_str().unwrap())).unwrap();
        device.partitions.insert(name, bytes);
    }
    if let name @ ("rsa2048" | "rsa4096" | "rsa8192") = input["trusted_key"].as_str().unwrap() {
        let blob = std::fs::read(root.join(format!("base/{name}.avbpubkey"))).unwrap();
        device.trusted_key = Some(blob);
    }
    for (location, index) in input["stored_rollback"].as_object().unwrap() {
        device.rollback.insert(location.parse().unwrap(), index.as_u64().unwrap());
    }
    for (name, value) in input["persistent_values"].as_object().unwrap() {
        device.persistent.get_mut().insert(name.clone(), unhex(value.as_str().unwrap()));
    }
    device
}
