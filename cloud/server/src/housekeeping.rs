//! Once an hour: the audit log's chain is checked, and what has lapsed is deleted.

use crate::app::App;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(3600);

/// Runs until it is dropped.
pub(crate) async fn run(app: App) {
    loop {
        if let Err(error) = sweep(&app).await {
            tracing::error!(%error, "deleting what has lapsed failed; the next try is in an hour");
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn sweep(app: &App) -> anyhow::Result<()> {
    app.check_audit().await?;
    app.accounts.sweep().await?;
    app.push.sweep().await?;
    app.sync.sweep().await?;
    for subject in app.accounts.with_retired_passwords().await? {
        let loss = app.find.earliest_loss(&subject.0).await?;
        app.accounts.forget_retired(&subject, loss).await?;
    }
    Ok(())
}
