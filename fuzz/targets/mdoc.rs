//! Documents: what is read is written the same way, and an empty list of anchors believes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mdoc::{IssuerSigned, Presentation, Session};

fuzz_target!(|data: &[u8]| {
    if let Ok(document) = IssuerSigned::decode(data) {
        let again = IssuerSigned::decode(&document.encode()).expect("what was written can be read");
        assert_eq!(again.encode(), document.encode());
        assert!(document.verify(&[], 0).is_err());
        let _ = document.security_object();
    }
    if let Ok(shown) = Presentation::decode(data) {
        let session = Session { audience: "a".into(), nonce: "n".into(), response_uri: "r".into() };
        assert!(shown.verify(&session, &[], 0).is_err());
    }
});
