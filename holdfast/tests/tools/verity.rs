//! `holdfast verity` and Debian's veritysetup over the same files, both ways.

use crate::data::{holdfast, program};
use crate::document::{Reader, blocks};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Image, tree and parity in a folder of their own.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn with_image(bytes: usize) -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder") };
        let image: Vec<u8> =
            (0..bytes).map(|at| (at * 31 + at / 257 + at / 70_001) as u8).collect();
        std::fs::write(files.path("image"), image).expect("it is written");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn empty(&self, name: &str) {
        std::fs::write(self.path(name), "").expect("it is written");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("it is there")
    }

    fn damage(&self, name: &str, at: usize, bytes: usize) {
        let mut content = self.read(name);
        content[at..at + bytes].iter_mut().for_each(|byte| *byte ^= 0x5a);
        std::fs::write(self.path(name), content).expect("it is written");
    }

    /// `holdfast verity COMMAND image tree`, with JSON.
    fn ours(&self, command: &str, more: &[&str]) -> (Option<i32>, Value) {
        let (image, tree) = (self.path("image"), self.path("tree"));
        let mut arguments = vec!["verity", command, text(&image), text(&tree), "--json"];
        let fec = format!("--fec-device={}", text(&self.path("fec")));
        arguments.extend(more.iter().map(|&it| if it == "FEC" { fec.as_str() } else { it }));
        let output = holdfast(&arguments);
        let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            panic!("{arguments:?} said {}", String::from_utf8_lossy(&output.stderr))
        });
        (output.status.code(), said)
    }

    fn veritysetup(&self, veritysetup: &Path, command: &str, more: &[&str]) -> Output {
        let fec = format!("--fec-device={}", text(&self.path("fec")));
        let more = more.iter().map(|&it| if it == "FEC" { fec.as_str() } else { it });
        let mut run = Command::new(veritysetup);
        run.arg(command).args([self.path("image"), self.path("tree")]).args(more);
        run.output().expect("veritysetup runs")
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

fn root_of(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout);
    let root = said.lines().find_map(|line| line.strip_prefix("Root hash:"));
    root.unwrap_or_else(|| panic!("{output:?}")).trim().to_owned()
}

/// What both take alike.
const CASES: &[(usize, &[&str])] = &[
    (4096, &["--salt=aabb"]),
    (4096 * 2, &["--salt=-", "--hash=sha1"]),
    (4096 * 300, &["--salt=aabb", "--hash=sha512"]),
    (4096 * 300, &["--salt=aabb", "--no-superblock"]),
    (512 * 700, &["--salt=00", "--data-block-size=512", "--hash-block-size=512"]),
    (4096 * 300, &["--salt=aabb", "--hash=sha1", "--format=0"]),
    (4096 * 30, &["--salt=aabb", "--data-block-size=1024"]),
    (4096 * 300, &["--salt=aabb", "--data-blocks=137"]),
    (4096 * 30, &["--salt=aabb", "--hash-offset=8192"]),
    // Small blocks, and little of them: the file is not rounded to pages.
    (512, &["--salt=aabb", "--data-block-size=512", "--hash-block-size=512"]),
    (4096 * 2, &["--salt=aabb", "--hash-block-size=1024"]),
];

const UUID: &str = "--uuid=00112233-4455-4677-8899-aabbccddeeff";

#[test]
fn makes_the_files_that_veritysetup_makes() {
    let Some(veritysetup) = program("veritysetup", "cryptsetup-bin") else { return };
    for (bytes, options) in CASES {
        let with_uuid = |options: &[&'static str]| {
            let uuid = (!options.contains(&"--no-superblock")).then_some(UUID);
            options.iter().copied().chain(uuid).collect::<Vec<_>>()
        };
        let files = Files::with_image(*bytes);
        files.empty("tree");
        let output = files.veritysetup(&veritysetup, "format", &with_uuid(options));
        let (root, theirs) = (root_of(&output), files.read("tree"));
        files.empty("tree");
        let (code, said) = files.ours("build", &with_uuid(options));
        assert_eq!((code, said["root_hash"].as_str()), (Some(0), Some(&*root)), "{options:?}");
        assert!(files.read("tree") == theirs, "{options:?}");
        // Each accepts the file, and neither a flipped bit.
        let mut check = options.to_vec();
        check.push(&root);
        assert_eq!(files.ours("verify", &check).0, Some(0), "{options:?}");
        assert!(files.veritysetup(&veritysetup, "verify", &check).status.success(), "{options:?}");
        files.damage("image", bytes / 3, 1);
        assert_eq!(files.ours("verify", &check).0, Some(1), "{options:?}");
        assert!(!files.veritysetup(&veritysetup, "verify", &check).status.success());
    }
}

#[test]
fn makes_the_parity_that_veritysetup_makes_and_repairs_with_its() {
    let Some(veritysetup) = program("veritysetup", "cryptsetup-bin") else { return };
    for (blocks, roots, superblock) in
        [(1, 2, true), (300, 2, true), (300, 24, true), (700, 5, false)]
    {
        let files = Files::with_image(blocks * 4096);
        let roots = format!("--fec-roots={roots}");
        let mut options = vec!["--salt=aabb", "FEC", &*roots];
        options.extend(if superblock { Some(UUID) } else { Some("--no-superblock") });
        ["tree", "fec"].iter().for_each(|name| files.empty(name));
        let root = root_of(&files.veritysetup(&veritysetup, "format", &options));
        let theirs = (files.read("tree"), files.read("fec"));
        ["tree", "fec"].iter().for_each(|name| files.empty(name));
        let (code, said) = files.ours("build", &options);
        assert_eq!((code, said["root_hash"].as_str()), (Some(0), Some(&*root)));
        assert!((files.read("tree"), files.read("fec")) == theirs, "{blocks} blocks, {roots}");

        let whole = files.read("image");
        options.retain(|option| *option != UUID);
        options.push(&root);
        assert_eq!(files.ours("verify", &options).0, Some(0));
        files.damage("image", blocks / 2 * 4096 + 17, 2000);
        let (code, said) = files.ours("verify", &options);
        let number = serde_json::json!([blocks / 2]);
        assert_eq!((code, &said["wrong_data_blocks"]), (Some(1), &number));
        // In a file veritysetup only says that it could.
        let theirs = files.veritysetup(&veritysetup, "verify", &options);
        let said = format!("{theirs:?}");
        assert!(said.contains("repairable errors with FEC"), "{said}");
        let (code, said) = files.ours("repair", &options);
        assert_eq!((code, &said["repaired_data_blocks"]), (Some(0), &number));
        assert!(files.read("image") == whole);
        assert!(files.veritysetup(&veritysetup, "verify", &options).status.success());
    }
}

#[test]
fn image_tree_and_parity_share_a_file_as_in_avb_images() {
    let files = Files::with_image(4096 * 600);
    let image = files.path("image");
    // 600 digests: five hash blocks and one above them.
    let (tree_at, fec_at) = (4096 * 600, 4096 * 606);
    let offsets = [format!("--hash-offset={tree_at}"), format!("--fec-offset={fec_at}")];
    let fec = format!("--fec-device={}", text(&image));
    let shape = ["--no-superblock", "--data-blocks=600", &offsets[0], &offsets[1], &fec];
    let run = |command: &str, more: &[&str]| {
        let mut arguments = vec!["verity", command, text(&image), text(&image), "--json"];
        arguments.extend(shape.iter().chain(more));
        let output = holdfast(&arguments);
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).expect("JSON"))
    };
    let (code, made) = run("build", &["--salt=0102"]);
    assert_eq!((code, &made["fec"]["blocks"]), (Some(0), &606.into()));
    assert_eq!(files.read("image").len(), fec_at + 3 * 2 * 4096);
    let root = made["root_hash"].as_str().expect("a root hash").to_owned();
    let whole = files.read("image");
    // The whole tree: two blocks of each codeword.
    files.damage("image", tree_at, 4096 * 6);
    let with_root = ["--salt=0102", &root];
    assert_eq!(run("verify", &with_root).0, Some(1));
    files.damage("image", fec_at + 5, 1);
    let (code, said) = run("repair", &with_root);
    assert_eq!(code, Some(1), "one codeword has three wrong bytes: {said}");
    files.damage("image", fec_at + 5, 1);
    let (code, said) = run("repair", &with_root);
    assert_eq!(code, Some(0), "{said}");
    assert!(files.read("image") == whole);
    // Parity alone is put right too.
    files.damage("image", fec_at, 100);
    assert_eq!(run("verify", &with_root).1["wrong_parity_bytes"], 100);
    assert_eq!(run("repair", &with_root).1["repaired_parity_bytes"], 100);
    assert!(files.read("image") == whole);
    let (_, said) = run(
        "table",
        &[
            "--salt=0102",
            "--data-name=/dev/vda",
            "--hash-name=/dev/vda",
            "--fec-name=/dev/vda",
            "--ignore-zero-blocks",
            &root,
        ],
    );
    let line = format!(
        "0 4800 verity 1 /dev/vda /dev/vda 4096 4096 600 600 sha256 {root} 0102 9 \
         ignore_zero_blocks use_fec_from_device /dev/vda fec_roots 2 fec_blocks 606 fec_start 606"
    );
    assert_eq!(said["table"], line);
}

#[test]
fn blake2b_trees_repair_and_verify() {
    let files = Files::with_image(4096 * 200);
    let (_, made) = files.ours("build", &["--hash=blake2b-256", "FEC", "--fec-roots=8"]);
    let root = made["root_hash"].as_str().expect("a root hash").to_owned();
    assert_eq!(made["salt"].as_str().map(str::len), Some(64));
    files.damage("tree", 4096 + 3, 1);
    files.damage("image", 0, 4096 * 4);
    let options = [root.as_str(), "FEC", "--fec-roots=8"];
    assert_eq!(files.ours("repair", &options).0, Some(0));
    assert_eq!(files.ours("verify", &options).0, Some(0));
}

#[test]
fn what_is_wrong_with_the_command_line_or_the_files_is_said() {
    let files = Files::with_image(5000);
    let run = |more: &[&str]| {
        let (image, tree) = (files.path("image"), files.path("tree"));
        let mut arguments = vec!["verity", more[0], text(&image), text(&tree)];
        arguments.extend(&more[1..]);
        let output = holdfast(&arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (more, code, due) in [
        (&["build"][..], 1, "--data-blocks 1"),
        (&["build", "--data-blocks=2"], 1, "5000 bytes"),
        (&["build", "--data-blocks=1", "--hash=md5"], 2, "md5"),
        (&["build", "--data-blocks=1", "--salt=0"], 2, "--salt"),
        (&["build", "--data-blocks=1", "--uuid=1"], 2, "--uuid"),
        (&["build", "--data-blocks=1", "--format=2"], 2, "hash format 2"),
        (&["build", "--data-blocks=1", "--hash-block-size=1000"], 2, "1000"),
        (&["build", "--data-blocks=1", "--hash-offset=100"], 2, "--hash-offset"),
        (&["build", "--data-blocks=1", "--fec-roots=3"], 2, "--fec-device"),
        (&["verify"], 2, "ROOT"),
        (&["verify", "00"], 3, "tree"),
    ] {
        let (have, said) = run(more);
        assert_eq!(have, Some(code), "{more:?}: {said}");
        assert!(said.contains(due), "{more:?}: {said}");
    }
    let image = files.path("image");
    let same = format!("--fec-device={}", text(&image));
    let (code, said) =
        run(&["build", "--data-blocks=1", &same, "--fec-roots=25", "--fec-offset=8192"]);
    assert!(code == Some(2) && said.contains("25 roots"), "{said}");
    let (code, said) = run(&["build", "--data-blocks=1", &same]);
    assert!(code == Some(2) && said.contains("--fec-offset"), "{said}");
    std::fs::write(files.path("tree"), vec![0; 8192]).expect("it is written");
    let (code, said) = run(&["verify", &"00".repeat(32)]);
    assert!(code == Some(1) && said.contains("no verity superblock"), "{said}");
    let (code, said) = run(&["repair", "--no-superblock", "--data-blocks=1", &"00".repeat(32)]);
    assert!(code == Some(2) && said.contains("--fec-device"), "{said}");
}

#[test]
fn the_page_works_as_written() {
    if program("veritysetup", "cryptsetup-bin").is_none() {
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    let mut reader = Reader::at(home.path());
    let blocks = blocks("docs/verity.md");
    let said: String = blocks.iter().map(|block| reader.types(&block.text)).collect();
    for due in
        ["Root hash:", "it holds: 1024 blocks", "3 data blocks (100 101 102)", "8192 verity 1"]
    {
        assert!(said.contains(due), "{due:?} is missing in {said}");
    }
}
