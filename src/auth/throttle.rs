//! Who tried too often. Tries are counted before a secret is looked at, in the database, so that parallel tries
//! don't slip by each other, other instances count along and a restart forgives nobody.
//!
//! An account slows down after each failure and locks after a hundred in a row; the same holds for names that no
//! account has, so that the answer does not tell them apart. A client may fail so often in a window.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sea_orm::{ConnectionTrait, DbErr, Statement};
use uuid::Uuid;

use crate::platform::clock::Timestamp;
use crate::platform::config::Quota;
use crate::platform::db::Tx;
use crate::platform::problem::RetryAfter;

/// Tries of one account that may be under way at once while it has no failure.
const AT_ONCE: i64 = 5;
/// A try that has not ended after this never will: its server died.
const LOST: Duration = Duration::from_mins(1);
/// Wrong codes of a second factor (security.md 0): no account takes more in a day.
const WRONG_CODES: Quota = Quota { limit: 20, window: Duration::from_hours(24) };
/// Whose they are is told once in that time.
const TOLD: Quota = Quota { limit: 1, window: WRONG_CODES.window };
/// Mailed codes stand a minute apart, ...
pub const CODES_APART: Duration = Duration::from_mins(1);
const ONE_CODE: Quota = Quota { limit: 1, window: CODES_APART };
/// ... and are few in an hour.
const MANY_CODES: Quota = Quota { limit: 5, window: Duration::from_hours(1) };
/// Links that an account is sent in an hour.
const LINKS: Quota = Quota { limit: 3, window: Duration::from_hours(1) };
/// The failure in a row that locks until the day ends; the number stands in the statement, too.
const LOCKED_AT: i64 = 100;
/// What began further ahead than this began before the clock was set back, and would hold people up until it has
/// caught up. Instances whose clocks differ by less don't forgive each other's failures.
pub const AHEAD: Duration = Duration::from_mins(1);
/// Failures are forgotten when there was none for so long.
const FORGET: Duration = Duration::from_hours(24);

/// What tries are counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// An account.
    Account(Uuid),
    /// A name that no account has: its keyed digest.
    Nobody([u8; 32]),
    /// A device from which the account was fully signed in to before: an attacker who locks the account does not
    /// lock this.
    Device(Uuid),
}

impl Bucket {
    fn key(&self) -> String {
        match self {
            Self::Account(id) => format!("account:{id}"),
            Self::Nobody(digest) => format!("nobody:{}", URL_SAFE_NO_PAD.encode(digest)),
            Self::Device(id) => format!("device:{id}"),
        }
    }
}

/// What a client's tries are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Signing in, and proving who one is.
    SignIn,
    /// Signing up.
    SignUp,
    /// Asking for a link to a new password, or to prove an address.
    Forgot,
    /// Asking, as a service, what tokens stand for.
    Introspect,
}

impl Act {
    const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignUp => "sign-up",
            Self::Forgot => "forgot",
            Self::Introspect => "introspect",
        }
    }
}

/// So many tries of something in so long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    key: String,
    quota: Quota,
}

impl Window {
    /// What a client does: an IPv4 address, or an IPv6 network, told apart from those of other sizes by `size`.
    #[must_use]
    pub fn of_client(act: Act, client: std::net::IpAddr, size: &'static str, quota: Quota) -> Self {
        Self { key: format!("{}:{client}{size}", act.name()), quota }
    }

    /// Wrong codes of an account's second factor, by whichever way of signing in.
    #[must_use]
    pub fn second_factor(user: Uuid) -> Self {
        Self { key: format!("otp:{user}"), quota: WRONG_CODES }
    }

    /// Letters that tell an account that these are used up.
    #[must_use]
    pub fn told_of_guesses(user: Uuid) -> Self {
        Self { key: format!("otp-told:{user}"), quota: TOLD }
    }

    /// The same on a device that was fully signed in before: whoever guesses elsewhere does not lock it.
    #[must_use]
    pub fn second_factor_on(device: Uuid) -> Self {
        Self { key: format!("otp-device:{device}"), quota: WRONG_CODES }
    }

    /// Codes that an account is mailed.
    #[must_use]
    pub fn codes(user: Uuid) -> [Self; 2] {
        [
            Self { key: format!("code:{user}"), quota: ONE_CODE },
            Self { key: format!("codes:{user}"), quota: MANY_CODES },
        ]
    }

    /// Links that are asked for by this name or address (its keyed digest), whether it is anybody's or not.
    #[must_use]
    pub fn links(asked: &[u8; 32]) -> Self {
        Self { key: format!("links:{}", URL_SAFE_NO_PAD.encode(asked)), quota: LINKS }
    }
}

/// A try that was counted and let begin.
#[derive(Clone, Debug)]
pub struct Try {
    /// What it is counted by.
    pub bucket: Bucket,
    /// The windows of its client: its own, and that of the network around it.
    pub windows: Vec<Window>,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The secret was right: what failed before is forgiven.
    Right,
    /// It was wrong: the next try has to wait.
    Wrong,
    /// Nothing was learned.
    Nothing,
}

/// Counts a try and lets it begin, or says when the next may.
pub async fn begin(tx: &Tx, tried: &Try, now: Timestamp) -> Result<Result<(), RetryAfter>, DbErr> {
    if let Err(wait) = enter_all(tx, &tried.windows, now).await? {
        return Ok(Err(wait));
    }
    begin_for(tx, &tried.bucket, now).await
}

/// Ends a try; whether it has locked what it was counted by. Rows are taken in the same order as when it began, so
/// that two tries never wait for each other.
pub async fn settle(tx: &Tx, tried: &Try, end: End, now: Timestamp) -> Result<bool, DbErr> {
    if end != End::Wrong {
        leave_all(tx, &tried.windows).await?;
    }
    match end {
        End::Right => succeed(tx, &tried.bucket, now).await?,
        End::Nothing => give_up(tx, &tried.bucket).await?,
        End::Wrong => return fail(tx, &tried.bucket, now).await,
    }
    Ok(false)
}

/// Counts a try of a client, or says when the next may be made.
pub async fn enter(tx: &Tx, window: &Window, now: Timestamp) -> Result<Result<(), RetryAfter>, DbErr> {
    let sql = "INSERT INTO throttles (bucket, failures, pending, started_at, not_before, forget_at) \
               VALUES ($1, 1, 0, $2, 0, $3) ON CONFLICT (bucket) DO UPDATE SET \
               failures = CASE WHEN throttles.started_at BETWEEN $4 AND $5 THEN throttles.failures + 1 ELSE 1 END, \
               started_at = CASE WHEN throttles.started_at BETWEEN $4 AND $5 THEN throttles.started_at ELSE $2 END, \
               forget_at = CASE WHEN throttles.started_at BETWEEN $4 AND $5 THEN throttles.forget_at ELSE $3 END \
               WHERE throttles.started_at NOT BETWEEN $4 AND $5 OR throttles.failures < $6";
    let values = [
        window.key.clone().into(),
        now.millis().into(),
        now.after(window.quota.window).millis().into(),
        in_window(window, now).into(),
        now.after(AHEAD).millis().into(),
        i64::from(window.quota.limit).into(),
    ];
    if tx.run(sql, values).await? == 1 {
        return Ok(Ok(()));
    }
    Ok(Err(wait_until(number(tx, "forget_at", &window.key).await?, now)))
}

/// Counts a try of a client in each of its windows, or says when the next may be made.
pub async fn enter_all(tx: &Tx, windows: &[Window], now: Timestamp) -> Result<Result<(), RetryAfter>, DbErr> {
    for window in windows {
        if let Err(wait) = enter(tx, window, now).await? {
            return Ok(Err(wait));
        }
    }
    Ok(Ok(()))
}

/// Says when the next try may be made, if the window is full. Counts nothing.
pub async fn look(
    db: &impl ConnectionTrait,
    window: &Window,
    now: Timestamp,
) -> Result<Result<(), RetryAfter>, DbErr> {
    let sql = "SELECT forget_at FROM throttles \
               WHERE bucket = $1 AND started_at BETWEEN $2 AND $3 AND failures >= $4";
    let values = [
        window.key.clone().into(),
        in_window(window, now).into(),
        now.after(AHEAD).millis().into(),
        i64::from(window.quota.limit).into(),
    ];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let Some(full) = db.query_one_raw(statement).await? else { return Ok(Ok(())) };
    Ok(Err(wait_until(full.try_get_by_index(0)?, now)))
}

/// The earliest beginning of a window that still runs.
fn in_window(window: &Window, now: Timestamp) -> i64 {
    now.before(window.quota.window).millis().saturating_add(1)
}

/// Takes a client's try back: it was no failure.
async fn leave(tx: &Tx, window: &Window) -> Result<(), DbErr> {
    let sql = "UPDATE throttles SET failures = failures - 1 WHERE bucket = $1 AND failures > 0";
    tx.run(sql, [window.key.clone().into()]).await.map(|_| ())
}

/// Takes a client's try back in each of its windows.
pub async fn leave_all(tx: &Tx, windows: &[Window]) -> Result<(), DbErr> {
    for window in windows {
        leave(tx, window).await?;
    }
    Ok(())
}

/// Lets a try of an account begin, or says when the next may.
async fn begin_for(tx: &Tx, bucket: &Bucket, now: Timestamp) -> Result<Result<(), RetryAfter>, DbErr> {
    let sql = "INSERT INTO throttles (bucket, failures, pending, started_at, not_before, forget_at) \
               VALUES ($1, 0, 1, $2, 0, $3) ON CONFLICT (bucket) DO UPDATE SET \
               pending = CASE WHEN throttles.started_at BETWEEN $4 AND $6 THEN throttles.pending + 1 ELSE 1 END, \
               started_at = $2, forget_at = $3 \
               WHERE throttles.started_at > $6 OR throttles.not_before <= $2 AND (throttles.started_at < $4 OR \
               throttles.pending < CASE WHEN throttles.failures = 0 THEN $5 ELSE 1 END)";
    let values = [
        bucket.key().into(),
        now.millis().into(),
        now.after(FORGET).millis().into(),
        now.before(LOST).millis().into(),
        AT_ONCE.into(),
        now.after(AHEAD).millis().into(),
    ];
    if tx.run(sql, values).await? == 1 {
        return Ok(Ok(()));
    }
    Ok(Err(wait_until(number(tx, "not_before", &bucket.key()).await?, now)))
}

/// Ends a try that failed: the next has to wait, longer each time, from the hundredth on until the day ends. Whether
/// this was the hundredth.
async fn fail(tx: &Tx, bucket: &Bucket, now: Timestamp) -> Result<bool, DbErr> {
    let sql = "UPDATE throttles SET failures = failures + 1, \
               pending = CASE WHEN pending > 0 THEN pending - 1 ELSE 0 END, forget_at = $3, \
               not_before = CASE WHEN failures + 1 >= 100 THEN $4 WHEN failures + 1 >= 25 THEN $2 + 10000 \
               WHEN failures + 1 >= 9 THEN $2 + 5000 WHEN failures + 1 >= 3 THEN $2 + 3000 \
               ELSE $2 + 1000 END WHERE bucket = $1 RETURNING failures";
    let values = [
        bucket.key().into(),
        now.millis().into(),
        now.after(FORGET).millis().into(),
        end_of_day(now).millis().into(),
    ];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    let failures: Option<i64> =
        tx.query_one_raw(statement).await?.map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(failures == Some(LOCKED_AT))
}

/// Forgives an account, or a device, all its failures: it was recovered, or somebody is in.
pub async fn forgive(tx: &Tx, bucket: &Bucket, now: Timestamp) -> Result<(), DbErr> {
    // Tries that are under way stay counted: their own ends will tell.
    let sql = "UPDATE throttles SET failures = 0, not_before = 0, forget_at = $2 WHERE bucket = $1";
    tx.run(sql, [bucket.key().into(), now.after(LOST).millis().into()]).await.map(|_| ())
}

/// Ends a try that succeeded: what failed before is forgiven.
async fn succeed(tx: &Tx, bucket: &Bucket, now: Timestamp) -> Result<(), DbErr> {
    let sql = "UPDATE throttles SET failures = 0, not_before = 0, forget_at = $2, \
               pending = CASE WHEN pending > 0 THEN pending - 1 ELSE 0 END WHERE bucket = $1";
    tx.run(sql, [bucket.key().into(), now.after(LOST).millis().into()]).await.map(|_| ())
}

/// Ends a try that came to nothing, neither right nor wrong.
async fn give_up(tx: &Tx, bucket: &Bucket) -> Result<(), DbErr> {
    let sql = "UPDATE throttles SET pending = pending - 1 WHERE bucket = $1 AND pending > 0";
    tx.run(sql, [bucket.key().into()]).await.map(|_| ())
}

/// Forgets what is past, at most `limit` rows; returns how many.
pub async fn forget(tx: &Tx, now: Timestamp, limit: i64) -> Result<u64, DbErr> {
    let sql = "DELETE FROM throttles WHERE bucket IN \
               (SELECT bucket FROM throttles WHERE forget_at <= $1 AND not_before <= $1 LIMIT $2)";
    tx.run(sql, [now.millis().into(), limit.into()]).await
}

async fn number(tx: &Tx, column: &str, bucket: &str) -> Result<i64, DbErr> {
    let sql = format!("SELECT {column} FROM throttles WHERE bucket = $1");
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, [bucket.into()]);
    tx.query_one_raw(statement).await?.map_or(Ok(0), |row| row.try_get_by_index(0))
}

fn wait_until(moment: i64, now: Timestamp) -> RetryAfter {
    RetryAfter(Timestamp::from_millis(moment).since(now).as_millis().div_ceil(1000).try_into().unwrap_or(1))
}

/// Midnight (UTC) after `now`.
fn end_of_day(now: Timestamp) -> Timestamp {
    const DAY: i64 = 24 * 60 * 60;
    Timestamp::from_seconds((now.seconds().div_euclid(DAY) + 1) * DAY)
}
