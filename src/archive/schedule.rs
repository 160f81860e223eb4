//! Backups by themselves: at the minutes of a crontab one of the instances makes one, and old ones go.
//!
//! When the last one began stands in the database. The next is due at the first minute behind that; so what was missed
//! while no server ran is made up for, once, and a server that comes later sees that it was done. What lies ahead of
//! now was made before the clock was set back: it is as good as none, or the clock would have to catch up first.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr, Statement, Value};
use uuid::Uuid;

use super::backup::{Made, keep_newest};
use super::{Archive, Progress};
use crate::platform::clock::{Clock, Timestamp};
use crate::platform::cron::Cron;
use crate::platform::db::{Database, Lease, is_passing, signed};
use crate::platform::random::Random;
use crate::platform::telemetry::metrics::{Family, Sample, number};

/// How often it is looked whether one is due.
const LOOK: Duration = Duration::from_secs(20);
/// An instance that says nothing for so long makes no backup any more.
const HOLD: Duration = Duration::from_mins(2);
/// For how long it is remembered what was made.
const REMEMBERED: Duration = Duration::from_hours(24 * 400);
/// What began further ahead than this began before the clock was set back. Instances whose clocks differ by less see
/// that a backup was made.
const AHEAD: Duration = Duration::from_mins(1);
/// Why one is given up here that another instance makes, or may make by now.
const CUT_OFF: &str = "it was cut off: another instance took over, or the database was away for too long";
/// The longest reason of a failure that is kept, in characters.
const REASON: usize = 500;

/// What the operator has decided.
#[derive(Clone, Debug)]
pub struct Plan {
    /// When.
    pub schedule: Cron,
    /// Where.
    pub folder: PathBuf,
    /// How many are kept.
    pub keep: usize,
}

/// Makes backups when they are due.
#[derive(Clone)]
pub struct Schedule {
    archive: Archive,
    plan: Plan,
    db: Database,
    clock: Clock,
    random: Random,
    lease: Lease,
    /// From when on backups are due where none was made yet, in milliseconds: the start of the server, or an earlier
    /// moment to which the clock was set back since.
    since: Arc<AtomicI64>,
}

/// The last backups that have come to an end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Last {
    /// When the last good one was complete, and how long it is.
    good: Option<(Timestamp, i64)>,
    /// Whether the newest has failed.
    failed: bool,
}

impl Schedule {
    /// A schedule that nobody keeps yet.
    #[must_use]
    pub fn new(archive: Archive, plan: Plan) -> Self {
        let (db, clock, random) = (
            archive.parts.ground.db.clone(),
            archive.parts.ground.clock.clone(),
            archive.parts.ground.random.clone(),
        );
        let started = clock.now();
        let lease = Lease::new(db.clone(), "backup", random.uuid_v7(started), HOLD);
        let since = Arc::new(AtomicI64::new(started.millis()));
        Self { archive, plan, db, clock, random, lease, since }
    }

    /// Keeps the schedule for ever.
    pub async fn keep(self) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "it could not be seen whether a backup is due; it is tried again");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Makes a backup if one is due and no other instance is at it. Whether this one made one, good or not.
    pub async fn look(&self) -> Result<bool, DbErr> {
        if !self.is_due().await? || !self.lease.take().await? {
            return Ok(false);
        }
        // Whoever held it until now may have made the one that was due.
        let due = self.is_due().await;
        let made = match due {
            Ok(true) => self.make().await.map(|()| true),
            other => other,
        };
        self.lease.give_back().await?;
        made
    }

    async fn is_due(&self) -> Result<bool, DbErr> {
        let now = self.clock.now();
        let since = self.since.fetch_min(now.millis(), Ordering::Relaxed).min(now.millis());
        // One without an end was broken off, and is still due.
        let sql = "SELECT MAX(began_at) FROM backups WHERE ended_at IS NOT NULL AND began_at <= $1";
        let latest = now.after(AHEAD).millis();
        let row = self.db.reader().query_one_raw(self.statement(sql, [latest.into()])).await?;
        let last: Option<i64> = row.map_or(Ok(None), |row| row.try_get_by_index(0))?;
        let last = Timestamp::from_millis(last.unwrap_or(since));
        Ok(self.plan.schedule.next_after(last).is_some_and(|due| due <= now))
    }

    async fn make(&self) -> Result<(), DbErr> {
        let began = self.clock.now();
        let id = self.random.uuid_v7(began);
        self.write(
            "INSERT INTO backups (id, began_at) VALUES ($1, $2)",
            vec![id.into(), began.millis().into()],
        )
        .await?;
        let made = tokio::select! {
            made = self.archive.back_up(&self.plan.folder, &Progress::Silent) => made.map_err(|fault| fault.to_string()),
            () = self.lease.lost() => Err(CUT_OFF.to_owned()),
        };
        match made {
            Ok(made) => self.succeeded(id, &made).await,
            Err(reason) => self.failed(id, &reason).await,
        }
    }

    async fn succeeded(&self, id: Uuid, made: &Made) -> Result<(), DbErr> {
        let name = made.path.file_name().map(|name| name.to_string_lossy().into_owned());
        tracing::info!(backup = name, bytes = made.size, files = made.manifest.files, "a backup was made");
        if made.manifest.flawed > 0 {
            tracing::error!(
                files = made.manifest.flawed,
                "files whose bytes are gone or damaged are in no backup"
            );
        }
        let (folder, keep, newest) = (self.plan.folder.clone(), self.plan.keep, made.path.clone());
        match tokio::task::spawn_blocking(move || keep_newest(&folder, keep, &newest)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(removed)) => tracing::info!(removed, "old backups were removed"),
            Ok(Err(error)) => tracing::error!(%error, "old backups could not be removed"),
            Err(error) => tracing::error!(%error, "old backups could not be removed"),
        }
        let sql = "UPDATE backups SET ended_at = $2, name = $3, size = $4, files = $5 WHERE id = $1";
        let now = self.clock.now().millis();
        let values = vec![
            id.into(),
            now.into(),
            name.into(),
            signed(made.size).into(),
            signed(made.manifest.files).into(),
        ];
        self.write(sql, values).await?;
        let old = self.clock.now().before(REMEMBERED).millis();
        self.write("DELETE FROM backups WHERE began_at < $1", vec![old.into()]).await
    }

    async fn failed(&self, id: Uuid, reason: &str) -> Result<(), DbErr> {
        tracing::error!(
            reason,
            "the backup that was due could not be made; the next is tried when it is due"
        );
        let reason: String = reason.chars().take(REASON).collect();
        let sql = "UPDATE backups SET ended_at = $2, error = $3 WHERE id = $1";
        let values: Vec<Value> = vec![id.into(), self.clock.now().millis().into(), reason.into()];
        // What is not written down has not failed, and would begin anew. The database may be what it failed of.
        loop {
            match self.write(sql, values.clone()).await {
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, "that a backup has failed could not be written down; it is tried again");
                }
                written => return written,
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How old the last good backup is, and whether the newest try failed; none if the database does not say.
    pub async fn measures(&self) -> Option<Vec<Family>> {
        let Last { good, failed } = self.last().await.ok()?;
        let now = self.clock.now();
        let gauge = |name, help, value| Family::gauge(name, help, vec![Sample::plain(value)]);
        let mut families = vec![gauge(
            "gatehouse_backup_failing",
            "Whether the newest backup by schedule has failed.",
            number(u64::from(failed)),
        )];
        if let Some((at, size)) = good {
            let age = now.since(at).as_secs();
            families.push(gauge(
                "gatehouse_backup_age_seconds",
                "How long ago the last good backup by schedule was complete.",
                number(age),
            ));
            families.push(gauge(
                "gatehouse_backup_size_bytes",
                "Size of the last good backup by schedule.",
                number(size.unsigned_abs()),
            ));
        }
        Some(families)
    }

    async fn last(&self) -> Result<Last, DbErr> {
        let reader = self.db.reader();
        // One from far ahead would look new until the clock has caught up.
        let latest = self.clock.now().after(AHEAD).millis();
        let good = "SELECT ended_at, size FROM backups WHERE began_at <= $1 AND ended_at <= $1 AND error IS NULL \
                    ORDER BY began_at DESC LIMIT 1";
        let newest = "SELECT error IS NOT NULL FROM backups WHERE began_at <= $1 AND ended_at IS NOT NULL \
                      ORDER BY began_at DESC LIMIT 1";
        let good = reader.query_one_raw(self.statement(good, [latest.into()])).await?;
        let good = good.map(|row| {
            let (at, size): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            Ok::<_, DbErr>((Timestamp::from_millis(at), size))
        });
        let newest = reader.query_one_raw(self.statement(newest, [latest.into()])).await?;
        let failed = newest.map_or(Ok(false), |row| row.try_get_by_index(0))?;
        Ok(Last { good: good.transpose()?, failed })
    }

    async fn write(&self, sql: &'static str, values: Vec<Value>) -> Result<(), DbErr> {
        let statement = self.statement(sql, values);
        self.db.write(move |tx| async move { tx.execute_raw(statement).await.map(|_| ()) }.boxed()).await
    }

    fn statement(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
        Statement::from_sql_and_values(self.db.backend(), sql, values)
    }
}
