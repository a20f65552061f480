//! Programs that sign: keys may live in an HSM. The protocol is avbtool's `--signing_helper`: the
//! names of algorithm and key file as arguments, what is to be signed on standard input, the
//! signature on standard output.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// Why such a program gave no signature.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It does not start.
    Start(io::Error),
    /// It ended with an error, and said this.
    Said(Vec<u8>),
}

/// Asks `program` for a signature over `data`, of 64 KiB at most.
pub(crate) fn ask(
    program: &Path,
    algorithm: &str,
    key: &Path,
    data: &[u8],
) -> Result<Vec<u8>, Failure> {
    let mut child = Command::new(program)
        .arg(algorithm)
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Failure::Start)?;
    // A pipe takes that much whole: nobody waits for anybody. A signer that does not read them is
    // free to.
    let _ = child.stdin.take().expect("piped").write_all(data);
    let output = child.wait_with_output().map_err(Failure::Start)?;
    if output.status.success() { Ok(output.stdout) } else { Err(Failure::Said(output.stderr)) }
}

/// The `n` of `id-sha2`, 2.16.840.1.101.3.4.2.n, with SHA-256.
pub(crate) const SHA256: u8 = 1;
/// The same with SHA-512.
pub(crate) const SHA512: u8 = 3;

/// What a signer of raw RSA gets for a key of `size` bytes: EMSA-PKCS1-v1_5 (RFC 8017, 9.2) of a
/// digest.
pub(crate) fn padded(last_arc: u8, digest: &[u8], size: usize) -> Vec<u8> {
    let digest_size = u8::try_from(digest.len()).expect("64 bytes at most");
    // DigestInfo { { id-sha2 n, NULL }, OCTET STRING }
    let mut info = vec![0x30, digest_size + 17, 0x30, 0x0d, 0x06, 0x09];
    info.extend([0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last_arc]);
    info.extend([0x05, 0x00, 0x04, digest_size]);
    info.extend(digest);
    let mut out = vec![0xff; size - info.len()];
    out[..2].copy_from_slice(&[0, 1]);
    *out.last_mut().expect("a key is longer than a DigestInfo") = 0;
    out.extend(info);
    out
}
