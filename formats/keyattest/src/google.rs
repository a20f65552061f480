//! The roots of Google's attestation: public keys, as the documentation of "Key and ID attestation"
//! publishes them. The certificates around them are re-issued and expire; the keys stay.

use crate::x509::Spki;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// RSA-4096, subject `serialNumber=f92009e853b6b045`: factories, and remote provisioning up to 2026.
const FACTORIES: &str = "\
MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAr7bHgiuxpwHsK7Qui8xU\
FmOr75gvMsd/dTEDDJdSSxtf6An7xyqpRR90PL2abxM1dEqlXnf2tqw1Ne4Xwl5j\
lRfdnJLmN0pTy/4lj4/7tv0Sk3iiKkypnEUtR6WfMgH0QZfKHM1+di+y9TFRtv6y\
//0rb+T+W8a9nsNL/ggjnar86461qO0rOs2cXjp3kOG1FEJ5MVmFmBGtnrKpa73X\
pXyTqRxB/M0n1n/W9nGqC4FSYa04T6N5RIZGBN2z2MT5IKGbFlbC8UrW0DxW7AYI\
mQQcHtGl/m00QLVWutHQoVJYnFPlXTcHYvASLu+RhhsbDmxMgJJ0mcDpvsC4PjvB\
+TxywElgS70vE0XmLD+OJtvsBslHZvPBKCOdT0MS+tgSOIfga+z1Z1g7+DVagf7q\
uvmag8jfPioyKvxnK/EgsTUVi2ghzq8wm27ud/mIM7AY2qEORR8Go3TVB4HzWQgp\
Zrt3i5MIlCaY504LzSRiigHCzAPlHws+W0rB5N+er5/2pJKnfBSDiCiFAVtCLOZ7\
gLiMm0jhO2B6tUXHI/+MRPjy02i59lINMRRev56GKtcd9qO/0kUJWdZTdA2XoS82\
ixPvZtXQpUpuL12ab+9EaDK8Z4RHJYYfCT3Q5vNAXaiWQ+8PTWm2QgBR/bkwSWc+\
    NpUFgNPN9PvQi8WEg5UmAGMCAwEAAQ==";

/// P-384, subject `CN=Key Attestation CA1`: remote provisioning from 2025 on.
const REMOTE: &str = "\
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEI9ojcU7fPlsFCjxy6IRqzgeOoK0b+YsV\
9FPQywiyw8EQRTkJ9u3qwfnI4DGoSLlBqClTXJfgfCcZvs60FikNMHnu4fkRzObf\
    gDkU2KNXezT9/RQ+XvNslxPHrHCowhGr";

/// Both of Google's current roots.
#[must_use]
pub fn google_roots() -> [Spki; 2] {
    [FACTORIES, REMOTE].map(|base64| {
        let der = STANDARD.decode(base64).expect("the constants are base64");
        Spki::from_der(&der).expect("the constants are public keys")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_the_published_ones() {
        let digests = [
            "feb2ea7551ee316ed4bb443c8293b884dbfdea40b603ee3e4f4a897e4580fbae",
            "3ee44512a1af2beb39c889490c60ea3f82e43f5d5a5532f5ab9419f676cd07ec",
        ];
        for (key, digest) in google_roots().iter().zip(digests) {
            let hex: String =
                crypto::digest::sha256(key.as_der()).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, digest);
        }
    }
}
