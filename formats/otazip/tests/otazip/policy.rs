//! Which updates a device takes.

use crate::support::metadata;
use otazip::metadata::{Kind, Metadata};
use otazip::policy::{Device, Refused};

fn device() -> Device {
    Device {
        device: "kelp".to_owned(),
        serial: "HF1".to_owned(),
        fingerprint: "holdfast/kelp/kelp:16/HF1/1:user/release-keys".to_owned(),
        incremental: "1".to_owned(),
        timestamp: 1_780_000_000,
        security_patch_level: "2026-10-01".to_owned(),
    }
}

fn judge(edit: impl Fn(&mut Metadata)) -> Result<(), Refused> {
    let mut update = metadata();
    edit(&mut update);
    device().judge(&update)
}

#[test]
fn s2_6_a_newer_build_for_this_device_is_taken() {
    assert_eq!(judge(|_| ()), Ok(()));
    assert_eq!(judge(|it| it.serials = vec!["HF0".to_owned(), "HF1".to_owned()]), Ok(()));
    assert_eq!(judge(|it| it.precondition.build = vec![device().fingerprint]), Ok(()));
    assert_eq!(judge(|it| it.postcondition.timestamp = device().timestamp), Ok(()));
}

#[test]
fn s2_6_another_device_build_or_serial_is_refused() {
    assert_eq!(judge(|it| it.kind = Kind::Block), Err(Refused::Kind("BLOCK")));
    assert_eq!(judge(|it| it.precondition.device.clear()), Err(Refused::NoDevice));
    let other = judge(|it| it.precondition.device = vec!["crab".to_owned()]);
    assert!(matches!(other, Err(Refused::Device(..))));
    assert_eq!(judge(|it| it.serials = vec!["HF0".to_owned()]), Err(Refused::Serial));
    let other = judge(|it| it.precondition.build = vec!["x".to_owned()]);
    assert!(matches!(other, Err(Refused::Build(..))));
    let other = judge(|it| it.precondition.build_incremental = "0".to_owned());
    assert!(matches!(other, Err(Refused::Build(..))));
}

#[test]
fn s2_6_downgrades_are_refused() {
    let older = |it: &mut Metadata| it.postcondition.timestamp = device().timestamp - 1;
    assert!(matches!(judge(older), Err(Refused::Timestamp { .. })));
    let from_any = judge(|it| {
        older(it);
        it.downgrade = true;
    });
    assert_eq!(from_any, Err(Refused::DowngradeFromAny));
    let from_this = judge(|it| {
        older(it);
        it.downgrade = true;
        it.precondition.build = vec![device().fingerprint];
    });
    assert_eq!(from_this, Ok(()));
    for level in ["2026-09-05", "", "2026-1-01", "tomorrow!!"] {
        let answer = judge(|it| {
            it.postcondition.security_patch_level = level.to_owned();
            // Even an update that says it may: the device decides.
            it.spl_downgrade = true;
        });
        assert!(matches!(answer, Err(Refused::SecurityPatch { .. })), "{level:?}: {answer:?}");
    }
}
