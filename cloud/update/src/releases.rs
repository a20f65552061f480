//! Releases, for their makers: announced, listed, stopped, resumed, rolled out, deleted.
//!
//! What a maker does is in the audit log before it happens.

use crate::error::Error;
use crate::{Update, form, joined};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use wire::update::{
    Announcement, Counts, NewPackage, Package, Release, Rollout, RolloutChange, Stopped,
};

/// Reasons of failures that a maker is shown, the most frequent ones.
const REASONS: i64 = 20;

/// How a reason to be stopped is stored.
pub(crate) const BY_MAKER: &str = "maker";
/// Likewise.
pub(crate) const BY_FAILURES: &str = "failures";

impl Update {
    /// Takes a new release. Nobody is offered it before a package of it is uploaded.
    pub async fn announce(&self, maker: &str, request: &Announcement) -> Result<Release, Error> {
        form::announcement(request)?;
        if let Some(release_id) = self.same_build(maker, request).await? {
            return Err(Error::ReleaseExists { release_id });
        }
        let release_id = self.new_id();
        self.audit.record("maker", "release_announced", &release_id).await?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        if !self.insert_release(&mut transaction, maker, &release_id, request).await? {
            // Another request for the same build was faster.
            drop(transaction);
            let release_id = self.same_build(maker, request).await?.unwrap_or(release_id);
            return Err(Error::ReleaseExists { release_id });
        }
        let target = &request.build;
        self.insert_package(&mut transaction, &release_id, target, &request.package).await?;
        transaction.commit().await?;
        self.release(maker, &release_id).await
    }

    /// One more package of a release: a delta, or the full one if it has none yet.
    pub async fn add_package(
        &self,
        maker: &str,
        release_id: &str,
        package: &NewPackage,
    ) -> Result<Release, Error> {
        let release = self.release(maker, release_id).await?;
        form::package(package, &release.build)?;
        self.audit.record("maker", "package_announced", release_id).await?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        self.insert_package(&mut transaction, release_id, &release.build, package).await?;
        transaction.commit().await?;
        self.release(maker, release_id).await
    }

    /// All releases of a maker, the newest build first.
    pub async fn releases(&self, maker: &str) -> Result<Vec<Release>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM update_releases WHERE maker = $1 ORDER BY timestamp DESC, release_id",
        )
        .bind(maker)
        .fetch_all(&self.pool)
        .await?;
        let mut releases = Vec::with_capacity(rows.len());
        for row in &rows {
            releases.push(self.view(row).await?);
        }
        Ok(releases)
    }

    /// A release of this maker; another maker's is not found.
    pub async fn release(&self, maker: &str, release_id: &str) -> Result<Release, Error> {
        let row = sqlx::query("SELECT * FROM update_releases WHERE release_id = $1 AND maker = $2")
            .bind(release_id)
            .bind(maker)
            .fetch_optional(&self.pool)
            .await?
            .ok_or(Error::NotFound("release"))?;
        self.view(&row).await
    }

    /// Nobody is offered it any more, and no download of it begins.
    pub async fn stop(&self, maker: &str, release_id: &str) -> Result<Release, Error> {
        let sql =
            "UPDATE update_releases SET stopped = COALESCE(stopped, $2) WHERE release_id = $1";
        self.release(maker, release_id).await?;
        self.audit.record("maker", "release_stopped", release_id).await?;
        sqlx::query(sql).bind(release_id).bind(BY_MAKER).execute(&self.pool).await?;
        self.release(maker, release_id).await
    }

    /// Goes on with a release that was stopped. The outcomes so far do not stop it again.
    pub async fn resume(&self, maker: &str, release_id: &str) -> Result<Release, Error> {
        self.release(maker, release_id).await?;
        self.audit.record("maker", "release_resumed", release_id).await?;
        sqlx::query(
            "UPDATE update_releases SET stopped = NULL, round = round + 1, round_booted = 0,
             round_failed = 0 WHERE release_id = $1 AND stopped IS NOT NULL",
        )
        .bind(release_id)
        .execute(&self.pool)
        .await?;
        self.release(maker, release_id).await
    }

    /// Sets how far a release goes, and what stops it.
    pub async fn roll_out(
        &self,
        maker: &str,
        release_id: &str,
        change: &RolloutChange,
    ) -> Result<Release, Error> {
        let RolloutChange { percentage, failure_percentage, minimum_outcomes } = *change;
        form::percentages(percentage, failure_percentage)?;
        self.release(maker, release_id).await?;
        let detail = match percentage {
            Some(percentage) => format!("{release_id} to {percentage} %"),
            None => release_id.to_owned(),
        };
        self.audit.record("maker", "release_rollout", &detail).await?;
        sqlx::query(
            "UPDATE update_releases SET percentage = COALESCE($2, percentage),
             failure_percentage = COALESCE($3, failure_percentage),
             minimum_outcomes = COALESCE($4, minimum_outcomes) WHERE release_id = $1",
        )
        .bind(release_id)
        .bind(percentage)
        .bind(failure_percentage)
        .bind(minimum_outcomes)
        .execute(&self.pool)
        .await?;
        self.release(maker, release_id).await
    }

    /// Deletes a release, its packages and what devices said of it.
    pub async fn delete(&self, maker: &str, release_id: &str) -> Result<(), Error> {
        let release = self.release(maker, release_id).await?;
        let uploaded = release.packages.iter().any(|package| package.uploaded);
        if uploaded && release.stopped.is_none() {
            return Err(Error::RollsOut);
        }
        self.audit.record("maker", "release_deleted", release_id).await?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let packages: Vec<String> =
            sqlx::query_scalar("SELECT package_id FROM update_packages WHERE release_id = $1")
                .bind(release_id)
                .fetch_all(&mut *transaction)
                .await?;
        for sql in [
            "DELETE FROM update_devices WHERE release_id = $1",
            "DELETE FROM update_packages WHERE release_id = $1",
            "DELETE FROM update_releases WHERE release_id = $1",
        ] {
            sqlx::query(sql).bind(release_id).execute(&mut *transaction).await?;
        }
        // First the rows, then the files: files that a crash leaves are removed by the next start.
        transaction.commit().await?;
        let folder = self.packages.clone();
        let work = move || packages.iter().try_for_each(|package| folder.remove(package));
        joined(tokio::task::spawn_blocking(work).await)
    }

    async fn same_build(
        &self,
        maker: &str,
        request: &Announcement,
    ) -> Result<Option<String>, Error> {
        Ok(sqlx::query_scalar(
            "SELECT release_id FROM update_releases
             WHERE maker = $1 AND model = $2 AND channel = $3 AND build = $4",
        )
        .bind(maker)
        .bind(&request.model)
        .bind(&request.channel)
        .bind(&request.build)
        .fetch_optional(&self.pool)
        .await?)
    }

    /// Whether it was not there.
    async fn insert_release(
        &self,
        connection: &mut SqliteConnection,
        maker: &str,
        release_id: &str,
        request: &Announcement,
    ) -> Result<bool, Error> {
        let Rollout { percentage, failure_percentage, minimum_outcomes } = request.rollout;
        let done = sqlx::query(
            "INSERT INTO update_releases (release_id, maker, model, channel, build, timestamp,
             security_patch, percentage, failure_percentage, minimum_outcomes, round,
             round_booted, round_failed, announced_at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, 0, $11)
             ON CONFLICT DO NOTHING",
        )
        .bind(release_id)
        .bind(maker)
        .bind(&request.model)
        .bind(&request.channel)
        .bind(&request.build)
        .bind(form::timestamp(request.timestamp)?)
        .bind(&request.security_patch)
        .bind(percentage)
        .bind(failure_percentage)
        .bind(minimum_outcomes)
        .bind(self.now_ms())
        .execute(connection)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn insert_package(
        &self,
        connection: &mut SqliteConnection,
        release_id: &str,
        target: &str,
        package: &NewPackage,
    ) -> Result<(), Error> {
        let sha256 = form::package(package, target)?;
        let done = sqlx::query(
            "INSERT INTO update_packages (package_id, release_id, source_build, size, sha256)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(self.new_id())
        .bind(release_id)
        .bind(package.source_build.as_deref().unwrap_or(""))
        .bind(package.size as i64)
        .bind(&sha256[..])
        .execute(connection)
        .await?;
        if done.rows_affected() == 0 { Err(Error::PackageExists) } else { Ok(()) }
    }

    async fn view(&self, row: &SqliteRow) -> Result<Release, Error> {
        let release_id: String = row.get("release_id");
        let packages = sqlx::query(
            "SELECT * FROM update_packages WHERE release_id = $1 ORDER BY source_build",
        )
        .bind(&release_id)
        .fetch_all(&self.pool)
        .await?;
        Ok(Release {
            model: row.get("model"),
            channel: row.get("channel"),
            build: row.get("build"),
            timestamp: row.get::<i64, _>("timestamp") as u64,
            security_patch: row.get("security_patch"),
            rollout: rollout(row),
            stopped: stopped(row)?,
            announced_at_ms: row.get::<i64, _>("announced_at_ms") as u64,
            packages: packages.iter().map(package).collect(),
            counts: self.counts(&release_id).await?,
            release_id,
        })
    }

    async fn counts(&self, release_id: &str) -> Result<Counts, Error> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS offered,
             COUNT(CASE WHEN downloaded THEN 1 END) AS downloaded,
             COUNT(CASE WHEN applied THEN 1 END) AS applied,
             COUNT(CASE WHEN outcome = 'booted' THEN 1 END) AS booted,
             COUNT(CASE WHEN outcome = 'failed' THEN 1 END) AS failed
             FROM update_devices WHERE release_id = $1",
        )
        .bind(release_id)
        .fetch_one(&self.pool)
        .await?;
        let failures: Vec<(String, i64)> = sqlx::query_as(
            "SELECT reason, COUNT(*) FROM update_devices
             WHERE release_id = $1 AND outcome = 'failed' AND reason IS NOT NULL
             GROUP BY reason ORDER BY 2 DESC, reason LIMIT $2",
        )
        .bind(release_id)
        .bind(REASONS)
        .fetch_all(&self.pool)
        .await?;
        let count = |column| row.get::<i64, _>(column) as u64;
        Ok(Counts {
            offered: count("offered"),
            downloaded: count("downloaded"),
            applied: count("applied"),
            booted: count("booted"),
            failed: count("failed"),
            failures: failures.into_iter().map(|(reason, n)| (reason, n as u64)).collect(),
        })
    }
}

/// The roll-out in a row of a release. What does not fit stops it.
pub(crate) fn rollout(row: &SqliteRow) -> Rollout {
    let percentage =
        |column| u8::try_from(row.get::<i64, _>(column)).ok().filter(|value| *value <= 100);
    Rollout {
        percentage: percentage("percentage").unwrap_or(0),
        failure_percentage: percentage("failure_percentage").unwrap_or(0),
        minimum_outcomes: u32::try_from(row.get::<i64, _>("minimum_outcomes")).unwrap_or(0),
    }
}

/// Who stopped the release of a row.
pub(crate) fn stopped(row: &SqliteRow) -> Result<Option<Stopped>, Error> {
    match row.get::<Option<String>, _>("stopped").as_deref() {
        None => Ok(None),
        Some(BY_MAKER) => Ok(Some(Stopped::ByMaker)),
        Some(BY_FAILURES) => Ok(Some(Stopped::ByFailures)),
        Some(_) => Err(Error::Stored("reason to be stopped")),
    }
}

fn package(row: &SqliteRow) -> Package {
    let source: String = row.get("source_build");
    Package {
        package_id: row.get("package_id"),
        uploaded: row.get::<Option<i64>, _>("uploaded_at_ms").is_some(),
        announced: NewPackage {
            source_build: Some(source).filter(|source| !source.is_empty()),
            size: row.get::<i64, _>("size") as u64,
            sha256: form::hex(&row.get::<Vec<u8>, _>("sha256")),
        },
    }
}
