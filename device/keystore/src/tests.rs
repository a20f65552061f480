//! The service, over a KeyMint in the test's process.

mod access;
mod crash;
mod remote;
mod soft_keymint;
mod usage;

use crate::{Caller, Error, Keystore, Parts};
use crypto::secret::Secret;
use crypto::sign::{Curve, Hash, ecdsa_verify};
use effects::{ManualClock, SystemEntropy, UnixMillis};
use keymint::{Algorithm, Authorizations, Digest, EcCurve, KeyPurpose};
use keystore_client::api::{KeyInfo, KeyRef, NewKey, Use};
use soft_keymint::SoftKeyMint;
use std::path::Path;
use std::sync::Arc;

/// 2026-11-22.
const NOW: u64 = 1_795_305_600_000;

struct Bench {
    folder: tempfile::TempDir,
    tee: Arc<SoftKeyMint>,
    clock: Arc<ManualClock>,
    keystore: Keystore,
}

fn open(
    folder: &Path,
    tee: &Arc<SoftKeyMint>,
    clock: &Arc<ManualClock>,
) -> Result<Keystore, Error> {
    let (tee, clock) = (tee.clone(), clock.clone());
    let parts = Parts { tee, clock, entropy: Arc::new(SystemEntropy) };
    Keystore::open(&folder.join("keystore.db"), &Secret::new([3; 32]), parts)
}

impl Bench {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(folder: tempfile::TempDir) -> Self {
        let tee = Arc::new(SoftKeyMint::new());
        let clock = Arc::new(ManualClock::new(UnixMillis(NOW)));
        let keystore = open(folder.path(), &tee, &clock).unwrap();
        Self { folder, tee, clock, keystore }
    }

    /// The system's process starts anew; the TEE goes on.
    fn restart(self) -> Self {
        let Self { folder, tee, clock, keystore } = self;
        drop(keystore);
        let keystore = open(folder.path(), &tee, &clock).unwrap();
        Self { folder, tee, clock, keystore }
    }

    fn generate(&self, caller: &Caller, alias: &str) -> KeyInfo {
        self.keystore.generate(caller, NewKey::new(alias, signing())).unwrap()
    }

    fn generate_with(
        &self,
        caller: &Caller,
        alias: &str,
        change: impl FnOnce(&mut Authorizations),
    ) -> Result<KeyInfo, Error> {
        let mut rules = signing();
        change(&mut rules);
        self.keystore.generate(caller, NewKey::new(alias, rules))
    }

    fn sign(&self, caller: &Caller, key: &KeyRef) -> Result<Vec<u8>, Error> {
        sign(&self.keystore, caller, key)
    }

    fn audit_lines(&self) -> Vec<String> {
        let page = self.keystore.audit(&system(), 0, 1000).unwrap();
        assert!(page.intact && page.next.is_none());
        page.lines.into_iter().map(|line| line.line).collect()
    }
}

fn sign(keystore: &Keystore, caller: &Caller, key: &KeyRef) -> Result<Vec<u8>, Error> {
    let wanted = Use { input: b"message".into(), ..Use::of(key.clone(), KeyPurpose::Sign) };
    keystore.use_key(caller, wanted).map(|output| output.output.into_vec())
}

fn verifies(info: &KeyInfo, signature: &[u8]) -> bool {
    ecdsa_verify(Curve::P256, Hash::Sha256, &info.certificates[0], b"message", signature).is_ok()
}

fn signing() -> Authorizations {
    Authorizations {
        purpose: [KeyPurpose::Sign].into(),
        algorithm: Some(Algorithm::Ec),
        ec_curve: Some(EcCurve::P256),
        digest: [Digest::Sha2_256].into(),
        no_auth_required: true,
        ..Authorizations::default()
    }
}

fn user(uid: u32) -> Caller {
    Caller::new(uid, None, false)
}

fn system() -> Caller {
    Caller::new(0, None, true)
}

fn alias(name: &str) -> KeyRef {
    KeyRef::alias(name)
}
