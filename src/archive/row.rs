//! A row on its way, whichever database it comes from or goes to.

use std::borrow::Cow;
use std::fmt;

use sea_orm::{DbErr, QueryResult, Value};
use uuid::Uuid;

use super::tables::{Before, Column, Kind, Part, Table};
use crate::platform::hexadecimal;

/// What stands in one column. It can't be printed: it may be a password's hash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// Nothing.
    Null,
    /// Yes or no.
    Flag(bool),
    /// An integer.
    Whole(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A UUID.
    Id(Uuid),
}

impl fmt::Debug for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Cell(…)")
    }
}

/// One row of a table that travels: a cell for each of its columns.
#[derive(Clone, Debug)]
pub struct Row {
    /// Whose row it is.
    pub table: &'static Table,
    /// What stands in it, in the order of the table's columns.
    pub cells: Vec<Cell>,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where.
    pub column: &'static str,
    /// What, for a person. Never what stands there.
    pub words: Cow<'static, str>,
}

impl Flaw {
    /// What is wrong in which column.
    pub fn new(column: &'static str, words: impl Into<Cow<'static, str>>) -> Self {
        Self { column, words: words.into() }
    }
}

impl Row {
    /// What stands in a column; nothing where there is no such column.
    #[must_use]
    pub fn cell(&self, column: &str) -> &Cell {
        self.table.position(column).and_then(|at| self.cells.get(at)).unwrap_or(&Cell::Null)
    }

    /// The text of a column, if there is some.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.cell(column) {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The UUID of a column, if there is one.
    #[must_use]
    pub fn id(&self, column: &str) -> Option<Uuid> {
        if let Cell::Id(id) = self.cell(column) { Some(*id) } else { None }
    }

    /// The number of a column, if there is one.
    #[must_use]
    pub fn whole(&self, column: &str) -> Option<i64> {
        if let Cell::Whole(number) = self.cell(column) { Some(*number) } else { None }
    }

    /// Whether a column says yes.
    #[must_use]
    pub fn flag(&self, column: &str) -> bool {
        *self.cell(column) == Cell::Flag(true)
    }

    /// The bytes of a column, if there are some.
    #[must_use]
    pub fn bytes(&self, column: &str) -> Option<&[u8]> {
        if let Cell::Bytes(bytes) = self.cell(column) { Some(bytes) } else { None }
    }

    /// The values of these columns; none if one of them is empty, which is nobody's.
    #[must_use]
    pub fn values_of(&self, columns: &[&str]) -> Option<Vec<Cell>> {
        let values: Vec<Cell> = columns.iter().map(|column| self.cell(column).clone()).collect();
        (!values.contains(&Cell::Null)).then_some(values)
    }

    /// Puts something else into a column.
    pub fn set(&mut self, column: &str, cell: Cell) {
        if let Some(place) = self.table.position(column).and_then(|at| self.cells.get_mut(at)) {
            *place = cell;
        }
    }

    /// What names it.
    #[must_use]
    pub fn key(&self) -> &[Cell] {
        &self.cells[..self.table.key.min(self.cells.len())]
    }

    /// What names it, for a person.
    #[must_use]
    pub fn name(&self) -> String {
        self.key().iter().map(Cell::shown).collect::<Vec<_>>().join("/")
    }

    /// Its line in the canonical dump: JSON, the same whichever database it stands in.
    #[must_use]
    pub fn line(&self) -> String {
        let told =
            self.table.columns.iter().zip(&self.cells).filter(|(column, _)| column.part != Part::Counter);
        let members = told.map(|(column, cell)| (column.name.to_owned(), cell.json()));
        let mut object = serde_json::Map::from_iter([("table".to_owned(), self.table.name.into())]);
        object.extend(members);
        serde_json::Value::Object(object).to_string()
    }
}

impl Cell {
    /// As a value of a statement, of the type of its column.
    #[must_use]
    pub fn value(&self, column: &Column) -> Value {
        match (column.kind, self) {
            (Kind::Id, Self::Id(id)) => (*id).into(),
            (Kind::Id, _) => None::<Uuid>.into(),
            (Kind::Text, Self::Text(text)) => text.clone().into(),
            (Kind::Text, _) => None::<String>.into(),
            (Kind::Bytes, Self::Bytes(bytes)) => bytes.clone().into(),
            (Kind::Bytes, _) => None::<Vec<u8>>.into(),
            (Kind::Whole, Self::Whole(number)) => (*number).into(),
            (Kind::Whole, _) => None::<i64>.into(),
            (Kind::Small, Self::Whole(number)) => i32::try_from(*number).ok().into(),
            (Kind::Small, _) => None::<i32>.into(),
            (Kind::Flag, Self::Flag(flag)) => (*flag).into(),
            (Kind::Flag, _) => None::<bool>.into(),
        }
    }

    /// What a statement has found in a column.
    pub fn found(result: &QueryResult, at: usize, column: &Column) -> Result<Self, DbErr> {
        let cell = match column.kind {
            Kind::Id => result.try_get_by_index::<Option<Uuid>>(at)?.map(Self::Id),
            Kind::Text => result.try_get_by_index::<Option<String>>(at)?.map(Self::Text),
            Kind::Bytes => result.try_get_by_index::<Option<Vec<u8>>>(at)?.map(Self::Bytes),
            Kind::Whole => result.try_get_by_index::<Option<i64>>(at)?.map(Self::Whole),
            Kind::Small => {
                result.try_get_by_index::<Option<i32>>(at)?.map(|number| Self::Whole(i64::from(number)))
            }
            Kind::Flag => result.try_get_by_index::<Option<bool>>(at)?.map(Self::Flag),
        };
        Ok(cell.unwrap_or(Self::Null))
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Flag(flag) => (*flag).into(),
            Self::Whole(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Bytes(bytes) => hexadecimal::written(bytes).into(),
            Self::Id(id) => id.to_string().into(),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => other.json().as_str().map_or_else(|| other.json().to_string(), str::to_owned),
        }
    }
}

impl From<Before> for Cell {
    fn from(before: Before) -> Self {
        match before {
            Before::Nothing => Self::Null,
            Before::Zero => Self::Whole(0),
            Before::Word(word) => Self::Text(word.to_owned()),
        }
    }
}
