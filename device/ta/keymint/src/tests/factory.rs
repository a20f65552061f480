//! The device's own key: from the maker, once.

use super::*;

fn public_key(reply: Result<Reply, TeeError>) -> Vec<u8> {
    match reply {
        Ok(Reply::PublicKey(key)) => key.into_vec(),
        other => panic!("not a public key: {other:?}"),
    }
}

fn install(ta: &mut Harness<KeyMintTa>, chain: Vec<ByteBuf>) -> Result<(), TeeError> {
    ta.call(&Command::FactoryInstall { chain }).map(|reply| assert!(matches!(reply, Reply::Done)))
}

#[test]
fn the_device_key_is_made_once_and_only_in_the_factory() {
    let os = FakeOs::in_factory();
    let mut ta = os.start::<KeyMintTa>();
    let first = public_key(ta.call(&Command::FactoryGenerate));
    let mut again = os.start::<KeyMintTa>();
    assert_eq!(public_key(again.call(&Command::FactoryGenerate)), first);
    install(&mut ta, Maker::new().certify(&first, "HF-TEST-0001")).unwrap();
    assert!(!os.is_in_factory());
    let chain = Maker::new().certify(&first, "HF-TEST-0001");
    for late in [
        Command::FactoryGenerate,
        Command::FactoryIds(DeviceIds::default()),
        Command::FactoryInstall { chain },
    ] {
        assert!(matches!(ta.call(&late), Err(TeeError::Denied(_))), "{late:?}");
    }
}

#[test]
fn refuses_a_chain_for_another_key_another_board_or_with_a_flaw() {
    let (maker, os) = (Maker::new(), FakeOs::in_factory());
    let mut ta = os.start::<KeyMintTa>();
    let early = install(&mut ta, maker.certify(maker.root.public_key().as_der(), "HF-TEST-0001"));
    assert!(matches!(early, Err(TeeError::BadState(_))));
    let ours = public_key(ta.call(&Command::FactoryGenerate));
    let mut flawed = maker.certify(&ours, "HF-TEST-0001");
    let last = flawed[0].len() - 1;
    flawed[0][last] ^= 1;
    let mut cut = maker.certify(&ours, "HF-TEST-0001");
    cut.pop();
    let refused = [
        maker.certify(maker.root.public_key().as_der(), "HF-TEST-0001"),
        maker.certify(&ours, "HF-TEST-0002"),
        flawed,
        cut,
        Vec::new(),
    ];
    for chain in refused {
        assert!(matches!(install(&mut ta, chain), Err(TeeError::BadParameters(_))));
        assert!(os.is_in_factory());
    }
    let serial = Some(ByteBuf::from(*b"HF-TEST-0002"));
    let other = Command::FactoryIds(DeviceIds { serial, ..DeviceIds::default() });
    assert!(matches!(ta.call(&other), Err(TeeError::BadParameters(_))));
    install(&mut ta, maker.certify(&ours, "HF-TEST-0001")).unwrap();
}

#[test]
fn a_power_cut_during_installation_leaves_the_device_in_the_factory() {
    let (maker, os) = (Maker::new(), FakeOs::in_factory());
    let mut ta = os.start::<KeyMintTa>();
    let ours = public_key(ta.call(&Command::FactoryGenerate));
    os.lose_power_after(0);
    assert!(install(&mut ta, maker.certify(&ours, "HF-TEST-0001")).is_err());
    assert!(os.is_in_factory());
    os.power_cycle();
    let mut ta = os.start::<KeyMintTa>();
    install(&mut ta, maker.certify(&ours, "HF-TEST-0001")).unwrap();
    assert!(!os.is_in_factory());
}

#[test]
fn attests_nothing_before_it_is_provisioned_and_makes_no_key_before_it_is_booted() {
    let os = FakeOs::in_factory();
    let mut ta = os.start::<KeyMintTa>();
    let generate = Command::GenerateKey { params: attested_ec(), attest: None };
    let early = ta.call(&generate).unwrap();
    assert!(matches!(early, Reply::Refused(ErrorCode::AttestationKeysNotProvisioned)));
    assert!(matches!(ta.call(&Command::DeviceChain), Err(TeeError::BadState(_))));
    let mut device = Device::new();
    let Ok(Reply::Chain(chain)) = device.call(&Command::DeviceChain) else { panic!("a chain") };
    assert_eq!(chain.len(), 3);
    let blob = device.generate(&ec()).unwrap().blob;
    device.os.set_boot_info(None);
    assert_eq!(device.generate(&ec()).map(drop), Err(ErrorCode::KeymintNotConfigured));
    assert_eq!(device.sign(&blob), Err(ErrorCode::KeymintNotConfigured));
}

#[test]
fn secure_storage_holds_the_devices_own_and_no_generated_key() {
    let mut device = Device::new();
    device.generate(&attested_ec()).unwrap();
    let names: Vec<_> = device.os.objects().into_iter().map(|(_, name, _)| name).collect();
    assert_eq!(names, ["device-chain", "device-ids", "device-key", "factory-reset"]);
}

#[test]
fn tells_what_it_is() {
    let mut device = Device::new();
    let Ok(Reply::HardwareInfo(info)) = device.call(&Command::HardwareInfo) else { panic!() };
    assert_eq!((info.version, info.security_level), (300, SecurityLevel::TrustedEnvironment));
    assert!(!info.timestamp_token_required);
}
