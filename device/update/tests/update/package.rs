//! Which packages a device takes.

use crate::maker::{build, in_file, maker, signer};
use board::build::Build;
use device_update::{Package, Refusal};
use std::io::Write;
use std::os::unix::fs::FileExt;

fn open(bytes: &[u8]) -> Result<Package, Refusal> {
    Package::open(in_file(bytes), &[maker().ota.1.clone()])
}

#[test]
fn s2_6_a_package_of_the_maker_for_this_device_is_taken() {
    let package = open(&maker().full(2).make()).unwrap();
    assert_eq!(package.post_build(), build(2).fingerprint);
    for number in [1, 2] {
        package.check(&build(number)).unwrap();
    }
    let delta = open(&maker().delta(1, 2).make()).unwrap();
    delta.check(&build(1)).unwrap();
}

#[test]
fn s2_6_a_package_is_refused_where_either_signature_is_by_somebody_else() {
    for (number, what) in [(0, "signature"), (1, "signature")] {
        let mut order = maker().full(2);
        order.signers[number] = signer();
        let refusal = open(&order.make()).unwrap_err();
        assert_eq!(refusal.word(), what, "{refusal}");
        assert!(matches!(refusal, Refusal::Untrusted(_)), "{refusal}");
    }
    let nobody = Package::open(maker().full(2).file(), &[]).unwrap_err();
    assert_eq!(nobody.word(), "signature");
}

#[test]
fn s2_6_every_rule_of_the_metadata_is_a_refusal_with_its_word() {
    let other = |change: &dyn Fn(&mut Build)| {
        let mut it = build(1);
        change(&mut it);
        it
    };
    for (package, build, word) in [
        (maker().full(2), build(3), "older_build"),
        (maker().delta(1, 2), build(2), "other_source_build"),
        (maker().full(2), other(&|it| it.model = "hf2".into()), "other_device"),
        (
            maker().full(2),
            other(&|it| it.security_patch = "2026-03-05".into()),
            "older_security_patch",
        ),
    ] {
        let refusal = open(&package.make()).unwrap().check(&build).unwrap_err();
        assert_eq!(refusal.word(), word, "{refusal}");
    }
    let mut older_inside = maker().full(2);
    older_inside.max_timestamp = build(1).timestamp - 1;
    let refusal = open(&older_inside.make()).unwrap().check(&build(1)).unwrap_err();
    assert!(matches!(refusal, Refusal::MaxTimestamp { .. }), "{refusal}");
    let mut wipes = maker().full(2);
    wipes.metadata.wipe = true;
    let refusal = open(&wipes.make()).unwrap().check(&build(1)).unwrap_err();
    assert_eq!(refusal.word(), "wipes");
}

#[test]
fn a_package_that_is_cut_short_or_altered_anywhere_is_refused() {
    let good = maker().delta(1, 2).make();
    let file = in_file(&good);
    let trusted = [maker().ota.1.clone()];
    for length in (0..good.len()).step_by(good.len() / 61 + 1) {
        file.set_len(length as u64).unwrap();
        assert!(Package::open(file.try_clone().unwrap(), &trusted).is_err(), "{length}");
        file.write_all_at(&good, 0).unwrap();
    }
    for at in (0..good.len()).step_by(good.len() / 211 + 1) {
        file.write_all_at(&[good[at] ^ 0x10], at as u64).unwrap();
        let opened = Package::open(file.try_clone().unwrap(), &trusted);
        // What is behind the signed bytes is the message and a label for people.
        assert!(opened.is_err() || at > good.len() - 600, "{at}");
        file.write_all_at(&good[at..=at], at as u64).unwrap();
    }
    Package::open(file, &trusted).unwrap();
    let empty = tempfile::tempfile().unwrap();
    empty.try_clone().unwrap().write_all(b"").unwrap();
    assert!(Package::open(empty, &trusted).is_err());
}
