//! What runs beside the requests, from the start to the end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::DbErr;

use super::App;
use crate::audit::{Audit, Entry, Filter, Subject};
use crate::permissions::{Adoption, NoteAdoption};
use crate::platform::clock::Timestamp;
use crate::platform::db::{Order, Span};
use crate::platform::hexadecimal;

/// How often what is past its time is swept away.
const SWEEP: Duration = Duration::from_mins(10);
/// How often keys are read again, because another instance or the command line may have rotated them.
const KEYS: Duration = Duration::from_secs(30);

/// The action of changed policies in the log of what staff did.
const POLICIES: &str = "policies_changed";
/// Within this time all instances notice a change of files that they share.
const TOGETHER: Duration = Duration::from_mins(1);

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
        let note = self.note_of_policies();
        self.tasks.keep("policies", move || Arc::clone(&permissions).watch(Arc::clone(&note)));
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

    /// Writes into the log of what staff did that policies were changed: whoever edits the files is an operator.
    fn note_of_policies(&self) -> NoteAdoption {
        let (audit, clock) = (self.audit.clone(), self.clock.clone());
        Arc::new(move |adoption| note_policies(audit.clone(), clock.now(), adoption).boxed())
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

/// Instances that share their files notice the same change: one row tells it.
async fn note_policies(audit: Audit, now: Timestamp, adoption: Adoption) -> Result<(), DbErr> {
    let sha256 = hexadecimal::written(&adoption.sha256);
    let recent =
        Filter { action: Some(POLICIES.to_owned()), since: Some(now.before(TOGETHER)), ..Filter::default() };
    let newest = Span { order: Order::Desc, after: None, offset: 0, limit: 1 };
    if audit.list(&recent, &newest).await?.iter().any(|row| row.details.contains(&sha256)) {
        return Ok(());
    }
    let entry =
        Entry::by_operator(POLICIES, Subject::System).with("files", adoption.files).with("sha256", sha256);
    audit.record_alone(entry).await
}
