//! The rows of the log, and where it ends.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement, Value};
use uuid::Uuid;

use crate::platform::clock::Timestamp;
use crate::platform::db::{Span, Tx, Values, counted, scalar, signed};

/// The columns of a row, in the order of [`Row`].
const COLUMNS: &str =
    "number, at, actor_id, action, subject_type, subject_id, details, trace_id, follows_seal, hash";

/// A row of the log. The moment is in milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// 1, 2, 3, …: none is left out.
    pub number: i64,
    /// When.
    pub at: i64,
    /// Who did it; `None`: the operator, from the command line.
    pub actor_id: Option<Uuid>,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub subject_type: String,
    /// Which one, where there are several.
    pub subject_id: Option<Uuid>,
    /// What there is to know besides: a JSON object.
    pub details: String,
    /// The request that caused it.
    pub trace_id: Option<String>,
    /// Whether the head that it was written behind carried our seal.
    pub follows_seal: bool,
    /// See [`super::Hash`].
    pub hash: Vec<u8>,
}

/// Where the chain ends, as the database says, and the seal that says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromQueryResult)]
pub struct SealedEnd {
    /// The last row.
    pub number: i64,
    /// Its hash; none of an empty log.
    pub hash: Option<Vec<u8>>,
    /// What only a server with the master secret can have made.
    pub seal: Option<Vec<u8>>,
}

/// The head together with the last row that there is.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct End {
    pub(super) number: i64,
    pub(super) hash: Option<Vec<u8>>,
    pub(super) seal: Option<Vec<u8>>,
    pub(super) last: Option<i64>,
}

/// Which rows are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this actor.
    pub actor: Option<Uuid>,
    /// Those of this action.
    pub action: Option<String>,
    /// Those about this subject.
    pub subject: Option<Uuid>,
    /// Those from then on.
    pub since: Option<Timestamp>,
    /// Those from before then.
    pub until: Option<Timestamp>,
}

/// Where the chain ends, held until the transaction ends, so that what is written follows it. `None`: somebody took it away.
pub(super) async fn hold(tx: &Tx) -> Result<Option<SealedEnd>, DbErr> {
    let lock = if tx.get_database_backend() == DbBackend::Postgres { " FOR UPDATE" } else { "" };
    let sql = format!("SELECT number, hash, seal FROM audit_head WHERE id = 1{lock}");
    SealedEnd::find_by_statement(Statement::from_string(tx.get_database_backend(), sql)).one(tx).await
}

/// Writes a row and moves the head, which is held, behind it.
pub(super) async fn append(tx: &Tx, row: &Row, seal: &[u8]) -> Result<(), DbErr> {
    let mut values = Values::default();
    let placed = values.row(columns_of(row));
    let insert = format!("INSERT INTO audit_log ({COLUMNS}) VALUES {placed}");
    let head = values.row([1_i64.into(), row.number.into(), row.hash.clone().into(), seal.to_vec().into()]);
    // The head is there from the beginning; somebody may have taken it away.
    let moved = format!(
        "INSERT INTO audit_head (id, number, hash, seal) VALUES {head} ON CONFLICT (id) DO UPDATE \
         SET number = excluded.number, hash = excluded.hash, seal = excluded.seal"
    );
    let backend = tx.get_database_backend();
    let sql = match backend {
        DbBackend::Postgres => format!("WITH written AS ({insert}) {moved}"),
        _ => format!("{insert}; {moved}"),
    };
    tx.execute_at_the_end(Statement::from_sql_and_values(backend, sql, values.into_vec())).await
}

/// Writes rows as they are.
pub(super) async fn insert(tx: &Tx, rows: &[Row]) -> Result<(), DbErr> {
    let mut values = Values::default();
    let placed: Vec<String> = rows.iter().map(|row| values.row(columns_of(row))).collect();
    let sql = format!("INSERT INTO audit_log ({COLUMNS}) VALUES {}", placed.join(", "));
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values.into_vec());
    tx.execute_raw(statement).await.map(|_| ())
}

fn columns_of(row: &Row) -> [Value; 10] {
    [
        row.number.into(),
        row.at.into(),
        row.actor_id.into(),
        row.action.clone().into(),
        row.subject_type.clone().into(),
        row.subject_id.into(),
        row.details.clone().into(),
        row.trace_id.clone().into(),
        row.follows_seal.into(),
        row.hash.clone().into(),
    ]
}

/// Moves the head, which is held.
pub(super) async fn set_head(tx: &Tx, head: SealedEnd) -> Result<(), DbErr> {
    let sql = "UPDATE audit_head SET number = $1, hash = $2, seal = $3 WHERE id = 1";
    let values: [Value; 3] = [head.number.into(), head.hash.into(), head.seal.into()];
    tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await.map(|_| ())
}

/// Puts another seal on the head, which is held.
pub(super) async fn seal(tx: &Tx, seal: &[u8]) -> Result<(), DbErr> {
    let sql = "UPDATE audit_head SET seal = $1 WHERE id = 1";
    let values = [seal.to_vec().into()];
    tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await.map(|_| ())
}

/// The head and the last row, as of one moment. `None`: there is no head.
pub(super) async fn end(db: &impl ConnectionTrait) -> Result<Option<End>, DbErr> {
    let sql = "SELECT number, hash, seal, (SELECT MAX(number) FROM audit_log) AS last \
               FROM audit_head WHERE id = 1";
    End::find_by_statement(Statement::from_string(db.get_database_backend(), sql)).one(db).await
}

/// The number of the last row; 0 without any.
pub(super) async fn last(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let last: Option<Option<i64>> = scalar(db, "SELECT MAX(number) FROM audit_log", []).await?;
    Ok(last.flatten().unwrap_or(0))
}

/// Rows from one number to another, both with them, in their order.
pub(super) async fn between(
    db: &impl ConnectionTrait,
    from: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<Row>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM audit_log WHERE number >= $1 AND number <= $2 ORDER BY number LIMIT $3"
    );
    let values = [from.into(), until.into(), limit.into()];
    Row::find_by_statement(Statement::from_sql_and_values(db.get_database_backend(), sql, values))
        .all(db)
        .await
}

/// Rows that the filter finds, by their numbers.
pub(super) async fn list(
    db: &impl ConnectionTrait,
    filter: &Filter,
    span: &Span<i64>,
) -> Result<Vec<Row>, DbErr> {
    let (order, behind) = span.order.sql();
    let mut values = Values::default();
    let mut found = filter.conditions(&mut values);
    found.extend(span.after.map(|after| format!("number {behind} {}", values.place(after))));
    let (limit, offset) = (values.place(signed(span.limit)), values.place(signed(span.offset)));
    let sql = format!(
        "SELECT {COLUMNS} FROM audit_log{} ORDER BY number {order} LIMIT {limit} OFFSET {offset}",
        clause(&found)
    );
    Row::find_by_statement(Statement::from_sql_and_values(db.get_database_backend(), sql, values.into_vec()))
        .all(db)
        .await
}

/// How many rows the filter finds.
pub(super) async fn count(db: &impl ConnectionTrait, filter: &Filter) -> Result<u64, DbErr> {
    let mut values = Values::default();
    let sql = format!("SELECT COUNT(*) FROM audit_log{}", clause(&filter.conditions(&mut values)));
    counted(db, sql, values.into_vec()).await
}

impl Filter {
    fn conditions(&self, values: &mut Values) -> Vec<String> {
        let mut conditions = Vec::new();
        let mut add = |condition: &str, value: Option<Value>| {
            conditions.extend(value.map(|value| format!("{condition} {}", values.place(value))));
        };
        add("actor_id =", self.actor.map(Value::from));
        add("action =", self.action.clone().map(Value::from));
        add("subject_id =", self.subject.map(Value::from));
        add("at >=", self.since.map(|since| since.millis().into()));
        add("at <", self.until.map(|until| until.millis().into()));
        conditions
    }
}

fn clause(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}
