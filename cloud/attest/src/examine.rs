//! What every verdict begins with: the chain itself, whose root it ends in, which device it is.

use crate::{AlarmKind, Attest, Device, Error, Refusal, RootOwner};
use keyattest::x509::Spki;
use keyattest::{Roots, Statement, VerifiedBootState, google_roots};
use std::sync::{Arc, PoisonError};

/// Roots as they were parsed last, and what of.
#[derive(Clone)]
pub(crate) struct HeldRoots {
    certificates: Vec<Vec<u8>>,
    roots: Arc<Roots>,
}

/// A sound chain, and what we know of the device.
pub(crate) struct Examined {
    pub(crate) statement: Statement,
    pub(crate) owner: RootOwner,
    /// Where it is enrolled.
    pub(crate) device: Option<Device>,
}

impl Examined {
    /// The device, where it is enrolled and was not revoked.
    pub(crate) fn enrolled(&self) -> Result<&Device, Refusal> {
        let device = self.device.as_ref().ok_or(Refusal::DeviceUnknown)?;
        match &device.revoked {
            Some((at, reason)) => Err(Refusal::DeviceRevoked { at: *at, reason: reason.clone() }),
            None => Ok(device),
        }
    }
}

impl Attest {
    /// Verifies a chain under every root that we know, and finds the device.
    pub(crate) async fn examine(&self, chain: &[impl AsRef<[u8]>]) -> Result<Examined, Error> {
        let roots = self.all_roots().await?;
        let own = self.own_revocations(chain).await?;
        let google = self.google.fresh(self.clock.now());
        let foreign = google.as_deref();
        let revoked = |serial: &_| {
            own.look_up(serial).or_else(|| foreign.and_then(|list| list.look_up(serial)))
        };
        let now = self.clock.now().seconds();
        let statement = roots.verify_chain(chain, &revoked, now)?;
        let owner = self.owner_of(&statement.root).await?;
        if owner == RootOwner::Google && google.is_none() {
            return Err(Refusal::RevocationListStale.into());
        }
        let device = self.find(&statement, owner).await?;
        let examined = Examined { statement, owner, device };
        self.watch(&examined).await?;
        Ok(examined)
    }

    /// Every root that we know. Certificates are parsed and checked once, until there are others.
    async fn all_roots(&self) -> Result<Arc<Roots>, Error> {
        let mut certificates: Vec<Vec<u8>> =
            self.makers().await?.into_iter().map(|maker| maker.certificate).collect();
        certificates.push(self.provisioning_root().await?);
        let held = self.held_roots.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(held) = held.filter(|held| held.certificates == certificates) {
            return Ok(held.roots);
        }
        let mut roots = Roots::of_keys(google_roots());
        for certificate in &certificates {
            roots.add_certificate(certificate)?;
        }
        for key in &self.roots {
            roots.add_key(key.clone());
        }
        let roots = Arc::new(roots);
        let held = HeldRoots { certificates, roots: roots.clone() };
        *self.held_roots.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(roots)
    }

    async fn owner_of(&self, root: &Spki) -> Result<RootOwner, Error> {
        if self.makers().await?.iter().any(|maker| maker.root == *root) {
            return Ok(RootOwner::Makers);
        }
        if google_roots().contains(root) {
            return Ok(RootOwner::Google);
        }
        Ok(if self.roots.contains(root) { RootOwner::Configured } else { RootOwner::Cloud })
    }

    async fn find(&self, statement: &Statement, owner: RootOwner) -> Result<Option<Device>, Error> {
        let key = statement.attestation_certificate.public_key();
        match owner {
            RootOwner::Makers => {
                let device = self.device_of_key(key).await?;
                Ok(device.filter(|device| device.root == statement.root))
            }
            RootOwner::Cloud => self.device_of_provisioned_key(key).await,
            RootOwner::Google | RootOwner::Configured => Ok(None),
        }
    }

    /// Raises an alarm where one device seems to be two boards.
    async fn watch(&self, examined: &Examined) -> Result<(), Error> {
        let Examined { statement, owner, device } = examined;
        match device {
            Some(device) => self.watch_version(statement, device).await,
            None if *owner == RootOwner::Makers => self.watch_serial(statement).await,
            None => Ok(()),
        }
    }

    /// A key that is not enrolled, certified for a number that is.
    async fn watch_serial(&self, statement: &Statement) -> Result<(), Error> {
        let certificate = &statement.attestation_certificate;
        let Some(serial) = certificate.subject().serial_number() else { return Ok(()) };
        let enrolled = self.devices_with_serial(&serial).await?;
        if enrolled.iter().any(|device| device.root == statement.root) {
            let maker = self.maker_of_root(&statement.root).await?;
            let detail = format!("certificate {} attested a key", certificate.serial().to_hex());
            self.raise(&maker, &serial, AlarmKind::SerialTwice, &detail).await?;
        }
        Ok(())
    }

    /// While the bootloader is locked and verifies the maker's system, versions only rise.
    async fn watch_version(&self, statement: &Statement, device: &Device) -> Result<(), Error> {
        let root = &statement.root_of_trust;
        if !root.device_locked || root.verified_boot_state != VerifiedBootState::Verified {
            return Ok(());
        }
        let hardware = &statement.description.hardware_enforced;
        let said = [hardware.os_patch_level, hardware.boot_patch_level]
            .map(|level| level.and_then(|level| i64::try_from(level).ok()).unwrap_or(0));
        let seen = self.seen(device).await?;
        if said[0] < seen[0] || said[1] < seen[1] {
            let maker = self.maker_of_root(&device.root).await?;
            let detail =
                format!("system {} after {}, boot {} after {}", said[0], seen[0], said[1], seen[1]);
            self.raise(&maker, &device.serial, AlarmKind::WentBack, &detail).await?;
        }
        sqlx::query(
            "UPDATE attest_devices SET \
             seen_os_patch_level = MAX(COALESCE(seen_os_patch_level, 0), $2), \
             seen_boot_patch_level = MAX(COALESCE(seen_boot_patch_level, 0), $3) \
             WHERE public_key = $1 AND (COALESCE(seen_os_patch_level, -1) < $2 \
             OR COALESCE(seen_boot_patch_level, -1) < $3)",
        )
        .bind(device.public_key.as_der())
        .bind(said[0])
        .bind(said[1])
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn seen(&self, device: &Device) -> Result<[i64; 2], Error> {
        let (system, boot): (i64, i64) = sqlx::query_as(
            "SELECT COALESCE(seen_os_patch_level, 0), COALESCE(seen_boot_patch_level, 0) \
             FROM attest_devices WHERE public_key = $1",
        )
        .bind(device.public_key.as_der())
        .fetch_one(&self.pool)
        .await?;
        Ok([system, boot])
    }

    /// Roots that chains may end in, and whose they are.
    pub async fn roots(&self) -> Result<Vec<(RootOwner, Spki)>, Error> {
        let roots = self.all_roots().await?;
        let mut named = Vec::new();
        for key in roots.keys() {
            named.push((self.owner_of(key).await?, key.clone()));
        }
        Ok(named)
    }
}
