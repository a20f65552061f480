//! Messages to people. The embedded way out is a folder: one RFC 5322 file each, complete or not
//! there at all, for a mail transfer agent to pick up.

use crate::contact::Email;
use effects::{Clock, Entropy, random_array};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A message to an account's owner.
pub struct Letter<'a> {
    /// To whom.
    pub to: &'a Email,
    /// Its subject: one line of ASCII.
    pub subject: &'a str,
    /// What it says.
    pub body: &'a str,
}

/// Hands messages over to whatever delivers them.
pub trait Post: Send + Sync {
    /// Takes the letter; once it returns, the letter survives a crash.
    fn hand_over(&self, letter: &Letter<'_>) -> io::Result<()>;
}

/// A folder of `.eml` files.
pub struct Outbox {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Outbox {
    /// In `folder`, which is made where it is missing.
    pub fn open(
        folder: PathBuf,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, clock, entropy })
    }
}

impl Post for Outbox {
    fn hand_over(&self, letter: &Letter<'_>) -> io::Result<()> {
        let now = self.clock.now();
        let id = u64::from_be_bytes(random_array(&*self.entropy));
        let text = format!(
            "From: Holdfast <no-reply@holdfast.invalid>\r\nTo: <{}>\r\nSubject: {}\r\n\
             Date: {}\r\nMessage-ID: <{id:016x}@holdfast.invalid>\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n",
            letter.to.as_str(),
            letter.subject,
            date(now.seconds()),
            letter.body.replace('\n', "\r\n"),
        );
        let name = format!("{:013}.{id:016x}.eml", now.0);
        effects::durable::replace(&self.folder.join(name), text.as_bytes(), 0o600)
    }
}

/// A date as RFC 5322, 3.3 writes it, in UTC.
fn date(seconds: u64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = civil_date(seconds / 86_400);
    let time = seconds % 86_400;
    format!(
        "{day} {} {year} {:02}:{:02}:{:02} +0000",
        MONTHS[month as usize - 1],
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01. Works in eras of 400
/// years that begin on the first of March, so that the leap day comes last.
#[must_use]
pub const fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_gregorian_calendar() {
        assert_eq!(civil_date(0), (1970, 1, 1));
        assert_eq!(civil_date(11_016), (2000, 2, 29));
        assert_eq!(civil_date(11_017), (2000, 3, 1));
        assert_eq!(date(784_111_777), "6 Nov 1994 08:49:37 +0000");
    }
}
