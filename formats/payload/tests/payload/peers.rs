//! Other people's programs read what we write, and the other way round.

use crate::support::{BLOCK, full_payload, has, noise, words};
use payload::Payload;
use payload::bsdiff::{Format, diff, patch};
use payload::compress::Compression;
use std::fs;
use std::path::Path;
use std::process::Command;

fn run(program: &str, folder: &Path, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).current_dir(folder).status().unwrap().success()
}

fn pair() -> (Vec<u8>, Vec<u8>) {
    let old = words(1, 40 * BLOCK);
    let new = [&old[30_000..], &noise(2, 500), &old[..30_000], b"end"].concat();
    (old, new)
}

#[test]
fn bspatch_applies_our_patches_and_we_bsdiffs() {
    if !has("bspatch") || !has("bsdiff") {
        return;
    }
    let (old, new) = pair();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("old"), &old).unwrap();
    fs::write(path("new"), &new).unwrap();
    fs::write(path("patch"), diff(&old, &new, Format::Bsdiff40).unwrap()).unwrap();
    assert!(run("bspatch", folder.path(), &["old", "made", "patch"]));
    assert!(fs::read(path("made")).unwrap() == new);

    assert!(run("bsdiff", folder.path(), &["old", "new", "theirs"]));
    let mut made = Vec::new();
    patch(&old, &fs::read(path("theirs")).unwrap(), new.len() as u64, &mut made).unwrap();
    assert!(made == new);
}

#[test]
fn xz_bzip2_and_zstd_read_our_blobs() {
    let image = words(1, 64 * BLOCK);
    let folder = tempfile::tempdir().unwrap();
    for (program, compression) in
        [("xz", Compression::Xz(6)), ("bzip2", Compression::Bzip2), ("zstd", Compression::Zstd(19))]
    {
        if !has(program) {
            continue;
        }
        let (file, _) = full_payload(&[("boot", &image)], compression, &[]);
        let payload = Payload::open(&file, file.len() as u64).unwrap();
        let blob = payload.blob(&payload.manifest().partitions[0].operations[0]);
        let at = |it: u64| usize::try_from(it).unwrap();
        let packed = folder.path().join("blob");
        fs::write(&packed, &file[at(blob.start)..at(blob.end)]).unwrap();
        let input = fs::File::open(&packed).unwrap();
        let output = Command::new(program).arg("-dc").stdin(input).output().unwrap();
        assert!(output.status.success() && output.stdout == image, "{program}");
    }
}
