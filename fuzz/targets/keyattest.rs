//! Certificates, the attestation extension, revocation lists, requests for certificates, PEM.
#![no_main]

use keyattest::x509::{Certificate, oid};
use keyattest::{CertificateRequest, KeyDescription, ProvisioningInfo, RevocationList, pem};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok((description, oddities)) = KeyDescription::decode(data) {
        assert_eq!(description.to_json().len(), 8);
        if let (true, Ok(encoded)) = (oddities.is_empty(), description.encode()) {
            assert_eq!(encoded, data);
        }
    }
    if let Ok(certificate) = Certificate::parse(data) {
        let _ = certificate.has_attestation();
        let _ = certificate.is_self_signed();
        if let Some(value) = certificate.extension(oid::KEY_DESCRIPTION) {
            let _ = KeyDescription::decode(value);
        }
    }
    let _ = CertificateRequest::open(data);
    let _ = ProvisioningInfo::decode(data);
    if let Ok(list) = RevocationList::from_json(data) {
        assert!(list.len() <= data.len());
    }
    if let Ok(certificates) = pem::decode(data) {
        assert_eq!(pem::decode(pem::encode(&certificates).as_bytes()), Ok(certificates));
    }
});
