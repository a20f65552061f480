//! A device asks: what is there for it?

use crate::error::Error;
use crate::{Update, form, releases};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use wire::update::{Answer, Check, NewPackage, Offer, Reason};

/// What the cloud knows of a device by its last attestation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether its bootloader is locked.
    pub locked: bool,
    /// `green`, `yellow`, `orange`, `red`.
    pub boot_state: String,
    /// The security patch level of its system, `YYYYMM`; 0 where it did not say.
    pub patch_level: u32,
    /// Whose device it is; none where that is not certain.
    pub maker: Option<String>,
}

impl Standing {
    /// The maker whose releases the device may have, or why it may have none. A device that can
    /// be flashed with anything gets no update until the official system is back (S2.5.2).
    pub fn maker(&self) -> Result<&str, Reason> {
        if !self.locked {
            return Err(Reason::BootloaderUnlocked);
        }
        if !["green", "yellow"].contains(&&*self.boot_state) {
            return Err(Reason::NotVerified);
        }
        self.maker.as_deref().ok_or(Reason::UnknownMaker)
    }
}

impl Update {
    /// The newest release that is newer than what the device has and that has come to it; a
    /// delta for its build where there is one, else the full package.
    pub async fn check(
        &self,
        device_id: &str,
        standing: &Standing,
        check: &Check,
    ) -> Result<Answer, Error> {
        let month = check_form(check)?;
        let maker = match standing.maker() {
            Ok(maker) => maker,
            Err(reason) => return Ok(Answer::Nothing { reason }),
        };
        let floor = standing.patch_level.max(month);
        let mut held_back = None;
        for row in self.newer(maker, check).await? {
            if patch_of(&row)? < floor
                || row.get::<&str, _>("security_patch") < &*check.security_patch
            {
                continue;
            }
            match self.held_back(device_id, &row)? {
                Some(reason) => held_back = held_back.or(Some(reason)),
                None => return self.offer(device_id, &row).await,
            }
        }
        Ok(Answer::Nothing { reason: held_back.unwrap_or(Reason::UpToDate) })
    }

    /// The releases of a channel that were made after what the device has, the newest first,
    /// each with the package that fits best.
    async fn newer(&self, maker: &str, check: &Check) -> Result<Vec<SqliteRow>, Error> {
        Ok(sqlx::query(
            "SELECT r.*, p.package_id, p.source_build, p.size, p.sha256 FROM update_releases r
             LEFT JOIN update_packages p ON p.package_id = (
                 SELECT package_id FROM update_packages f
                 WHERE f.release_id = r.release_id AND f.uploaded_at_ms IS NOT NULL
                   AND f.source_build IN ('', $5) ORDER BY f.source_build DESC LIMIT 1)
             WHERE r.maker = $1 AND r.model = $2 AND r.channel = $3 AND r.timestamp > $4
             ORDER BY r.timestamp DESC, r.release_id",
        )
        .bind(maker)
        .bind(&check.model)
        .bind(&check.channel)
        .bind(form::timestamp(check.timestamp)?)
        .bind(&check.build)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Why a release is not for this device now.
    fn held_back(&self, device_id: &str, row: &SqliteRow) -> Result<Option<Reason>, Error> {
        let percentage = releases::rollout(row).percentage;
        Ok(if row.get::<Option<String>, _>("package_id").is_none() {
            Some(Reason::NoPackage)
        } else if releases::stopped(row)?.is_some() {
            Some(Reason::Stopped)
        } else if !self.rollout.admits(row.get("release_id"), device_id, percentage) {
            Some(Reason::NotYet)
        } else {
            None
        })
    }

    async fn offer(&self, device_id: &str, row: &SqliteRow) -> Result<Answer, Error> {
        let release_id: String = row.get("release_id");
        sqlx::query(
            "INSERT INTO update_devices (release_id, device_id, offered_at_ms, downloaded, applied,
             round) VALUES ($1, $2, $3, FALSE, FALSE, 0) ON CONFLICT DO NOTHING",
        )
        .bind(&release_id)
        .bind(device_id)
        .bind(self.now_ms())
        .execute(&self.pool)
        .await?;
        let source: String = row.get("source_build");
        Ok(Answer::Update(Offer {
            release_id,
            build: row.get("build"),
            timestamp: row.get::<i64, _>("timestamp") as u64,
            security_patch: row.get("security_patch"),
            url: format!("/v1/updates/packages/{}", row.get::<&str, _>("package_id")),
            package: NewPackage {
                source_build: Some(source).filter(|source| !source.is_empty()),
                size: row.get::<i64, _>("size") as u64,
                sha256: form::hex(row.get("sha256")),
            },
        }))
    }
}

/// The month of the device's security patch.
fn check_form(check: &Check) -> Result<u32, Error> {
    form::name("model", &check.model)?;
    form::name("channel", &check.channel)?;
    form::build("build", &check.build)?;
    form::timestamp(check.timestamp)?;
    form::patch(&check.security_patch)
}

fn patch_of(row: &SqliteRow) -> Result<u32, Error> {
    form::patch(row.get("security_patch")).map_err(|_| Error::Stored("security patch"))
}
