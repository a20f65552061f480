//! `holdfast bootimg gpt`: the partition table of a disk image.

use crate::exit::{Exit, Lacking};
use anyhow::{Context, Result};
use bootimg::gpt::{Damaged, Gpt, HEAD_BYTES, ParsedGpt, Partition, TAIL_BYTES};
use clap::Args;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// What to do.
#[derive(Debug, Args)]
pub(crate) struct GptCommand {
    /// The disk, or an image of it; sectors have 512 bytes
    disk: PathBuf,
    /// Where one copy of the table is bad, write it again from the other
    #[arg(long)]
    repair: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Looks, and repairs where that is wanted. A damaged copy that stays is exit code 1.
pub(crate) fn run(command: &GptCommand) -> Result<Exit> {
    let lacking = |error| Lacking(format!("{}: {error}", command.disk.display()));
    let disk = OpenOptions::new().read(true).write(command.repair).open(&command.disk);
    let mut disk = disk.map_err(lacking)?;
    let parsed = parse(&mut disk).with_context(|| command.disk.display().to_string())?;
    let damage = parsed.damaged.as_ref().map(|damaged| match damaged {
        Damaged::Primary(error) => ("primary", error.to_string()),
        Damaged::Backup(error) => ("backup", error.to_string()),
    });
    let repaired = command.repair && damage.is_some();
    if repaired {
        let encoded = parsed.gpt.encode();
        disk.write_all_at(&encoded.head, 0)?;
        disk.write_all_at(&encoded.tail, encoded.tail_offset)?;
        disk.sync_all()?;
    }
    let damage = damage.as_ref().map(|(copy, why)| (*copy, why.as_str()));
    if command.json {
        println!("{}", json_of(&parsed.gpt, damage, repaired));
    } else {
        print_text(&parsed.gpt, damage, repaired);
    }
    Ok(if damage.is_none() || repaired { Exit::Held } else { Exit::Failed })
}

fn parse(disk: &mut File) -> Result<ParsedGpt> {
    let bytes = disk.seek(SeekFrom::End(0))?;
    let smallest = (HEAD_BYTES + TAIL_BYTES) as u64;
    anyhow::ensure!(bytes >= smallest, "{bytes} bytes hold no partition table");
    let (mut head, mut tail) = (vec![0; HEAD_BYTES], vec![0; TAIL_BYTES]);
    disk.read_exact_at(&mut head, 0)?;
    disk.read_exact_at(&mut tail, bytes - TAIL_BYTES as u64)?;
    Ok(Gpt::parse(&head, &tail, bytes)?)
}

fn json_of(gpt: &Gpt, damage: Option<(&str, &str)>, repaired: bool) -> Value {
    let partition = |partition: &Partition| {
        json!({
            "name": partition.name,
            "type": partition.type_guid.to_string(),
            "guid": partition.unique_guid.to_string(),
            "offset_bytes": partition.offset_bytes(),
            "size_bytes": partition.size_bytes(),
            "attributes": partition.attributes,
        })
    };
    json!({
        "ok": damage.is_none() || repaired,
        "disk_bytes": gpt.disk_bytes(),
        "disk_guid": gpt.disk_guid().to_string(),
        "partitions": gpt.partitions().iter().map(partition).collect::<Vec<_>>(),
        "damaged": damage.map(|(copy, _)| copy),
        "reason": damage.map(|(_, why)| why),
        "repaired": repaired,
    })
}

fn print_text(gpt: &Gpt, damage: Option<(&str, &str)>, repaired: bool) {
    println!("disk {} of {} bytes", gpt.disk_guid(), gpt.disk_bytes());
    for (number, partition) in (1..).zip(gpt.partitions()) {
        println!(
            "{number:>3}  {:>16} {:>16}  {}  {}",
            partition.offset_bytes(),
            partition.size_bytes(),
            partition.unique_guid,
            partition.name
        );
    }
    match damage {
        Some((copy, why)) if repaired => println!("the {copy} copy was bad and is new: {why}"),
        Some((copy, why)) => println!("the {copy} copy is bad: {why}; --repair writes it again"),
        None => println!("both copies are good"),
    }
}
