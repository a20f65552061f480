//! `holdfast bootimg` against Debian's mkbootimg and unpack_bootimg, sgdisk, hostile images, and
//! its own page of the documentation.

use crate::document::{Reader, blocks};
use bootimg::boot::{Image, LegacyBootImage, VendorBootImage, VendorRamdisk, VendorVersion};
use bootimg::gpt::{Gpt, Guid, PartitionSpec};
use bootimg::misc::{BootloaderControl, ControlSlot, MergeStatus, Slot, SlotMetadata, SlotState};
use serde_json::{Value, json};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder with parts of images, where commands run.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        let parts: [(&str, &[u8]); 8] = [
            ("kernel", &[0x7f; 5000]),
            ("ramdisk", &[0x1f; 4096]),
            ("second", b"second"),
            ("dtb", b"\xd0\x0d\xfe\xed device tree"),
            ("dtbo", &[3; 2049]),
            ("bootconfig", b"androidboot.x=1\n"),
            ("signature", &[9; 4096]),
            ("empty", b""),
        ];
        for (name, bytes) in parts {
            bench.put(name, bytes);
        }
        bench
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap_or_else(|it| panic!("{name}: {it}"))
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path());
        command
    }

    /// `holdfast bootimg …`, in words as a shell has them.
    fn run(&self, line: &str) -> Output {
        let program = env!("CARGO_BIN_EXE_holdfast");
        self.command("sh").args(["-c", &format!("{program} bootimg {line}")]).output().unwrap()
    }

    fn says(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {errors}");
        assert_eq!(errors.is_empty(), code == 0, "{line}: {errors}");
        String::from_utf8(output.stdout).unwrap() + &errors
    }

    fn json(&self, line: &str, code: i32) -> Value {
        let output = self.run(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{line}: {errors}"))
    }

    /// Unpacks an image and makes it again: the bytes are the same.
    fn survives(&self, image: &str) {
        let output = if self.get(image).starts_with(b"VNDRBOOT") { "--vendor_boot" } else { "-o" };
        let arguments = self.says(&format!("unpack --boot_img {image} --format mkbootimg"), 0);
        self.says(&format!("pack {} {output} again.img", arguments.trim()), 0);
        assert_eq!(self.get("again.img"), self.get(image), "{image}: {arguments}");
    }
}

/// A peer program; says so in one line where it is absent.
fn has(program: &str, package: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(found || std::env::var_os("CI").is_none(), "{program} is absent: install {package}");
    if !found {
        eprintln!("not run: {program} is absent (Debian package {package})");
    }
    found
}

/// What mkbootimg takes, for images that Debian's one can make.
const SAME_AS_PEER: &[&str] = &[
    "--kernel kernel -o",
    "--kernel kernel --ramdisk ramdisk --second second --base 0x80000000 --pagesize 4096 -o",
    "--kernel kernel --ramdisk empty --cmdline 'console=ttyS0 a=\"b c\"' --board name -o",
    "--header_version 0 --kernel kernel --ramdisk ramdisk --dtb dtb --os_version 9 -o",
    "--header_version 1 --kernel kernel --ramdisk ramdisk --os_version 10.0.1 \
     --os_patch_level 2019-09-05 --kernel_offset 32768 --tags_offset 0x200 -o",
    "--header_version 2 --kernel kernel --ramdisk ramdisk --second second --dtb dtb \
     --dtb_offset 0x1f00000 --pagesize 16384 -o",
    "--header_version 2 --kernel kernel --dtb dtb --cmdline \"$(head -c 1500 /dev/zero | tr '\\0' x)\" -o",
];

/// Headers of version 3, whose sizes Debian's mkbootimg has from Android 11.
const SAME_AS_PEER_OF_ANDROID_11: &[&str] = &[
    "--header_version 3 --kernel kernel --ramdisk ramdisk --os_version 11.0.0 --cmdline quiet -o",
    "--header_version 3 --vendor_ramdisk ramdisk --dtb dtb --vendor_cmdline 'a b' --board x \
     --base 0 --pagesize 4096 --vendor_boot",
];

#[test]
fn s2_2_makes_the_bytes_of_mkbootimg_and_reads_them() {
    if !has("mkbootimg", "mkbootimg") {
        return;
    }
    let bench = Bench::new();
    let check = |line: &str, more: &str| {
        let peer =
            bench.command("sh").args(["-c", &format!("mkbootimg {line} theirs.img")]).output();
        let peer = peer.unwrap();
        assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
        bench.says(&format!("pack {more} {line} ours.img"), 0);
        assert!(bench.get("ours.img") == bench.get("theirs.img"), "{line}");
        bench.survives("theirs.img");
    };
    SAME_AS_PEER.iter().for_each(|line| check(line, ""));
    SAME_AS_PEER_OF_ANDROID_11.iter().for_each(|line| check(line, "--android11_header_size"));

    let line = "--header_version 2 --kernel kernel --dtb dtb --id -o ours.img";
    let peer = bench.command("sh").args(["-c", &format!("mkbootimg {line}")]).output().unwrap();
    assert_eq!(bench.says(&format!("pack {line}"), 0).into_bytes(), peer.stdout);
}

#[test]
fn s2_2_unpack_bootimg_reads_our_images() {
    if !has("unpack_bootimg", "mkbootimg") {
        return;
    }
    let bench = Bench::new();
    for line in [
        "--header_version 1 --kernel kernel --ramdisk ramdisk --second second --recovery_dtbo dtbo -o",
        "--header_version 2 --kernel kernel --ramdisk ramdisk --recovery_acpio dtbo --dtb dtb -o",
        "--header_version 3 --kernel kernel --ramdisk ramdisk -o",
        "--header_version 4 --kernel kernel --ramdisk ramdisk --boot_signature signature -o",
        "--header_version 3 --vendor_ramdisk ramdisk --dtb dtb --pagesize 4096 --vendor_boot",
    ] {
        bench.says(&format!("pack {line} ours.img"), 0);
        bench.says("unpack --boot_img ours.img --out ours", 0);
        let line = ["--boot_img", "ours.img", "--out", "theirs"];
        assert!(bench.command("unpack_bootimg").args(line).output().unwrap().status.success());
        for part in std::fs::read_dir(bench.0.path().join("theirs")).unwrap() {
            let name = part.unwrap().file_name().into_string().unwrap();
            let (ours, theirs) = (format!("ours/{name}"), format!("theirs/{name}"));
            assert!(bench.get(&ours) == bench.get(&theirs), "{line:?}: {name}");
        }
        std::fs::remove_dir_all(bench.0.path().join("theirs")).unwrap();
        bench.survives("ours.img");
    }
}

#[test]
fn packs_unpacks_and_describes_vendor_boot_of_version_4() {
    let bench = Bench::new();
    let line = "--header_version 4 --dtb dtb --vendor_bootconfig bootconfig --vendor_ramdisk ramdisk \
        --ramdisk_type dlkm --ramdisk_name modules --board_id0 0x17 --board_id15 1 \
        --vendor_ramdisk_fragment kernel --ramdisk_name recovery --ramdisk_type 2 \
        --vendor_ramdisk_fragment second --vendor_boot vendor.img";
    let made = bench.json(&format!("pack --json {line}"), 0);
    assert_eq!(made["vendor_boot"]["path"], "vendor.img");
    bench.survives("vendor.img");
    assert_eq!(bench.get("out/vendor-ramdisk-by-name/ramdisk_modules"), bench.get("kernel"));
    assert_eq!(bench.get("out/vendor_ramdisk02"), b"second");
    let told = bench.json("info --json vendor.img", 0);
    assert_eq!(told["ramdisks"][1]["name"], "modules");
    assert_eq!(told["ramdisks"][1]["board_id"][0], 0x17);
    assert_eq!((&told["kind"], &told["header_bytes"]), (&json!("vendor_boot"), &json!(2128)));
    let text = bench.says("unpack --boot_img vendor.img", 0);
    for line in [
        "vendor ramdisk total size: 9102",
        "    vendor_ramdisk01: {",
        "        type: 0x3",
        "            0x00000017, 0x00000000, 0x00000000, 0x00000000,",
        "vendor bootconfig size: 16",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is missing in {text}");
    }
}

#[test]
fn says_what_unpack_bootimg_of_aosp_says() {
    let bench = Bench::new();
    bench.says(
        "pack --header_version 2 --kernel kernel --ramdisk ramdisk --dtb dtb --recovery_dtbo dtbo \
         --os_version 10 --os_patch_level 2020-01 --cmdline quiet --board b -o boot.img",
        0,
    );
    let text = bench.says("unpack --boot_img boot.img", 0);
    let due = "boot magic: ANDROID!\nkernel_size: 5000\nkernel load address: 0x10008000\n\
        ramdisk size: 4096\nramdisk load address: 0x11000000\nsecond bootloader size: 0\n\
        second bootloader load address: 0x00000000\nkernel tags load address: 0x10000100\n\
        page size: 2048\nos version: 10.0.0\nos patch level: 2020-01\n\
        boot image header version: 2\nproduct name: b\ncommand line args: quiet\n\
        additional command line args: \nrecovery dtbo size: 2049\n\
        recovery dtbo offset: 0x0000000000003000\nboot header size: 1660\ndtb size: 16\n\
        dtb address: 0x0000000011f00000\n";
    assert_eq!(text, due);
    let words = bench.says("unpack --boot_img boot.img --format=mkbootimg", 0);
    assert!(
        words.starts_with(
            "--header_version 2 --os_version 10.0.0 --os_patch_level 2020-01 \
        --kernel out/kernel --ramdisk out/ramdisk --recovery_dtbo out/recovery_dtbo --dtb out/dtb \
        --pagesize 0x00000800 --base 0x00000000 --kernel_offset 0x10008000 "
        ),
        "{words}"
    );
    let zeros = bench.run("unpack --boot_img boot.img --format=mkbootimg -0").stdout;
    assert!(zeros.starts_with(b"--header_version\x002\0--os_version\0"));
    let told = bench.json("unpack --boot_img boot.img --json", 0);
    assert_eq!((&told["id_matches"], &told["kernel_bytes"]), (&json!(true), &json!(5000)));

    // An id that is not of the content, and bytes behind the image.
    let mut image = bench.get("boot.img");
    image[576] ^= 1;
    image.extend([7; 100]);
    bench.put("boot.img", &image);
    let told = bench.json("info --json boot.img", 0);
    assert_eq!((&told["id_matches"], &told["trailing_bytes"]), (&json!(false), &json!(100)));
}

#[test]
fn what_cannot_be_an_image_is_refused_and_says_why() {
    let bench = Bench::new();
    bench.put("big", &[b'x'; 1600]);
    for (line, code, why) in [
        ("pack --kernel kernel", 2, "--output"),
        ("pack --kernel nothing -o x", 3, "nothing"),
        ("pack --header_version 5 -o x", 2, "0 to 4"),
        ("pack --header_version 2 --kernel kernel -o x", 2, "--dtb"),
        ("pack --header_version 3 --second second -o x", 2, "--second"),
        ("pack --header_version 2 --vendor_boot x", 2, "3 or 4"),
        ("pack --header_version 3 --dtb dtb --vendor_boot x", 2, "--vendor_ramdisk"),
        ("pack --header_version 3 --vendor_ramdisk ramdisk --vendor_boot x", 2, "--dtb"),
        ("pack --base 0xffffffff -o x", 2, "32 bits"),
        ("pack --pagesize 3000 -o x", 1, "page_size"),
        ("pack --os_version 200 -o x", 2, "--os_version"),
        ("pack --cmdline \"$(cat big)\" -o x", 2, "--cmdline"),
        ("pack --board 12345678901234567 -o x", 1, "board"),
        ("pack --ramdisk_name a -o x", 2, "vendor_ramdisk_fragment"),
        ("pack --recovery_dtbo dtbo --recovery_acpio dtbo -o x", 2, "recovery"),
        ("info kernel", 1, "not a boot image"),
        ("info nothing", 3, "nothing"),
        ("unpack --boot_img kernel", 1, "not a boot image"),
        ("unpack", 2, "--boot_img"),
        ("gpt kernel", 1, "no partition table"),
        ("gpt nothing", 3, "nothing"),
        ("slots kernel", 1, "magic"),
        ("slots dtb", 1, "too small"),
    ] {
        let said = bench.says(line, code);
        assert!(said.contains(why), "{line}: {said}");
    }
}

#[test]
fn a_ramdisk_that_is_named_out_of_the_folder_writes_nothing_there() {
    let bench = Bench::new();
    let name = "/../../../evil";
    let ramdisks = vec![VendorRamdisk { data: b"x", name, ..VendorRamdisk::default() }];
    let image = VendorBootImage {
        version: VendorVersion::V4,
        page_bytes: 2048,
        ramdisks,
        ..VendorBootImage::default()
    };
    bench.put("vendor.img", &image.encode().unwrap());
    let said = bench.says("unpack --boot_img vendor.img --out a/b", 1);
    assert!(said.contains("no file can be"), "{said}");
    assert!(!bench.0.path().join("evil").exists());
}

#[test]
fn every_cut_and_many_flips_of_an_image_end_with_a_reason() {
    let bench = Bench::new();
    let image = LegacyBootImage { page_bytes: 2048, kernel: b"k", ..LegacyBootImage::default() };
    let bytes = Image::Legacy(image).encode().unwrap();
    for length in [0, 7, 8, 40, 1631, 2047, 2048, 4095] {
        bench.put("cut.img", &bytes[..length]);
        let said = bench.says("info cut.img", 1);
        assert!(said.contains("cut.img"), "{said}");
    }
}

fn disk() -> (Gpt, Vec<u8>) {
    let spec = |name: &str, n: u8| PartitionSpec {
        name: name.into(),
        type_guid: Guid::LINUX_DATA,
        unique_guid: Guid::from_random([n; 16]),
        size_bytes: 65536,
    };
    let gpt =
        Gpt::layout(Guid::from_random([9; 16]), &[spec("boot_a", 1), spec("misc", 2)]).unwrap();
    let encoded = gpt.encode();
    let mut disk = vec![0; gpt.disk_bytes() as usize];
    disk[..encoded.head.len()].copy_from_slice(&encoded.head);
    disk[encoded.tail_offset as usize..].copy_from_slice(&encoded.tail);
    (gpt, disk)
}

#[test]
fn a_damaged_copy_of_a_partition_table_is_told_and_repaired() {
    let bench = Bench::new();
    let (gpt, good) = disk();
    bench.put("disk", &good);
    let told = bench.json("gpt --json disk", 0);
    assert_eq!(told["partitions"][0]["name"], "boot_a");
    assert_eq!(told["partitions"][0]["offset_bytes"], gpt.partitions()[0].offset_bytes());
    assert_eq!((&told["damaged"], &told["ok"]), (&Value::Null, &json!(true)));
    for (range, copy) in
        [(512..1024, "primary"), (good.len() - 512..good.len(), "backup"), (446..450, "primary")]
    {
        let mut bad = good.clone();
        bad[range].fill(0xee);
        bench.put("disk", &bad);
        let told = bench.json("gpt --json disk", 1);
        assert_eq!((&told["damaged"], &told["repaired"]), (&json!(copy), &json!(false)));
        assert_eq!(bench.get("disk"), bad, "looking changes nothing");
        assert_eq!(bench.json("gpt --json --repair disk", 0)["repaired"], true);
        assert_eq!(bench.get("disk"), good);
    }
    let mut bad = good.clone();
    bad[512] = 0;
    *bad.last_mut().unwrap() = 1;
    bench.put("disk", &bad);
    assert!(bench.says("gpt --repair disk", 1).contains("both copies are bad"));
    assert_eq!(bench.get("disk"), bad, "nothing is repaired from nothing");
    if has("sgdisk", "gdisk") {
        bench.put("disk", &good);
        let verified = bench.command("sgdisk").args(["--verify", "disk"]).output().unwrap();
        assert!(String::from_utf8_lossy(&verified.stdout).contains("No problems found"));
    }
}

#[test]
fn s2_6_says_which_slot_is_next() {
    let bench = Bench::new();
    let put = |metadata: [u8; 32]| {
        let mut misc = vec![0; 4096];
        misc[2048..2080].copy_from_slice(&metadata);
        bench.put("misc", &misc);
    };
    let mut slots = SlotMetadata::initial();
    put(slots.encode());
    let told = bench.json("slots --json misc", 0);
    assert_eq!((&told["next"], &told["metadata"]), (&json!("_a"), &json!("libavb_ab")));
    assert_eq!(told["slots"][1]["priority"], 14);
    slots.mark_unbootable(Slot::A);
    put(slots.encode());
    assert!(bench.says("slots misc", 0).contains("next: _b"));
    slots.mark_unbootable(Slot::B);
    put(slots.encode());
    assert_eq!(bench.json("slots --json misc", 1)["next"], Value::Null);

    let slot = |verity_corrupted| ControlSlot { state: SlotState::FRESH, verity_corrupted };
    let control = BootloaderControl {
        slot_suffix: "_a".into(),
        slots: vec![slot(true), slot(false)],
        recovery_tries_remaining: 0,
        merge_status: MergeStatus::None,
    };
    put(control.encode().unwrap());
    let told = bench.json("slots --json misc", 0);
    assert_eq!(
        (&told["next"], &told["slots"][0]["verity_corrupted"]),
        (&json!("_b"), &json!(true))
    );
}

#[test]
fn the_page_about_bootimg_works_as_written() {
    let home = tempfile::tempdir().unwrap();
    let mut reader = Reader::at(home.path());
    let said: String =
        blocks("docs/bootimg.md").iter().map(|block| reader.types(&block.text)).collect();
    for due in [r#""id_matches":true"#, r#""next":"_a""#] {
        assert!(said.contains(due), "{due} is missing in {said}");
    }
    reader.leaves();
}

#[test]
fn what_is_made_has_the_permissions_that_the_umask_allows() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("kernel"), b"kernel").expect("it is written");
    for (umask, expected) in [("022", 0o644), ("077", 0o600)] {
        let script = format!("umask {umask}; \"$0\" bootimg pack --kernel kernel -o {umask}.img");
        let made = std::process::Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_holdfast")])
            .current_dir(folder.path())
            .status();
        assert!(made.expect("a shell").success());
        let made = std::fs::metadata(folder.path().join(format!("{umask}.img"))).expect("made");
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&made) & 0o777, expected);
    }
}
