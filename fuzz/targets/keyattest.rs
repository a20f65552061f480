//! Certificates and the attestation extension.
#![no_main]

use keyattest::KeyDescription;
use keyattest::x509::Certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok((description, oddities)) = KeyDescription::decode(data) {
        if let (true, Ok(encoded)) = (oddities.is_empty(), description.encode()) {
            assert_eq!(encoded, data);
        }
    }
    if let Ok(certificate) = Certificate::parse(data) {
        let _ = certificate.has_attestation();
        let _ = certificate.is_self_signed();
    }
});
