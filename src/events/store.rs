//! The rows of events.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use sea_orm::{Condition, DbBackend, QueryOrder, QuerySelect, QueryTrait, Statement};

use super::Event;
use crate::platform::clock::Timestamp;
use crate::platform::db::{Tx, Values};
use crate::platform::random::first_uuid_v7;

/// Table `events`.
pub mod event {
    use sea_orm::entity::prelude::*;

    /// An event. Moments are milliseconds since the Unix epoch.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "events")]
    pub struct Model {
        /// Drawn for it, beginning with the moment; a repeated delivery carries the same.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        /// Whose event it is; that user may be gone.
        pub user_id: Uuid,
        /// Which of this user's events it is: 1, 2, 3, …
        pub sequence: i64,
        /// The order in which everybody is told; `None` until the relay has given it, where there is one.
        pub position: Option<i64>,
        /// What happened, as `user.created`.
        pub event_type: String,
        /// The data: a JSON object.
        pub payload: String,
        /// The trace id of the request that caused it.
        pub trace_id: Option<String>,
        /// When it happened.
        pub created_at: i64,
        /// When the broker confirmed it.
        pub published_at: Option<i64>,
        /// `parked`: the broker refuses it for itself; `held`: it waits behind one that is parked; `skipped`: it was
        /// parked and given up; `unrouted`: no queue took it.
        pub trouble: Option<String>,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What the broker refuses for itself: it holds its user's later events back.
pub(super) const PARKED: &str = "parked";
/// What waits behind a parked event of its user.
pub(super) const HELD: &str = "held";
/// What was parked and is given up.
const SKIPPED: &str = "skipped";
/// Finds what holds a row of `events` back; the index `events_aside` has it.
pub(super) const PARKED_BEFORE: &str = "SELECT 1 FROM events AS parked WHERE parked.trouble = 'parked' \
                                        AND parked.user_id = events.user_id AND parked.sequence < events.sequence";

/// An event that has its id.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(super) id: Uuid,
    pub(super) event: Event,
}

/// Writes events of one user under the next numbers of its sequence. The user's row must still be there.
pub(super) async fn insert(tx: &Tx, events: &[Drawn]) -> Result<(), DbErr> {
    let Some(first) = events.first() else { return Ok(()) };
    let backend = tx.get_database_backend();
    let mut values = Values::default();
    let sql = written_with(backend, &mut values, first.event.user, events, None);
    tx.execute_at_the_end(Statement::from_sql_and_values(backend, sql, values.into_vec())).await
}

/// Writes events of many users, one of each, under the next number of each one's sequence. Their rows must be there.
pub(super) async fn insert_one_each(tx: &Tx, events: &[Drawn]) -> Result<(), DbErr> {
    if events.is_empty() {
        return Ok(());
    }
    let backend = tx.get_database_backend();
    let mut values = Values::default();
    let users = values.row(events.iter().map(|drawn| drawn.event.user.into()));
    let sql = format!("UPDATE users SET event_sequence = event_sequence + 1 WHERE id IN {users}");
    tx.execute_raw(Statement::from_sql_and_values(backend, sql, values.into_vec())).await?;
    let mut values = Values::default();
    let rows = events.iter().map(|Drawn { id, event }| {
        values.row([
            (*id).into(),
            event.user.into(),
            event.name.into(),
            event.data.clone().into(),
            event.trace_id.clone().into(),
            event.at.millis().into(),
        ])
    });
    let rows = rows.collect::<Vec<_>>().join(", ");
    let sql = format!(
        "INSERT INTO events (id, user_id, sequence, event_type, payload, trace_id, created_at) \
         SELECT told.column1, users.id, users.event_sequence, told.column3, told.column4, told.column5, told.column6 \
         FROM (VALUES {rows}) AS told JOIN users ON users.id = told.column2 ORDER BY told.column1"
    );
    tx.execute_raw(Statement::from_sql_and_values(backend, sql, values.into_vec())).await.map(|_| ())
}

/// SQL that writes events of one user and then whatever `rest` says, in one trip. Each statement is one.
pub(crate) fn written_with(
    backend: DbBackend,
    values: &mut Values,
    user: Uuid,
    events: &[Drawn],
    rest: Option<&str>,
) -> String {
    let id = values.place(user);
    let count = events.len();
    let counted = format!("UPDATE users SET event_sequence = event_sequence + {count} WHERE id = {id}");
    if backend == DbBackend::Sqlite {
        let told = told_of(values, events, &format!("users WHERE users.id = {id}"), "users");
        let rest = rest.map(|rest| format!("; {rest}")).unwrap_or_default();
        return format!("{counted}; {told}{rest}");
    }
    let told = told_of(values, events, "counted", "counted");
    let counted = format!("WITH counted AS ({counted} RETURNING id, event_sequence)");
    match rest {
        Some(rest) => format!("{counted}, told AS ({told}) {rest}"),
        None => format!("{counted} {told}"),
    }
}

/// The part of a statement that inserts the events of the one user in `source`, called `user` there, whose sequence has
/// been moved on for all of them.
pub(crate) fn told_of(values: &mut Values, events: &[Drawn], source: &str, user: &str) -> String {
    let count = events.len();
    let rows = events.iter().zip(1..).map(|(Drawn { id, event }, nth)| {
        let columns = [
            (*id).into(),
            event.name.into(),
            event.data.clone().into(),
            event.trace_id.clone().into(),
            event.at.millis().into(),
        ];
        let row = values.row(columns);
        format!("({nth}, {}", &row[1..])
    });
    let rows: Vec<String> = rows.collect();
    format!(
        "INSERT INTO events (id, user_id, sequence, event_type, payload, trace_id, created_at) \
         SELECT told.column2, {user}.id, {user}.event_sequence - {count} + told.column1, told.column3, told.column4, \
         told.column5, told.column6 FROM (VALUES {}) AS told, {source} ORDER BY told.column1",
        rows.join(", ")
    )
}

/// What the relay has to know.
pub(super) struct Unplaced {
    /// The newest position; 0 before the first.
    pub(super) newest: i64,
    /// Whether there is an event without one.
    pub(super) is_any: bool,
}

/// Whether events wait for their position, and which one is the newest.
pub(super) async fn unplaced(db: &impl ConnectionTrait) -> Result<Unplaced, DbErr> {
    let sql = "SELECT COALESCE((SELECT MAX(position) FROM events WHERE position IS NOT NULL), 0) AS newest, \
               EXISTS (SELECT 1 FROM events WHERE position IS NULL) AS is_any";
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    let Some(row) = row else { return Ok(Unplaced { newest: 0, is_any: false }) };
    Ok(Unplaced { newest: row.try_get("", "newest")?, is_any: row.try_get("", "is_any")? })
}

/// Gives at most `limit` events their positions, in the order of their numbers; how many. None, too, while another
/// instance does so. On SQLite every event has its position from the start, and no number.
pub(super) async fn place(tx: &Tx, limit: u64) -> Result<u64, DbErr> {
    let backend = tx.get_database_backend();
    // Of this table: other databases of the same server, and other schemas, have locks of their own.
    let lock = "SELECT pg_try_advisory_xact_lock('events'::regclass::oid::int, 1)";
    let row = tx.query_one_raw(Statement::from_string(backend, lock)).await?;
    if !row.map_or(Ok(false), |row| row.try_get_by_index(0))? {
        return Ok(0);
    }
    let sql = format!(
        "UPDATE events SET position = known.newest + placed.nth FROM \
         (SELECT number, row_number() OVER (ORDER BY number) AS nth FROM \
         (SELECT number FROM events WHERE position IS NULL ORDER BY number LIMIT {limit}) AS waiting) AS placed, \
         (SELECT COALESCE(MAX(position), 0) AS newest FROM events WHERE position IS NOT NULL) AS known \
         WHERE events.number = placed.number"
    );
    Ok(tx.execute_raw(Statement::from_string(backend, sql)).await?.rows_affected())
}

/// The events behind a position, in the order of positions; at most `limit`.
pub async fn after(db: &impl ConnectionTrait, position: i64, limit: u64) -> Result<Vec<event::Model>, DbErr> {
    matching(db, &Filter::default(), position, limit).await
}

/// The event with this id.
pub async fn by_id(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<event::Model>, DbErr> {
    event::Entity::find().filter(event::Column::Id.eq(id)).one(db).await
}

/// Which events are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of these types; of all, if none is named.
    pub types: Vec<&'static str>,
    /// Only of this user.
    pub user: Option<Uuid>,
    /// Only what happened then or later.
    pub since: Option<Timestamp>,
    /// Only what happened before.
    pub until: Option<Timestamp>,
}

impl Filter {
    fn condition(&self) -> Condition {
        use event::Column::{CreatedAt, EventType, UserId};
        let types = (!self.types.is_empty()).then(|| EventType.is_in(self.types.iter().copied()));
        Condition::all()
            .add_option(types)
            .add_option(self.user.map(|user| UserId.eq(user)))
            .add_option(self.since.map(|since| CreatedAt.gte(since.millis())))
            .add_option(self.until.map(|until| CreatedAt.lt(until.millis())))
    }
}

/// The events behind a position that are meant, in the order of positions; at most `limit`.
pub(super) async fn matching(
    db: &impl ConnectionTrait,
    filter: &Filter,
    position: i64,
    limit: u64,
) -> Result<Vec<event::Model>, DbErr> {
    event::Entity::find()
        .filter(event::Column::Position.gt(position))
        .filter(filter.condition())
        .order_by_asc(event::Column::Position)
        .limit(limit)
        .all(db)
        .await
}

/// A user's events behind one of its sequence, in their order; at most `limit`.
pub async fn of_user(
    db: &impl ConnectionTrait,
    user: Uuid,
    sequence: i64,
    limit: u64,
) -> Result<Vec<event::Model>, DbErr> {
    event::Entity::find()
        .filter(event::Column::UserId.eq(user))
        .filter(event::Column::Sequence.gt(sequence))
        .order_by_asc(event::Column::Sequence)
        .limit(limit)
        .all(db)
        .await
}

/// How many of these there are.
pub(super) async fn how_many(tx: &Tx, ids: &[Uuid]) -> Result<u64, DbErr> {
    event::Entity::find().filter(event::Column::Id.is_in(ids.iter().copied())).count(tx).await
}

/// Lets these events be published again; how many were published or set aside.
pub(super) async fn unpublish(tx: &Tx, ids: &[Uuid]) -> Result<u64, DbErr> {
    publish_again(tx, event::Column::Id.is_in(ids.iter().copied())).await
}

/// The same for the events behind one position, up to another one and with it.
pub(super) async fn unpublish_range(tx: &Tx, after: i64, until: i64) -> Result<u64, DbErr> {
    publish_again(tx, event::Column::Position.gt(after).and(event::Column::Position.lte(until))).await
}

/// What waits behind a parked event is left alone: it goes when that one goes.
async fn publish_again(tx: &Tx, which: SimpleExpr) -> Result<u64, DbErr> {
    use event::Column::{PublishedAt, Trouble};
    lock_aside(tx).await?;
    let updated = event::Entity::update_many()
        .col_expr(PublishedAt, Expr::value(None::<i64>))
        .col_expr(Trouble, Expr::value(None::<String>))
        .filter(which.clone())
        .filter(PublishedAt.is_not_null().or(Trouble.ne(HELD)))
        .exec(tx)
        .await?;
    let_go(tx, which).await?;
    Ok(updated.rows_affected)
}

/// Gives up an event that is parked. How many of its user go on now that were held by it; `None`: it is not parked.
pub(super) async fn skip(tx: &Tx, id: Uuid) -> Result<Option<u64>, DbErr> {
    use event::Column::{Id, Trouble};
    lock_aside(tx).await?;
    let skipped = event::Entity::update_many()
        .col_expr(Trouble, Expr::value(SKIPPED))
        .filter(Id.eq(id))
        .filter(Trouble.eq(PARKED))
        .exec(tx)
        .await?;
    if skipped.rows_affected == 0 { Ok(None) } else { let_go(tx, Id.eq(id)).await.map(Some) }
}

/// Lets go whatever no parked event holds any more: that one may have been forgotten while there was no broker.
pub(super) async fn let_go_of_orphans(tx: &Tx) -> Result<u64, DbErr> {
    lock_aside(tx).await?;
    let_go(tx, event::Column::Trouble.eq(HELD)).await
}

/// Lets go what no parked event holds any more, of the users of these events; how many.
async fn let_go(tx: &Tx, which: SimpleExpr) -> Result<u64, DbErr> {
    use event::Column::{Trouble, UserId};
    let whose = event::Entity::find().select_only().column(UserId).filter(which).into_query();
    let updated = event::Entity::update_many()
        .col_expr(Trouble, Expr::value(None::<String>))
        .filter(Trouble.eq(HELD))
        .filter(UserId.in_subquery(whose))
        .filter(Expr::cust(format!("NOT EXISTS ({PARKED_BEFORE})")))
        .exec(tx)
        .await?;
    Ok(updated.rows_affected)
}

/// One transaction at a time parks, holds or lets go, so that nothing stays held by what is no longer parked. SQLite has one
/// writer anyway.
pub(super) async fn lock_aside(tx: &Tx) -> Result<(), DbErr> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared("SELECT pg_advisory_xact_lock('events'::regclass::oid::int, 2)").await?;
    }
    Ok(())
}

/// Forgets events from before a moment, at most `limit`; how many. Where there is a broker, only what it has got or is not
/// to get any more. The newest position stays, so that the next one is above it.
pub(super) async fn forget(tx: &Tx, moment: Timestamp, broker: bool, limit: i64) -> Result<u64, DbErr> {
    let sql = format!(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id < $1 AND created_at < $2 \
         AND position <> (SELECT MAX(position) FROM events WHERE position IS NOT NULL) AND {} LIMIT {limit})",
        is_told("events", broker)
    );
    let values = [first_uuid_v7(moment).into(), moment.millis().into()];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    Ok(tx.execute_raw(statement).await?.rows_affected())
}

/// Takes the data out of the events of people who are gone for good, since `since`; at most `limit`; how many.
pub(super) async fn empty_of_purged(
    tx: &Tx,
    since: Timestamp,
    broker: bool,
    limit: i64,
) -> Result<u64, DbErr> {
    let sql = format!(
        "UPDATE events SET payload = '{{}}' WHERE id IN (SELECT told.id FROM spent_user_ids AS gone \
         JOIN events AS told ON told.user_id = gone.id WHERE gone.spent_at >= $1 AND told.payload <> '{{}}' \
         AND {} LIMIT {limit})",
        is_told("told", broker)
    );
    let values = [since.millis().into()];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    Ok(tx.execute_raw(statement).await?.rows_affected())
}

/// Whether an event needs to go nowhere any more.
fn is_told(event: &str, broker: bool) -> String {
    if broker {
        format!(
            "{event}.position IS NOT NULL \
             AND ({event}.published_at IS NOT NULL OR {event}.trouble IN ('unrouted', 'skipped'))"
        )
    } else {
        format!("{event}.position IS NOT NULL")
    }
}
