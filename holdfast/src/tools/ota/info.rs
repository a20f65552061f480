//! `holdfast ota info`: what is in an update.

use super::file::Update;
use super::make::Census;
use crate::exit::Exit;
use anyhow::Result;
use otazip::index::hex;
use otazip::signature::WholeFile;
use payload::Payload;
use payload::manifest::{PartitionInfo, PartitionUpdate};
use serde_json::{Value, json};
use std::path::Path;

/// `holdfast ota info`.
pub(super) fn run(input: &Path, json: bool) -> Result<Exit> {
    let update = Update::open(input)?;
    let description = describe(&update);
    if json {
        println!("{description}");
    } else {
        print_for_people(&description, &update);
    }
    Ok(Exit::Held)
}

fn describe(update: &Update) -> Value {
    let manifest = update.manifest();
    let signers = |bytes: &[u8]| payload::signature::decode(bytes).map_or(0, |it| it.len());
    let mut out = json!({
        "kind": if update.about.is_some() { "zip" } else { "payload" },
        "size": update.length,
        "type": if manifest.minor_version() == 0 { "full" } else { "delta" },
        "minor_version": manifest.minor_version(),
        "max_timestamp": manifest.max_timestamp,
        "security_patch_level": manifest.security_patch_level,
        "partial_update": manifest.partial_update.unwrap_or(false),
        "payload": {
            "offset": update.start,
            "size": update.payload.length(),
            "metadata_size": update.payload.header().metadata_size(),
            "signatures": signers(update.payload.metadata_signature()),
        },
        "partitions": manifest.partitions.iter().map(partition).collect::<Vec<_>>(),
    });
    if let Some(about) = &update.about {
        let it = &about.metadata;
        out["whole_file_signature"] = WholeFile::open(&update.file, update.length).is_ok().into();
        out["metadata"] = json!({
            "type": it.kind.name(),
            "device": it.precondition.device,
            "from_build": it.precondition.build,
            "from_incremental": it.precondition.build_incremental,
            "build": it.postcondition.build,
            "incremental": it.postcondition.build_incremental,
            "timestamp": it.postcondition.timestamp,
            "sdk_level": it.postcondition.sdk_level,
            "security_patch_level": it.postcondition.security_patch_level,
            "serials": it.serials,
            "wipe": it.wipe,
            "downgrade": it.downgrade,
        });
        let entries = about.entries.iter();
        out["entries"] = entries
            .map(|it| json!({"name": it.name, "offset": it.data.start, "size": it.size}))
            .collect();
    }
    out
}

fn partition(update: &PartitionUpdate) -> Value {
    let info = |info: &Option<PartitionInfo>| {
        info.as_ref().map(|it| json!({"size": it.size, "sha256": hex(&it.hash)}))
    };
    json!({
        "name": update.partition_name,
        "old": info(&update.old_partition_info),
        "new": info(&update.new_partition_info),
        "operations": operations(update),
        "hash_tree": update.verity.hash_tree_extent.is_some(),
        "fec": update.verity.fec_extent.is_some(),
    })
}

fn operations(update: &PartitionUpdate) -> Value {
    let mut census = Census::new();
    count(update, &mut census);
    let entries = census.into_iter();
    Value::Object(
        entries
            .map(|(kind, (count, bytes))| (kind, json!({"count": count, "bytes": bytes})))
            .collect(),
    )
}

fn count(update: &PartitionUpdate, census: &mut Census) {
    for operation in &update.operations {
        let entry = census.entry(operation.kind.name()).or_default();
        *entry = (entry.0 + 1, entry.1 + operation.data_length.unwrap_or(0));
    }
}

/// A payload's operations by kind.
pub(super) fn census(payload: &Payload) -> Census {
    let mut census = Census::new();
    payload.manifest().partitions.iter().for_each(|update| count(update, &mut census));
    census
}

fn print_for_people(description: &Value, update: &Update) {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    println!("{}: {} update", update.path.display(), text(&description["type"]));
    for key in ["size", "minor_version", "max_timestamp", "whole_file_signature"] {
        if !description[key].is_null() {
            println!("  {key:<22} {}", text(&description[key]));
        }
    }
    println!("  {:<22} {}", "payload signatures", text(&description["payload"]["signatures"]));
    for (key, value) in description["metadata"].as_object().into_iter().flatten() {
        println!("  {key:<22} {}", text(value));
    }
    for partition in description["partitions"].as_array().into_iter().flatten() {
        let new = &partition["new"];
        println!("{}: {} bytes, {}", text(&partition["name"]), new["size"], text(&new["sha256"]));
        for (kind, it) in partition["operations"].as_object().into_iter().flatten() {
            println!("  {kind:<22} {} operations, {} bytes", it["count"], it["bytes"]);
        }
    }
}
