//! Commands of the owner and what came of them.

use crate::{Error, Find};
use effects::UnixMillis;
use sqlx::Row as _;
use wire::find::{Command, Issued, Outcome, Position, Report};

const TABLE: &str = "find_commands";
/// The longest message of lost mode, in characters.
const MESSAGE_CHARACTERS: usize = 500;

/// A command, as the device's owner sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandView {
    /// What was wanted.
    pub command: Command,
    /// When.
    pub issued_at: UnixMillis,
    /// What came of it.
    pub outcome: Outcome,
}

impl Find {
    /// Issues a command to a device that its owner holds. Written down first: in the audit log,
    /// then here, then on the device's link.
    pub async fn issue(
        &self,
        device_id: &str,
        owner: &str,
        command: &Command,
    ) -> Result<Issued, Error> {
        if !self.state(device_id).await?.enabled {
            return Err(Error::Disabled);
        }
        if let Command::Lost { message } = command {
            check_message(message)?;
        }
        self.owners.record(owner, "owner", audit_name(command), device_id).await?;
        if let Command::Lost { message } = command {
            self.set_lost(device_id, message).await?;
        }
        let command_id = self.store(device_id, command).await?;
        self.send(device_id, command_id, command).await?;
        Ok(Issued { command_id })
    }

    async fn store(&self, device_id: &str, command: &Command) -> Result<u64, Error> {
        let json = serde_json::to_vec(command).map_err(|_| Error::Damaged("a command"))?;
        let command_id: i64 = sqlx::query_scalar(
            "INSERT INTO find_commands (device_id, command_sealed, erases, sent, issued_at_ms) \
             VALUES ($1, $2, $3, FALSE, $4) RETURNING command_id",
        )
        .bind(device_id)
        .bind(self.sealer.seal(TABLE, "command_sealed", device_id, &json))
        .bind(matches!(command, Command::Erase))
        .bind(self.clock.now().0 as i64)
        .fetch_one(&self.pool)
        .await?;
        Ok(command_id as u64)
    }

    async fn send(&self, device_id: &str, command_id: u64, command: &Command) -> Result<(), Error> {
        self.carrier.carry(device_id, command_id, command).await?;
        sqlx::query("UPDATE find_commands SET sent = TRUE WHERE command_id = $1")
            .bind(command_id as i64)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Commands that were stored but not yet on the link when the process ended.
    pub(crate) async fn send_unsent(&self) -> Result<(), Error> {
        let rows = sqlx::query(
            "SELECT command_id, device_id, command_sealed FROM find_commands \
             WHERE NOT sent ORDER BY command_id",
        )
        .fetch_all(&self.pool)
        .await?;
        for row in rows {
            let device_id: String = row.get("device_id");
            let sealed: Vec<u8> = row.get("command_sealed");
            let command = self.open_json(&device_id, "command_sealed", &sealed)?;
            self.send(&device_id, row.get::<i64, _>("command_id") as u64, &command).await?;
        }
        Ok(())
    }

    /// The newest commands to a device.
    pub async fn recent(&self, device_id: &str, at_most: u32) -> Result<Vec<CommandView>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM find_commands WHERE device_id = $1 ORDER BY command_id DESC LIMIT $2",
        )
        .bind(device_id)
        .bind(at_most)
        .fetch_all(&self.pool)
        .await?;
        let view = |row: &sqlx::sqlite::SqliteRow| {
            let outcome = match row.get::<Option<Vec<u8>>, _>("outcome_sealed") {
                Some(sealed) => self.open_json(device_id, "outcome_sealed", &sealed)?,
                None => Outcome::Pending,
            };
            Ok(CommandView {
                command: self.open_json(device_id, "command_sealed", row.get("command_sealed"))?,
                issued_at: UnixMillis(row.get::<i64, _>("issued_at_ms") as u64),
                outcome,
            })
        };
        rows.iter().map(view).collect()
    }

    fn open_json<T: serde::de::DeserializeOwned>(
        &self,
        device_id: &str,
        column: &str,
        sealed: &[u8],
    ) -> Result<T, Error> {
        self.sealer
            .open(TABLE, column, device_id, sealed)
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or(Error::Damaged("a command"))
    }

    /// What came of a command.
    pub async fn outcome(&self, device_id: &str, command_id: u64) -> Result<Outcome, Error> {
        let row = sqlx::query(
            "SELECT outcome_sealed FROM find_commands WHERE command_id = $1 AND device_id = $2",
        )
        .bind(i64::try_from(command_id).unwrap_or(-1))
        .bind(device_id)
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::NotFound("command"))?;
        let Some(sealed) = row.get::<Option<Vec<u8>>, _>("outcome_sealed") else {
            return Ok(Outcome::Pending);
        };
        self.open_json(device_id, "outcome_sealed", &sealed)
    }

    /// A device tells what came of a command, or just where it is.
    pub async fn report(&self, device_id: &str, report: &Report) -> Result<(), Error> {
        if let Some(position) = &report.position {
            check_position(position)?;
            self.set_position(device_id, position).await?;
        }
        let Some(command_id) = report.command_id else { return Ok(()) };
        let outcome = match &report.failed {
            Some(reason) => Outcome::Failed { reason: reason.chars().take(500).collect() },
            None => Outcome::Done { position: report.position },
        };
        let erased = self.settle(device_id, command_id, &outcome).await?;
        if erased && report.failed.is_none() {
            self.set_erased(device_id).await?;
        }
        Ok(())
    }

    /// Stores the outcome; tells whether the command was to erase.
    async fn settle(
        &self,
        device_id: &str,
        command_id: u64,
        outcome: &Outcome,
    ) -> Result<bool, Error> {
        let json = serde_json::to_vec(outcome).map_err(|_| Error::Damaged("an outcome"))?;
        let row = sqlx::query(
            "UPDATE find_commands SET outcome_sealed = $3 \
             WHERE command_id = $1 AND device_id = $2 RETURNING erases",
        )
        .bind(i64::try_from(command_id).unwrap_or(-1))
        .bind(device_id)
        .bind(self.sealer.seal(TABLE, "outcome_sealed", device_id, &json))
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::NotFound("command"))?;
        Ok(row.get("erases"))
    }

    pub(crate) async fn drop_pending(&self, device_id: &str) -> Result<(), Error> {
        let reason = String::from("the owner had the device back before it arrived");
        for command_id in self.pending(device_id, false).await? {
            self.settle(device_id, command_id, &Outcome::Failed { reason: reason.clone() }).await?;
        }
        Ok(())
    }

    async fn pending(&self, device_id: &str, erasures_only: bool) -> Result<Vec<u64>, Error> {
        let pending: Vec<i64> = sqlx::query_scalar(
            "SELECT command_id FROM find_commands \
             WHERE device_id = $1 AND outcome_sealed IS NULL AND (erases OR NOT $2)",
        )
        .bind(device_id)
        .bind(erasures_only)
        .fetch_all(&self.pool)
        .await?;
        Ok(pending.into_iter().map(|id| id as u64).collect())
    }

    /// A device that proves to have been reset has done every erasure that was asked of it.
    pub(crate) async fn settle_erasures(&self, device_id: &str) -> Result<(), Error> {
        for command_id in self.pending(device_id, true).await? {
            self.settle(device_id, command_id, &Outcome::Done { position: None }).await?;
        }
        Ok(())
    }
}

const fn audit_name(command: &Command) -> &'static str {
    match command {
        Command::Locate => "device_locate",
        Command::Sound => "device_sound",
        Command::Lost { .. } => "device_lost_mode",
        Command::Erase => "device_erase",
    }
}

fn check_message(message: &str) -> Result<(), Error> {
    let length = message.chars().count();
    if message.trim().is_empty() || length > MESSAGE_CHARACTERS {
        return Err(Error::Invalid { field: "message", reason: "has 1 to 500 characters" });
    }
    Ok(())
}

fn check_position(position: &Position) -> Result<(), Error> {
    let bad = |reason| Err(Error::Invalid { field: "position", reason });
    if !(-90.0..=90.0).contains(&position.lat) {
        return bad("lat lies between -90 and 90 degrees");
    }
    if !(-180.0..=180.0).contains(&position.lon) {
        return bad("lon lies between -180 and 180 degrees");
    }
    if !(0.0..=1e8).contains(&position.accuracy_m) {
        return bad("accuracy_m is a distance in metres");
    }
    Ok(())
}
