//! Documents: issued, shown, and everything that a reader must refuse.

use crypto::sign::{Curve, EcdsaKey};
use keyattest::x509::{
    Certificate, CertificateParams, KeyUsage, Name, SerialNumber, SignatureAlgorithm, Spki,
    Validity as Dates, build_certificate,
};
use mdoc::{
    DRIVING_LICENCE, DRIVING_LICENCE_ELEMENTS, DecodeError, Issuance, IssuerSigned, Presentation,
    Refusal, Session, Validity, Value,
};
use proptest::prelude::*;
use std::slice::from_ref;

const NOW: u64 = 1_790_000_000;

/// An issuer with its authority, and a person's device.
struct World {
    authority: Certificate,
    signer: Certificate,
    signer_key: EcdsaKey,
    device_key: EcdsaKey,
}

fn certificate(
    key: &EcdsaKey,
    issuer: Option<(&Certificate, &EcdsaKey)>,
    from: u64,
) -> Certificate {
    let spki = Spki::from_der(&key.public_key_spki().unwrap()).unwrap();
    let serial = SerialNumber::from_bytes(&crypto::random_array::<16>()).unwrap();
    let (name, dates) = (Name::authority("issuer", "state").unwrap(), Dates::days(from, 30));
    let params = match issuer {
        None => CertificateParams::root(name, serial, dates, spki),
        Some((issuer, _)) => CertificateParams {
            extensions: vec![KeyUsage::DIGITAL_SIGNATURE.extension()],
            ..CertificateParams::device(issuer, name, serial, dates, spki)
        },
    };
    let signer = issuer.map_or(key, |(_, key)| key);
    let der = build_certificate(&params, SignatureAlgorithm::EcdsaSha256, |it| signer.sign(it));
    Certificate::parse(&der.unwrap()).unwrap()
}

impl World {
    fn new() -> Self {
        let key = || EcdsaKey::generate(Curve::P256).unwrap();
        let (root, signer_key, device_key) = (key(), key(), key());
        let authority = certificate(&root, None, NOW - 1000);
        let signer = certificate(&signer_key, Some((&authority, &root)), NOW - 1000);
        Self { authority, signer, signer_key, device_key }
    }

    fn issue(&self) -> IssuerSigned {
        let spki = Spki::from_der(&self.device_key.public_key_spki().unwrap()).unwrap();
        let element = |name: &str, value: Value| (name.to_owned(), value);
        let issuance = Issuance {
            doc_type: DRIVING_LICENCE,
            namespace: DRIVING_LICENCE_ELEMENTS,
            elements: vec![
                element("family_name", Value::from("Mustermann")),
                element("given_name", Value::from("Erika")),
                element("age_over_18", Value::from(true)),
            ],
            device_key: spki.as_p_256().unwrap(),
            validity: Validity { signed: NOW - 10, from: NOW - 10, until: NOW + 1000 },
        };
        let chain = vec![self.signer.as_der().to_vec()];
        issuance.sign(chain, crypto::random_array, |it| self.signer_key.sign_fixed(it)).unwrap()
    }

    fn show(&self, document: IssuerSigned, session: &Session) -> Presentation {
        let signature = self.device_key.sign_fixed(&session.to_be_signed(DRIVING_LICENCE)).unwrap();
        Presentation::new(DRIVING_LICENCE, document, signature)
    }
}

fn session(nonce: &str) -> Session {
    Session {
        audience: "x509_san_dns:bar.example".into(),
        nonce: nonce.into(),
        response_uri: "https://bar.example/answer".into(),
    }
}

fn over_18(document: &IssuerSigned) -> IssuerSigned {
    document.disclose(|_, name| name == "age_over_18")
}

#[test]
fn s3_3_2_a_reader_sees_the_chosen_items_and_no_other() {
    let world = World::new();
    let shown = world.show(over_18(&world.issue()), &session("n"));
    let bytes = shown.encode();
    assert!(!bytes.windows(10).any(|it| it == b"Mustermann"));
    let read = Presentation::decode(&bytes).unwrap();
    let verified = read.verify(&session("n"), from_ref(&world.authority), NOW).unwrap();
    let due = (DRIVING_LICENCE_ELEMENTS.into(), "age_over_18".into(), Value::from(true));
    assert_eq!(verified.items, [due]);
    assert_eq!(verified.doc_type, DRIVING_LICENCE);
}

#[test]
fn s3_3_2_a_replay_in_another_session_or_from_another_device_is_refused() {
    let world = World::new();
    let document = world.issue();
    let anchors = [world.authority.clone()];
    let shown = world.show(over_18(&document), &session("one"));
    assert_eq!(shown.verify(&session("two"), &anchors, NOW), Err(Refusal::DeviceSignature));
    let elsewhere = Session { audience: "other".into(), ..session("one") };
    assert_eq!(shown.verify(&elsewhere, &anchors, NOW), Err(Refusal::DeviceSignature));
    let thief = World { device_key: EcdsaKey::generate(Curve::P256).unwrap(), ..World::new() };
    let stolen = thief.show(document, &session("one"));
    assert_eq!(stolen.verify(&session("one"), &anchors, NOW), Err(Refusal::DeviceSignature));
}

#[test]
fn documents_of_issuers_that_nobody_knows_and_old_ones_are_refused() {
    let world = World::new();
    let shown = world.show(world.issue(), &session("n"));
    let other = World::new();
    let judge = |anchors: &[Certificate], now| shown.verify(&session("n"), anchors, now).err();
    assert_eq!(judge(&[other.authority], NOW), Some(Refusal::UntrustedIssuer));
    assert_eq!(judge(&[], NOW), Some(Refusal::UntrustedIssuer));
    let own = [world.authority.clone()];
    assert_eq!(judge(&own, NOW + 2000), Some(Refusal::DocumentTime));
    assert_eq!(judge(&own, NOW - 500), Some(Refusal::DocumentTime));
    assert_eq!(judge(&own, NOW + 40 * 86_400), Some(Refusal::CertificateTime));
}

#[test]
fn a_signer_below_a_signer_is_refused() {
    // Who signs documents may not make other signers.
    let world = World::new();
    let key = EcdsaKey::generate(Curve::P256).unwrap();
    let below = certificate(&key, Some((&world.signer, &world.signer_key)), NOW - 10);
    let chain = [below.as_der().to_vec(), world.signer.as_der().to_vec()];
    let issuance = Issuance {
        doc_type: DRIVING_LICENCE,
        namespace: DRIVING_LICENCE_ELEMENTS,
        elements: Vec::new(),
        device_key: [4; 65],
        validity: Validity { signed: NOW, from: NOW, until: NOW },
    };
    let document =
        issuance.sign(chain.to_vec(), crypto::random_array, |it| key.sign_fixed(it)).unwrap();
    assert_eq!(document.verify(&[world.authority], NOW), Err(Refusal::UntrustedIssuer));
}

#[test]
fn any_byte_changed_is_refused() {
    let world = World::new();
    let bytes = world.show(world.issue(), &session("n")).encode();
    let good = Presentation::decode(&bytes).unwrap();
    let anchors = [world.authority.clone()];
    let due = good.verify(&session("n"), &anchors, NOW).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x01;
        if let Ok(read) = Presentation::decode(&changed)
            && let Ok(said) = read.verify(&session("n"), &anchors, NOW)
        {
            assert_eq!(said, due, "byte {at} changed what is believed");
        }
    }
}

#[test]
fn a_value_is_not_believed_in_the_place_of_another() {
    let world = World::new();
    let document = world.issue();
    let bytes = document.encode();
    // The same item twice, and an item whose value was exchanged.
    let twice = exchanged(&bytes, b"Erika", b"Erich");
    let read = IssuerSigned::decode(&twice).unwrap();
    let said = read.verify(from_ref(&world.authority), NOW);
    assert_eq!(said, Err(Refusal::Altered("given_name".into())));
}

fn exchanged(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|it| it == old).unwrap();
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

#[test]
fn bytes_behind_a_document_and_bombs_are_refused() {
    let world = World::new();
    let mut bytes = world.issue().encode();
    bytes.push(0);
    assert_eq!(IssuerSigned::decode(&bytes), Err(DecodeError::Cbor("IssuerSigned")));
    let large = vec![0; mdoc::MAX_BYTES + 1];
    assert_eq!(IssuerSigned::decode(&large), Err(DecodeError::TooLarge(large.len())));
    // Deep nesting, and lengths that promise more than is there.
    assert!(Presentation::decode(&[0x81; 60_000]).is_err());
    assert!(Presentation::decode(&[0xBB, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).is_err());
    assert!(Presentation::decode(&[0x5B, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).is_err());
}

#[test]
fn documents_of_another_library_are_read() {
    let given = std::env::var_os("HOLDFAST_TEST_DATA").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        std::path::PathBuf::from,
    );
    let folder = given.join("keystore-tee/mdl/test/definitions");
    let Ok(hex) = std::fs::read_to_string(folder.join("issuer_signed.cbor")) else {
        return eprintln!("the given documents are not at {}", folder.display());
    };
    let bytes: Vec<u8> = hex
        .trim()
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let document = IssuerSigned::decode(&bytes).unwrap();
    let object = document.security_object().unwrap();
    assert_eq!(object.doc_type, DRIVING_LICENCE);
    let items = &document.items()[DRIVING_LICENCE_ELEMENTS];
    assert!(items.iter().any(|item| item.identifier == "family_name"));
    assert_eq!(IssuerSigned::decode(&document.encode()).unwrap(), document);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Presentation::decode(&bytes);
        let _ = IssuerSigned::decode(&bytes);
    }

    #[test]
    fn cut_short_anywhere_it_is_refused(cut in 0_usize..400) {
        let world = World::new();
        let bytes = world.issue().encode();
        prop_assert!(IssuerSigned::decode(&bytes[..cut.min(bytes.len() - 1)]).is_err());
    }
}
