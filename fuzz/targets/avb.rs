//! vbmeta, footers, descriptors, keys, certificates, whole partitions, slots. What parses encodes to
//! the same bytes; whatever a slot holds, it is judged.
#![no_main]

use avb::cert::{
    Certificate, PermanentAttributes, PublicKeyMetadata, UnlockChallenge, UnlockCredential,
};
use avb::policy::{BootPolicy, judge};
use avb::{Footer, HashtreeErrorMode, IoError, Ops, PublicKeyBlob, SlotVerifyFlags, VbmetaImage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(image) = VbmetaImage::parse(data) {
        let _ = image.descriptors();
        let _ = image.check_canonical();
    }
    let _ = avb::verify_vbmeta(data);
    if let Some(footer) = data.first_chunk::<64>() {
        if let Ok(decoded) = Footer::decode_strict(footer) {
            assert_eq!(decoded.encode(), *footer);
        }
    }
    if let Ok(key) = PublicKeyBlob::decode(data) {
        assert_eq!(key.as_bytes(), data);
    }
    certificates(data);
    slot(data);
});

fn certificates(data: &[u8]) {
    if let Ok(it) = PermanentAttributes::decode(data) {
        assert_eq!(it.encode(), data);
    }
    if let Ok(it) = Certificate::decode(data) {
        assert_eq!(it.encode(), data);
    }
    if let Ok(it) = PublicKeyMetadata::decode(data) {
        assert_eq!(it.encode(), data);
    }
    if let Ok(it) = UnlockChallenge::decode(data) {
        assert_eq!(it.encode(), data);
    }
    if let Ok(it) = UnlockCredential::decode(data) {
        assert_eq!(it.encode(), data);
    }
}

/// The bytes as the vbmeta partition and as every other one, on a device of any state.
fn slot(data: &[u8]) {
    for unlocked in [false, true] {
        let device = Device { data, unlocked };
        for flags in 0..8 {
            let flags = SlotVerifyFlags::from_number(flags);
            let mode = HashtreeErrorMode::ManagedRestartAndEio;
            avb::slot_verify(&device, &["boot", "dtbo"], "", flags, mode);
        }
        let policy = BootPolicy {
            partitions: &["boot"],
            hashtrees: &["system"],
            suffix: "",
            maker_key_digest: [0; 32],
            hashtree_error_mode: HashtreeErrorMode::Restart,
            restart_caused_by_hashtree_corruption: false,
        };
        let _ = judge(&device, &policy);
    }
}

struct Device<'d> {
    data: &'d [u8],
    unlocked: bool,
}

impl Ops for Device<'_> {
    fn read_from_partition(
        &self,
        _: &str,
        offset: i64,
        buffer: &mut [u8],
    ) -> Result<usize, IoError> {
        let size = self.data.len() as i64;
        let start = if offset < 0 { size.saturating_add(offset) } else { offset };
        let start = usize::try_from(start).map_err(|_| IoError::RangeOutsidePartition)?;
        let rest = self.data.get(start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn partition_size(&self, _: &str) -> Result<u64, IoError> {
        Ok(self.data.len() as u64)
    }

    fn validate_vbmeta_public_key(&self, _: &[u8], _: Option<&[u8]>) -> Result<bool, IoError> {
        Ok(true)
    }

    fn read_rollback_index(&self, _: u32) -> Result<u64, IoError> {
        Ok(0)
    }

    fn is_device_unlocked(&self) -> Result<bool, IoError> {
        Ok(self.unlocked)
    }

    fn unique_guid(&self, partition: &str) -> Result<String, IoError> {
        Ok(partition.to_owned())
    }

    fn read_persistent_value(&self, _: &str) -> Result<Vec<u8>, IoError> {
        Err(IoError::NoSuchValue)
    }

    fn write_persistent_value(&self, _: &str, _: &[u8]) -> Result<(), IoError> {
        Ok(())
    }
}
