//! What runs beside the requests, from the start to the end.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::DbErr;

use super::App;

/// How often what is past its time is swept away.
const SWEEP: Duration = Duration::from_mins(10);
/// How often keys are read again, because another instance or the command line may have rotated them.
const KEYS: Duration = Duration::from_secs(30);

impl App {
    /// Starts what runs beside the requests.
    pub fn start_background(&self) {
        let events = self.events.clone();
        self.tasks.keep("event relay", move || events.clone().relay());
        if let Some(broker) = &self.broker {
            broker.start(&self.tasks);
        }
        let app = self.clone();
        self.tasks.keep("sweep", move || app.clone().sweep_for_ever());
        let app = self.clone();
        self.tasks.keep("keys", move || app.clone().reload_keys_for_ever());
        let permissions = Arc::clone(&self.gate.permissions);
        self.tasks.keep("policies", move || Arc::clone(&permissions).watch());
        let limits = Arc::clone(&self.rate_limits);
        self.tasks.keep("redis", move || {
            let limits = Arc::clone(&limits);
            async move { limits.watch().await }
        });
        let flags = self.flags.clone();
        self.tasks.keep("flags", move || flags.clone().watch());
        let (mail, tasks) = (self.mail.clone(), self.tasks.clone());
        self.tasks.keep("mail", move || mail.clone().work(tasks.clone()));
        let mail = self.mail.clone();
        self.tasks.keep("mail batches", move || mail.clone().work_on_batches());
        let (webhooks, tasks) = (self.webhooks.clone(), self.tasks.clone());
        self.tasks.keep("webhooks", move || webhooks.clone().work(tasks.clone()));
        if let Some(backups) = self.backups.clone() {
            self.tasks.keep("backups", move || backups.clone().keep());
        }
        if self.config.workos.sync_in_process {
            let workos = self.workos.clone();
            self.tasks.keep("workos", move || workos.clone().follow());
        }
    }

    async fn sweep_for_ever(self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "sweeping did not finish; it is tried again");
            }
        }
    }

    /// Forgets what is past its time.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        self.rate_limits.sweep();
        self.audit.tell_head().await?;
        self.sessions.sweep().await?;
        self.otp.sweep().await?;
        self.oauth.sweep().await?;
        self.workos.sweep().await?;
        self.auth.sweep().await?;
        self.proofs.sweep().await?;
        self.mail.sweep().await?;
        self.webhooks.sweep().await?;
        self.users.sweep().await?;
        self.events.sweep().await?;
        self.files.sweep().await
    }

    async fn reload_keys_for_ever(self) {
        loop {
            tokio::time::sleep(KEYS).await;
            if let Err(error) = self.sessions.reload_keys().await {
                tracing::warn!(%error, "the signing keys could not be read again; the known ones stay");
            }
        }
    }

    /// Ends the background work and closes the database.
    pub async fn close(self) {
        self.tasks.close(Duration::from_secs(5)).await;
        self.webhooks.give_back().await;
        if let Err(error) = self.workos.give_back().await {
            tracing::debug!(%error, "the lease of the directory was not given back; it runs out");
        }
        if let Some(export) = &self.export {
            export.exporter.send(self.metrics.gather().await, self.clock.now());
            let exporter = Arc::clone(&export.exporter);
            if tokio::task::spawn_blocking(move || exporter.close()).await.is_err() {
                tracing::warn!("the last measurements may not have reached the collector");
            }
        }
        self.db.close().await;
    }
}
