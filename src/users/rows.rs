//! What is read in one statement that could be read in several: each statement is a trip to the database.

use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::{DbBackend, QueryResult, Statement};
use serde::Deserialize;

use super::store::{Named, Seen, history, user};
use crate::platform::db::columns;

/// What a full profile shows beside the row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The newest lines of the history, newest first.
    pub history: Vec<history::Model>,
    /// Whom the user blocks, oldest block first.
    pub blocked: Vec<Uuid>,
    /// Accounts at other providers, the oldest first.
    pub external: Vec<External>,
    /// What was asked for by an [`Aside`].
    pub aside: Option<String>,
}

/// How much a full profile shows beside the row.
#[derive(Clone, Copy, Debug)]
pub struct InFull {
    /// The newest lines of history.
    pub lines: u64,
    /// What else.
    pub aside: Aside,
}

/// What is read of a user beside the row, in the same trip.
#[derive(Clone, Copy, Debug)]
pub enum With {
    /// Nothing.
    Nothing,
    /// Only this.
    Aside(Aside),
    /// What a full profile shows.
    Full(InFull),
}

/// What was so read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    #[default]
    Nothing,
    /// What the [`Aside`] found.
    Aside(Option<String>),
    /// What a full profile shows.
    Full(Beside),
}

/// A column of JSON about a user that a later feature wants read in the same trip: SQL for this database, of the user
/// whose id this other SQL is.
pub type Aside = fn(DbBackend, &str) -> String;

/// An account at another provider, as far as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct External {
    /// When it was linked.
    pub created_at: i64,
    /// The provider.
    pub provider: String,
    /// Who they are there.
    pub subject: String,
    /// The user name there.
    pub username: Option<String>,
    /// The shown name there.
    pub display_name: Option<String>,
    /// The address there.
    pub email: Option<String>,
    /// Where the picture there is.
    pub picture_url: Option<String>,
}

/// The columns of a user `u`.
static COLUMNS: LazyLock<String> = LazyLock::new(|| columns::<user::Entity>("u"));
/// The columns of an [`External`], in its order.
const EXTERNAL: &str =
    "e.created_at, e.provider, e.subject, e.username, e.display_name, e.email, e.picture_url";

/// The user so named, with the blocks between them and `viewer`, deleted or not, and with what is wanted beside the row.
pub async fn seen_by(
    db: &impl ConnectionTrait,
    viewer: Uuid,
    named: &Named,
    with: With,
) -> Result<Option<Seen>, DbErr> {
    let (condition, value): (&str, sea_orm::Value) = match named {
        Named::Id(id) => ("u.id = $1", (*id).into()),
        Named::Username(name) => ("u.username = $1 AND u.deleted_at IS NULL", name.clone().into()),
    };
    let (backend, columns) = (db.get_database_backend(), COLUMNS.as_str());
    let beside = match with {
        With::Nothing => String::new(),
        With::Aside(aside) => format!(", {} AS aside", aside(backend, "u.id")),
        With::Full(in_full) => format!(", {}", columns_beside(backend, "u.id", in_full)),
    };
    let sql = format!(
        "SELECT {columns}, \
         EXISTS (SELECT 1 FROM user_blocks WHERE user_id = u.id AND blocked_id = $2) AS blocks_viewer, \
         EXISTS (SELECT 1 FROM user_blocks WHERE user_id = $2 AND blocked_id = u.id) AS blocked_by_viewer{beside} \
         FROM users u WHERE {condition}"
    );
    let statement = Statement::from_sql_and_values(backend, sql, [value, viewer.into()]);
    let Some(row) = db.query_one_raw(statement).await? else { return Ok(None) };
    let mut seen = Seen::read(&row)?;
    seen.extra = match with {
        With::Nothing => Extra::Nothing,
        With::Aside(_) => Extra::Aside(row.try_get("", "aside")?),
        With::Full(_) => Extra::Full(read_beside(&row, seen.user.id)?),
    };
    Ok(Some(seen))
}

/// What a user's full profile shows beside the row.
pub async fn beside(db: &impl ConnectionTrait, user: Uuid, in_full: InFull) -> Result<Beside, DbErr> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT {}", columns_beside(backend, "$1", in_full));
    let row = db.query_one_raw(Statement::from_sql_and_values(backend, sql, [user.into()])).await?;
    row.map_or_else(|| Ok(Beside::default()), |row| read_beside(&row, user))
}

/// The accounts at other providers of each of these users, as pairs of who and what; of each the oldest first.
pub async fn external_of(db: &impl ConnectionTrait, users: &[Uuid]) -> Result<Vec<(Uuid, External)>, DbErr> {
    let marks: Vec<String> = (1..=users.len()).map(|number| format!("${number}")).collect();
    let sql = format!(
        "SELECT e.user_id, {EXTERNAL} FROM external_accounts e WHERE e.user_id IN ({})",
        marks.join(", ")
    );
    let values = users.iter().map(|user| (*user).into());
    let rows =
        db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values)).await?;
    let mut external: Vec<(Uuid, External)> = rows.iter().map(read_external).collect::<Result<_, _>>()?;
    // In the same order as beside a single row, whatever the database makes of texts.
    external.sort_unstable();
    Ok(external)
}

fn read_external(row: &QueryResult) -> Result<(Uuid, External), DbErr> {
    let external = External {
        created_at: row.try_get("", "created_at")?,
        provider: row.try_get("", "provider")?,
        subject: row.try_get("", "subject")?,
        username: row.try_get("", "username")?,
        display_name: row.try_get("", "display_name")?,
        email: row.try_get("", "email")?,
        picture_url: row.try_get("", "picture_url")?,
    };
    Ok((row.try_get("", "user_id")?, external))
}

/// Columns of JSON: the newest lines of history, the blocks, the accounts at other providers, and what else is wanted.
fn columns_beside(backend: DbBackend, user: &str, in_full: InFull) -> String {
    let (lines, aside) = (in_full.lines, (in_full.aside)(backend, user));
    let (array, all, id, text) = match backend {
        DbBackend::Sqlite => ("json_array", "json_group_array", "hex", ""),
        _ => ("json_build_array", "json_agg", "", "::text"),
    };
    format!(
        "(SELECT {all}({array}({id}(h.id), h.at, h.action, h.description, {id}(h.by_id), h.trace_id)) \
         FROM (SELECT id, at, action, description, by_id, trace_id FROM user_history \
         WHERE user_id = {user} ORDER BY at DESC, id DESC LIMIT {lines}) AS h){text} \
         AS history_lines, \
         (SELECT {all}({array}(b.created_at, {id}(b.blocked_id))) FROM user_blocks AS b WHERE b.user_id = {user}){text} \
         AS blocked_ids, \
         (SELECT {all}({array}({EXTERNAL})) FROM external_accounts AS e WHERE e.user_id = {user}){text} \
         AS external_accounts, {aside} AS aside"
    )
}

type Line = (Uuid, i64, String, String, Option<String>, Option<String>);

fn read_beside(row: &QueryResult, user_id: Uuid) -> Result<Beside, DbErr> {
    let lines: Vec<Line> = read_json(row, "history_lines")?;
    let mut history: Vec<history::Model> = lines
        .into_iter()
        .map(|(id, at, action, description, by, trace_id)| {
            // SQLite writes no id as an empty text.
            let by_id = by.as_deref().and_then(|by| Uuid::try_parse(by).ok());
            history::Model { id, user_id, at, action, description, by_id, trace_id }
        })
        .collect();
    history.sort_unstable_by_key(|line| std::cmp::Reverse((line.at, line.id)));
    let mut blocks: Vec<(i64, Uuid)> = read_json(row, "blocked_ids")?;
    blocks.sort_unstable();
    let mut external: Vec<External> = read_json(row, "external_accounts")?;
    external.sort_unstable();
    let blocked = blocks.into_iter().map(|(_, blocked)| blocked).collect();
    Ok(Beside { history, blocked, external, aside: row.try_get("", "aside")? })
}

/// Of no rows PostgreSQL makes nothing.
fn read_json<T: serde::de::DeserializeOwned>(row: &QueryResult, column: &str) -> Result<Vec<T>, DbErr> {
    let Some(text) = row.try_get::<Option<String>>("", column)? else { return Ok(Vec::new()) };
    serde_json::from_str(&text).map_err(|error| DbErr::Json(error.to_string()))
}
