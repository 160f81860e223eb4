//! What is written in one statement that could be written in several: each statement is a trip to the database.

use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, DbBackend, Iterable, Statement, Value};

use super::store::{self, history, user};
use crate::events::store::{Drawn, told_of, written_with};
use crate::platform::db::{Tx, Values};

/// A user as they were seen, with the changed columns.
pub(super) fn applied(seen: &user::Model, columns: &user::ActiveModel) -> Result<user::Model, DbErr> {
    let mut row = seen.clone();
    row.revision += 1;
    for (column, value) in changed(seen, columns) {
        row.try_set(column, value)?;
    }
    Ok(row)
}

/// Writes the changed columns of a user as they were seen, the lines of history that tell of it, and its events. `false`,
/// and nothing is written, if the user has changed since. It is for columns that are only shown (`store::changes_standing`).
pub(super) async fn change(
    tx: &Tx,
    seen: &user::Model,
    columns: &user::ActiveModel,
    lines: &[history::Model],
    told: &[Drawn],
) -> Result<bool, DbErr> {
    let mut values = Values::default();
    let mut sets = vec!["revision = revision + 1".to_owned()];
    for (column, value) in changed(seen, columns) {
        sets.push(format!("{} = {}", column.as_str(), values.place(value)));
    }
    if !told.is_empty() {
        // Its lock keeps the user's next event waiting until these are there.
        sets.push(format!("event_sequence = event_sequence + {}", told.len()));
    }
    let (id, revision) = (values.place(seen.id), values.place(seen.revision));
    let update = format!("UPDATE users SET {} WHERE id = {id} AND revision = {revision}", sets.join(", "));
    let rows = format!("(VALUES {}) AS line", store::history_rows(&mut values, lines));
    let into = store::INTO_HISTORY;
    let backend = tx.get_database_backend();
    let sql = if backend == DbBackend::Sqlite {
        let mut parts = vec![update];
        if !told.is_empty() {
            let user = format!("users WHERE users.id = {id} AND changes() = 1");
            parts.push(told_of(&mut values, told, &user, "users"));
        }
        parts.push(format!("{into} SELECT line.* FROM {rows} WHERE changes() > 0"));
        parts.join("; ")
    } else {
        let mut parts = vec![format!("changed AS ({update} RETURNING id, event_sequence)")];
        if !told.is_empty() {
            parts.push(format!("written AS ({})", told_of(&mut values, told, "changed", "changed")));
        }
        format!("WITH {} {into} SELECT line.* FROM {rows}, changed", parts.join(", "))
    };
    tx.touch_profile(seen.id);
    let written = tx.execute_alone(Statement::from_sql_and_values(backend, sql, values.into_vec())).await?;
    Ok(written > 0)
}

/// Writes lines of history of a user together with the events of the same change, at the latest with the end of the
/// transaction.
pub(super) async fn write_down(
    tx: &Tx,
    user: Uuid,
    lines: &[history::Model],
    told: &[Drawn],
) -> Result<(), DbErr> {
    let backend = tx.get_database_backend();
    let mut values = Values::default();
    let rows = store::history_rows(&mut values, lines);
    let mut sql = format!("{} VALUES {rows}", store::INTO_HISTORY);
    if !told.is_empty() {
        sql = written_with(backend, &mut values, user, told, Some(&sql));
    }
    tx.execute_at_the_end(Statement::from_sql_and_values(backend, sql, values.into_vec())).await
}

/// The columns that get another value.
pub(super) fn changed<'a>(
    seen: &'a user::Model,
    columns: &'a user::ActiveModel,
) -> impl Iterator<Item = (user::Column, Value)> + 'a {
    user::Column::iter().filter_map(|column| match columns.get(column) {
        ActiveValue::Set(value) if value != seen.get(column) => Some((column, value)),
        _ => None,
    })
}
