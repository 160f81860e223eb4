//! What a row that is there becomes by one of a file.

use super::How;
use super::row::{Cell, Row};
use super::tables::Part;

/// A row that becomes another.
#[derive(Debug)]
pub(super) struct Change {
    /// As it is.
    pub(super) before: Row,
    /// As it will be.
    pub(super) after: Row,
    /// Where the two differ.
    pub(super) columns: Vec<&'static str>,
}

impl Change {
    /// Whether one of these columns changes.
    pub(super) fn touches(&self, columns: &[&'static str]) -> bool {
        self.columns.iter().any(|column| columns.contains(column))
    }

    /// Puts something else into a column.
    pub(super) fn set(&mut self, column: &'static str, cell: Cell) {
        self.after.set(column, cell);
        if !self.columns.contains(&column) {
            self.columns.push(column);
        }
    }
}

/// What `held` becomes by `row`, which has the same key; none if nothing.
pub(super) fn changed(held: &Row, row: Row, how: How) -> Option<Change> {
    let (mut after, mut columns) = (held.clone(), Vec::new());
    let cells = held.table.columns.iter().zip(&held.cells).zip(row.cells).enumerate();
    for (at, ((column, old), new)) in cells.skip(held.table.key) {
        let may = match how {
            How::Import => column.fillable && *old == Cell::Null && new != Cell::Null,
            How::Recover => column.part == Part::Content && *old != new,
        };
        if may {
            after.cells[at] = new;
            columns.push(column.name);
        }
    }
    (!columns.is_empty()).then(|| Change { before: held.clone(), after, columns })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::archive::tables::Table;

    fn account(username: &str, email: Cell, deleted_at: Cell) -> Row {
        let table = Table::named("users").unwrap();
        let mut row = Row { table, cells: table.columns.iter().map(|column| column.before.into()).collect() };
        row.set("id", Cell::Id(Uuid::from_u128(1)));
        row.set("username", Cell::Text(username.to_owned()));
        row.set("email", email);
        row.set("deleted_at", deleted_at);
        row
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    #[test]
    fn an_import_fills_what_is_empty_and_overwrites_nothing() {
        let held = account("ann_lee", Cell::Null, Cell::Null);
        let file = account("other_name", text("ann@x.test"), Cell::Whole(5));
        let change = changed(&held, file, How::Import).unwrap();
        assert_eq!(change.columns, ["email"]);
        assert_eq!(change.after.text("username"), Some("ann_lee"));
        assert_eq!(*change.after.cell("deleted_at"), Cell::Null, "to be alive is not to lack something");
        let filled = account("ann_lee", text("mine@x.test"), Cell::Null);
        assert!(changed(&filled, account("ann_lee", text("ann@x.test"), Cell::Null), How::Import).is_none());
    }

    #[test]
    fn a_recovery_overwrites_what_differs_but_for_counters() {
        let mut held = account("ann_lee", text("ann@x.test"), Cell::Null);
        held.set("revision", Cell::Whole(7));
        let change = changed(&held, account("old_name", Cell::Null, Cell::Whole(5)), How::Recover).unwrap();
        assert_eq!(change.columns, ["username", "email", "deleted_at"]);
        assert_eq!(change.after.whole("revision"), Some(7));
        assert!(changed(&held, held.clone(), How::Recover).is_none());
    }
}
