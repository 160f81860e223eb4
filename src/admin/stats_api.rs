//! How things stand, as the console draws it.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use poem_openapi::{Object, OpenApi, Tags};
use sea_orm::DbErr;
use serde::Serialize;
use tokio::sync::OnceCell;

use super::email_api::MailCounts;
use crate::events::Broker;
use crate::files::Files;
use crate::mail::Mail;
use crate::permissions::{Allowed, System};
use crate::platform::clock::Clock;
use crate::platform::problem::Breakage;
use crate::platform::web::Json;
use crate::sessions::{Role, Sessions};
use crate::users::{Census, MadeOn, Users, day_of};

/// Some of it is counted row by row, so nobody has it counted more often than this.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Days of sign-ups that are shown, today with them.
const DAYS: i64 = 30;
/// Seconds of a day.
const DAY: i64 = 86_400;

/// The operation that tells how things stand.
pub struct StatsApi {
    parts: StatsParts,
    /// What was counted, or is being counted: whoever asks meanwhile waits for the same numbers.
    known: Cache<(), Arc<OnceCell<Arc<Stats>>>>,
}

/// Whom it asks.
pub struct StatsParts {
    /// Time.
    pub clock: Clock,
    /// Who has an account.
    pub users: Users,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// Letters.
    pub mail: Mail,
    /// Files.
    pub files: Files,
    /// The message broker, if there is one.
    pub broker: Option<Broker>,
}

#[derive(Tags)]
enum Section {
    /// The admin's tools.
    Admin,
}

crate::permissions! {
    /// Read how things stand.
    ReadStats: StatsRead on System;
}

/// How things stand.
#[derive(Clone, Debug, Serialize, Object)]
pub struct Stats {
    /// When this was counted, in seconds since the Unix epoch; at most half a minute ago.
    pub counted_at: i64,
    /// People.
    pub users: UserStats,
    /// Accounts made on each of the last thirty days (UTC), the oldest day first; those removed for good are not counted.
    pub sign_ups: Vec<DayCount>,
    /// Who is signed in.
    pub sessions: SessionStats,
    /// Where the mails of the queue stand.
    pub mail: MailCounts,
    /// Events that wait for the message broker; null without one.
    #[oai(nullable)]
    pub outbox: Option<OutboxStats>,
    /// What people keep here.
    pub storage: StorageStats,
}

/// How many people there are, and how they are.
#[derive(Clone, Debug, Serialize, Object)]
pub struct UserStats {
    /// Accounts that may be used.
    pub active: u64,
    /// Accounts that are banned or switched off.
    pub banned: u64,
    /// Accounts that are deleted and can still be restored.
    pub deleted: u64,
    /// Of the active ones: those with an e-mail address that is proved.
    pub verified: u64,
    /// Of the active ones: those with a second factor.
    pub second_factor: u64,
    /// Of the active ones: those with each role. Somebody with two counts for both.
    pub roles: Vec<RoleCount>,
}

/// How many people have a role.
#[derive(Clone, Debug, Serialize, Object)]
pub struct RoleCount {
    /// The role.
    pub role: String,
    /// How many.
    pub count: u64,
}

/// How many on one day.
#[derive(Clone, Copy, Debug, Serialize, Object)]
pub struct DayCount {
    /// When the day began, in seconds since the Unix epoch.
    pub day: i64,
    /// How many.
    pub count: u64,
}

/// Who is signed in.
#[derive(Clone, Copy, Debug, Serialize, Object)]
pub struct SessionStats {
    /// Sessions that have not run out.
    pub open: u64,
}

/// Events that wait for the message broker.
#[derive(Clone, Copy, Debug, Serialize, Object)]
pub struct OutboxStats {
    /// How many; more than a million are not counted.
    pub waiting: u64,
    /// How old the first of them is, in seconds.
    pub oldest_seconds: u64,
}

/// What people keep here.
#[derive(Clone, Copy, Debug, Serialize, Object)]
pub struct StorageStats {
    /// Files, pictures among them.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
}

#[OpenApi(prefix_path = "/admin", tag = "Section::Admin")]
impl StatsApi {
    /// How things stand
    ///
    /// For admins: people by state and role, sign-ups by day, sessions, the queues of mails and events, storage. Counted at
    /// most twice a minute.
    #[oai(path = "/stats", method = "get", operation_id = "read_stats")]
    async fn read(&self, _allowed: Allowed<ReadStats>) -> poem::Result<Json<Stats>> {
        let stats = self.stats().await.map_err(|error| Breakage::from(error).problem())?;
        Ok(Json(Stats::clone(&stats)))
    }
}

impl StatsApi {
    /// The operation; counts nothing yet.
    #[must_use]
    pub fn new(parts: StatsParts) -> Self {
        Self { parts, known: Cache::builder().max_capacity(1).time_to_live(REMEMBERED).build() }
    }

    async fn stats(&self) -> Result<Arc<Stats>, DbErr> {
        let stats = self.known.get_with((), Arc::default);
        let counted = stats.get_or_try_init(async || Ok::<_, DbErr>(Arc::new(self.count().await?))).await?;
        Ok(Arc::clone(counted))
    }

    async fn count(&self) -> Result<Stats, DbErr> {
        let StatsParts { clock, users, sessions, mail, files, broker } = &self.parts;
        let now = clock.now();
        let today = day_of(now);
        let outbox = match broker {
            Some(broker) => {
                let backlog = broker.backlog().await?;
                let oldest_seconds = backlog.age.unwrap_or_default().as_secs();
                Some(OutboxStats { waiting: backlog.pending, oldest_seconds })
            }
            None => None,
        };
        let (kept, bytes) = files.kept().await?;
        Ok(Stats {
            counted_at: now.seconds(),
            users: users.census().await?.into(),
            sign_ups: by_day(today, &users.made_since(today - DAYS + 1).await?),
            sessions: SessionStats { open: sessions.count_open().await? },
            mail: mail.counts().await?.into(),
            outbox,
            storage: StorageStats { files: kept, bytes },
        })
    }
}

/// One number for each day, also where there was none.
fn by_day(today: i64, made: &[MadeOn]) -> Vec<DayCount> {
    let count = |day: i64| made.iter().find(|made| made.day == day).map_or(0, |made| made.people);
    let day = |day: i64| DayCount { day: day * DAY, count: count(day).unsigned_abs() };
    (today - DAYS + 1..=today).map(day).collect()
}

impl From<Census> for UserStats {
    fn from(census: Census) -> Self {
        let Census { active, banned, deleted, verified, second_factor, roles } = census;
        let role = |(role, count): (Role, u64)| RoleCount { role: role.name().to_owned(), count };
        Self {
            active,
            banned,
            deleted,
            verified,
            second_factor,
            roles: roles.into_iter().map(role).collect(),
        }
    }
}
