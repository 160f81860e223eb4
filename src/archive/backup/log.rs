//! The log of what staff did, in the database of a backup. An export has none: it is for other servers.

use std::path::Path;

use rusqlite::{Connection, Statement, params};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::archive::ArchiveFault;
use crate::audit::{Audit, Row};

const INSERT: &str = "INSERT INTO audit_log (number, at, actor_id, action, subject_type, subject_id, details, trace_id, \
                      follows_seal, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// Writes the log, as it is now, into the tables that an export leaves empty; on a thread that may wait.
pub(super) fn write(audit: &Audit, runtime: &Handle, database: &Path) -> Result<(), ArchiveFault> {
    let Some(end) = runtime.block_on(audit.sealed_end())? else { return Ok(()) };
    let mut connection = Connection::open(database)?;
    let file = connection.transaction()?;
    let (mut insert, mut last) = (file.prepare(INSERT)?, 0);
    loop {
        let rows = runtime.block_on(audit.rows_behind(last, end.number))?;
        let Some(newest) = rows.last() else { break };
        last = newest.number;
        for row in &rows {
            write_row(&mut insert, row)?;
        }
    }
    drop(insert);
    let sql = "UPDATE audit_head SET number = ?1, hash = ?2, seal = ?3 WHERE id = 1";
    file.execute(sql, params![end.number, end.hash, end.seal])?;
    file.commit()?;
    Ok(())
}

fn write_row(insert: &mut Statement<'_>, row: &Row) -> rusqlite::Result<()> {
    let bytes = |id: Option<Uuid>| id.map(|id| id.as_bytes().to_vec());
    let written = insert.execute(params![
        row.number,
        row.at,
        bytes(row.actor_id),
        row.action,
        row.subject_type,
        bytes(row.subject_id),
        row.details,
        row.trace_id,
        row.follows_seal,
        row.hash,
    ]);
    written.map(|_| ())
}
