//! Partitions in memory, images out of a seed, payloads in one piece.

use crypto::digest::sha256;
use payload::compress::Compression;
use payload::key::SigningKey;
use payload::make::{Builder, Image};
use payload::properties::Properties;
use payload::{ApplyError, Payload, ReadAt, WriteAt, apply, delta, full};
use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

pub(crate) const BLOCK: usize = 4096;

/// A partition in memory.
pub(crate) struct Partition(Mutex<Vec<u8>>);

impl Partition {
    pub(crate) fn of(size: u64) -> Self {
        // What stood there before must not matter.
        Self(Mutex::new(vec![0xa5; usize::try_from(size).unwrap()]))
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

impl ReadAt for Partition {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.lock().unwrap().read_at(offset, buffer)
    }
}

impl WriteAt for Partition {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        self.0.lock().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

/// Bytes that nothing compresses.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

/// Bytes as programs and texts have them: words out of a list.
pub(crate) fn words(seed: u64, length: usize) -> Vec<u8> {
    let picks = noise(seed, length / 4);
    let text = picks.iter().flat_map(|pick| format!("word{} ", pick % 97).into_bytes());
    text.take(length).collect()
}

pub(crate) fn image(bytes: &[u8]) -> Image {
    Image { size: bytes.len() as u64, sha256: sha256(bytes) }
}

/// A payload in one piece, and its properties.
pub(crate) fn assemble(
    builder: Builder,
    blobs: &[u8],
    keys: &[&SigningKey],
) -> (Vec<u8>, Properties) {
    let mut sealed = builder.seal(keys).unwrap();
    let mut file = sealed.front().to_vec();
    sealed.update(blobs);
    file.extend(blobs);
    let (end, properties) = sealed.finish().unwrap();
    file.extend(end);
    (file, properties)
}

/// A full payload of these images.
pub(crate) fn full_payload(
    images: &[(&str, &[u8])],
    compression: Compression,
    keys: &[&SigningKey],
) -> (Vec<u8>, Properties) {
    let mut builder = Builder::new(0);
    let mut blobs = Vec::new();
    for (name, bytes) in images {
        builder.partition(name, None, image(bytes));
        for (number, stretch) in bytes.chunks(64 * BLOCK).enumerate() {
            for step in full::full(number as u64 * 64, stretch, compression).unwrap() {
                builder.step(&step).unwrap();
                blobs.extend(&step.blob);
            }
        }
    }
    assemble(builder, &blobs, keys)
}

/// A delta between two images of the partition `system`.
pub(crate) fn delta_payload(old: &[u8], new: &[u8], options: delta::Options) -> Vec<u8> {
    let mut builder = Builder::new(options.minor_version());
    let mut blobs = Vec::new();
    builder.partition("system", Some(image(old)), image(new));
    let source = delta::Source::new(old).unwrap();
    for (number, stretch) in new.chunks(1024 * BLOCK).enumerate() {
        for step in source.steps(number as u64 * 1024, stretch.to_vec(), options).unwrap() {
            builder.step(&step).unwrap();
            blobs.extend(&step.blob);
        }
    }
    assemble(builder, &blobs, &[]).0
}

/// Applies a payload to empty partitions.
pub(crate) fn apply_all(
    file: &[u8],
    old: &BTreeMap<&str, Vec<u8>>,
) -> Result<BTreeMap<String, Vec<u8>>, ApplyError> {
    let payload = Payload::open(file, file.len() as u64).unwrap();
    let mut made = BTreeMap::new();
    for update in &payload.manifest().partitions {
        let partition = Partition::of(update.new_partition_info.as_ref().unwrap().size);
        let source = old.get(update.partition_name.as_str()).map(|it| it as &dyn ReadAt);
        // Backwards: the order does not matter.
        for operation in update.operations.iter().rev() {
            let blob = payload.blob(operation);
            let at = |it: u64| usize::try_from(it).unwrap();
            apply(operation, &file[at(blob.start)..at(blob.end)], source, &partition)?;
        }
        made.insert(update.partition_name.clone(), partition.into_bytes());
    }
    Ok(made)
}

/// Where the real inputs are, when they are there.
pub(crate) fn real_inputs(folder: &str) -> Option<std::path::PathBuf> {
    let Some(data) = std::env::var_os("HOLDFAST_TEST_DATA") else {
        eprintln!("not run: HOLDFAST_TEST_DATA does not name the folder with real inputs");
        return None;
    };
    Some(std::path::Path::new(&data).join("boot-ota").join(folder))
}

/// Whether a peer is there; under CI it must be.
pub(crate) fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    });
    assert!(found || std::env::var_os("CI").is_none(), "{program} is missing");
    if !found {
        eprintln!("not run: {program} is missing");
    }
    found
}
