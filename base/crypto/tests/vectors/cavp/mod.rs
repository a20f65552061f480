//! NIST's Cryptographic Algorithm Validation Program, and vectors in its form.

mod asymmetric;
mod ciphers;
mod hashes;
mod rsa;

use crate::data::Vectors;
use crate::report::Report;

/// Runs a file, whatever it holds. A file that nobody knows is a failure.
pub(crate) fn run(file: &Vectors, report: &mut Report) {
    let name = file.name.as_str();
    let folder = |prefix: &str| name.starts_with(prefix);
    match () {
        () if name.contains("Readme") || name.contains("readme") => {}
        () if folder("ciphers/AES/GCM/") => ciphers::gcm(file, report),
        () if folder("ciphers/AES/") => ciphers::aes(file, report),
        () if folder("ciphers/3DES/") => ciphers::triple_des(file, report),
        () if folder("hashes/") => hashes::hash(file, report),
        () if folder("HMAC/") => hashes::hmac(file, report),
        () if folder("CMAC/") => hashes::cmac(file, report),
        () if name == "KDFCTR_gen.txt" => hashes::kdf_counter(file, report),
        () if folder("keywrap/") => ciphers::keywrap(file, report),
        () if folder("asymmetric/RSA/") => rsa::run(file, report),
        () if folder("asymmetric/ECDSA/") => asymmetric::ecdsa(file, report),
        () if folder("asymmetric/ECDH/") => asymmetric::ecdh(file, report),
        () if folder("asymmetric/Ed25519/") => asymmetric::ed25519(file, report),
        () if folder("asymmetric/X25519/") => asymmetric::x25519(file, report),
        () => panic!("nobody runs {name}"),
    }
}
