//! Images signed with ML-DSA (libavb 1.4), and what libavb 1.3 says to them.

use crate::device::{Device, KEY, public_key};
use avb::{
    Algorithm, BuildError, HashtreeErrorMode, LIBAVB_1_3, MlDsaPublicKeyBlob, PublicKey,
    PublicKeyBlob, SUPPORTED_VERSION, SlotVerifyFlags, SlotVerifyResult, VbmetaBuilder,
    VbmetaImage, VbmetaVerdict, slot_verify, verify_vbmeta, verify_vbmeta_as,
};
use crypto::ml_dsa::{MlDsaKey, Parameters};

const BOTH: [(Algorithm, Parameters); 2] =
    [(Algorithm::MlDsa65, Parameters::MlDsa65), (Algorithm::MlDsa87, Parameters::MlDsa87)];

fn signed(algorithm: Algorithm, key: &MlDsaKey) -> Vec<u8> {
    let builder = VbmetaBuilder { algorithm, rollback_index: 3, ..VbmetaBuilder::default() };
    let blob = MlDsaPublicKeyBlob::from_raw(key.public_key()).unwrap();
    builder.sign(&blob, |data| key.sign(data)).unwrap()
}

#[test]
fn s2_2_images_signed_with_ml_dsa_verify() {
    for (algorithm, parameters) in BOTH {
        let key = MlDsaKey::generate(parameters).unwrap();
        let image = signed(algorithm, &key);
        assert_eq!(verify_vbmeta(&image), VbmetaVerdict::Ok);
        let parsed = VbmetaImage::parse(&image).unwrap();
        assert_eq!(parsed.check_canonical(), Ok(()));
        assert_eq!(parsed.header().hash.size, 0);
        assert_eq!(parsed.header().required_version, SUPPORTED_VERSION);
        let blob = PublicKeyBlob::decode(parsed.public_key()).unwrap();
        assert_eq!(blob.as_bytes()[4..], *key.public_key());
        assert!(blob.fits(algorithm) && !blob.fits(Algorithm::Sha256Rsa4096));
        for at in [100, 256 + 5, 256 + 64 * 60, image.len() - 600] {
            let mut flipped = image.clone();
            flipped[at] ^= 1;
            assert_ne!(verify_vbmeta(&flipped), VbmetaVerdict::Ok, "{algorithm:?} {at}");
        }
    }
}

#[test]
fn a_hash_beside_an_ml_dsa_signature_is_malformed() {
    let key = MlDsaKey::generate(Parameters::MlDsa65).unwrap();
    let mut image = signed(Algorithm::MlDsa65, &key);
    image[47] = 32;
    assert_eq!(verify_vbmeta(&image), VbmetaVerdict::InvalidVbmetaHeader);
}

#[test]
fn libavb_1_3_does_not_know_ml_dsa() {
    let key = MlDsaKey::generate(Parameters::MlDsa65).unwrap();
    let image = signed(Algorithm::MlDsa65, &key);
    assert_eq!(verify_vbmeta_as(LIBAVB_1_3, &image), VbmetaVerdict::UnsupportedVersion);
    let mut older = image.clone();
    older[11] = 0;
    assert_eq!(verify_vbmeta_as(LIBAVB_1_3, &older), VbmetaVerdict::InvalidVbmetaHeader);

    let mut device = Device::default();
    device.partitions.insert("vbmeta".into(), image);
    let verify = |device: &Device| {
        let mode = HashtreeErrorMode::Restart;
        slot_verify(device, &[], "", SlotVerifyFlags::default(), mode)
    };
    let outcome = verify(&device);
    assert_eq!(outcome.result, SlotVerifyResult::Ok);
    let cmdline = outcome.data.unwrap().cmdline;
    assert!(cmdline.contains("avb_version=1.4") && cmdline.contains("hash_alg=sha256"));
    device.libavb = Some(LIBAVB_1_3);
    assert_eq!(verify(&device).result, SlotVerifyResult::ErrorUnsupportedVersion);
}

#[test]
fn a_key_of_another_kind_does_not_sign() {
    let builder = VbmetaBuilder { algorithm: Algorithm::MlDsa65, ..VbmetaBuilder::default() };
    let sign = |data: &[u8]| KEY.sign_pkcs1(crypto::sign::Hash::Sha256, data);
    let refused = builder.sign(&public_key(), sign);
    assert!(matches!(refused, Err(BuildError::KeySize { need: 15616, have: 2048, .. })));
}

#[test]
fn blobs_of_other_sizes_are_refused() {
    let blob = MlDsaPublicKeyBlob::from_raw(&[7; 1952]).unwrap();
    let bytes = blob.as_bytes();
    assert_eq!(MlDsaPublicKeyBlob::decode(bytes), Ok(blob.clone()));
    for size in 0..bytes.len() {
        assert!(MlDsaPublicKeyBlob::decode(&bytes[..size]).is_err());
        assert!(PublicKeyBlob::decode(&bytes[..size]).is_err());
    }
    assert!(MlDsaPublicKeyBlob::decode(&[bytes, &[0]].concat()).is_err());
    assert!(MlDsaPublicKeyBlob::from_raw(&[7; 1953]).is_err());
}
