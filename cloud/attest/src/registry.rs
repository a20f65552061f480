//! Makers and their devices.

use crate::{AlarmKind, Attest, Error, Refusal};
use effects::UnixMillis;
use keyattest::Roots;
use keyattest::x509::{Certificate, Spki};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

/// A maker, known by its root's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// SubjectPublicKeyInfo of the root.
    pub root: Spki,
    /// As it was registered.
    pub name: String,
    /// The root's certificate, DER.
    pub certificate: Vec<u8>,
    /// When.
    pub registered_at: UnixMillis,
}

/// A device, known by the public key of its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// As its maker numbered it.
    pub serial: String,
    /// SubjectPublicKeyInfo of its attestation key.
    pub public_key: Spki,
    /// SubjectPublicKeyInfo of its maker's root.
    pub root: Spki,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// When.
    pub enrolled_at: UnixMillis,
    /// When and why, if ever.
    pub revoked: Option<(UnixMillis, String)>,
}

impl Attest {
    /// Trusts a maker from now on. `root` is its self-signed certificate in DER; its key counts.
    /// The same key again only changes the name.
    pub async fn register_maker(&self, name: &str, root: &[u8]) -> Result<Maker, Error> {
        let certificate = Certificate::parse(root)
            .ok()
            .filter(Certificate::is_self_signed)
            .ok_or(Refusal::NotARoot)?;
        let key = certificate.public_key().clone();
        sqlx::query(
            "INSERT INTO attest_makers (root, name, certificate, registered_at_ms) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (root) DO UPDATE SET name = excluded.name",
        )
        .bind(key.as_der())
        .bind(name)
        .bind(root)
        .bind(self.now_ms())
        .execute(&self.pool)
        .await?;
        let makers = self.makers().await?;
        makers
            .into_iter()
            .find(|maker| maker.root == key)
            .ok_or(Error::Damaged("a maker that was just registered is gone"))
    }

    /// All makers.
    pub async fn makers(&self) -> Result<Vec<Maker>, Error> {
        let rows = sqlx::query("SELECT * FROM attest_makers ORDER BY registered_at_ms")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(maker).collect()
    }

    /// Takes a device into the registry. `chain` is DER, the device first, the root last. The
    /// same device again changes nothing. A second board under a known number, or a known key under
    /// a second number, raises an alarm.
    pub async fn enrol_device(&self, chain: &[impl AsRef<[u8]>]) -> Result<Device, Error> {
        let revoked = self.own_revocations(chain).await?;
        let mut roots = Roots::default();
        for maker in self.makers().await? {
            roots.add_certificate(&maker.certificate)?;
        }
        let now = self.clock.now().seconds();
        let path = roots.verify_device_chain(chain, &|serial| revoked.look_up(serial), now)?;
        let serial = path.device.subject().serial_number().ok_or(Refusal::SerialMissing)?;
        sqlx::query(
            "INSERT INTO attest_devices (public_key, serial, root, certificate, enrolled_at_ms) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(path.device.public_key().as_der())
        .bind(&serial)
        .bind(path.root.as_der())
        .bind(path.device.as_der())
        .bind(self.now_ms())
        .execute(&self.pool)
        .await?;
        let enrolled = self.device_of_key(path.device.public_key()).await?;
        let kind = match enrolled {
            Some(device) if device.serial == serial && device.root == path.root => {
                return Ok(device);
            }
            Some(_) => AlarmKind::KeyTwice,
            None => AlarmKind::SerialTwice,
        };
        let detail = format!("certificate {} came to be enrolled", path.device.serial().to_hex());
        self.raise(&self.maker_of_root(&path.root).await?, &serial, kind, &detail).await?;
        Err(Refusal::DeviceConflict.into())
    }

    /// The name of a root's maker.
    pub(crate) async fn maker_of_root(&self, root: &Spki) -> Result<String, Error> {
        let name: Option<String> =
            sqlx::query_scalar("SELECT name FROM attest_makers WHERE root = $1")
                .bind(root.as_der())
                .fetch_optional(&self.pool)
                .await?;
        name.ok_or(Error::Damaged("a root without a maker"))
    }

    /// A maker's device.
    pub async fn device_of_maker(&self, maker: &str, serial: &str) -> Result<Device, Error> {
        let row = sqlx::query(
            "SELECT d.* FROM attest_devices d JOIN attest_makers m ON m.root = d.root \
             WHERE m.name = $1 AND d.serial = $2",
        )
        .bind(maker)
        .bind(serial)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(device).transpose()?.ok_or_else(|| Refusal::DeviceUnknown.into())
    }

    /// Up to `limit` of a maker's devices whose serial numbers come after `after`, in their order.
    pub async fn devices_of_maker(
        &self,
        maker: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Device>, Error> {
        let rows = sqlx::query(
            "SELECT d.* FROM attest_devices d JOIN attest_makers m ON m.root = d.root \
             WHERE m.name = $1 AND d.serial > $2 ORDER BY d.serial LIMIT $3",
        )
        .bind(maker)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(device).collect()
    }

    /// The devices with a serial number; different makers may give the same.
    pub async fn devices_with_serial(&self, serial: &str) -> Result<Vec<Device>, Error> {
        let rows = sqlx::query("SELECT * FROM attest_devices WHERE serial = $1")
            .bind(serial)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(device).collect()
    }

    /// The device with this attestation key.
    pub async fn device_of_key(&self, key: &Spki) -> Result<Option<Device>, Error> {
        let row = sqlx::query("SELECT * FROM attest_devices WHERE public_key = $1")
            .bind(key.as_der())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(device).transpose()
    }

    /// Believes a device no more. The first reason stays.
    pub async fn revoke_device(&self, actor: &str, key: &Spki, reason: &str) -> Result<(), Error> {
        let device = self.device_of_key(key).await?.ok_or(Refusal::DeviceUnknown)?;
        let detail = format!("{}: {reason}", device.serial);
        self.audit.record(actor, "device_revoked", &detail).await?;
        sqlx::query(
            "UPDATE attest_devices SET revoked_at_ms = COALESCE(revoked_at_ms, $2), \
             revoked_reason = COALESCE(revoked_reason, $3) WHERE public_key = $1",
        )
        .bind(key.as_der())
        .bind(self.now_ms())
        .bind(reason)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

fn maker(row: &SqliteRow) -> Result<Maker, Error> {
    Ok(Maker {
        root: key(row, "root")?,
        name: row.try_get("name")?,
        certificate: row.try_get("certificate")?,
        registered_at: time(row.try_get("registered_at_ms")?),
    })
}

pub(crate) fn device(row: &SqliteRow) -> Result<Device, Error> {
    let revoked_at: Option<i64> = row.try_get("revoked_at_ms")?;
    let reason: Option<String> = row.try_get("revoked_reason")?;
    Ok(Device {
        serial: row.try_get("serial")?,
        public_key: key(row, "public_key")?,
        root: key(row, "root")?,
        certificate: row.try_get("certificate")?,
        enrolled_at: time(row.try_get("enrolled_at_ms")?),
        revoked: revoked_at.map(|at| (time(at), reason.unwrap_or_default())),
    })
}

fn key(row: &SqliteRow, column: &str) -> Result<Spki, Error> {
    let der: Vec<u8> = row.try_get(column)?;
    Spki::from_der(&der).map_err(|_| Error::Damaged("a public key of the registry"))
}

pub(crate) fn time(ms: i64) -> UnixMillis {
    UnixMillis(u64::try_from(ms).unwrap_or(0))
}
