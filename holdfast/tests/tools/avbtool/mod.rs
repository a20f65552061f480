//! avbtool's subcommands: bytes and words that AOSP's own tests expect of avbtool, and what its
//! source says where those tests are silent.

mod aosp;
mod cert;
mod edit;
mod footer;
mod options;
mod peer;
mod signing;
mod verify;

use crate::data::test_data;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A folder of its own, in which commands run.
pub(crate) struct Bench(tempfile::TempDir);

impl Bench {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// A bench with AOSP's test keys and files in it.
    pub(crate) fn with_aosp_data() -> Option<Self> {
        let bench = Self::new();
        for entry in std::fs::read_dir(test_data("boot-ota/avb")?).expect("a folder") {
            let from = entry.expect("an entry").path();
            let name = from.file_name().expect("a name");
            std::fs::write(bench.0.path().join(name), std::fs::read(&from).expect("it reads"))
                .expect("it is written");
        }
        Some(bench)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("it is written");
    }

    /// The pattern that AOSP's tests fill images with.
    pub(crate) fn image(&self, name: &str, size: usize) {
        self.write(name, (0..size).map(|at| at as u8).collect::<Vec<_>>());
    }

    /// Runs `holdfast avb` with the words of `line`; single quotes keep words together.
    pub(crate) fn avb(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .arg("avb")
            .args(words(line))
            .current_dir(self.0.path())
            .output()
            .expect("it starts")
    }

    /// Runs it and gives what it printed; it must succeed.
    pub(crate) fn ok(&self, line: &str) -> String {
        let output = self.avb(line);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}\n{stderr}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs it and gives what it complained about; it must end with `code`.
    pub(crate) fn fails(&self, line: &str, code: i32) -> String {
        let output = self.avb(line);
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{line}\n{stderr}");
        stderr
    }

    pub(crate) fn info(&self, image: &str) -> String {
        self.ok(&format!("info_image --image {image}"))
    }

    /// A new RSA key as PKCS#8 PEM.
    pub(crate) fn key(&self, name: &str, bits: usize) {
        let key = crypto::sign::RsaKey::generate(bits).expect("a key");
        self.write(name, pem("PRIVATE KEY", key.to_pkcs8()));
    }

    /// Runs another program; `None`, with a word about it, where it is not installed.
    pub(crate) fn peer(&self, program: &str, line: &str) -> Option<Output> {
        let run = Command::new(program).args(words(line)).current_dir(self.0.path()).output();
        match run {
            Ok(output) => Some(output),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
                eprintln!("skipped: {program} is not installed");
                None
            }
            Err(error) => panic!("{program}: {error}"),
        }
    }

    /// Runs another program that must succeed; false where it is not installed.
    pub(crate) fn peer_ok(&self, program: &str, line: &str) -> bool {
        let Some(output) = self.peer(program, line) else { return false };
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {line}\n{stderr}");
        true
    }
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

pub(crate) fn pem(kind: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

/// A sparse file of `image`: runs of one value become fills, zeros become nothing.
pub(crate) fn sparse_of(image: &[u8]) -> Vec<u8> {
    use sparse::{Content, Map};
    let mut map = Map::empty(4096).expect("a block size");
    let mut file = map.header().encode().to_vec();
    let content = |block: &[u8]| match block.first_chunk::<4>() {
        Some([0, 0, 0, 0]) if block.iter().all(|&byte| byte == 0) => Content::DontCare,
        Some(value) if block.chunks(4).all(|part| part == value) => Content::Fill(*value),
        _ => Content::Raw,
    };
    for run in image.chunks(4096).collect::<Vec<_>>().chunk_by(|a, b| content(a) == content(b)) {
        let kind = content(run[0]);
        file.extend(map.append(kind, 4096 * run.len() as u64).expect("whole blocks"));
        if kind == Content::Raw {
            file.extend(run.concat());
        }
    }
    file[16..24].copy_from_slice(&map.counts());
    file
}

/// The image that a sparse file stands for.
pub(crate) fn expand(file: &[u8]) -> Vec<u8> {
    use sparse::{Content, Header};
    let mut reader = Header::decode(file).expect("sound").expect("sparse").reader();
    while let Some(offset) = reader.next_offset() {
        reader.push(&file[offset as usize..]).expect("a chunk");
    }
    let map = reader.finish(file.len() as u64).expect("a map");
    let mut image = vec![0; map.image_size() as usize];
    for chunk in map.chunks() {
        let range = chunk.output.start as usize..chunk.output.end as usize;
        match chunk.content {
            Content::Raw => {
                let data = &file[chunk.data_offset() as usize..][..range.len()];
                image[range].copy_from_slice(data);
            }
            Content::Fill(value) => {
                let cycle = value.iter().cycle();
                image[range].iter_mut().zip(cycle).for_each(|(byte, value)| *byte = *value);
            }
            Content::DontCare | Content::Crc32 => {}
        }
    }
    image
}

/// Lines of `text` without the indentation of the source: what is expected of `info_image`.
pub(crate) fn lines(text: &str) -> String {
    text.trim_start_matches('\n').lines().map(|line| format!("{line}\n")).collect()
}
