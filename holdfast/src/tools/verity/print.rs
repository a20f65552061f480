//! What the commands say.

use super::repair::Repaired;
use super::setup::Setup;
use super::tree::Wrong;
use super::{Image, Named};
use crate::exit::Exit;
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use verity::{FecLayout, RootDigest, Table, TableFec};

/// Blocks that are named for a person; a program gets all.
const NAMED: usize = 8;

/// What `build` made.
pub(crate) fn built(setup: &Setup, root: &RootDigest, fec: Option<&FecLayout>, json: bool) {
    let (params, root) = (&setup.params, hex(root.as_bytes()));
    let uuid = setup.superblock.as_ref().map(|superblock| uuid_text(&superblock.uuid));
    if json {
        let fec = fec.map(|layout| {
            json!({
                "roots": layout.roots(),
                "blocks": layout.blocks(),
                "offset": setup.fec.as_ref().map(|fec| fec.area.start()),
                "bytes": layout.parity_bytes(),
            })
        });
        let made = json!({
            "root_hash": root,
            "hash": params.algorithm().name(),
            "salt": hex(params.salt()),
            "format": params.format().number(),
            "data_block_size": params.data_block_bytes(),
            "hash_block_size": params.hash_block_bytes(),
            "data_blocks": setup.geometry.data_blocks(),
            "hash_offset": setup.hash_offset(),
            "tree_offset": setup.hash.start(),
            "tree_bytes": setup.geometry.tree_bytes(),
            "uuid": uuid,
            "fec": fec,
        });
        return println!("{made}");
    }
    let mut lines = vec![
        ("UUID", uuid.unwrap_or_default()),
        ("Hash type", params.format().number().to_string()),
        ("Data blocks", setup.geometry.data_blocks().to_string()),
        ("Data block size", params.data_block_bytes().to_string()),
        ("Hash blocks", setup.geometry.tree_blocks().to_string()),
        ("Hash block size", params.hash_block_bytes().to_string()),
        ("Hash algorithm", params.algorithm().name().to_owned()),
        ("Salt", salt_text(params.salt())),
    ];
    if let Some(layout) = fec {
        lines.push(("FEC blocks", layout.blocks().to_string()));
        lines.push(("FEC roots", layout.roots().to_string()));
    }
    lines.push(("Root hash", root));
    lines.iter().for_each(|(name, value)| println!("{:<17}{value}", format!("{name}:")));
}

/// What `verify` found.
pub(crate) fn verified(setup: &Setup, wrong: &Wrong, parity: Option<u64>, json: bool) -> Exit {
    let holds = wrong.is_empty() && parity.is_none_or(|bytes| bytes == 0);
    if json {
        let mut found = wrong_json(setup, wrong);
        found["holds"] = holds.into();
        found["wrong_parity_bytes"] = parity.into();
        println!("{found}");
    } else if holds {
        println!("it holds: {} blocks", setup.geometry.data_blocks());
    } else {
        say_wrong(setup, wrong);
        match parity {
            Some(bytes) if bytes > 0 => println!("{bytes} bytes of the parity are wrong"),
            _ if setup.fec.is_some() => println!("`holdfast verity repair` may restore it"),
            _ => {}
        }
    }
    verdict(holds)
}

/// What `repair` did.
pub(crate) fn repaired(setup: &Setup, report: &Repaired, json: bool) -> Exit {
    let holds = report.left.is_empty();
    let (data, tree) = by_kind(setup, &report.blocks.repaired);
    if json {
        let mut found = wrong_json(setup, &report.left);
        found["holds"] = holds.into();
        found["repaired_data_blocks"] = json!(data);
        found["repaired_hash_blocks"] = json!(tree);
        found["repaired_parity_bytes"] = report.parity_bytes.into();
        println!("{found}");
    } else {
        println!("repaired: {}", blocks_text(&data, &tree));
        if report.parity_bytes > 0 {
            println!("repaired: {} bytes of the parity", report.parity_bytes);
        }
        say_wrong(setup, &report.left);
        if holds {
            println!("it holds: {} blocks", setup.geometry.data_blocks());
        }
    }
    verdict(holds)
}

/// The line for the kernel.
pub(crate) fn table(
    setup: &Setup,
    image: &Image,
    root: RootDigest,
    named: &Named,
    fec_path: Option<&std::path::Path>,
    json: bool,
) -> Result<()> {
    let name = |given: &Option<String>, path: &std::path::Path| {
        given.clone().unwrap_or_else(|| path.display().to_string())
    };
    let data_device = name(&named.data_name, &image.data);
    let hash_device = name(&named.hash_name, &image.hash);
    let fec_device = fec_path.map(|path| name(&named.fec_name, path));
    let fec = match (&setup.fec, &fec_device) {
        (Some(fec), Some(device)) => {
            let layout = setup.fec_layout_of_file(fec)?;
            Some(TableFec { device, start: fec.area.start() / layout.block_bytes(), layout })
        }
        _ => None,
    };
    let table = Table {
        data_device: &data_device,
        hash_device: &hash_device,
        params: &setup.params,
        data_blocks: setup.geometry.data_blocks(),
        hash_start: setup.hash_start(),
        root,
        fec,
        options: &named.options(),
    };
    let line = table.line()?;
    if json {
        println!("{}", json!({ "table": line, "sectors": table.sectors()? }));
    } else {
        println!("{line}");
    }
    Ok(())
}

fn verdict(holds: bool) -> Exit {
    if holds { Exit::Held } else { Exit::Failed }
}

/// Blocks of the image, and blocks of the tree numbered from its beginning.
fn by_kind(setup: &Setup, blocks: &BTreeSet<u64>) -> (Vec<u64>, Vec<u64>) {
    let first = setup.geometry.data_blocks();
    let data = blocks.range(..first).copied().collect();
    (data, blocks.range(first..).map(|block| block - first).collect())
}

fn wrong_json(setup: &Setup, wrong: &Wrong) -> Value {
    let (data, tree) = by_kind(setup, &wrong.blocks);
    json!({
        "wrong_data_blocks": data,
        "wrong_hash_blocks": tree,
        "wrong_padding_blocks": wrong.padding,
    })
}

fn say_wrong(setup: &Setup, wrong: &Wrong) {
    let (data, tree) = by_kind(setup, &wrong.blocks);
    if !wrong.blocks.is_empty() {
        println!("corrupted: {}", blocks_text(&data, &tree));
    }
    if !wrong.padding.is_empty() {
        let blocks: Vec<u64> = wrong.padding.iter().copied().collect();
        println!("bytes that should be zero are not: {}", blocks_text(&[], &blocks));
    }
}

fn blocks_text(data: &[u64], tree: &[u64]) -> String {
    let some = |kind: &str, blocks: &[u64]| {
        let named: Vec<String> = blocks.iter().take(NAMED).map(u64::to_string).collect();
        let more = if blocks.len() > NAMED { " …" } else { "" };
        format!("{} {kind} blocks ({}{more})", blocks.len(), named.join(" "))
    };
    match (data, tree) {
        ([], []) => "nothing".to_owned(),
        (data, []) => some("data", data),
        ([], tree) => some("hash", tree),
        (data, tree) => format!("{}, {}", some("data", data), some("hash", tree)),
    }
}

fn salt_text(salt: &[u8]) -> String {
    if salt.is_empty() { "-".to_owned() } else { hex(salt) }
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let text = hex(uuid);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
