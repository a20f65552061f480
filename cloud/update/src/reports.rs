//! Devices say how far an update came; too many failures stop it.

use crate::error::Error;
use crate::releases::{self, BY_FAILURES};
use crate::rollout::failures_stop;
use crate::{Update, form};
use sqlx::{Row as _, SqliteConnection};
use wire::update::{Report, Stage};

impl Update {
    /// Takes a report. Only who was offered the release has a say, once: of two outcomes, say of
    /// a second try, the later one counts.
    pub async fn report(&self, device_id: &str, report: &Report) -> Result<(), Error> {
        check_form(report)?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let column = match report.stage {
            Stage::Downloaded => "downloaded",
            Stage::Applied => "applied",
            Stage::Booted | Stage::Failed => {
                let stops = note_outcome(&mut transaction, device_id, report).await?;
                transaction.commit().await?;
                return if stops { self.tell_of_stop(&report.release_id).await } else { Ok(()) };
            }
        };
        let sql = format!(
            "UPDATE update_devices SET {column} = TRUE WHERE release_id = $1 AND device_id = $2"
        );
        let noted = sqlx::query(&sql).bind(&report.release_id).bind(device_id);
        let noted = noted.execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        if noted == 0 { Err(NEVER_OFFERED) } else { Ok(()) }
    }

    async fn tell_of_stop(&self, release_id: &str) -> Result<(), Error> {
        tracing::warn!(release_id, "too many devices failed; the release was stopped");
        self.audit.record("system", "release_stopped", release_id).await
    }

    /// Deletes what is known of a device.
    pub async fn forget_device(&self, device_id: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM update_devices WHERE device_id = $1")
            .bind(device_id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

const NEVER_OFFERED: Error = Error::NotFound("release that this device was offered");

fn check_form(report: &Report) -> Result<(), Error> {
    match (report.stage, &report.reason) {
        (Stage::Failed, Some(reason)) => form::reason(reason),
        (Stage::Failed, None) => Err(Error::invalid("reason", "a failure says why")),
        (_, Some(_)) => Err(Error::invalid("reason", "only a failure has one")),
        (_, None) => Ok(()),
    }
}

/// Notes how it ended, and stops the release if that was one failure too many. Says whether it
/// was.
async fn note_outcome(
    connection: &mut SqliteConnection,
    device_id: &str,
    report: &Report,
) -> Result<bool, Error> {
    let row = sqlx::query(
        "SELECT r.*, d.outcome, d.round AS device_round FROM update_devices d
         JOIN update_releases r ON r.release_id = d.release_id
         WHERE d.release_id = $1 AND d.device_id = $2",
    )
    .bind(&report.release_id)
    .bind(device_id)
    .fetch_optional(&mut *connection)
    .await?
    .ok_or(NEVER_OFFERED)?;
    let round: i64 = row.get("round");
    // An outcome of this round is replaced; an older one no longer counts.
    let before: Option<String> = row.get("outcome");
    let before = before.filter(|_| row.get::<i64, _>("device_round") == round);
    let now = if report.stage == Stage::Booted { "booted" } else { "failed" };
    let count = |outcome: &str, column: &str| {
        let change = i64::from(now == outcome) - i64::from(before.as_deref() == Some(outcome));
        row.get::<i64, _>(column).saturating_add(change).max(0)
    };
    let (booted, failed) = (count("booted", "round_booted"), count("failed", "round_failed"));
    sqlx::query(
        "UPDATE update_devices SET outcome = $3, reason = $4, round = $5
         WHERE release_id = $1 AND device_id = $2",
    )
    .bind(&report.release_id)
    .bind(device_id)
    .bind(now)
    .bind(&report.reason)
    .bind(round)
    .execute(&mut *connection)
    .await?;
    let rolls = releases::stopped(&row)?.is_none();
    let stops = rolls && failures_stop(&releases::rollout(&row), booted as u64, failed as u64);
    sqlx::query(
        "UPDATE update_releases SET round_booted = $2, round_failed = $3,
         stopped = COALESCE(stopped, $4) WHERE release_id = $1",
    )
    .bind(&report.release_id)
    .bind(booted)
    .bind(failed)
    .bind(stops.then_some(BY_FAILURES))
    .execute(connection)
    .await?;
    Ok(stops)
}
