//! A database of S1 becomes one of ours.
//!
//! It is not imported as such: its rows are read, judged and written into a fresh database of this program's schema, a
//! file beside it, and that is imported like any other, by the same rules and in one transaction. What can't be kept
//! as it was is told row by row. What would be somebody else's, or would mean something that nobody has written, refuses
//! the whole file. docs/migrating-from-s1.md has the mapping.

mod accounts;
mod bytes;
mod import;
mod people;
mod place;
mod source;

use std::collections::HashMap;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::unfinished::new_file;
use super::{ImportRefusal, Parts, blank};
use crate::files::StorageFault;
use crate::platform::clock::Timestamp;
use crate::platform::secrets::digest;
use crate::users::fits_name;
use people::People;
use place::Place;
use source::Source;

/// The last second of the year 9999: no moment of S1's lies behind it.
const LAST_SECOND: i64 = Timestamp::LAST.seconds();
/// What is told in full; the rest is counted.
const MOST_NOTES: usize = 10_000;

/// Why a file can't be read as a database of S1.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Something in it is not as S1 writes it, or can't be kept.
    #[error("{table}: {words}")]
    Refused {
        /// The table.
        table: &'static str,
        /// What, and in which row.
        words: String,
    },
    /// The file can't be read as a database at all.
    #[error(transparent)]
    File(#[from] ImportRefusal),
    /// It could not be brought over for another reason.
    #[error("{0:#}")]
    Broken(#[from] anyhow::Error),
}

impl Unfit {
    fn refused(table: &'static str, words: impl Into<String>) -> Self {
        Self::Refused { table, words: words.into() }
    }
}

impl From<Unfit> for ImportRefusal {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Refused { .. } => Self::Foreign(unfit.to_string()),
            Unfit::File(refusal) => refusal,
            Unfit::Broken(error) => Self::Broken(error),
        }
    }
}

impl From<rusqlite::Error> for Unfit {
    fn from(error: rusqlite::Error) -> Self {
        Self::File(super::file::unreadable(&error))
    }
}

impl From<StorageFault> for Unfit {
    fn from(fault: StorageFault) -> Self {
        Self::Broken(fault.into())
    }
}

impl From<std::io::Error> for Unfit {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.into())
    }
}

/// What was not kept as it was.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    lines: Vec<String>,
    more: u64,
}

impl Notes {
    fn add(&mut self, line: String) {
        if self.lines.len() < MOST_NOTES {
            self.lines.push(line);
        } else {
            self.more += 1;
        }
    }

    /// One line for each, for an operator.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let more = (self.more > 0).then(|| format!("… and {} more like these", self.more));
        self.lines.iter().cloned().chain(more)
    }
}

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

/// As the database keeps it.
fn id_value(id: Uuid) -> Value {
    Value::Blob(id.as_bytes().to_vec())
}

/// An id for what S1 gave none: the same at each try, so that a second import finds what the first one brought.
fn stable_id(millis: i64, parts: &[&str]) -> Uuid {
    let text = parts.iter().fold(String::from("s1"), |text, part| format!("{text}\0{part}"));
    let mut chance = [0; 10];
    chance.copy_from_slice(&digest(text.as_bytes())[..10]);
    let millis = u64::try_from(millis).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &chance).into_uuid()
}

/// Words of S1's as a line of ours: without what can't be seen or moves other characters about, cut to so many characters.
fn words(text: &str, most: usize) -> String {
    text.chars().filter(|c| fits_name(*c)).take(most).collect()
}

/// The moment that history of S1's writes as `2024-12-31 23:59:59 UTC`.
fn moment(text: &str) -> Option<Timestamp> {
    let read = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S UTC").ok()?;
    let seconds = read.and_utc().timestamp();
    (0..=LAST_SECOND).contains(&seconds).then(|| Timestamp::from_seconds(seconds))
}

/// Whose is which, by what S1 calls them.
type Owners = HashMap<i64, Uuid>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_at_each_try_and_differ_with_what_they_are_of() {
        let id = |parts: &[&str]| stable_id(1_700_000_000_000, parts);
        assert_eq!(id(&["a", "b"]), id(&["a", "b"]));
        assert_ne!(id(&["a", "b"]), id(&["ab"]));
        assert_ne!(id(&["a", "b"]), id(&["b", "a"]));
        assert_eq!(id(&["a"]).get_version_num(), 7);
    }

    #[test]
    fn moments_of_history_are_read_and_nothing_like_them() {
        assert_eq!(moment("2024-12-31 23:59:59 UTC"), Some(Timestamp::from_seconds(1_735_689_599)));
        for text in [
            "",
            "2024-12-31",
            "2024-12-31 23:59:59",
            "2024-13-01 00:00:00 UTC",
            "1 UTC",
            "0001-01-01 00:00:00 UTC",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn notes_beyond_the_most_are_counted() {
        let mut notes = Notes::default();
        (0..=MOST_NOTES).for_each(|number| notes.add(number.to_string()));
        assert_eq!(notes.lines().count(), MOST_NOTES + 1);
        assert_eq!(notes.lines().last().unwrap(), "… and 1 more like these");
    }
}
