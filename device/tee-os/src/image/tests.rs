//! Images that are signed, and what may stand in them.

use super::*;
use avb::{Algorithm, Descriptor, PropertyDescriptor, RsaPublicKeyBlob, VbmetaBuilder};
use crypto::sign::{Hash, RsaKey};
use proptest::prelude::*;
use std::sync::LazyLock;
use std::time::Duration;
use tee_api::TaId;

static KEY: LazyLock<RsaKey> = LazyLock::new(|| RsaKey::generate(2048).unwrap());
const UUID: &str = "8e3f1a52-94c6-4f0e-8d51-6d2a1c5b7e90";
const ELF: &[u8] = b"\x7FELF and so on";

fn public() -> RsaPublicKeyBlob {
    RsaPublicKeyBlob::from_modulus(&KEY.modulus()).unwrap()
}

fn signed(name: &str, properties: &[(&str, &str)]) -> Vec<u8> {
    let property =
        |(key, value): &(&str, &str)| Descriptor::Property(PropertyDescriptor::text(key, value));
    let builder = VbmetaBuilder {
        algorithm: Algorithm::Sha256Rsa2048,
        rollback_index: 7,
        descriptors: properties.iter().map(property).collect(),
        ..VbmetaBuilder::default()
    };
    let sign = |data: &[u8]| KEY.sign_pkcs1(Hash::Sha256, data);
    avb::hash_footer(ELF, name, 128 * 1024, &[1; 32], &builder, &public(), sign)
        .unwrap()
        .assemble(ELF)
}

fn maker() -> Keys {
    Keys { maker: vec![[0; 32], public().digest()], admitted: Vec::new() }
}

fn refusal(name: &str, properties: &[(&str, &str)]) -> String {
    verify(&signed(name, properties), &maker()).unwrap_err().to_string()
}

const LEAST: [(&str, &str); 2] = [("holdfast.ta.uuid", UUID), ("holdfast.ta.memory", "65536")];

#[test]
fn s2_1_1_an_image_is_who_signed_it_and_what_it_declares() {
    let calls = format!("{UUID},{UUID}@{}", "0f".repeat(32));
    let more = [
        ("holdfast.ta.calls", calls.as_str()),
        ("holdfast.ta.sessions", "3"),
        ("holdfast.ta.cpu", "250"),
        ("holdfast.ta.objects", "9"),
        ("somebody.elses", "business"),
    ];
    let image = signed("ta-counter", &[&LEAST[..], &more].concat());
    let program = verify(&image, &maker()).unwrap();
    assert_eq!((program.name.as_str(), program.version), ("ta-counter", 7));
    let uuid: TaId = UUID.parse().unwrap();
    assert_eq!(program.identity, Identity::of_maker(uuid));
    let cpu = Duration::from_millis(250);
    let limits = Limits { memory_bytes: 65_536, sessions: 3, cpu, objects: 9 };
    assert_eq!(program.limits, limits);
    assert!(exec::is_sealed(&program.file));

    let stranger = Signer::Key([9; 32]);
    let by = |signer| Identity { uuid, signer };
    let [own, named] = program.calls[..] else { panic!("two callees") };
    assert!(own.is(by(Signer::Maker), by(stranger)) && own.is(by(stranger), by(stranger)));
    assert!(!own.is(by(Signer::Key([8; 32])), by(stranger)));
    assert!(named.is(by(Signer::Key([0x0F; 32])), by(Signer::Maker)));
    assert!(!named.is(by(Signer::Maker), by(Signer::Maker)));

    let admitted = Keys { maker: vec![[0; 32]], admitted: vec![public().digest()] };
    let program = verify(&image, &admitted).unwrap();
    assert_eq!(program.identity.signer, Signer::Key(public().digest()));
}

#[test]
fn s2_1_1_refuses_what_nobody_signed_and_what_is_signed_wrong() {
    let image = signed("ta-counter", &LEAST);
    let nobody = Keys { maker: vec![[0; 32]], admitted: vec![[1; 32]] };
    assert_eq!(verify(&image, &nobody).unwrap_err().code, "ERROR_PUBLIC_KEY_REJECTED");
    assert_eq!(verify(&image, &Keys::default()).unwrap_err().code, "ERROR_PUBLIC_KEY_REJECTED");
    for at in [0, ELF.len(), 5000, image.len() - 70, image.len() - 1] {
        let mut altered = image.clone();
        altered[at] ^= 1;
        assert!(verify(&altered, &maker()).is_err(), "byte {at}");
    }
    for length in [0, 63, 64, 4096, image.len() - 1] {
        assert!(verify(&image[..length], &maker()).is_err(), "{length} bytes");
    }
    for name in ["counter", "ta-", "ta-Counter", "ta-../x", "ta-a\nb"] {
        assert!(verify(&signed(name, &LEAST), &maker()).is_err(), "{name:?}");
    }
}

#[test]
fn refuses_properties_that_are_missing_unknown_double_or_out_of_range() {
    let with = |key, value| [&LEAST[..], &[(key, value)]].concat();
    for (properties, part) in [
        (LEAST[1..].to_vec(), "uuid is missing"),
        (LEAST[..1].to_vec(), "memory is missing"),
        (with("holdfast.ta.future", "1"), "means nothing"),
        (with("holdfast.ta.uuid", UUID), "twice"),
        (with("holdfast.ta.sessions", "0"), "1 to 256"),
        (with("holdfast.ta.sessions", "257"), "1 to 256"),
        (with("holdfast.ta.cpu", "-1"), "1 to 60000"),
        (with("holdfast.ta.calls", "x"), "not a UUID"),
        (with("holdfast.ta.calls", &format!("{UUID}@0f")), "64 hexadecimal digits"),
        (with("holdfast.ta.calls", &vec![UUID; 17].join(",")), "more than 16"),
        (vec![LEAST[0], ("holdfast.ta.memory", "67108865")], "4096 to 67108864"),
        (vec![("holdfast.ta.uuid", "me"), LEAST[1]], "not a UUID"),
    ] {
        let refused = refusal("ta-counter", &properties);
        assert!(refused.contains(part), "{refused}");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_an_image_by_chance(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(verify(&bytes, &maker()).is_err());
    }
}
