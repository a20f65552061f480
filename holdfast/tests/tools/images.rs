//! A set of images as a maker signs them: a kernel under a hash, a system under dm-verity.

use avb::{
    Algorithm, Descriptor, HashDescriptor, HashName, HashtreeDescriptor, RsaPublicKeyBlob,
    VbmetaBuilder,
};
use crypto::sign::{Hash, RsaKey};
use std::path::Path;
use std::sync::LazyLock;
use verity::{HashAlgorithm, Params};

/// A key of 2048 bits: made once, because that takes a moment.
pub(crate) static KEY: LazyLock<RsaKey> = LazyLock::new(|| RsaKey::generate(2048).expect("a key"));

/// The public half of [`KEY`].
pub(crate) fn public_key() -> RsaPublicKeyBlob {
    RsaPublicKeyBlob::from_modulus(&KEY.modulus()).expect("2048 bits")
}

/// What the kernel's partition holds.
pub(crate) const BOOT: &[u8] = b"an image of a kernel";

/// The vbmeta of the set, to be changed and signed.
pub(crate) struct Set {
    pub(crate) vbmeta: VbmetaBuilder,
    pub(crate) boot: Vec<u8>,
    pub(crate) system: Vec<u8>,
}

impl Set {
    /// A good set.
    pub(crate) fn new() -> Self {
        let data: Vec<u8> = (0..40 * 4096_u32).map(|at| (at / 7).to_le_bytes()[0]).collect();
        let params = Params::new(HashAlgorithm::Sha256, b"salt").expect("parameters");
        let (tree, root) = verity::build(&params, &data).expect("a tree");
        let hashtree = HashtreeDescriptor {
            dm_verity_version: 1,
            image_size: data.len() as u64,
            tree_offset: data.len() as u64,
            tree_size: tree.len() as u64,
            data_block_size: 4096,
            hash_block_size: 4096,
            fec_num_roots: 0,
            fec_offset: 0,
            fec_size: 0,
            hash_algorithm: HashName::Sha256,
            flags: 0,
            partition_name: "system".into(),
            salt: b"salt".to_vec(),
            root_digest: root.as_bytes().to_vec(),
        };
        let hash = HashDescriptor::of("boot", BOOT, avb::Hash::Sha256, b"salt");
        let vbmeta = VbmetaBuilder {
            algorithm: Algorithm::Sha256Rsa2048,
            rollback_index: 3,
            descriptors: vec![Descriptor::Hash(hash), Descriptor::Hashtree(hashtree)],
            ..VbmetaBuilder::default()
        };
        let mut boot = BOOT.to_vec();
        boot.resize(4096, 0);
        Self { vbmeta, boot, system: [data, tree].concat() }
    }

    /// Signs the set and writes its files with this suffix, and the public key.
    pub(crate) fn write(&self, folder: &Path, suffix: &str) {
        let key = public_key();
        let sign = |data: &[u8]| KEY.sign_pkcs1(Hash::Sha256, data);
        let mut vbmeta = self.vbmeta.sign(&key, sign).expect("it signs");
        vbmeta.resize(65536, 0);
        std::fs::create_dir_all(folder).expect("a folder");
        for (name, bytes) in [("vbmeta", &vbmeta), ("boot", &self.boot), ("system", &self.system)] {
            std::fs::write(folder.join(format!("{name}{suffix}.img")), bytes).expect("written");
        }
        std::fs::write(folder.join("key.avbpubkey"), key.as_bytes()).expect("written");
    }
}
