//! A database of S1 becomes one of ours.
//!
//! It is not imported as such: its rows are read, judged and written into a fresh database of this program's schema, a
//! file beside it, and that is imported like any other, by the same rules and in one transaction. What can't be kept
//! as it was is told row by row. What would be somebody else's, or would mean something that nobody has written, refuses
//! the whole file. docs/migrating-from-s1.md has the mapping.

mod accounts;
mod bytes;
mod import;
mod notes;
mod people;
mod place;
mod source;
mod unfit;
mod values;

use std::collections::HashMap;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::unfinished::new_file;
use super::{ImportRefusal, Parts, blank};
pub use notes::Notes;
use people::People;
use place::Place;
use source::Source;
pub use unfit::Unfit;

/// What came of it.
#[derive(Debug, Default)]
pub struct Converted {
    /// What was not kept as it was.
    pub notes: Notes,
    /// Bytes that were brought, which are nobody's if no row follows.
    pub blobs: Vec<Uuid>,
    /// Who had a second factor that could not come along.
    pub without_factor: Vec<Uuid>,
}

/// A conversion at work, on a thread that may wait.
struct Work<'w> {
    parts: &'w Parts,
    source: Source,
    into: Connection,
    place: Option<Place>,
    people: People,
    converted: &'w mut Converted,
    runtime: Handle,
}

/// Whether a file is a database of S1.
pub(super) fn recognises(path: &Path) -> Result<bool, ImportRefusal> {
    Ok(source::is_s1(path)?)
}

/// Makes of S1's database one of ours: the empty file `into`. `root` is the folder that S1's files lie in; without it they
/// are left out. What was brought and noted stands in `converted` also if it fails. It blocks.
pub(super) fn convert(
    parts: &Parts,
    from: &Path,
    root: Option<&Path>,
    into: &Path,
    converted: &mut Converted,
    runtime: Handle,
) -> Result<(), Unfit> {
    let place = root.map(Place::open).transpose();
    let place =
        place.map_err(|error| anyhow::anyhow!("the folder of S1's files can't be opened: {error}"))?;
    let source = Source::open(from)?;
    drop(new_file(into)?);
    let into = blank::begin(into).map_err(anyhow::Error::from)?;
    let mut work = Work { parts, source, into, place, people: People::default(), converted, runtime };
    work.people()?;
    work.histories_and_blocks()?;
    work.accounts()?;
    work.files()?;
    Ok(blank::complete(work.into).map_err(anyhow::Error::from)?)
}

impl Work<'_> {
    fn note(&mut self, line: String) {
        self.converted.notes.add(line);
    }

    /// Writes rows into a table of the new database.
    fn write(&self, table: &str, columns: &str, rows: Vec<Vec<Value>>) -> Result<(), Unfit> {
        if rows.is_empty() {
            return Ok(());
        }
        let places: Vec<String> = (1..=columns.split(',').count()).map(|place| format!("?{place}")).collect();
        let sql = format!("INSERT INTO {table} ({columns}) VALUES ({})", places.join(", "));
        let write = || -> rusqlite::Result<()> {
            let mut statement = self.into.prepare(&sql)?;
            rows.into_iter().try_for_each(|row| statement.execute(params_from_iter(row)).map(|_| ()))
        };
        Ok(write().map_err(anyhow::Error::from)?)
    }
}

/// Whose is which, by what S1 calls them.
type Owners = HashMap<i64, Uuid>;
