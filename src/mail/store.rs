//! The rows of mails, batches and budgets.

use std::time::Duration;

use sea_orm::sea_query::Query;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};
use uuid::Uuid;

use crate::platform::clock::Timestamp;
use crate::platform::db::{Tx, scalar};

/// A letter that lies further ahead than this was counted before the clock was set back, and would hold people up until
/// it has caught up. Instances whose clocks differ by less count each other's.
const AHEAD: Duration = Duration::from_mins(1);

/// Where a mail stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// It is to be sent, now or after a failed try.
    Waiting,
    /// It was handed over.
    Sent,
    /// What it said was no longer true before it could be sent.
    Expired,
    /// It can't be delivered.
    Dead,
    /// It never was one: made so that nobody can tell that there is nothing to send.
    Nobody,
}

impl State {
    /// Those of mails that there are.
    pub(super) const SHOWN: [Self; 4] = [Self::Waiting, Self::Sent, Self::Expired, Self::Dead];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Expired => "expired",
            Self::Dead => "dead",
            Self::Nobody => "nobody",
        }
    }
}

/// Where a letter to many stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// It is still to be queued for some of those it goes to.
    Queueing,
    /// It is queued for all of them, and some of its mails may wait.
    Sending,
    /// None of its mails waits any more.
    Done,
}

impl BatchState {
    pub(super) const ALL: [Self; 3] = [Self::Queueing, Self::Sending, Self::Done];

    /// Its name in the database, which an index and the statements that need it spell out: never rename.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queueing => "queueing",
            Self::Sending => "sending",
            Self::Done => "done",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// What the `state` of a batch's row says.
    pub(super) fn of_row(row: &QueryResult) -> Result<Self, DbErr> {
        let name: String = row.try_get("", "state")?;
        Self::named(&name).ok_or_else(|| DbErr::Type(format!("mail_batches.state can't be {name}")))
    }
}

/// A mail on its way into the queue.
pub(super) struct NewMail {
    pub id: Uuid,
    pub state: State,
    pub recipient: String,
    pub user_id: Option<Uuid>,
    pub letter: &'static str,
    pub language: String,
    pub content: Option<Vec<u8>>,
    pub batch_id: Option<Uuid>,
    pub good_until: Option<i64>,
    pub created_at: i64,
    pub trace_id: Option<String>,
}

impl NewMail {
    /// One of which no more is known yet.
    pub(super) fn at(id: Uuid, now: Timestamp) -> Self {
        Self {
            id,
            state: State::Waiting,
            recipient: String::new(),
            user_id: None,
            letter: "",
            language: String::new(),
            content: None,
            batch_id: None,
            good_until: None,
            created_at: now.millis(),
            trace_id: None,
        }
    }
}

/// A waiting mail that a worker has leased.
#[derive(Clone, Debug)]
pub(super) struct Leased {
    pub id: Uuid,
    pub lease: Uuid,
    pub recipient: String,
    pub letter: String,
    pub language: String,
    pub content: Option<Vec<u8>>,
    pub batch_id: Option<Uuid>,
    pub attempts: i64,
    pub good_until: Option<i64>,
    pub created_at: i64,
    pub trace_id: Option<String>,
}

/// Queues mails; one statement for all of them.
pub(super) async fn insert_all(tx: &Tx, mails: Vec<NewMail>) -> Result<(), DbErr> {
    if mails.is_empty() {
        return Ok(());
    }
    let mut query = Query::insert();
    query.into_table("mails").columns([
        "id",
        "state",
        "recipient",
        "user_id",
        "letter",
        "language",
        "content",
        "batch_id",
        "rank",
        "attempts",
        "due_at",
        "good_until",
        "created_at",
        "finished_at",
        "trace_id",
    ]);
    for mail in mails {
        let finished_at = (mail.state != State::Waiting).then_some(mail.created_at);
        query.values_panic([
            mail.id.into(),
            mail.state.name().into(),
            mail.recipient.into(),
            mail.user_id.into(),
            mail.letter.into(),
            mail.language.into(),
            mail.content.into(),
            mail.batch_id.into(),
            i32::from(mail.batch_id.is_some()).into(),
            0_i64.into(),
            mail.created_at.into(),
            mail.good_until.into(),
            mail.created_at.into(),
            finished_at.into(),
            mail.trace_id.into(),
        ]);
    }
    tx.execute(&query).await.map(|_| ())
}

/// Queues a mail.
pub(super) async fn insert(tx: &Tx, mail: NewMail) -> Result<(), DbErr> {
    insert_all(tx, vec![mail]).await
}

/// Counts a letter to an address unless that makes more than `most`, of one to five, within `window`. Whether it may be sent.
pub(super) async fn spend(
    tx: &Tx,
    address: &[u8; 32],
    most: u8,
    now: Timestamp,
    window: Duration,
) -> Result<bool, DbErr> {
    // Of the letter that many before this one; the last five are known.
    let before =
        ["fifth_at", "fourth_at", "third_at", "second_at", "first_at"][usize::from(most.clamp(1, 5)) - 1];
    let sql = format!(
        "INSERT INTO mail_budgets (address, first_at, second_at, third_at, fourth_at, fifth_at) \
               VALUES ($1, 0, 0, 0, 0, $2) ON CONFLICT (address) DO UPDATE SET \
               first_at = mail_budgets.second_at, second_at = mail_budgets.third_at, \
               third_at = mail_budgets.fourth_at, fourth_at = mail_budgets.fifth_at, fifth_at = $2 \
               WHERE mail_budgets.{before} <= $3 OR mail_budgets.{before} > $4"
    );
    let values = [
        address.to_vec().into(),
        now.millis().into(),
        now.before(window).millis().into(),
        now.after(AHEAD).millis().into(),
    ];
    Ok(tx.run(&sql, values).await? == 1)
}

/// Whether there is anything for a worker to do: what is due by now, or lies further ahead than it can.
pub(super) async fn is_any_due(
    db: &impl ConnectionTrait,
    now: Timestamp,
    furthest: Timestamp,
) -> Result<bool, DbErr> {
    // Two questions, and the index answers each; for an OR, SQLite may read all mails that there are.
    let sql = "SELECT 1 WHERE EXISTS (SELECT 1 FROM mails WHERE state = 'waiting' AND due_at <= $1) \
               OR EXISTS (SELECT 1 FROM mails WHERE state = 'waiting' AND due_at > $2)";
    let values = [now.millis().into(), furthest.millis().into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(db.query_one_raw(statement).await?.is_some())
}

/// Leases at most `count` mails that are due, or lie further ahead than they can: until `until` nobody else takes them.
pub(super) async fn lease(
    tx: &Tx,
    lease: Uuid,
    now: Timestamp,
    furthest: Timestamp,
    until: Timestamp,
    count: usize,
) -> Result<Vec<Leased>, DbErr> {
    // What another instance is leasing at the same moment is left to it.
    let skip = if tx.get_database_backend() == DbBackend::Postgres { "FOR UPDATE SKIP LOCKED" } else { "" };
    let sql = format!(
        "WITH due AS MATERIALIZED (SELECT id FROM mails \
         WHERE state = 'waiting' AND (due_at <= $3 OR due_at > $5) ORDER BY rank, due_at LIMIT $4 {skip}) \
         UPDATE mails SET lease = $1, due_at = $2, attempts = attempts + 1 WHERE id IN (SELECT id FROM due) \
         RETURNING id, recipient, letter, language, content, batch_id, attempts, good_until, created_at, trace_id"
    );
    let values = [
        lease.into(),
        until.millis().into(),
        now.millis().into(),
        i64::try_from(count).unwrap_or(i64::MAX).into(),
        furthest.millis().into(),
    ];
    let rows = query(tx, &sql, values).await?;
    rows.iter().map(|row| leased(row, lease)).collect()
}

fn leased(row: &QueryResult, lease: Uuid) -> Result<Leased, DbErr> {
    Ok(Leased {
        id: row.try_get("", "id")?,
        lease,
        recipient: row.try_get("", "recipient")?,
        letter: row.try_get("", "letter")?,
        language: row.try_get("", "language")?,
        content: row.try_get("", "content")?,
        batch_id: row.try_get("", "batch_id")?,
        attempts: row.try_get("", "attempts")?,
        good_until: row.try_get("", "good_until")?,
        created_at: row.try_get("", "created_at")?,
        trace_id: row.try_get("", "trace_id")?,
    })
}

/// Books how a mail ended; its content goes unless it is to be kept. Whether the lease was still ours.
pub(super) async fn finish(
    tx: &Tx,
    mail: &Leased,
    state: State,
    error: Option<&str>,
    keep: bool,
    now: Timestamp,
) -> Result<bool, DbErr> {
    let content = if keep { "content" } else { "NULL" };
    let sql = format!(
        "UPDATE mails SET state = $1, finished_at = $2, last_error = $3, lease = NULL, content = {content} \
         WHERE id = $4 AND lease = $5 AND state = 'waiting'"
    );
    let values = [
        state.name().into(),
        now.millis().into(),
        error.map(str::to_owned).into(),
        mail.id.into(),
        mail.lease.into(),
    ];
    Ok(tx.run(&sql, values).await? == 1)
}

/// Books that a try failed and when the next is.
pub(super) async fn put_off(tx: &Tx, mail: &Leased, error: &str, until: Timestamp) -> Result<bool, DbErr> {
    let sql = "UPDATE mails SET due_at = $1, last_error = $2, lease = NULL \
               WHERE id = $3 AND lease = $4 AND state = 'waiting'";
    let values = [until.millis().into(), error.to_owned().into(), mail.id.into(), mail.lease.into()];
    Ok(tx.run(sql, values).await? == 1)
}

/// Forgets mails that ended in one of these states before `moment`, at most `limit`; how many.
pub(super) async fn forget(tx: &Tx, states: &[State], moment: Timestamp, limit: i64) -> Result<u64, DbErr> {
    let mut forgotten = 0;
    for state in states {
        let sql = "DELETE FROM mails WHERE id IN \
                   (SELECT id FROM mails WHERE state = $1 AND finished_at <= $2 LIMIT $3)";
        let values = [state.name().into(), moment.millis().into(), limit.into()];
        forgotten = forgotten.max(tx.run(sql, values).await?);
    }
    Ok(forgotten)
}

/// Forgets batches that ended before `moment`, at most `limit`; how many.
pub(super) async fn forget_batches(tx: &Tx, moment: Timestamp, limit: i64) -> Result<u64, DbErr> {
    let sql = "DELETE FROM mail_batches WHERE id IN \
               (SELECT id FROM mail_batches WHERE state = 'done' AND finished_at <= $1 LIMIT $2)";
    tx.run(sql, [moment.millis().into(), limit.into()]).await
}

/// Forgets budgets that nothing was spent of since `moment`, at most `limit`; how many.
pub(super) async fn forget_budgets(tx: &Tx, moment: Timestamp, limit: i64) -> Result<u64, DbErr> {
    let sql = "DELETE FROM mail_budgets WHERE address IN \
               (SELECT address FROM mail_budgets WHERE fifth_at <= $1 LIMIT $2)";
    tx.run(sql, [moment.millis().into(), limit.into()]).await
}

/// A letter to many, on its way.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub id: Uuid,
    pub reached: Option<Uuid>,
    pub trace_id: Option<String>,
}

/// A new batch: still to be queued for everybody, or queued with it.
pub(super) struct NewBatch {
    pub id: Uuid,
    pub state: BatchState,
    pub content: Vec<u8>,
    pub recipients: i64,
    pub created_by: Uuid,
    pub created_at: i64,
    pub trace_id: Option<String>,
}

pub(super) async fn insert_batch(tx: &Tx, batch: NewBatch) -> Result<(), DbErr> {
    let sql = "INSERT INTO mail_batches (id, state, content, recipients, created_by, created_at, trace_id) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = [
        batch.id.into(),
        batch.state.name().into(),
        batch.content.into(),
        batch.recipients.into(),
        batch.created_by.into(),
        batch.created_at.into(),
        batch.trace_id.into(),
    ];
    tx.run(sql, values).await.map(|_| ())
}

/// The state of each batch that is not done.
pub(super) async fn open_batches(db: &impl ConnectionTrait) -> Result<Vec<BatchState>, DbErr> {
    let sql = "SELECT state FROM mail_batches WHERE state <> 'done'";
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    rows.iter().map(BatchState::of_row).collect()
}

/// The oldest batch that is not queued for everybody yet, held until the transaction ends.
pub(super) async fn next_batch(tx: &Tx) -> Result<Option<Batch>, DbErr> {
    let skip = if tx.get_database_backend() == DbBackend::Postgres { "FOR UPDATE SKIP LOCKED" } else { "" };
    let sql = format!(
        "SELECT id, reached, trace_id FROM mail_batches WHERE state = 'queueing' ORDER BY id LIMIT 1 {skip}"
    );
    let Some(row) = query(tx, &sql, []).await?.into_iter().next() else { return Ok(None) };
    let batch = Batch {
        id: row.try_get("", "id")?,
        reached: row.try_get("", "reached")?,
        trace_id: row.try_get("", "trace_id")?,
    };
    Ok(Some(batch))
}

/// Moves a batch on to the last of those who were queued; with the last step it is queued for everybody.
pub(super) async fn advance_batch(
    tx: &Tx,
    id: Uuid,
    reached: Option<Uuid>,
    queued: usize,
    whole: bool,
) -> Result<(), DbErr> {
    let sql = "UPDATE mail_batches SET reached = COALESCE($1, reached), recipients = recipients + $2, state = $3 \
               WHERE id = $4 AND state = 'queueing'";
    let state = if whole { BatchState::Sending } else { BatchState::Queueing };
    let values =
        [reached.into(), i64::try_from(queued).unwrap_or(i64::MAX).into(), state.name().into(), id.into()];
    tx.run(sql, values).await.map(|_| ())
}

/// Ends the batches of which no mail waits any more.
pub(super) async fn finish_batches(tx: &Tx, keep: bool, now: Timestamp) -> Result<(), DbErr> {
    let content = if keep { "content" } else { "NULL" };
    let sql = format!(
        "UPDATE mail_batches SET state = 'done', finished_at = $1, content = {content} WHERE state = 'sending' \
         AND NOT EXISTS (SELECT 1 FROM mails WHERE batch_id = mail_batches.id AND state = 'waiting')"
    );
    tx.run(&sql, [now.millis().into()]).await.map(|_| ())
}

/// The sealed content that the mails of a batch have in common.
pub(super) async fn batch_content(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<Vec<u8>>, DbErr> {
    let sql = "SELECT content FROM mail_batches WHERE id = $1";
    let content: Option<Option<Vec<u8>>> = scalar(db, sql, [id.into()]).await?;
    Ok(content.flatten())
}

async fn query<const N: usize>(tx: &Tx, sql: &str, values: [Value; N]) -> Result<Vec<QueryResult>, DbErr> {
    tx.query_all_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_batch_is_read_from_its_name_and_from_nothing_else() {
        for state in BatchState::ALL {
            assert_eq!(BatchState::named(state.name()), Some(state));
        }
        for other in ["", "Done", "done ", "waiting"] {
            assert_eq!(BatchState::named(other), None, "{other}");
        }
    }
}
