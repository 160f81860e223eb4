//! Everything that travels, into one SQLite file.
//!
//! The file is a database of Gatehouse itself, made by the same migrations: what does not travel is there as an empty
//! table. Reading and writing go on at the same time, with a few pages between them; so it costs the same memory for a
//! hundred accounts as for a million.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::types::Value;
use rusqlite::{Connection, Statement};
use tokio::sync::mpsc;

use super::reading::{Pages, count, highest_file_number};
use super::row::{Cell, Row};
use super::tables::{TRAVELS, Table};
use super::unfinished::UnfinishedFile;
use super::{ArchiveFault, Exported, Progress, blank};
use crate::platform::db::{Database, Snapshot};

/// Pages that wait for the file.
const WAITING: usize = 2;

/// What goes into the file.
enum Piece {
    Rows(Vec<Row>),
    /// The highest number that a file ever had.
    FileNumber(i64),
}

/// Writes the file at `place`, where nothing is yet.
pub(super) async fn export(
    db: &Database,
    place: PathBuf,
    progress: &Progress,
) -> Result<(UnfinishedFile, Exported), ArchiveFault> {
    let mut snapshot = db.snapshot().await?;
    progress.say("exporting");
    progress.expect(count(&mut snapshot).await?);
    let temp = UnfinishedFile::make(place)?;
    let (pieces, waiting) = mpsc::channel(WAITING);
    let path = temp.path().to_owned();
    let task = tokio::task::spawn_blocking(move || write(&path, waiting));
    let read = read(&mut snapshot, pieces, progress).await;
    let written = task.await.map_err(|error| ArchiveFault::Unwritable(error.to_string()))?;
    read?;
    let exported = written?;
    snapshot.end().await?;
    progress.finish();
    Ok((temp, exported))
}

async fn read(
    snapshot: &mut Snapshot,
    pieces: mpsc::Sender<Piece>,
    progress: &Progress,
) -> Result<(), ArchiveFault> {
    for table in TRAVELS {
        let mut pages = Pages::of(table);
        while let Some(rows) = pages.next(snapshot).await? {
            let number = rows.len() as u64;
            if pieces.send(Piece::Rows(rows)).await.is_err() {
                return Ok(()); // the writer has failed, and says why
            }
            progress.done(number);
        }
    }
    let number = highest_file_number(snapshot).await?;
    if pieces.send(Piece::FileNumber(number)).await.is_err() {
        tracing::debug!("the writer of an export has failed");
    }
    Ok(())
}

fn write(path: &Path, mut pieces: mpsc::Receiver<Piece>) -> Result<Exported, ArchiveFault> {
    let mut exported =
        Exported { rows: TRAVELS.iter().map(|table| (table.name, 0)).collect(), digest: [0; 32] };
    let mut digest = Context::new(&SHA256);
    let connection = blank::begin(path)?;
    let mut open: Option<(&'static str, Statement<'_>)> = None;
    while let Some(piece) = pieces.blocking_recv() {
        let rows = match piece {
            Piece::Rows(rows) => rows,
            Piece::FileNumber(number) => {
                set_file_number(&connection, number)?;
                continue;
            }
        };
        let Some(table) = rows.first().map(|row| row.table) else { continue };
        if open.as_ref().is_none_or(|(name, _)| *name != table.name) {
            open = Some((table.name, connection.prepare(&insert(table))?));
        }
        let Some((_, statement)) = &mut open else { continue };
        for row in &rows {
            statement.execute(rusqlite::params_from_iter(row.cells.iter().map(value)))?;
            digest.update(row.line().as_bytes());
            digest.update(b"\n");
        }
        *exported.rows.entry(table.name).or_default() += rows.len() as u64;
    }
    drop(open);
    blank::complete(connection)?;
    File::open(path)?.sync_all()?;
    exported.digest.copy_from_slice(digest.finish().as_ref());
    Ok(exported)
}

/// The statement that puts a row of a table into the file.
fn insert(table: &Table) -> String {
    if table.name == "file_links" {
        return "INSERT INTO file_links (user_id, file_id) SELECT ?1, id FROM files WHERE blob = ?2"
            .to_owned();
    }
    let places: Vec<String> = (1..=table.columns.len()).map(|number| format!("?{number}")).collect();
    let (names, fixed) = (table.names_to_write(), table.fixed_values());
    format!("INSERT INTO {} ({names}) VALUES ({}{fixed})", table.name, places.join(", "))
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Flag(flag) => Value::Integer(i64::from(*flag)),
        Cell::Whole(number) => Value::Integer(*number),
        Cell::Text(text) => Value::Text(text.clone()),
        Cell::Bytes(bytes) => Value::Blob(bytes.clone()),
        Cell::Id(id) => Value::Blob(id.as_bytes().to_vec()),
    }
}

fn set_file_number(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'files'", [])?;
    let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES ('files', ?1)";
    connection.execute(sql, [number]).map(|_| ())
}

impl From<rusqlite::Error> for ArchiveFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unwritable(error.to_string())
    }
}

impl From<io::Error> for ArchiveFault {
    fn from(error: io::Error) -> Self {
        Self::Unwritable(error.to_string())
    }
}
