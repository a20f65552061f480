//! `holdfast avb slot-verify`: libavb's verdict on a case.

use super::{case::Case, device::Device};
use crate::exit::{Exit, Misused};
use anyhow::Result;
use avb::policy::{BootPolicy, Judgement, judge};
use avb::{Hash, Refusal, SlotOutcome, SlotVerifyResult, slot_verify};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Judges the case in `input` and prints the verdict.
pub(super) fn run(input: &Path, root: Option<&Path>, json: bool) -> Result<Exit> {
    let case: Case = serde_json::from_slice(&super::read(input)?)
        .map_err(|error| Misused(format!("{}: {error}", input.display())))?;
    let root = root.unwrap_or_else(|| two_folders_above(input));
    let partitions = case.open(root)?;
    let device = case.input.device(&partitions, root)?;
    let requested: Vec<&str> = case.input.requested.iter().map(String::as_str).collect();
    let (flags, mode) = (case.input.flags()?, case.input.hashtree_error_mode()?);
    let outcome = slot_verify(&device, &requested, &case.input.suffix, flags, mode);
    let answer = answer(&outcome, &device);
    if json {
        println!("{answer}");
    } else {
        print_for_people(&outcome, &answer);
        let policy = BootPolicy {
            partitions: &requested,
            hashtrees: &[],
            suffix: &case.input.suffix,
            maker_key_digest: [0; 32],
            hashtree_error_mode: mode,
            restart_caused_by_hashtree_corruption: flags.restart_caused_by_hashtree_corruption,
        };
        print_policy(&judge(&case.input.device(&partitions, root)?, &policy));
    }
    let holds = outcome.result == SlotVerifyResult::Ok;
    Ok(if holds { Exit::Held } else { Exit::Failed })
}

/// `cases/NAME/case.json` → the folder of `cases`.
fn two_folders_above(input: &Path) -> &Path {
    let above = input.ancestors().nth(3);
    above.filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// The fields of `expected` in the samples.
fn answer(outcome: &SlotOutcome, device: &Device<'_>) -> Value {
    let mut answer =
        json!({ "result": outcome.result.name(), "persist": device.persistent_values() });
    let Some(data) = &outcome.data else { return answer };
    let rollback: BTreeMap<String, u64> = (0..)
        .zip(data.rollback_indexes)
        .filter(|(_, index)| *index != 0)
        .map(|(location, index): (u32, u64)| (location.to_string(), index))
        .collect();
    answer["cmdline"] = data.cmdline.as_str().into();
    answer["rollback"] = json!(rollback);
    answer["hashtree_mode"] = (data.hashtree_error_mode as u32).into();
    let vbmeta = data.vbmeta_images.iter();
    answer["vbmeta"] =
        vbmeta.map(|v| member(&v.partition, v.image.len(), v.verdict.name())).collect();
    let loaded = data.loaded_partitions.iter();
    answer["loaded"] =
        loaded.map(|l| member(&l.partition, l.data.len(), l.verdict.name())).collect();
    answer["vbmeta_digest"] = super::hex(&data.vbmeta_digest(Hash::Sha256)).into();
    answer
}

fn member(partition: &str, size: usize, verify: &str) -> Value {
    json!({ "partition": partition, "size": size, "verify": verify })
}

fn print_for_people(outcome: &SlotOutcome, answer: &Value) {
    println!("libavb says {}", outcome.result);
    for finding in &outcome.findings {
        println!("because     {finding}");
    }
    let Some(data) = &outcome.data else { return };
    println!("cmdline     {}", data.cmdline);
    println!("digest      {}", super::hex(&data.vbmeta_digest(Hash::Sha256)));
    for (location, index) in (0..).zip(data.rollback_indexes).filter(|(_, index)| *index != 0) {
        let location: u32 = location;
        println!("rollback    {index} at location {location}");
    }
    for (title, members) in [("vbmeta", &answer["vbmeta"]), ("loaded", &answer["loaded"])] {
        for member in members.as_array().into_iter().flatten() {
            let name = member["partition"].as_str().unwrap_or_default();
            let verify = member["verify"].as_str().unwrap_or_default();
            println!("{title:<11} {name}: {} bytes, {verify}", member["size"]);
        }
    }
}

/// What the boot policy says, which fails closed where libavb does not.
fn print_policy(judged: &Result<Judgement, Refusal>) {
    let refusals = match judged {
        Ok(judgement) => &judgement.refusals[..],
        Err(refusal) => std::slice::from_ref(refusal),
    };
    match refusals {
        [] => println!("policy      nothing to refuse"),
        refusals => {
            for refusal in refusals {
                println!("policy      a locked device refuses: {refusal}");
            }
        }
    }
}
