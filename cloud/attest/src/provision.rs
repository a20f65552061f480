//! Remote key provisioning: short-lived attestation certificates for devices that prove who they
//! are with the key from their factory.
//!
//! The authorities are ours: a root (P-384), an intermediate, a server whose certificate is
//! renewed. Chains are as Android's: root, intermediate, server, the device's attestation key; the
//! device puts a key's certificate below it.

use crate::registry::device;
use crate::{Attest, Device, Error, Refusal, ms};
use crypto::sign::{Curve, EcdsaKey};
use effects::{UnixMillis, random_array};
use keyattest::x509::{
    Certificate, CertificateParams, Name, SerialNumber, SignatureAlgorithm, Spki, Validity,
    build_certificate,
};
use keyattest::{CertificateRequest, ProvisioningInfo};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a provisioned certificate counts.
pub const LIFETIME: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 24 * 3600;
/// What a device may get in [`LIFETIME`]. A key that serves more boards than one wants more.
const ISSUED_MAX: i64 = 200;
/// Certificates begin in the past: clocks differ.
const EARLIER: u64 = 3600;

const TABLE: &str = "attest_authorities";
const COLUMN: &str = "sealed";
const ROOT: Rank = Rank { name: "root", days: 20 * 365, renew_before_days: 0 };
const INTERMEDIATE: Rank = Rank { name: "intermediate", days: 10 * 365, renew_before_days: 365 };
const SERVER: Rank = Rank { name: "server", days: 180, renew_before_days: 90 };

/// One of our authorities.
struct Rank {
    name: &'static str,
    days: u32,
    /// It is made anew so long before its end.
    renew_before_days: u64,
}

struct Authority {
    key: EcdsaKey,
    certificate: Certificate,
}

/// What a device gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioned {
    /// One chain for each key of the request, in its order: DER, the key's certificate first, the
    /// root last.
    pub chains: Vec<Vec<Vec<u8>>>,
    /// When the certificates lapse.
    pub expires_at: UnixMillis,
}

impl Attest {
    /// Certifies a device's attestation keys. The request answers a challenge of ours, and is
    /// signed by the key of an enrolled device.
    pub async fn provision(&self, request: &[u8]) -> Result<Provisioned, Error> {
        let request = CertificateRequest::open(request).map_err(Refusal::from)?;
        self.use_up(&request.challenge).await?;
        let device = self.device_of_key(request.device.public_key()).await?;
        let device = device.ok_or(Refusal::DeviceUnknown)?;
        if let Some((at, reason)) = device.revoked {
            return Err(Refusal::DeviceRevoked { at, reason }.into());
        }
        let issued = self.issued(&device.public_key).await?;
        let wanted = i64::try_from(request.keys.len()).unwrap_or(i64::MAX);
        if issued.saturating_add(wanted) > ISSUED_MAX {
            let reason = "a device gets at most 200 certificates in 30 days";
            return Err(Refusal::Invalid { field: "keys", reason }.into());
        }
        let [root, intermediate, server] = self.authorities().await?;
        let above = [&server, &intermediate, &root].map(|it| it.certificate.as_der().to_vec());
        let expires_at = self.clock.now().plus(LIFETIME);
        let mut chains = Vec::new();
        for (key, number) in request.keys.iter().zip(issued + 1..) {
            let certificate = self.certify(&server, key, number, expires_at)?;
            self.note(key, &device.public_key, expires_at).await?;
            chains.push([vec![certificate], above.to_vec()].concat());
        }
        Ok(Provisioned { chains, expires_at })
    }

    fn certify(
        &self,
        server: &Authority,
        key: &Spki,
        number: i64,
        expires_at: UnixMillis,
    ) -> Result<Vec<u8>, Error> {
        let now = self.clock.now().seconds();
        // The name tells nothing about the device.
        let name = crate::hex(&random_array::<16>(&*self.entropy));
        let params = CertificateParams::provisioned(
            &server.certificate,
            Name::authority(&name, "TEE")?,
            self.serial_number()?,
            Validity { not_before: now.saturating_sub(EARLIER), not_after: expires_at.seconds() },
            key.clone(),
            &ProvisioningInfo { certificates_issued: u64::try_from(number).unwrap_or(0) },
        );
        sign(&params, &server.key)
    }

    async fn note(&self, key: &Spki, device: &Spki, expires_at: UnixMillis) -> Result<(), Error> {
        let noted = sqlx::query(
            "INSERT INTO attest_provisioned (public_key, device_key, issued_at_ms, expires_at_ms) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (public_key) DO UPDATE SET \
             issued_at_ms = excluded.issued_at_ms, expires_at_ms = excluded.expires_at_ms \
             WHERE attest_provisioned.device_key = excluded.device_key",
        )
        .bind(key.as_der())
        .bind(device.as_der())
        .bind(self.now_ms())
        .bind(i64::try_from(expires_at.0).unwrap_or(i64::MAX))
        .execute(&self.pool)
        .await?;
        match noted.rows_affected() {
            1 => Ok(()),
            // One key for two devices is no device's key.
            _ => Err(Refusal::DeviceConflict.into()),
        }
    }

    /// How many certificates a device got in the last 30 days.
    async fn issued(&self, device: &Spki) -> Result<i64, Error> {
        let since = self.now_ms().saturating_sub(ms(LIFETIME));
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM attest_provisioned WHERE device_key = $1 AND issued_at_ms > $2",
        )
        .bind(device.as_der())
        .bind(since)
        .fetch_one(&self.pool)
        .await?;
        Ok(count)
    }

    /// The device that a provisioned key was certified for.
    pub(crate) async fn device_of_provisioned_key(
        &self,
        key: &Spki,
    ) -> Result<Option<Device>, Error> {
        let row = sqlx::query(
            "SELECT d.* FROM attest_devices d JOIN attest_provisioned p \
             ON p.device_key = d.public_key WHERE p.public_key = $1",
        )
        .bind(key.as_der())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(device).transpose()
    }

    /// The certificate of our provisioning's root, DER.
    pub async fn provisioning_root(&self) -> Result<Vec<u8>, Error> {
        let certificate =
            sqlx::query_scalar("SELECT certificate FROM attest_authorities WHERE name = $1")
                .bind(ROOT.name)
                .fetch_optional(&self.pool)
                .await?;
        certificate.ok_or(Error::Damaged("the provisioning root is missing"))
    }

    /// Founds the authorities, where they are missing.
    pub(crate) async fn prepare_authorities(&self) -> Result<(), Error> {
        self.authorities().await.map(drop)
    }

    /// Root, intermediate and server. What is about to lapse is made anew.
    async fn authorities(&self) -> Result<[Authority; 3], Error> {
        let name = |what: &str| Name::authority(what, "Holdfast");
        let root = self
            .authority(&ROOT, Curve::P384, None, |serial, life, key| {
                Ok(CertificateParams::root(name("Provisioning Root")?, serial, life, key))
            })
            .await?;
        let intermediate = self
            .authority(&INTERMEDIATE, Curve::P256, Some(&root), |serial, life, key| {
                let (of, name) = (&root.certificate, name("Provisioning CA")?);
                Ok(CertificateParams::provisioning_intermediate(of, name, serial, life, key))
            })
            .await?;
        let server = self
            .authority(&SERVER, Curve::P256, Some(&intermediate), |serial, life, key| {
                let (of, name) = (&intermediate.certificate, name("Provisioning Server")?);
                Ok(CertificateParams::intermediate(of, name, serial, life, key))
            })
            .await?;
        Ok([root, intermediate, server])
    }

    async fn authority(
        &self,
        rank: &Rank,
        curve: Curve,
        issuer: Option<&Authority>,
        params: impl FnOnce(SerialNumber, Validity, Spki) -> Result<CertificateParams, Error>,
    ) -> Result<Authority, Error> {
        let now = self.clock.now().seconds();
        if let Some(found) = self.stored_authority(rank, curve).await? {
            let (_, not_after) = found.certificate.validity();
            let issued = issuer.is_none_or(|it| found.certificate.is_issued_by(&it.certificate));
            if issued && now.saturating_add(rank.renew_before_days * DAY) < not_after {
                return Ok(found);
            }
        }
        let key = EcdsaKey::generate(curve)?;
        let spki = Spki::from_der(&key.public_key_spki()?)
            .map_err(|_| Error::Damaged("a key that was just made"))?;
        let life = Validity::days(now.saturating_sub(EARLIER), rank.days);
        let params = params(self.serial_number()?, life, spki)?;
        let certificate = sign(&params, issuer.map_or(&key, |it| &it.key))?;
        let sealed = self.sealer.seal(TABLE, COLUMN, rank.name, key.to_pkcs8());
        sqlx::query(
            "INSERT INTO attest_authorities (name, sealed, certificate) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, \
             certificate = excluded.certificate",
        )
        .bind(rank.name)
        .bind(sealed)
        .bind(certificate)
        .execute(&self.pool)
        .await?;
        let stored = self.stored_authority(rank, curve).await?;
        stored.ok_or(Error::Damaged("an authority that was just made is gone"))
    }

    async fn stored_authority(
        &self,
        rank: &Rank,
        curve: Curve,
    ) -> Result<Option<Authority>, Error> {
        let row: Option<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT sealed, certificate FROM attest_authorities WHERE name = $1")
                .bind(rank.name)
                .fetch_optional(&self.pool)
                .await?;
        let Some((sealed, certificate)) = row else { return Ok(None) };
        let pkcs8 = self.sealer.open(TABLE, COLUMN, rank.name, &sealed).map(Zeroizing::new);
        let pkcs8 = pkcs8.ok_or(Error::Damaged("the key of an authority does not open"))?;
        let certificate = Certificate::parse(&certificate)
            .map_err(|_| Error::Damaged("the certificate of an authority"))?;
        Ok(Some(Authority { key: EcdsaKey::from_pkcs8(curve, &pkcs8)?, certificate }))
    }

    fn serial_number(&self) -> Result<SerialNumber, Error> {
        Ok(SerialNumber::from_bytes(&random_array::<16>(&*self.entropy))?)
    }
}

/// P-384 signs with SHA-384, P-256 with SHA-256.
fn sign(params: &CertificateParams, issuer: &EcdsaKey) -> Result<Vec<u8>, Error> {
    let algorithm = match issuer.public_key_point().len() {
        65 => SignatureAlgorithm::EcdsaSha256,
        _ => SignatureAlgorithm::EcdsaSha384,
    };
    Ok(build_certificate(params, algorithm, |data| issuer.sign(data))?)
}
