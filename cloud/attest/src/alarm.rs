//! Alarms: a device that is seen with two boards at once.

use crate::{Attest, Error};
use effects::UnixMillis;

/// What gave a device away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmKind {
    /// Two boards claim one serial number: each has a key of its own that the maker certified.
    SerialTwice,
    /// One key is certified for two serial numbers.
    KeyTwice,
    /// The system's version went back. One board cannot do that (rollback protection): another
    /// one holds the same key.
    WentBack,
}

impl AlarmKind {
    const ALL: [Self; 3] = [Self::SerialTwice, Self::KeyTwice, Self::WentBack];

    /// A word for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SerialTwice => "serial_twice",
            Self::KeyTwice => "key_twice",
            Self::WentBack => "went_back",
        }
    }
}

/// What was noticed. The same again is counted, not listed twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Whose device.
    pub maker: String,
    /// Which.
    pub serial: String,
    /// What.
    pub kind: AlarmKind,
    /// More about the last time.
    pub detail: String,
    /// The first time.
    pub first_at: UnixMillis,
    /// The last time.
    pub last_at: UnixMillis,
    /// How often.
    pub times: u64,
}

impl Attest {
    /// The alarms about a maker's devices, the newest first.
    pub async fn alarms(&self, maker: &str) -> Result<Vec<Alarm>, Error> {
        type Row = (String, String, String, i64, i64, i64);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT serial, kind, detail, first_at_ms, last_at_ms, times FROM attest_alarms \
             WHERE maker = $1 ORDER BY last_at_ms DESC, id DESC LIMIT 1000",
        )
        .bind(maker)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(serial, kind, detail, first, last, times)| {
                let kind = AlarmKind::ALL.into_iter().find(|it| it.code() == kind);
                Ok(Alarm {
                    maker: maker.to_owned(),
                    serial,
                    kind: kind.ok_or(Error::Damaged("the kind of an alarm"))?,
                    detail,
                    first_at: crate::registry::time(first),
                    last_at: crate::registry::time(last),
                    times: u64::try_from(times).unwrap_or(0),
                })
            })
            .collect()
    }

    pub(crate) async fn raise(
        &self,
        maker: &str,
        serial: &str,
        kind: AlarmKind,
        detail: &str,
    ) -> Result<(), Error> {
        let said = format!("{serial}: {detail}");
        self.audit.record(maker, &format!("alarm_{}", kind.code()), &said).await?;
        sqlx::query(
            "INSERT INTO attest_alarms (maker, serial, kind, detail, first_at_ms, last_at_ms, \
             times) VALUES ($1, $2, $3, $4, $5, $5, 1) ON CONFLICT (maker, serial, kind) \
             DO UPDATE SET detail = excluded.detail, last_at_ms = excluded.last_at_ms, \
             times = attest_alarms.times + 1",
        )
        .bind(maker)
        .bind(serial)
        .bind(kind.code())
        .bind(detail)
        .bind(self.now_ms())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
