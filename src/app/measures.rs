//! What is measured, and sent to a collector.

use std::sync::Arc;
use std::time::Duration;

use super::App;
use crate::platform::clock::Clock;
use crate::platform::telemetry::metrics::{Family, Metrics, Sample, number};
use crate::platform::telemetry::otlp::Exporter;

/// How long what only the database knows is good enough as a measurement.
const RARELY: Duration = Duration::from_secs(30);

impl App {
    /// Says what each feature measures. A new one is a line here.
    pub(super) fn measure(&self) {
        let (db, passwords, limits) =
            (self.db.clone(), self.passwords.clone(), Arc::clone(&self.rate_limits));
        self.metrics.tell(move || db.measures());
        self.metrics.tell(move || passwords.measures());
        self.metrics.tell(move || limits.measures());
        let caches = (Arc::clone(&self.sessions), self.pictures.clone(), self.profiles.clone());
        self.metrics.tell(move || {
            let (sessions, pictures, profiles) = &caches;
            let looks = sessions.looks().into_iter().chain(pictures.looks()).chain([profiles.looks()]);
            vec![looks_of_caches(looks)]
        });
        let sessions = Arc::clone(&self.sessions);
        self.metrics.ask(RARELY, move || {
            let sessions = Arc::clone(&sessions);
            async move {
                let open = Sample::plain(number(sessions.count_open().await.ok()?));
                Some(vec![Family::gauge(
                    "gatehouse_sessions_open",
                    "Sessions that have not run out.",
                    vec![open],
                )])
            }
        });
        let mail = self.mail.clone();
        self.metrics.ask(RARELY, move || {
            let mail = mail.clone();
            async move { mail.measures().await }
        });
        let webhooks = self.webhooks.clone();
        self.metrics.ask(RARELY, move || {
            let webhooks = webhooks.clone();
            async move { webhooks.measures().await }
        });
        if let Some(broker) = self.broker.clone() {
            self.metrics.ask(RARELY, move || {
                let broker = broker.clone();
                async move { broker.measures().await }
            });
        }
        if let Some(backups) = self.backups.clone() {
            self.metrics.ask(RARELY, move || {
                let backups = backups.clone();
                async move { backups.measures().await }
            });
        }
        let workos = self.workos.clone();
        self.metrics.ask(RARELY, move || {
            let workos = workos.clone();
            async move { workos.measures().await }
        });
        if let Some(export) = self.export.clone() {
            let (metrics, clock, every) =
                (self.metrics.clone(), self.clock.clone(), self.config.otlp.interval);
            self.tasks.keep("metrics", move || {
                send_for_ever(Arc::clone(&export.exporter), metrics.clone(), clock.clone(), every)
            });
        }
    }
}

async fn send_for_ever(exporter: Arc<Exporter>, metrics: Metrics, clock: Clock, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        exporter.send(metrics.gather().await, clock.now());
    }
}

fn looks_of_caches(looks: impl Iterator<Item = (&'static str, (u64, u64))>) -> Family {
    let samples = looks.flat_map(|(cache, (hits, misses))| {
        [("hit", hits), ("miss", misses)]
            .map(|(found, count)| Sample::labelled([("cache", cache), ("result", found)], number(count)))
    });
    let help = "Looks into what is remembered: whether it was there.";
    Family::counter("gatehouse_cache_looks_total", help, samples.collect())
}
