//! The signed index of a file that is streamed.

use crate::support::{has, signer};
use crypto::digest::sha256;
use otazip::index::{File, Index, IndexError, hex};
use std::process::Command;

fn file(name: &str, bytes: &[u8], offset: u64) -> File {
    let (name, sha256) = (name.to_owned(), hex(&sha256(bytes)));
    File { name, offset, size: bytes.len() as u64, sha256 }
}

fn index() -> Index {
    let files = vec![file("payload.bin", b"payload", 40), file("metadata", b"meta", 90)];
    Index { version: 1, size: 100, files }
}

#[test]
fn s2_6_an_index_binds_every_range() {
    let (key, certificate) = signer();
    let bytes = index().sign(&key, &certificate).unwrap();
    let opened = Index::open(&bytes, std::slice::from_ref(&certificate)).unwrap();
    assert_eq!(opened, index());
    let file = opened.file("payload.bin").unwrap();
    assert!(file.check(b"payload").is_ok());
    for other in [&b"Payload"[..], b"payloa", b""] {
        assert!(matches!(file.check(other), Err(IndexError::Content(_))));
    }
    let stranger = Index::open(&bytes, &[signer().1]);
    assert!(matches!(stranger, Err(IndexError::NotTrusted)));
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        if let Ok(it) = Index::open(&altered, std::slice::from_ref(&certificate)) {
            assert_eq!(it, index(), "byte {at}");
        }
    }
}

#[test]
fn an_index_that_does_not_fit_is_refused_though_signed() {
    let (key, certificate) = signer();
    let refused = |edit: fn(&mut Index)| {
        let mut index = index();
        edit(&mut index);
        let bytes = index.sign(&key, &certificate).unwrap();
        Index::open(&bytes, std::slice::from_ref(&certificate)).unwrap_err()
    };
    assert!(matches!(refused(|it| it.version = 2), IndexError::Version(2)));
    assert!(matches!(refused(|it| it.size = 50), IndexError::File(_)));
    assert!(matches!(refused(|it| it.files[0].offset = u64::MAX), IndexError::File(_)));
    assert!(matches!(refused(|it| it.files[1].name = "payload.bin".into()), IndexError::File(_)));
    assert!(matches!(refused(|it| it.files[0].sha256.make_ascii_uppercase()), IndexError::File(_)));
}

#[test]
fn openssl_reads_an_index() {
    if !has("openssl") {
        return;
    }
    let (key, certificate) = signer();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index"), index().sign(&key, &certificate).unwrap()).unwrap();
    let output = Command::new("openssl")
        .args(["cms", "-verify", "-binary", "-inform", "DER", "-in", "index", "-noverify"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(serde_json::from_slice::<Index>(&output.stdout).unwrap(), index());
}
