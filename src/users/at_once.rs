//! What is written in one statement that could be written in several: each statement is a trip to the database.

use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, DbBackend, Iterable, Statement, Value};

use super::store::{history, user};
use crate::platform::db::Tx;

/// Writes the changed columns of a user as they were seen, and the lines of history that tell of it. `None`, and nothing is
/// written, if the user has changed since. It is for columns that are only shown (`store::changes_standing`).
pub(super) async fn change(
    tx: &Tx,
    seen: &user::Model,
    columns: &user::ActiveModel,
    lines: &[history::Model],
) -> Result<Option<user::Model>, DbErr> {
    let mut values = Values(Vec::new());
    let (mut row, mut sets) = (seen.clone(), vec!["revision = revision + 1".to_owned()]);
    row.revision += 1;
    for (column, value) in changed(seen, columns) {
        row.try_set(column, value.clone())?;
        sets.push(format!("{} = {}", column.as_str(), values.place(value)));
    }
    let (id, revision) = (values.place(seen.id.into()), values.place(seen.revision.into()));
    let update = format!("UPDATE users SET {} WHERE id = {id} AND revision = {revision}", sets.join(", "));
    let lines: Vec<String> = lines.iter().map(|line| values.line(line)).collect();
    let lines = format!("(VALUES {}) AS line", lines.join(", "));
    let into =
        "INSERT INTO user_history (id, user_id, at, action, description, by_id, trace_id) SELECT line.* FROM";
    let backend = tx.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => format!("{update}; {into} {lines} WHERE changes() = 1"),
        _ => format!("WITH changed AS ({update} RETURNING 1) {into} {lines}, changed"),
    };
    tx.touch_profile(seen.id);
    let written = tx.execute_alone(Statement::from_sql_and_values(backend, sql, values.0)).await?;
    Ok((written > 0).then_some(row))
}

/// The columns that get another value.
fn changed<'a>(
    seen: &'a user::Model,
    columns: &'a user::ActiveModel,
) -> impl Iterator<Item = (user::Column, Value)> + 'a {
    user::Column::iter().filter_map(|column| match columns.get(column) {
        ActiveValue::Set(value) if value != seen.get(column) => Some((column, value)),
        _ => None,
    })
}

/// The values of a statement, in the order in which they were given their places.
struct Values(Vec<Value>);

impl Values {
    fn place(&mut self, value: Value) -> String {
        self.0.push(value);
        format!("${}", self.0.len())
    }

    fn line(&mut self, line: &history::Model) -> String {
        let columns = history::Column::iter().map(|column| self.place(line.get(column)));
        format!("({})", columns.collect::<Vec<_>>().join(", "))
    }
}
