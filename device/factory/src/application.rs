//! Images of trusted applications, as the trusted OS takes them (docs/trusted-applications.md).

use crate::flash::FlashError;
use crate::maker::AvbKey;
use avb::{Descriptor, PropertyDescriptor, VBMETA_MAX_BYTES, VbmetaBuilder, hash_footer};
use tee_api::gatekeeper::Gatekeeper;
use tee_api::keymint::KeyMint;
use tee_api::{Protocol, TaId};

/// What goes behind an image: its vbmeta image, and the footer's block.
const FOOTER_BYTES: u64 = VBMETA_MAX_BYTES as u64 + BLOCK_BYTES;
const BLOCK_BYTES: u64 = 4096;
const MIB: u64 = 1 << 20;

/// What is signed with a trusted application's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its name: `ta-` and 1 to 29 of a-z, 0-9 and `-`.
    pub name: &'static str,
    /// Who it is, together with the key.
    pub uuid: TaId,
    /// Bytes of memory that it may ask for.
    pub memory_bytes: u64,
    /// Further properties, as `("calls", UUIDs)`; each goes behind `holdfast.ta.`.
    pub more: Vec<(&'static str, String)>,
    /// Its rollback index.
    pub version: u64,
}

impl Application {
    /// The one that speaks `P`.
    #[must_use]
    pub const fn of<P: Protocol>(memory_bytes: u64, version: u64) -> Self {
        Self { name: P::NAME, uuid: P::TA, memory_bytes, more: Vec::new(), version }
    }

    /// Those that come with every system.
    pub(crate) fn of_the_system(version: u64) -> [Self; 2] {
        [Self::keymint(version), Self::gatekeeper(version)]
    }

    /// KeyMint.
    #[must_use]
    pub const fn keymint(version: u64) -> Self {
        Self::of::<KeyMint>(16 * MIB, version)
    }

    /// Gatekeeper. It hardens a PIN with Argon2id over 19 MiB, and has KeyMint delete all keys when
    /// the device is erased.
    #[must_use]
    pub fn gatekeeper(version: u64) -> Self {
        let more = vec![("calls", KeyMint::TA.to_string())];
        Self { more, ..Self::of::<Gatekeeper>(32 * MIB, version) }
    }

    /// The signed image of `program`. The same input gives the same bytes.
    pub fn sign(
        &self,
        program: &[u8],
        key: &AvbKey,
        salt: &[u8; 32],
    ) -> Result<Vec<u8>, FlashError> {
        let builder = VbmetaBuilder {
            algorithm: key.algorithm(),
            rollback_index: self.version,
            descriptors: self.properties(),
            ..VbmetaBuilder::default()
        };
        let size = (program.len() as u64).next_multiple_of(BLOCK_BYTES) + FOOTER_BYTES;
        let sign = |data: &[u8]| key.sign(data);
        hash_footer(program, self.name, size, salt, &builder, key.public(), sign)
            .map(|footer| footer.assemble(program))
            .map_err(|error| FlashError::Image(self.name, error.to_string()))
    }

    fn properties(&self) -> Vec<Descriptor> {
        let uuid = self.uuid.to_string();
        let memory = self.memory_bytes.to_string();
        let first = [("uuid", uuid), ("memory", memory)];
        let all = first.iter().chain(&self.more);
        let property = |(name, value): &(&str, String)| {
            let key = format!("holdfast.ta.{name}");
            Descriptor::Property(PropertyDescriptor::text(&key, value))
        };
        all.map(property).collect()
    }
}
