//! Closing an account: everything of it goes, its key at the Key Center first, so that whatever a
//! backup still holds of it opens no more.

use crate::keycenter::user_key;
use crate::{Accounts, Caller, Error, Who, audit};
use std::net::IpAddr;

impl Accounts {
    /// Deletes the account and its key. The caller deletes what other services hold.
    pub async fn close(
        &self,
        caller: &Caller,
        password: &str,
        source: IpAddr,
    ) -> Result<(), Error> {
        self.verify_owner(Who::Account(&caller.subject), password, None, source).await?;
        self.record("owner", "account_closing", &caller.subject, "").await?;
        self.key_center.delete_key(&user_key(&caller.account_id)).await?;
        let mut transaction = self.begin().await?;
        for sql in [
            "DELETE FROM account_sessions WHERE subject = $1",
            "DELETE FROM account_passwords WHERE subject = $1",
            "DELETE FROM account_reset_codes WHERE subject = $1",
            "DELETE FROM account_sign_ins WHERE subject = $1",
            "DELETE FROM account_devices WHERE subject = $1",
            "DELETE FROM account_failures WHERE who = $1",
            "DELETE FROM account_accounts WHERE subject = $1",
        ] {
            sqlx::query(sql).bind(&caller.subject.0).execute(&mut *transaction).await?;
        }
        let entry = self.entry("owner", "account_closed", &caller.subject, "");
        audit::append(&mut transaction, &self.pii, &entry).await?;
        Ok(transaction.commit().await?)
    }
}
