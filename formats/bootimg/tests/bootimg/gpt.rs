//! Partition tables, compared with sgdisk.

use crate::peer::{program, run};
use bootimg::gpt::{
    Damaged, Gpt, GptError, Guid, HEAD_BYTES, ParsedGpt, Partition, PartitionSpec, TAIL_BYTES,
};
use proptest::prelude::*;
use std::process::Command;

fn guid(n: u8) -> Guid {
    Guid::from_random([n; 16])
}

fn spec(name: &str, n: u8, size_bytes: u64) -> PartitionSpec {
    PartitionSpec {
        name: name.into(),
        type_guid: Guid::LINUX_DATA,
        unique_guid: guid(n),
        size_bytes,
    }
}

fn sample() -> Gpt {
    let specs = [spec("bl1_a", 1, 1 << 20), spec("misc", 2, 4096), spec("userdata", 3, 3 * 4096)];
    Gpt::layout(guid(9), &specs).unwrap()
}

fn parse(gpt: &Gpt, head: &[u8], tail: &[u8]) -> Result<ParsedGpt, GptError> {
    Gpt::parse(head, tail, gpt.disk_bytes())
}

#[test]
fn partitions_are_aligned_and_in_order() {
    let gpt = sample();
    let ranges: Vec<_> = gpt.partitions().iter().map(Partition::range_bytes).collect();
    assert_eq!(ranges[0], 20480..20480 + (1 << 20));
    assert_eq!(ranges[1].start, ranges[0].end);
    assert_eq!(ranges[2].end - ranges[2].start, 3 * 4096);
    assert_eq!(gpt.disk_bytes() % 4096, 0);
    assert!(ranges[2].end + TAIL_BYTES as u64 <= gpt.disk_bytes());
}

#[test]
fn one_damaged_copy_is_reported_and_the_other_counts() {
    let gpt = sample();
    let good = gpt.encode();
    let both = parse(&gpt, &good.head, &good.tail).unwrap();
    assert_eq!(both, ParsedGpt { gpt: gpt.clone(), damaged: None });
    for at in 0..HEAD_BYTES {
        if (451..454).contains(&at) {
            continue; // the ending address in the MBR: writers disagree, nobody reads it
        }
        let mut head = good.head.clone();
        head[at] ^= 1 << (at % 8);
        let parsed = parse(&gpt, &head, &good.tail).unwrap();
        assert_eq!(parsed.gpt, gpt, "byte {at}");
        assert!(matches!(parsed.damaged, Some(Damaged::Primary(_))), "byte {at}");
    }
    for at in 0..TAIL_BYTES {
        let mut tail = good.tail.clone();
        tail[at] ^= 1 << (at % 8);
        let parsed = parse(&gpt, &good.head, &tail).unwrap();
        assert_eq!(parsed.gpt, gpt, "byte {at}");
        assert!(matches!(parsed.damaged, Some(Damaged::Backup(_))), "byte {at}");
    }
}

#[test]
fn two_damaged_or_different_copies_are_refused() {
    let gpt = sample();
    let good = gpt.encode();
    let (mut head, mut tail) = (good.head.clone(), good.tail.clone());
    head[1024] ^= 1;
    tail[0] ^= 1;
    assert!(matches!(parse(&gpt, &head, &tail), Err(GptError::BothBad { .. })));
    let specs = [spec("bl1_a", 1, 1 << 20), spec("misc", 2, 4096), spec("evil", 3, 3 * 4096)];
    let other = Gpt::layout(guid(9), &specs).unwrap();
    assert_eq!(parse(&gpt, &good.head, &other.encode().tail), Err(GptError::CopiesDiffer));
}

#[test]
fn a_table_is_for_its_disk_only() {
    let gpt = sample();
    let encoded = gpt.encode();
    for bytes in [0, 512, 1024, gpt.disk_bytes() - 512, gpt.disk_bytes() + 512, u64::MAX] {
        assert!(Gpt::parse(&encoded.head, &encoded.tail, bytes).is_err(), "{bytes}");
    }
    assert!(parse(&gpt, &encoded.head[1..], &encoded.tail).is_err());
    assert!(parse(&gpt, &encoded.head, &encoded.tail[1..]).is_err());
}

#[test]
fn impossible_layouts_are_refused() {
    let layout = |specs: &[PartitionSpec]| Gpt::layout(guid(9), specs).err();
    let size = |bytes| Some(GptError::PartitionSize("p".into(), bytes));
    for bytes in [0, 1, 512, 4097, u64::MAX, u64::MAX - 4095] {
        assert_eq!(layout(&[spec("p", 1, bytes)]), size(bytes));
    }
    let duplicate = Some(GptError::Duplicate("p".into()));
    assert_eq!(layout(&[spec("p", 1, 4096), spec("p", 2, 4096)]), duplicate);
    assert_eq!(layout(&[spec("q", 1, 4096), spec("p", 1, 4096)]), duplicate);
    for name in [String::new(), "n".repeat(37), "a\0b".into()] {
        assert!(matches!(layout(&[spec(&name, 1, 4096)]), Some(GptError::PartitionName(_))));
    }
    assert_eq!(layout(&[spec(&"n".repeat(36), 1, 4096)]), None);
    let many: Vec<_> = (0..129).map(|n| spec(&format!("p{n}"), n, 4096)).collect();
    assert_eq!(layout(&many[..128]), None);
    assert_eq!(layout(&many), Some(GptError::TooManyPartitions(129)));
}

#[test]
fn guids_have_the_text_form_that_tools_print() {
    let text = "0fc63daf-8483-4772-8e79-3d69d8477de4";
    assert_eq!(Guid::LINUX_DATA.to_string(), text);
    assert_eq!(text.parse(), Ok(Guid::LINUX_DATA));
    assert_eq!(text.to_uppercase().parse(), Ok(Guid::LINUX_DATA));
    for wrong in ["", "0fc63daf84834772-8e79-3d69d8477de4", &text[1..], &text.replace('4', "g")] {
        assert!(wrong.parse::<Guid>().is_err(), "{wrong}");
    }
    let random = guid(0xff).to_string();
    assert_eq!((&random[14..15], &random[19..20]), ("4", "b"));
}

fn disk(gpt: &Gpt) -> Vec<u8> {
    let encoded = gpt.encode();
    let mut disk = vec![0; gpt.disk_bytes() as usize];
    disk[..encoded.head.len()].copy_from_slice(&encoded.head);
    disk[encoded.tail_offset as usize..].copy_from_slice(&encoded.tail);
    disk
}

#[test]
fn sgdisk_finds_no_problem_in_our_table() {
    let Some(sgdisk) = program("sgdisk", "gdisk") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    std::fs::write(&path, disk(&sample())).unwrap();
    let verified = run(Command::new(&sgdisk).arg("-v").arg(&path));
    assert!(verified.contains("No problems found."), "{verified}");
    let info = run(Command::new(&sgdisk).args(["-i", "2"]).arg(&path));
    assert!(info.contains("Partition name: 'misc'"), "{info}");
    assert!(info.to_lowercase().contains(&guid(2).to_string()), "{info}");
}

#[test]
fn reads_the_table_of_sgdisk() {
    let Some(sgdisk) = program("sgdisk", "gdisk") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    run(Command::new(&sgdisk)
        .args(["--set-alignment=8", "--new=1:40:+64K", "--change-name=1:bl1_a"])
        .args(["--new=2:0:+128K", "--change-name=2:übung", "--typecode=2:8300"])
        .arg(format!("--partition-guid=2:{}", guid(5)))
        .arg(&path));
    let disk = std::fs::read(&path).unwrap();
    let tail = &disk[disk.len() - TAIL_BYTES..];
    let parsed = Gpt::parse(&disk[..HEAD_BYTES], tail, disk.len() as u64).unwrap();
    assert_eq!(parsed.damaged, None);
    let [bl1, second] = parsed.gpt.partitions() else { panic!("two partitions") };
    assert_eq!((bl1.name.as_str(), bl1.offset_bytes()), ("bl1_a", 20480));
    assert_eq!((second.name.as_str(), second.unique_guid), ("übung", guid(5)));
    assert_eq!(second.type_guid, Guid::LINUX_DATA);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tables_round_trip(sizes in prop::collection::vec(1..1_000_u64, 0..20), disk in any::<[u8; 16]>()) {
        let specs: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(n, blocks)| spec(&format!("partition {n}"), n as u8, blocks * 4096))
            .collect();
        let gpt = Gpt::layout(Guid::from_bytes(disk), &specs).unwrap();
        let encoded = gpt.encode();
        let parsed = parse(&gpt, &encoded.head, &encoded.tail).unwrap();
        prop_assert_eq!(parsed, ParsedGpt { gpt, damaged: None });
    }

    /// Entries with any bytes under a right CRC: what is read can be written again, or it is an
    /// error.
    #[test]
    fn strange_entries_are_errors(at in 1024..HEAD_BYTES - 8, value: u64) {
        let gpt = sample();
        let encoded = gpt.encode();
        let mut head = encoded.head;
        head[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let entries = crc32fast::hash(&head[1024..]);
        head[600..604].copy_from_slice(&entries.to_le_bytes());
        head[528..532].fill(0);
        let header = crc32fast::hash(&head[512..604]);
        head[528..532].copy_from_slice(&header.to_le_bytes());
        if let Ok(parsed) = parse(&gpt, &head, &[0; TAIL_BYTES]) {
            prop_assert_eq!(parsed.gpt.encode().head, head);
        }
    }

    #[test]
    fn strange_disks_are_errors(bytes in prop::collection::vec(any::<u8>(), TAIL_BYTES..HEAD_BYTES + 9)) {
        for size in [0, 34 * 512, 1 << 20, u64::MAX - 511] {
            prop_assert!(Gpt::parse(&bytes, &bytes, size).is_err());
        }
    }
}

/// A header with one field changed and both check sums right.
fn altered(at: usize, bytes: &[u8]) -> Result<ParsedGpt, GptError> {
    let gpt = sample();
    let mut encoded = gpt.encode();
    encoded.tail.fill(0);
    let header = &mut encoded.head[512..1024];
    header[at..at + bytes.len()].copy_from_slice(bytes);
    header[16..20].fill(0);
    let crc = crc32fast::hash(&header[..92]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    parse(&gpt, &encoded.head, &encoded.tail)
}

#[test]
fn malformed_headers_are_refused_with_a_reason_even_where_their_check_sums_are_right() {
    let last = sample().disk_bytes() / 512 - 1;
    let usable = "usable sectors";
    let place = "another place";
    for (at, bytes, why) in [
        (0, b"EFI PAR?".to_vec(), "signature"),
        (8, 0x0001_0001_u32.to_le_bytes().to_vec(), "revision"),
        (12, 512_u32.to_le_bytes().to_vec(), "revision"),
        (20, vec![1], "revision"),
        (24, 2_u64.to_le_bytes().to_vec(), place),
        (32, 1_u64.to_le_bytes().to_vec(), place),
        (40, 33_u64.to_le_bytes().to_vec(), usable),
        (40, u64::MAX.to_le_bytes().to_vec(), usable),
        (48, (last - 32).to_le_bytes().to_vec(), usable),
        (48, 0_u64.to_le_bytes().to_vec(), usable),
        (72, 3_u64.to_le_bytes().to_vec(), place),
        (80, u32::MAX.to_le_bytes().to_vec(), "128 entries"),
        (84, 256_u32.to_le_bytes().to_vec(), "128 entries"),
        (88, vec![0; 4], "CRC-32 of the entries"),
    ] {
        let Err(GptError::BothBad { primary, .. }) = altered(at, &bytes) else {
            panic!("byte {at}: {:?}", altered(at, &bytes));
        };
        assert!(primary.to_string().contains(why), "byte {at}: {primary}");
    }
    // Partitions outside what is usable.
    let outside = altered(40, &48_u64.to_le_bytes());
    assert!(matches!(outside, Err(GptError::BothBad { primary, .. })
        if *primary == GptError::Outside("bl1_a".into())));
}

#[test]
fn a_damaged_copy_is_made_again_from_the_good_one() {
    let gpt = sample();
    let good = gpt.encode();
    for (head, tail) in
        [(vec![0; HEAD_BYTES], good.tail.clone()), (good.head.clone(), vec![0; TAIL_BYTES])]
    {
        let parsed = parse(&gpt, &head, &tail).unwrap();
        assert!(parsed.damaged.is_some());
        assert_eq!(parsed.gpt.encode(), good);
    }
}

#[test]
fn sfdisk_finds_no_problem_in_our_table_and_we_read_its() {
    let Some(sfdisk) = program("sfdisk", "fdisk") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    std::fs::write(&path, disk(&sample())).unwrap();
    let verified = run(Command::new(&sfdisk).arg("--verify").arg(&path));
    assert!(verified.contains("No errors detected"), "{verified}");

    // On more than 4 MiB it keeps the first 2048 sectors free, and says so in the header.
    std::fs::write(&path, vec![0; 8 << 20]).unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "label: gpt\nsize=64KiB, name=boot_a\nsize=1MiB, name=misc\n").unwrap();
    run(Command::new(&sfdisk)
        .arg("--quiet")
        .arg(&path)
        .stdin(std::fs::File::open(&script).unwrap()));
    let theirs = std::fs::read(&path).unwrap();
    let tail = &theirs[theirs.len() - TAIL_BYTES..];
    let parsed = Gpt::parse(&theirs[..HEAD_BYTES], tail, theirs.len() as u64).unwrap();
    assert_eq!(parsed.damaged, None);
    assert_eq!(parsed.gpt.partition("boot_a").unwrap().first_lba, 2048);
    let ours = parsed.gpt.encode();
    assert_eq!(&ours.head[512..], &theirs[512..HEAD_BYTES]);
    assert_eq!(ours.tail, tail);
}
